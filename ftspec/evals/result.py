"""What an eval run found: counts, scores with intervals, cost. Made from the samples, streaming.

`Summary.scores` is what state records: one entry a grader, figures only. An entry has `mean`,
`low`, `high` (95 %), `method`, `n` (items), `ungraded`, and where there is a yes or no `passed`
(share of samples); with repeats `pass@k` and `pass^k` too. Repeats of an item are averaged first.
Where samples are ungraded, `worst` and `best` are the means if those were at the ends of `range`.
Graders that give labels have `labels` (how often each), judges have `kappa`: how far their yes and
no agrees with that of each other grader, beyond chance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ftspec.evals import statistics
from ftspec.evals.classification import LabelCounts
from ftspec.evals.samples import Sample

Status = Literal["succeeded", "running", "failed"]


@dataclass(slots=True, kw_only=True)
class Counts:
    """What became of the questions. Everything odd is counted here and shown; nothing is dropped."""

    asked: int = 0
    answered: int = 0
    errors: int = 0
    empty: int = 0
    refused: int = 0
    truncated: int = 0

    def add(self, sample: Sample) -> None:
        """Count one sample."""
        self.asked += 1
        self.errors += sample.error is not None
        self.answered += sample.error is None
        self.empty += sample.empty
        self.refused += sample.refused
        self.truncated += sample.truncated

    def odd(self) -> dict[str, int]:
        """Return what a person should know of, where there is any."""
        named = {"errors": self.errors, "empty": self.empty, "refused": self.refused, "truncated": self.truncated}
        return {name: count for name, count in named.items() if count}


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The figures of a run."""

    counts: Counts
    scores: Mapping[str, Mapping[str, Any]]
    input_tokens: int | None
    output_tokens: int | None
    labels: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalResult:
    """One eval on one model. `status` as in state: `running` is unfinished and goes on next time.

    `values()` are the members of `RecordedEval` that it decides.
    """

    key: str
    eval: str
    model: str
    status: Status
    summary: Summary
    address: str | None = None
    step: int | None = None
    cost: float | None = None
    currency: str | None = None
    result_file: str | None = None
    result_digest: str | None = None
    error: str | None = None
    error_code: str | None = None
    cached: int = 0
    """Answers that were not asked for again."""
    retries: int = 0

    def values(self) -> dict[str, Any]:
        """Return members of `RecordedEval`, by name, JSON values only."""
        summary = self.summary
        values = {
            "status": self.status,
            "samples": summary.counts.asked,
            "errors": summary.counts.errors,
            "scores": {name: dict(score) for name, score in summary.scores.items()},
            "counts": summary.counts.odd(),
            "labels": dict(summary.labels) if summary.labels else None,
            "result_file": self.result_file,
            "result_digest": self.result_digest,
            "input_tokens": summary.input_tokens,
            "output_tokens": summary.output_tokens,
            "cost": self.cost,
            "currency": self.currency,
            "error": {"code": self.error_code, "message": self.error} if self.error else None,
        }
        return {name: value for name, value in values.items() if value not in (None, {})}


@dataclass(slots=True)
class _Grader:
    """Scores of one grader as they come in. `verdicts` are those of all answered samples, in order."""

    values: list[float] = field(default_factory=list)
    clusters: list[str] = field(default_factory=list)
    items: list[str] = field(default_factory=list)
    passed: list[bool] = field(default_factory=list)
    ungraded: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    verdicts: list[bool | None] = field(default_factory=list)


Bounds = Mapping[str, tuple[float, float] | None]
"""Lowest and highest possible score of each grader, `None` where they are not known."""


