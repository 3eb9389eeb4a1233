"""Graders tried on right answers: a reward that the reference answer does not get, no model will ever get.

What the right answer to a row is, as far as a row and a grader say it:

1. what the grader itself compares the output with: the other side of `{{sample.output_text}}`
   (but not of `ne`); for `{{sample.output_json.x}}` the JSON object that has it there;
2. else the row's own member of a name in `NAMES`, a text, a number, a message or any JSON.

Where neither is there, and where tool calls or other parts of an answer are graded, the right
answer is unknown and the row is left out. The first way cannot see that a reference is wrong,
only that the grader gives it too little; graders that ask a model are not tried at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from ftspec.evals.base import Grader, bind
from ftspec.evals.graders.multi import Multi
from ftspec.evals.graders.python import Python
from ftspec.evals.grading import SyncGrader, sample_of
from ftspec.evals.template import MissingField, Reference, Template, as_text

NAMES: Final = ("reference_answer", "reference", "answer", "expected", "solution", "target", "label", "completion")
"""Members of a row that mean the right answer, the surest first."""

QUICK: Final = frozenset({"string_check", "text_similarity"})
"""Graders that are tried while planning: they take no pattern or schema of a stranger's spec that could run for ever."""

WORK: Final = 100_000_000
"""Sum of the squared lengths of the answers that are tried: similarity of long texts takes that long (about a second)."""

HIGH: Final = 0.8
"""Share of the highest score that a right answer should at least get, where the grader has no `pass_threshold`."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What a grader said of the right answers of some rows, numbered from 0 as they came."""

    wanted: float
    """The score that a right answer should get."""
    tried: int = 0
    total: float = 0.0
    """The sum of all scores; what could not be graded has none."""
    low: tuple[int, ...] = ()
    """Rows whose right answer got less than `wanted`, or could not be graded."""
    ungraded: int = 0

    @property
    def mean(self) -> float:
        """The mean score."""
        return self.total / max(self.tried - self.ungraded, 1)


def why_untried(definition: Mapping[str, Any], *, allow_code: bool, quick: bool = False) -> str | None:
    """Return why a grader cannot be tried here, `None` where it can; `quick`: only what is sure to be quick."""
    grader = bind(definition)
    if quick and not all(part.type in QUICK for part in _parts(grader)):
        return "`ftspec data check` does"
    if models := grader.models():
        return f"it asks `{models[0][1]}`"
    return "it runs code of this project (`--allow-code` lets it)" if grader.code() and not allow_code else None


def tried_on(definition: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], *, allow_code: bool = False) -> Trial:
    """Grade the right answer of each row for which one is known (`GraderStopped` where the grader cannot run)."""
    grader = bind(definition)
    total, tried, ungraded, low = 0.0, 0, 0, []
    work = 0
    wanted = _wanted(grader)
    with SyncGrader(definition, allow_code=allow_code) as ready:
        for number, row in enumerate(rows):
            answer = right_answer(grader, row)
            if answer is None:
                continue
            work += len(answer) ** 2
            if tried and work > WORK:
                break
            tried += 1
            score = ready.grade(sample_of(answer), row).score
            ungraded += score is None
            total += score or 0.0
            if score is None or score < wanted:
                low.append(number)
    return Trial(wanted=wanted, tried=tried, total=total, low=tuple(low), ungraded=ungraded)


def _wanted(grader: Grader) -> float:
    threshold: float | None = getattr(grader, "pass_threshold", None)
    bounds = grader.bounds()
    return threshold if threshold is not None else HIGH * (bounds[1] if bounds is not None else 1.0)


def right_answer(grader: Grader, row: Mapping[str, Any]) -> str | None:
    """Return the text of a row's right answer, `None` where it cannot be known."""
    parts = _parts(grader)
    if any(
        one.steps[:1] == ("sample",) and one.steps[1] not in {"output_text", "output_json"} for part in parts for one in part.references()
    ):
        return None
    if any(part.type == "tool_call" for part in parts):
        return None
    try:
        compared = [pair for part in parts for pair in _comparisons(part)]
        return _answer_to(compared, row) if compared else _declared(row)
    except MissingField:
        return None


def _parts(grader: Grader) -> list[Grader]:
    """Return the graders inside a `multi`, else the grader itself."""
    return [bind(one) for one in grader.graders.values()] if isinstance(grader, Multi) else [grader]


def _comparisons(part: Grader) -> Iterator[tuple[Reference, Template]]:
    """Yield what a grader takes from the output, with the template of the row that it compares it with."""
    if getattr(part, "operation", None) == "ne" or (isinstance(part, Python) and part.function is None):
        return
    sides = [getattr(part, name, None) for name in ("input", "reference")]
    for one, other in (sides, sides[::-1]):
        if not isinstance(one, Template) or not isinstance(other, Template) or one.whole is None or one.whole.steps[0] != "sample":
            continue
        if other.references and all(reference.steps[0] == "item" for reference in other.references):
            yield one.whole, other


def _answer_to(compared: Iterable[tuple[Reference, Template]], row: Mapping[str, Any]) -> str:
    """Return the output in which every comparison finds what it looks for."""
    made: dict[str, Any] = {}
    for taken, given in compared:
        value = given.whole.value(row, None) if given.whole else given.fill(row, None)
        if taken.steps[1] == "output_text":
            return as_text(value)
        *path, last = taken.steps[2:] or ("",)
        if not last:
            return as_text(value)
        here = made
        for step in path:
            here = here.setdefault(step, {})
        here[last] = value
    return json.dumps(made, ensure_ascii=False)


def _declared(row: Mapping[str, Any]) -> str | None:
    for name in NAMES:
        value = row.get(name)
        if isinstance(value, Mapping) and isinstance(value.get("content"), str):
            value = value["content"]
        if value not in (None, ""):
            return as_text(value)
    return None
