"""Filters on calls: `score>=4`, `model=gpt-5`, `tag=good`, `metadata.team!=test`, `time>=2026-10-01`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ftspec.data.split import field_of
from ftspec.diagnostics import FtspecError
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.data.importers.base import Call

Test = Callable[["Call"], bool]

_FORM = re.compile(r"\s*([A-Za-z_][\w.-]*)\s*(==|!=|>=|<=|=|>|<|~)\s*(.*?)\s*\Z", re.DOTALL)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "=": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
FIELDS = ("model", "time", "finish_reason", "id", "name", "part", "split", "tag", "tags", "score", "scores.NAME", "metadata.KEY")


def test_of(expression: str) -> Test:
    """Return a filter as a function (`FtspecError`: it makes no sense)."""
    match = _FORM.match(expression)
    if match is None:
        raise FtspecError(f"`{printable(expression)}` is not a filter", help="write FIELD OPERATOR VALUE, for example `score>=4`")
    field, sign, wanted = match.groups()
    wanted = wanted.strip("'\"")
    if field.partition(".")[0] not in {name.partition(".")[0] for name in FIELDS}:
        raise FtspecError(f"`{printable(field)}` is not a field of a call", help=f"fields: {', '.join(FIELDS)}")

    def test(call: Call) -> bool:
        values = _values(call, field)
        if sign == "!=":
            return all(not _holds(value, "=", wanted) for value in values)
        return any(_holds(value, sign, wanted) for value in values)

    return test


def all_of(expressions: Iterable[str]) -> Test:
    """Return a filter that passes a call which every expression holds for."""
    tests = [test_of(expression) for expression in expressions]
    return lambda call: all(test(call) for test in tests)


def _values(call: Call, field: str) -> list[Any]:
    name, _, rest = field.partition(".")
    match name:
        case "tag" | "tags":
            return list(call.tags)
        case "score" | "scores":
            return [call.scores[rest]] if rest in call.scores else ([] if rest else list(call.scores.values()))
        case "metadata":
            value = field_of(call.metadata, rest.split("."))
        case "split":
            value = call.part
        case _:
            value = getattr(call, name)
    return [] if value is None else [value]


def _holds(value: Any, sign: str, wanted: str) -> bool:
    if sign == "~":
        return wanted.lower() in str(value).lower()
    if isinstance(value, bool):
        value = "true" if value else "false"
    try:
        return _COMPARE[sign](float(value), float(wanted))
    except (TypeError, ValueError, OverflowError):
        return _COMPARE[sign](str(value), wanted)
