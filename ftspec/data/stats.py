"""What a dataset is made of: lengths, tokens per role, labels, tools, as values to show or serialise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ftspec.data.onepass import Passed
from ftspec.data.tally import LABELS, Counts, error_of
from ftspec.data.tokens import counter

if TYPE_CHECKING:
    from ftspec.experiment import DesiredDataset

CostOf = Callable[[str, str, int], tuple[float, float, str] | None]
"""(engine, model, tokens of one epoch) to (low, high, currency), `None` where no price is known."""

_PERCENTILES = {"min": 0.0, "p5": 0.05, "median": 0.5, "p95": 0.95, "max": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What one part of a dataset is made of. Token counts are estimates unless `exact`."""

    ref: str
    rows: int
    bytes: int
    format: str
    tokenizer: str
    exact: bool
    error: float
    tokens: int
    loss_tokens: int
    roles: Mapping[str, int]
    lengths: Mapping[str, float]
    histogram: tuple[tuple[int, int, int], ...]
    """(from, to, rows): rows of `from` to `to` tokens, both included."""
    labels: Mapping[str, int] = field(default_factory=dict)
    """Answers by frequency, where they look like labels."""
    sources: Mapping[str, int] = field(default_factory=dict)
    tools: Mapping[str, int] = field(default_factory=dict)
    """Tool to number of calls."""
    with_system: int = 0
    with_images: int = 0
    over_context: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """Context to (rows that are longer, tokens beyond it)."""

    def as_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        from dataclasses import asdict

        made = asdict(self)
        made["histogram"] = [{"from": low, "to": high, "rows": rows} for low, high, rows in self.histogram]
        made["over_context"] = [
            {"context": context, "rows": rows, "tokens_lost": lost} for context, (rows, lost) in self.over_context.items()
        ]
        return made


def statistics_of(dataset: DesiredDataset, passed: Passed, *, contexts: tuple[int, ...] = ()) -> dict[str, Statistics]:
    """Return what each part is made of, from a pass that was asked for statistics and tokens."""
    counted_by = counter(passed.order.tokenizer or "estimate")
    made = {}
    for part, counts in passed.counts.items():
        made[passed.ref(dataset, part)] = Statistics(
            ref=passed.ref(dataset, part),
            rows=counts.rows,
            bytes=counts.bytes,
            format=passed.format,
            tokenizer=counted_by.name,
            exact=not error_of(counts, counted_by),
            error=error_of(counts, counted_by),
            tokens=counts.tokens,
            loss_tokens=counts.loss_tokens,
            roles=dict(sorted(counts.roles.items(), key=lambda one: -one[1])),
            lengths=lengths_of(counts),
            histogram=histogram(counts.lengths),
            labels=labels_of(counts),
            sources=dict(sorted(counts.sources.items(), key=lambda one: (-one[1], one[0]))),
            tools=dict(sorted(counts.called.items(), key=lambda one: (-one[1], one[0]))),
            with_system=counts.with_system,
            with_images=counts.with_images,
            over_context={context: beyond(counts.lengths, context) for context in contexts},
        )
    return made


def lengths_of(counts: Counts) -> dict[str, float]:
    """Return minimum, percentiles, mean and maximum of the tokens of a row."""
    if not counts.lengths:
        return {}
    made = {name: float(percentile(counts.lengths, share)) for name, share in _PERCENTILES.items()}
    made["mean"] = round(sum(length * rows for length, rows in counts.lengths.items()) / sum(counts.lengths.values()), 1)
    return made


def percentile(lengths: Mapping[int, int], share: float) -> int:
    """Return the smallest length that at least this share of the rows does not exceed."""
    wanted, seen = share * sum(lengths.values()), 0
    for length in sorted(lengths):
        seen += lengths[length]
        if seen >= wanted:
            return length
    return max(lengths)


def histogram(lengths: Mapping[int, int], *, bars: int = 10) -> tuple[tuple[int, int, int], ...]:
    """Return rows by length, in at most `bars` steps of a round width."""
    if not lengths:
        return ()
    low, high = min(lengths), max(lengths)
    width = _round_up((high - low + 1) / bars)
    first = low // width
    counts = [0] * (high // width - first + 1)
    for length, rows in lengths.items():
        counts[length // width - first] += rows
    return tuple(((first + i) * width, (first + i + 1) * width - 1, rows) for i, rows in enumerate(counts))


def _round_up(width: float) -> int:
    """Return the next of 1, 2, 5, 10, 20, 50, ..."""
    step = 1
    while True:
        for factor in (1, 2, 5):
            if step * factor >= width:
                return step * factor
        step *= 10


def labels_of(counts: Counts) -> dict[str, int]:
    """Return the answers by frequency if they are labels: short, in every row, each for several rows."""
    total = sum(counts.labels.values())
    if len(counts.labels) > LABELS or total < counts.rows or total < 2 * len(counts.labels):
        return {}
    return dict(sorted(counts.labels.items(), key=lambda one: (-one[1], one[0])))


def beyond(lengths: Mapping[int, int], context: int) -> tuple[int, int]:
    """Return how many rows are longer than a context, and how many of their tokens lie beyond it."""
    longer = {length: rows for length, rows in lengths.items() if length > context}
    return sum(longer.values()), sum((length - context) * rows for length, rows in longer.items())
