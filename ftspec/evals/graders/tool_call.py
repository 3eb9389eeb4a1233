"""`tool_call`: the answer calls the right tools with the right arguments.

`reference` is the expected calls: by default `{{item.reference_tools}}`, the tool calls of the
removed assistant message of a chat row; or a list of `{name, arguments}`. Arguments are
compared as JSON values, so spelling does not matter (`1` is `1.0`, key order is free).

`arguments: exact` wants the same arguments, `subset` at least the expected ones, `ignore` only
the names. Order does not matter unless `ordered: true`. The score is the share of calls that
are right, counting missing and superfluous ones; it passes at 1. No call expected and none made is right.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from ftspec.evals.base import Grade, Problem, PureGrader, ungraded
from ftspec.evals.template import Reference, Template, fill_tree

Call = tuple[str, Any]


class ToolCall(PureGrader):
    """Compare `sample.output_tools` with the expected calls."""

    type: Literal["tool_call"] = "tool_call"
    reference: str | list[dict[str, Any]] = "{{item.reference_tools}}"
    arguments: Literal["exact", "subset", "ignore"] = "exact"
    ordered: bool = False

    def problems(self) -> Iterable[Problem]:
        """Return references that are not templates, calls without a name."""
        if isinstance(self.reference, str):
            try:
                whole = Template(self.reference).whole
            except ValueError as error:
                yield Problem("reference", str(error))
                return
            if whole is None:
                yield Problem("reference", "must be one reference such as `{{item.reference_tools}}`, or a list of `{name, arguments}`")
            return
        for i, call in enumerate(self.reference):
            if not isinstance(call.get("name"), str) or not set(call) <= {"name", "arguments"}:
                yield Problem(f"reference.{i}", "must be `{name, arguments}`")

    def references(self) -> tuple[Reference, ...]:
        """Return the one reference, where it is one."""
        return Template(self.reference).references if isinstance(self.reference, str) else ()

    def compare(self, sample: Mapping[str, Any], item: Mapping[str, Any]) -> Grade:
        """Count the calls that are right."""
        wanted = _calls(fill_tree(self.reference, item, sample))
        if wanted is None:
            return ungraded("the expected tool calls are not a list of calls with JSON arguments")
        made = _calls(sample["output_tools"])
        if made is None:
            return Grade(score=0.0, passed=False, detail="arguments are not JSON")
        right = self._right(made, wanted)
        size = max(len(made), len(wanted))
        score = right / size if size else 1.0
        return Grade(score=score, passed=score == 1.0, detail=f"{right} of {size} calls")

    def _right(self, made: list[Call], wanted: list[Call]) -> int:
        if self.ordered:
            return sum(self._same(a, b) for a, b in zip(made, wanted, strict=False))
        left = list(made)
        right = 0
        for call in wanted:
            hit = next((i for i, one in enumerate(left) if self._same(one, call)), None)
            if hit is not None:
                del left[hit]
                right += 1
        return right

    def _same(self, made: Call, wanted: Call) -> bool:
        if made[0] != wanted[0]:
            return False
        match self.arguments:
            case "ignore":
                return True
            case "exact":
                return bool(made[1] == wanted[1])
            case "subset":
                return _contains(made[1], wanted[1])


def _calls(value: Any) -> list[Call] | None:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return None
    calls = [_call(one) for one in value]
    return None if any(call is None for call in calls) else [call for call in calls if call is not None]


def _call(value: Any) -> Call | None:
    if not isinstance(value, Mapping):
        return None
    function = value.get("function", value)
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        return None
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            return None
    return function["name"], arguments


def _contains(made: Any, wanted: Any) -> bool:
    if isinstance(made, Mapping) and isinstance(wanted, Mapping):
        return all(key in made and _contains(made[key], value) for key, value in wanted.items())
    return bool(made == wanted)


grader = ToolCall
