"""`exact_set`: the answer is a set of labels in any order, such as `refund, urgent`.

Both texts are split at `separator`, trimmed and (by default) case-folded. `score: exact` is 1
for the same set; `f1` and `jaccard` give partial credit, and pass only for the same set.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from ftspec.evals.base import Grade, Problem, PureGrader
from ftspec.evals.template import Template


class ExactSet(PureGrader):
    """Compare two sets of labels. A JSON list of texts is taken as the set it is."""

    type: Literal["exact_set"] = "exact_set"
    input: Template = Template("{{sample.output_text}}")
    reference: Template = Template("{{item.reference}}")
    separator: str = ","
    ignore_case: bool = True
    score: Literal["exact", "f1", "jaccard"] = "exact"

    def problems(self) -> Iterable[Problem]:
        """Return an empty separator."""
        if not self.separator:
            yield Problem("separator", "is empty")

    def compare(self, sample: Mapping[str, Any], item: Mapping[str, Any]) -> Grade:
        """Compare the two sets."""
        given, wanted = self._labels(self.input.fill(item, sample)), self._labels(self.reference.fill(item, sample))
        same, both = given == wanted, len(given & wanted)
        match self.score:
            case "exact":
                score = float(same)
            case "f1":
                score = 1.0 if same else 2 * both / (len(given) + len(wanted))
            case "jaccard":
                score = 1.0 if same else both / len(given | wanted)
        return Grade(score=score, passed=same)

    def _labels(self, text: str) -> frozenset[str]:
        labels = _json_list(text) if text.lstrip().startswith("[") else None
        parts = labels if labels is not None else text.split(self.separator)
        trimmed = (part.strip() for part in parts)
        return frozenset(part.casefold() if self.ignore_case else part for part in trimmed if part)


def _json_list(text: str) -> list[str] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) and all(isinstance(one, str) for one in value) else None


grader = ExactSet