def summarise(samples: Iterable[Sample], *, bounds: Bounds, labelled: bool = False, judges: Iterable[str] = ()) -> Summary:
    """Return the figures of samples for the graders in `bounds`.

    `labelled` adds the label metrics of a classification; `judges` are graders that ask a model.
    """
    counts, by_grader, labels = Counts(), {name: _Grader() for name in bounds}, LabelCounts()
    tokens, known = [0, 0], True
    for sample in samples:
        counts.add(sample)
        if sample.error is not None:
            for column in by_grader.values():
                column.ungraded += 1
            continue
        known = known and sample.input_tokens is not None and sample.output_tokens is not None
        tokens[0] += sample.input_tokens or 0
        tokens[1] += sample.output_tokens or 0
        if labelled:
            labels.add(sample.text, sample.reference)
        for name, column in by_grader.items():
            grade = sample.grades.get(name)
            column.verdicts.append(grade.passed if grade is not None else None)
            if grade is None or grade.score is None:
                column.ungraded += 1
                continue
            if grade.label is not None:
                column.labels[grade.label] += 1
            column.values.append(grade.score)
            column.clusters.append(sample.group or sample.item)
            column.items.append(sample.item)
            if grade.passed is not None:
                column.passed.append(grade.passed)
    scores = {name: _score(column, bounds[name]) for name, column in by_grader.items()}
    for judge in judges:
        if agreement := _agreement(judge, by_grader):
            scores[judge]["kappa"] = agreement
    return Summary(
        counts=counts,
        scores=scores,
        input_tokens=tokens[0] if known else None,
        output_tokens=tokens[1] if known else None,
        labels=labels.metrics() if labelled else None,
    )


def _score(column: _Grader, bounds: tuple[float, float] | None) -> dict[str, Any]:
    means = statistics.cluster_means(column.values, column.clusters)
    interval = statistics.mean_interval(means)
    score: dict[str, Any] = {
        "mean": _rounded(interval.estimate),
        "low": _rounded(interval.low),
        "high": _rounded(interval.high),
        "method": interval.method,
        "n": interval.n,
        "ungraded": column.ungraded,
    }
    if column.labels:
        score["labels"] = dict(sorted(column.labels.items()))
    if column.ungraded:
        low, high = bounds or (min(column.values, default=0.0), max(column.values, default=1.0))
        total, n = sum(column.values), len(column.values) + column.ungraded
        score |= {
            "worst": _rounded((total + low * column.ungraded) / n),
            "best": _rounded((total + high * column.ungraded) / n),
            "range": [low, high],
        }
    if column.passed and len(column.passed) == len(column.values):
        score["passed"] = _rounded(sum(column.passed) / len(column.passed))
        score.update(_over_repeats(column))
    return score


def _agreement(judge: str, by_grader: Mapping[str, _Grader]) -> dict[str, float]:
    """Return the kappa of a judge with every other grader, on the samples where both said yes or no."""
    found = {}
    for name, column in by_grader.items():
        pairs = [(a, b) for a, b in zip(by_grader[judge].verdicts, column.verdicts, strict=True) if a is not None and b is not None]
        kappa = statistics.cohen_kappa([a for a, _ in pairs], [b for _, b in pairs])
        if name != judge and (rounded := _rounded(kappa)) is not None:
            found[name] = rounded
    return found


def item_scores(samples: Iterable[Sample], graders: Iterable[str]) -> dict[str, dict[str, float | None]]:
    """Return for each grader the score of each item (or group of items), its samples averaged; `None` where none was graded."""
    values: dict[str, dict[str, list[float]]] = {name: {} for name in graders}
    for sample in samples:
        for name, column in values.items():
            grade = sample.grades.get(name)
            scores = column.setdefault(sample.group or sample.item, [])
            if grade is not None and grade.score is not None:
                scores.append(grade.score)
    return {
        name: {item: sum(scores) / len(scores) if scores else None for item, scores in column.items()} for name, column in values.items()
    }


def _over_repeats(column: _Grader) -> dict[str, float | None]:
    """Return pass@k and pass^k for k repeats, averaged over the items that have them all."""
    tries: dict[str, list[bool]] = {}
    for item, passed in zip(column.items, column.passed, strict=True):
        tries.setdefault(item, []).append(passed)
    k = max(map(len, tries.values()))
    full = [one for one in tries.values() if len(one) == k]
    if k == 1:
        return {}
    return {
        f"pass@{k}": _rounded(sum(statistics.pass_at_k(k, sum(one), k) for one in full) / len(full)),
        f"pass^{k}": _rounded(sum(statistics.pass_hat_k(k, sum(one), k) for one in full) / len(full)),
    }


def _rounded(value: float) -> float | None:
    """Return what JSON can hold, without the noise of the last digits."""
    return None if value != value else round(value, 6)  # noqa: PLR0124 NaN alone differs from itself
