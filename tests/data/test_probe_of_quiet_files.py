"""The fourteen odd files that an earlier tool let pass without a word are all told here."""

from __future__ import annotations

import pytest

from ftspec.data.audit import audit
from ftspec.diagnostics import Severity

USER = {"role": "user", "content": "What is the weather in Oslo?"}
ANSWER = {"role": "assistant", "content": "It rains."}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}


def call(arguments='{"city": "Oslo"}', name="weather"):
    function = {"name": name, "arguments": arguments}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": function}]}


REPLY = {"role": "tool", "tool_call_id": "c1", "content": "Rain."}

PROBE = {
    "junk top-level key": ({"messages": [USER, ANSWER], "junk": 1}, "unknown-key"),
    "tools a string": ({"messages": [USER, ANSWER], "tools": "weather"}, "bad-tools"),
    "empty assistant content": ({"messages": [USER, {"role": "assistant", "content": ""}]}, "empty-content"),
    "null assistant content": ({"messages": [USER, {"role": "assistant", "content": None}]}, "empty-content"),
    "null user content": ({"messages": [{"role": "user", "content": None}, ANSWER]}, "empty-content"),
    "weight true": ({"messages": [USER, {**ANSWER, "weight": True}]}, "bad-weight"),
    "orphan tool message": ({"messages": [USER, REPLY, ANSWER], "tools": [TOOL]}, "orphan-tool-message"),
    "unanswered call": ({"messages": [USER, call(), ANSWER], "tools": [TOOL]}, "unanswered-call"),
    "arguments not JSON": ({"messages": [USER, call("{city}"), REPLY, ANSWER], "tools": [TOOL]}, "bad-arguments"),
    "undeclared tool": ({"messages": [USER, call(name="forecast"), REPLY, ANSWER], "tools": [TOOL]}, "undeclared-tool"),
    "unknown content part": ({"messages": [{"role": "user", "content": [{"type": "video", "video": "x"}]}, ANSWER]}, "unknown-part"),
    "system in the middle": ({"messages": [USER, {"role": "system", "content": "Be brief."}, ANSWER]}, "system-not-first"),
    "assistant only": ({"messages": [ANSWER]}, "no-user"),
    "ten identical rows": ({"messages": [USER, ANSWER]}, "duplicate-row"),
}


@pytest.mark.parametrize(("row", "code"), PROBE.values(), ids=list(PROBE))
def test_no_odd_file_passes_quietly(folder, row, code):
    """Each odd file is told with a code of its own, at its first line."""
    times = 10 if code == "duplicate-row" else 1
    dataset = folder.dataset("odd", *[row] * times)
    _, problems = audit(dataset, folder.place())
    found = {one.code: one for one in problems}
    assert code in found
    assert found[code].severity in {Severity.ERROR, Severity.WARNING}
    assert found[code].at.line == (2 if times > 1 else 1)


def test_the_good_file_beside_them_passes(folder):
    """A dataset with tools, done right, has no error and no warning."""
    good = [
        {"messages": [{**USER, "content": f"What is the weather in town {n}?"}, call(), REPLY, ANSWER], "tools": [TOOL]} for n in range(60)
    ]
    _, problems = audit(folder.dataset("good", *good), folder.place())
    assert {one.code for one in problems if one.severity is not Severity.INFO} == set()
