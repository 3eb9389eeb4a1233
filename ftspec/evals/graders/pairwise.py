"""`pairwise`: a judge prefers the answer, or something else to it; asked twice, with the places swapped.

Judges favour a place. So each pair is shown in both orders: 1 when the answer wins both times,
0 when it loses both times, 0.5 for ties and for judges that prefer a place (label
`position`, whose share `compare` shows). Text of the answers is quoted, never obeyed by us.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from ftspec.evals.base import Context, Grade, ModelGrader, Problem, ungraded
from ftspec.evals.judging import JudgeNonsense, ask_for_object
from ftspec.evals.template import MissingField, Template

_POINTS = {"A": 1.0, "B": 0.0, "tie": 0.5}


class Pairwise(ModelGrader):
    """The answer (`input`) against `reference`, judged by `criteria` on the question (`prompt`)."""

    type: Literal["pairwise"] = "pairwise"
    criteria: str
    prompt: Template | None = None
    input: Template = Template("{{sample.output_text}}")
    reference: Template = Template("{{item.reference}}")
    sampling_params: dict[str, Any] | None = None

    def problems(self) -> Iterable[Problem]:
        """Return criteria that say nothing."""
        if not self.criteria.strip():
            yield Problem("criteria", "is empty: say what makes an answer better")

    async def grade(self, sample: Mapping[str, Any], item: Mapping[str, Any], context: Context) -> Grade:
        """Ask twice, the second time with the places swapped."""
        question = self.prompt.fill(item, sample) if self.prompt else _last_question(item)
        mine, other = self.input.fill(item, sample), self.reference.fill(item, sample)
        try:
            first = await self._ask(context, question, mine, other)
            second = 1 - await self._ask(context, question, other, mine)
        except JudgeNonsense as nonsense:
            return ungraded(str(nonsense))
        if {first, second} == {0.0, 1.0}:
            return Grade(score=0.5, label="position", detail="the judge preferred the same place both times")
        score = (first + second) / 2
        return Grade(score=score, passed=score > 0.5, label={1.0: "win", 0.75: "win", 0.5: "tie"}.get(score, "loss"))

    async def _ask(self, context: Context, question: str, a: str, b: str) -> float:
        """Return how A fares: 1, 0.5 or 0."""
        task = (
            f"Compare two answers to the same question. Criteria: {self.criteria}\n"
            'Answer with one JSON object and nothing after it: {"steps": [text], "result": "A" or "B" or "tie"}'
        )
        pair = f"Question:\n{question}\n\nAnswer A:\n{a}\n\nAnswer B:\n{b}"
        messages = [{"role": "system", "content": task}, {"role": "user", "content": pair}]
        answer = await ask_for_object(self, context, messages, self.sampling_params)
        choice = answer.get("result")
        if not isinstance(choice, str) or choice not in _POINTS:
            msg = "the judge's `result` is none of `A`, `B`, `tie`"
            raise JudgeNonsense(msg)
        return _POINTS[choice]


def _last_question(item: Mapping[str, Any]) -> str:
    for message in reversed(item.get("messages") or []):
        if message.get("role") == "user" and isinstance(message.get("content"), str):
            return str(message["content"])
    msg = "there is no user message to show the judge; give the grader a `prompt`"
    raise MissingField(msg)


grader = Pairwise
