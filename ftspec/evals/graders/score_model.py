"""`score_model`: a judge gives a score within `range`.

The judge answers `{"steps": [...], "result": number}`. A result outside the range, or no
result, is judge nonsense: ungraded, never clamped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import Field

from ftspec.evals.base import Context, Grade, ModelGrader, Problem, ungraded
from ftspec.evals.judging import JudgeNonsense, ask_for_object, message_problems, message_references, messages_for, shortened
from ftspec.evals.template import Reference


class ScoreModel(ModelGrader):
    """OpenAI's `ScoreModelGrader`."""

    type: Literal["score_model"] = "score_model"
    input: list[dict[str, Any]]
    range: list[float] = Field(default=[0.0, 1.0])
    sampling_params: dict[str, Any] | None = None
    pass_threshold: float | None = None

    def problems(self) -> Iterable[Problem]:
        """Return wrong messages, a range that is none."""
        yield from message_problems("input", self.input)
        if len(self.range) != 2 or self.range[0] >= self.range[1]:
            yield Problem("range", "must be two numbers, the smaller one first")

    def bounds(self) -> tuple[float, float] | None:
        """Return the range."""
        return self.range[0], self.range[1]

    def references(self) -> tuple[Reference, ...]:
        """Return the references in its messages."""
        return message_references(self.input)

    async def grade(self, sample: Mapping[str, Any], item: Mapping[str, Any], context: Context) -> Grade:
        """Ask the judge for a score."""
        low, high = self.range
        question = (
            f"Answer with one JSON object and nothing after it: "
            f'{{"steps": [{{"description": text, "conclusion": text}}], "result": a number from {low:g} to {high:g}}}'
        )
        try:
            answer = await ask_for_object(self, context, messages_for(self.input, question, item, sample), self.sampling_params)
        except JudgeNonsense as nonsense:
            return ungraded(str(nonsense))
        score = answer.get("result")
        if isinstance(score, bool) or not isinstance(score, (int, float)):
            return ungraded("the judge gave no number as `result`")
        if not low <= score <= high:
            return ungraded(f"the judge's score is outside {low:g} to {high:g}")
        passed = None if self.pass_threshold is None else score >= self.pass_threshold
        return Grade(score=float(score), passed=passed, detail=_reason(answer.get("steps")))


def _reason(steps: Any) -> str | None:
    last = steps[-1] if isinstance(steps, list) and steps else None
    return shortened(last["conclusion"]) if isinstance(last, dict) and "conclusion" in last else None


grader = ScoreModel
