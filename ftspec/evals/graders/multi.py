"""`multi`: several graders and a formula over their scores.

`calculate_output` may use the names under `graders`, numbers, `+ - * / ^`, parentheses and
`min max abs floor ceil exp sqrt log`. One grader that cannot grade makes the whole ungraded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Literal

from pydantic import model_validator

from ftspec.evals.base import Context, Grade, Grader, Problem, parse, ungraded
from ftspec.evals.code import Code
from ftspec.evals.formula import Formula, FormulaError
from ftspec.evals.template import Reference


class Multi(Grader):
    """OpenAI's `MultiGrader`; the graders inside are not `multi` themselves."""

    type: Literal["multi"] = "multi"
    graders: dict[str, dict[str, Any]]
    calculate_output: str
    pass_threshold: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _single(cls, given: Any) -> Any:
        """Take the SDK's form, where `graders` is one grader, as the map that it means."""
        inner = given.get("graders")
        if isinstance(inner, Mapping) and isinstance(kind := inner.get("type"), str):
            return {**given, "graders": {inner.get("name") or kind: dict(inner)}}
        return given

    @cached_property
    def _parsed(self) -> dict[str, tuple[Grader | None, list[Problem]]]:
        return {name: parse(definition) for name, definition in self.graders.items()}

    @cached_property
    def _graders(self) -> dict[str, Grader]:
        return {name: grader for name, (grader, _) in self._parsed.items() if grader is not None}

    @cached_property
    def _formula(self) -> Formula:
        return Formula(self.calculate_output)

    def problems(self) -> Iterable[Problem]:
        """Return what is wrong inside, a formula that is not one, names it does not have."""
        if not self.graders:
            yield Problem("graders", "is empty")
        for name, (grader, problems) in self._parsed.items():
            for problem in problems:
                yield Problem(f"graders.{name}.{problem.path}".rstrip("."), problem.message)
            if isinstance(grader, Multi):
                yield Problem(f"graders.{name}.type", "a `multi` grader cannot hold another one")
        try:
            unknown = [name for name in self._formula.names if name not in self.graders]
        except FormulaError as error:
            yield Problem("calculate_output", error.message)
            return
        for name in unknown:
            yield Problem("calculate_output", f"`{name}` is not one of its graders")

    def models(self) -> tuple[tuple[str | None, str], ...]:
        """Return the judges of all its graders."""
        return tuple(judge for grader in self._graders.values() for judge in grader.models())

    def code(self) -> tuple[Code, ...]:
        """Return the code of all its graders."""
        return tuple(code for grader in self._graders.values() for code in grader.code())

    def bounds(self) -> tuple[float, float] | None:
        """Return nothing: a formula has no known range."""
        return None

    def references(self) -> tuple[Reference, ...]:
        """Return the references of all its graders."""
        return tuple(reference for grader in self._graders.values() for reference in grader.references())

    async def grade(self, sample: Mapping[str, Any], item: Mapping[str, Any], context: Context) -> Grade:
        """Grade with every grader, then calculate."""
        scores: dict[str, float] = {}
        for name, grader in self._graders.items():
            grade = await grader.grade(sample, item, context)
            if grade.score is None:
                return ungraded(f"`{name}`: {grade.error}")
            scores[name] = grade.score
        try:
            score = self._formula.number(scores)
        except FormulaError as error:
            return ungraded(error.message)
        return Grade(
            score=score,
            passed=None if self.pass_threshold is None else score >= self.pass_threshold,
            detail=", ".join(f"{name} {value:g}" for name, value in scores.items()),
        )


grader = Multi
