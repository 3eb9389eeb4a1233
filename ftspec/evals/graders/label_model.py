"""`label_model`: a judge chooses one of `labels`; the answer passes with one of `passing_labels`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from ftspec.evals.base import Context, Grade, ModelGrader, Problem, ungraded
from ftspec.evals.judging import JudgeNonsense, ask_for_object, message_problems, message_references, messages_for, shortened
from ftspec.evals.template import Reference


class LabelModel(ModelGrader):
    """OpenAI's `LabelModelGrader`."""

    type: Literal["label_model"] = "label_model"
    input: list[dict[str, Any]]
    labels: list[str]
    passing_labels: list[str]
    sampling_params: dict[str, Any] | None = None

    def problems(self) -> Iterable[Problem]:
        """Return wrong messages, labels that are not labels."""
        yield from message_problems("input", self.input)
        if len(set(self.labels)) < 2 or len(set(self.labels)) != len(self.labels):
            yield Problem("labels", "must be at least two different labels")
        for label in self.passing_labels:
            if label not in self.labels:
                yield Problem("passing_labels", f"`{label}` is not one of `labels`")
        if not self.passing_labels:
            yield Problem("passing_labels", "is empty: nothing could pass")

    def references(self) -> tuple[Reference, ...]:
        """Return the references in its messages."""
        return message_references(self.input)

    async def grade(self, sample: Mapping[str, Any], item: Mapping[str, Any], context: Context) -> Grade:
        """Ask the judge for a label."""
        question = (
            "Answer with one JSON object and nothing after it: "
            f'{{"steps": [{{"description": text, "conclusion": text}}], "result": one of {json.dumps(self.labels, ensure_ascii=False)}}}'
        )
        try:
            answer = await ask_for_object(self, context, messages_for(self.input, question, item, sample), self.sampling_params)
        except JudgeNonsense as nonsense:
            return ungraded(str(nonsense))
        label = answer.get("result")
        if not isinstance(label, str) or label not in self.labels:
            return ungraded("the judge's `result` is none of the labels")
        passed = label in self.passing_labels
        return Grade(score=float(passed), passed=passed, label=label, detail=shortened(label))


grader = LabelModel
