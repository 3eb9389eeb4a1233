"""`text_similarity`: how close the answer is to a reference, from 0 to 1.

The values are those of the reference libraries (`ftspec.evals.similarity` says which). OpenAI's
`cosine` needs an embedding model, which no engine here offers, so it is refused when the spec is
read; `meteor` needs the `nltk` package with its WordNet data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from ftspec.evals import similarity
from ftspec.evals.base import Grade, Problem, PureGrader
from ftspec.evals.template import Template

Metric = Literal["cosine", "fuzzy_match", "bleu", "gleu", "meteor", "rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l"]


class TextSimilarity(PureGrader):
    """OpenAI's `TextSimilarityGrader`; it passes at `pass_threshold`, where one is given."""

    type: Literal["text_similarity"] = "text_similarity"
    evaluation_metric: Metric
    input: Template = Template("{{sample.output_text}}")
    reference: Template = Template("{{item.reference}}")
    pass_threshold: float | None = None

    def problems(self) -> Iterable[Problem]:
        """Return metrics that cannot be computed here."""
        if self.evaluation_metric == "cosine":
            yield Problem(
                "evaluation_metric", "`cosine` needs an embedding model, which no engine here offers; use `rouge_l` or `score_model`"
            )
        if self.evaluation_metric == "meteor" and not similarity.meteor_available():
            yield Problem("evaluation_metric", "`meteor` needs the `nltk` package and its WordNet data; use `rouge_l`, or install them")

    def compare(self, sample: Mapping[str, Any], item: Mapping[str, Any]) -> Grade:
        """Measure the similarity of the two filled texts."""
        text, reference = self.input.fill(item, sample), self.reference.fill(item, sample)
        score = similarity.METRICS[self.evaluation_metric](text, reference)
        return Grade(score=score, passed=None if self.pass_threshold is None else score >= self.pass_threshold)


grader = TextSimilarity
