"""A plan file is foreign text."""

from __future__ import annotations

import json

from ftspec.planner import saved


def test_what_a_plan_file_says_cannot_speak_to_a_terminal(world):
    """Digests, statuses and addresses of a file are shown with their control characters spelled out."""
    one = world.of(world.job("tone/seed=1", seed=1))
    plan = one.plan()
    state = one.request().state
    request_of = lambda _: {}  # noqa: E731
    kept = json.loads(saved.save(plan, state, request_of=request_of))
    kept["uploads"][0]["digest"] = "\x1b]0;x\x07"
    kept["jobs"][0]["datasets"]["tone"] = "\x00"
    kept["jobs"][0]["before"] = {"status": "\x1b[2J", "attempt": 1}
    problems = saved.check(saved.load(json.dumps(kept).encode()), plan, state, request_of=request_of)
    assert problems
    assert all(problem.isprintable() for problem in problems), problems
