"""Label metrics, for evals with `preset: classification`: accuracy, macro F1, confusion matrix.

An answer is its label when, trimmed, it equals one of the references' labels; anything else is
`(other)`: wrong, and shown as such. Macro F1 is the plain mean over the labels that occur as references.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from ftspec.evals import statistics

OTHER: Final = "(other)"
MOST_LABELS: Final = 50
"""More labels than these are not a classification whose matrix anybody reads."""

PRESET_GRADER: Final[Mapping[str, Any]] = {
    "type": "regex",
    "pattern": r"(?s)\s*(.*?)\s*",
    "match": "full",
    "group": 1,
    "reference": "{{item.reference}}",
}
"""The grader of the preset, where an eval gives none: the trimmed answer is the reference."""


class LabelCounts:
    """Counts of (reference, answer) as they come in."""

    def __init__(self) -> None:
        self._pairs: Counter[tuple[str, str]] = Counter()

    def add(self, answer: str, reference: str) -> None:
        """Count one answer."""
        self._pairs[reference.strip(), answer.strip()] += 1

    def metrics(self) -> dict[str, Any] | None:
        """Return the metrics, `None` where there are no labels or too many."""
        labels = sorted({reference for reference, _ in self._pairs})
        if not labels or len(labels) > MOST_LABELS:
            return None
        known = set(labels)
        table: Counter[tuple[str, str]] = Counter()
        for (reference, answer), count in self._pairs.items():
            table[reference, answer if answer in known else OTHER] += count
        columns = [*labels, OTHER] if any(answer == OTHER for _, answer in table) else labels
        n, right = table.total(), sum(table[label, label] for label in labels)
        interval = statistics.wilson(right, n)
        each = {label: _of_label(label, table, labels) for label in labels}
        return {
            "accuracy": round(interval.estimate, 6),
            "low": round(interval.low, 6),
            "high": round(interval.high, 6),
            "macro_f1": round(sum(one["f1"] for one in each.values()) / len(labels), 6),
            "n": n,
            "by_label": each,
            "confusion": {label: {column: table[label, column] for column in columns} for label in labels},
        }


def _of_label(label: str, table: Counter[tuple[str, str]], labels: list[str]) -> dict[str, float]:
    hits = table[label, label]
    support = sum(count for (reference, _), count in table.items() if reference == label)
    answered = sum(table[reference, label] for reference in labels)
    precision = hits / answered if answered else 0.0
    recall = hits / support
    f1 = 2 * hits / (answered + support)
    return {"precision": round(precision, 6), "recall": round(recall, 6), "f1": round(f1, 6), "support": support}
