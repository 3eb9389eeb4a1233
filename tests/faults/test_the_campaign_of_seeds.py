"""Whole applies in a simulated world: every promise holds under every seed."""

import os
import time

import pytest

from ftspec.testing.storm import scenario
from ftspec.testing.world import campaign, many, play

# Read here: tests see no settings of whoever runs them.
SEEDS = int(os.environ.get("FTSPEC_SEEDS", "100000"))


def test_every_promise_holds_under_the_first_seeds():
    """A few hundred seeds of every kind of engine, weather and mishap break no promise."""
    assert campaign(range(600)) == []


@pytest.mark.slow
def test_every_promise_holds_under_a_hundred_thousand_seeds(figure):
    """The long campaign, on all cores; `FTSPEC_SEEDS` makes it longer (nightly: millions)."""
    began = time.monotonic()
    broken = many(range(1_000_000, 1_000_000 + SEEDS))
    figure(f"{SEEDS} seeds, {SEEDS / (time.monotonic() - began):.0f} a second")
    assert broken == []


def test_one_seed_tells_one_story():
    """A seed replays a whole apply, line by line."""
    first: list[str] = []
    second: list[str] = []
    play(7, story=first.append)
    play(7, story=second.append)
    assert first == second
    assert len(first) > 10


def test_seeds_reach_every_kind_of_mishap():
    """The first seeds hold each kind of engine, fate and mishap often enough to mean something."""
    seen = [scenario(seed) for seed in range(600)]
    for name in ("not_sent", "lost_request", "lost_answer", "late", "error_after", "incomplete", "repeated", "hidden", "file_trouble"):
        assert sum(getattr(one.weather, name) > 0 for one in seen) > 30, name
    for name in ("unique_keys", "idempotency_key", "drops_metadata"):
        assert sum(getattr(one.rules, name) for one in seen) > 30, name
    assert sum(not one.rules.metadata for one in seen) > 60
    assert sum(one.rival is not None for one in seen) > 20
    assert sum(one.intruder is not None for one in seen) > 20
    assert sum(any(run.kill_step is not None for run in one.runs) for one in seen) > 200
    assert sum(any(run.interrupt_after is not None for run in one.runs) for one in seen) > 80
    assert sum(any(run.disk for run in one.runs) for one in seen) > 50
    assert sum(any(run.suspend or run.jump or run.wrong_by for run in one.runs) for one in seen) > 100
