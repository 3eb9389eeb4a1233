"""Compares runs of one eval: figures with intervals, each row against its base, what flipped.

A row is a cell of the grid with its seeds (and replicates) folded: the score of an item is its
mean over the seeds, and tests are on items. `by` folds everything but one axis. All rows of a
table are one family of tests (Holm). Runs whose samples are not on this machine have figures
but no tests, and are named.
"""

from __future__ import annotations

import statistics as plain
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ftspec.address import axis_text, experiment_of
from ftspec.evals import statistics
from ftspec.evals.gates import Measured
from ftspec.evals.samples import Sample

SEED_AXES: Final = ("seed", "replicate")
SURE: Final = 0.05
_ODD: Final = ("errors", "empty", "refused", "truncated")
_MOST_EXAMPLES: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalRun:
    """One finished run as comparisons see it.

    `base` is the key of the run on the model that it is compared with. `axes` are the matrix
    values of its job. `samples` opens its samples; `None` where they are not on this machine.
    """

    key: str
    eval: str
    model: str
    measured: Measured
    address: str | None = None
    step: int | None = None
    axes: Mapping[str, Any] = field(default_factory=dict)
    base: str | None = None
    cost: float | None = None
    currency: str | None = None
    simulated: bool = False
    samples: Callable[[], Iterator[Sample]] | None = None

    @property
    def label(self) -> str:
        """How people call it: address (and step), else the model's name."""
        name = self.address or self.model
        return name if self.step is None else f"{name}@{self.step}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a table. `spread` are the lowest and highest mean over its runs (seeds)."""

    label: str
    runs: tuple[EvalRun, ...]
    is_base: bool
    mean: float | None
    low: float | None
    high: float | None
    n: int
    ungraded: int
    spread: tuple[float, float] | None = None
    against: statistics.Paired | None = None
    p: float | None = None
    """Adjusted for all rows of the table."""
    axis: Any = None

    @property
    def verdict(self) -> str:
        """`better`, `worse`, `same` (no difference that this many items can show), or "" without a test."""
        if self.against is None or self.p is None:
            return ""
        return "same" if self.p >= SURE else "better" if self.against.difference > 0 else "worse"

    @property
    def cost(self) -> float | None:
        """What its runs cost together, `None` where that is not known."""
        costs = [run.cost for run in self.runs]
        return None if any(cost is None for cost in costs) else sum(cost for cost in costs if cost is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """An item that one model got right and the other did not. Local: it holds text of the dataset and of answers."""

    item: str
    won: bool
    question: str
    reference: str
    base: str
    tuned: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One eval and one of its graders."""

    eval: str
    grader: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    by: str | None = None

    @property
    def best(self) -> Row | None:
        """The tuned row with the highest mean."""
        rows = [row for row in self.rows if not row.is_base and row.mean is not None]
        return max(rows, key=lambda row: row.mean or 0.0, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Everything that `compare` shows."""

    tables: tuple[Table, ...]


def compare(runs: Sequence[EvalRun], *, by: str | None = None, full: bool = False) -> Comparison:
    """Compare runs, eval by eval and grader by grader. `full` gives every run its own row."""
    tables = []
    for eval_name in dict.fromkeys(run.eval for run in runs):
        mine = [run for run in runs if run.eval == eval_name]
        graders = dict.fromkeys(name for run in mine for name in run.measured.scores)
        tables += [_table(eval_name, grader, mine, by, full=full, first=not i) for i, grader in enumerate(graders)]
    return Comparison(tables=tuple(tables))


def _table(eval_name: str, grader: str, runs: Sequence[EvalRun], by: str | None, *, full: bool, first: bool) -> Table:
    by_key = {run.key: run for run in runs}
    bases = {run.base for run in runs if run.base is not None}
    tuned = [run for run in runs if (run.key not in bases or run.base is not None) and (by is None or run.step is None)]
    rows = [_row(run.label, [run], grader, by_key, is_base=True) for run in runs if run.key in bases and run.base is None]
    groups: dict[tuple[str, Any], list[EvalRun]] = {}
    for run in tuned:
        label, value = _group(run, by, full=full)
        groups.setdefault((label, value), []).append(run)
    named = [_row(label, members, grader, by_key, axis=value) for (label, value), members in groups.items()]
    adjusted = statistics.holm([row.against.p for row in named if row.against is not None])
    sure = iter(adjusted)
    rows += [replace(row, p=next(sure)) if row.against is not None else row for row in named]
    return Table(eval=eval_name, grader=grader, rows=tuple(rows), notes=tuple(_notes(grader, rows, runs, by_key, first=first)), by=by)


def _group(run: EvalRun, by: str | None, *, full: bool) -> tuple[str, Any]:
    if by is not None and by in run.axes:
        value = axis_text(run.axes[by])
        return f"{by}={value}", value
    if full or run.address is None or not any(axis in run.axes for axis in SEED_AXES):
        return run.label, None
    cell = ",".join(f"{axis}={axis_text(value)}" for axis, value in run.axes.items() if axis not in SEED_AXES)
    label = experiment_of(run.address) + (f"/{cell}" if cell else "")
    return label if run.step is None else f"{label}@{run.step}", None


def _row(
    label: str, runs: Sequence[EvalRun], grader: str, by_key: Mapping[str, EvalRun], *, is_base: bool = False, axis: Any = None
) -> Row:
    scores = [run.measured.scores[grader] for run in runs if grader in run.measured.scores]
    means = [score["mean"] for score in scores if score.get("mean") is not None]
    mean, low, high, n = _figures(runs, grader, scores)
    return Row(
        label=label,
        runs=tuple(runs),
        is_base=is_base,
        mean=mean,
        low=low,
        high=high,
        n=n,
        ungraded=sum(score.get("ungraded", 0) for score in scores),
        spread=(min(means), max(means)) if len(means) > 1 else None,
        against=_against(runs, grader, by_key),
        axis=axis,
    )


def _figures(
    runs: Sequence[EvalRun], grader: str, scores: Sequence[Mapping[str, Any]]
) -> tuple[float | None, float | None, float | None, int]:
    """Return mean, interval and number of items; as recorded where the samples are not here."""
    items = statistics.mean_over_seeds([_graded(run, grader) for run in runs])
    if items:
        interval = statistics.mean_interval(list(items.values()))
        return interval.estimate, interval.low, interval.high, interval.n
    if len(scores) == 1:
        return scores[0].get("mean"), scores[0].get("low"), scores[0].get("high"), scores[0].get("n", 0)
    means = [score["mean"] for score in scores if score.get("mean") is not None]
    return plain.fmean(means) if means else None, None, None, min((score.get("n", 0) for score in scores), default=0)


def _graded(run: EvalRun, grader: str) -> dict[str, float]:
    """Return the items of a run that were graded."""
    items = (run.measured.items or {}).get(grader, {})
    return {item: score for item, score in items.items() if score is not None}


def _against(runs: Sequence[EvalRun], grader: str, by_key: Mapping[str, EvalRun]) -> statistics.Paired | None:
    """Test a row against the bases of its runs, on the items that all of them have."""
    bases = [by_key.get(run.base or "") for run in runs]
    if any(base is None for base in bases):
        return None
    own = statistics.mean_over_seeds([_graded(run, grader) for run in runs])
    base = statistics.mean_over_seeds([_graded(run, grader) for run in bases if run is not None])
    shared = [item for item in own if item in base]
    return statistics.paired([own[item] for item in shared], [base[item] for item in shared])


def _notes(grader: str, rows: Sequence[Row], runs: Sequence[EvalRun], by_key: Mapping[str, EvalRun], *, first: bool) -> Iterator[str]:
    """Say what the figures cannot. What is true of the whole eval is said in its first table only."""
    tuned = [row for row in rows if not row.is_base]
    tests = [row.against for row in tuned if row.against is not None]
    if tests:
        n, visible = min(test.n for test in tests), plain.median(test.visible for test in tests)
        yield f"{n} items can show a difference of {visible:.2f} or more (4 times in 5); smaller ones may be there and not be seen"
    cells = Counter(_group(run, None, full=False) for run in runs if run.base is not None and run.step is None)
    if first and 1 in cells.values():
        yield "one seed only: another seed could differ by more than these intervals say"
    compared = [row for row in tuned if row.mean is not None and row.runs[0].base is not None]
    if len(compared) > 2:
        best = max(compared, key=lambda row: row.mean or 0.0)
        yield f"`{best.label}` is the best of {len(compared)} on these items: expect a little less on new ones"
    yield from _odd(rows, grader, counts=first)
    yield from _about_the_judge(grader, runs)
    yield from too_much(grader, runs, by_key)
    absent = [run.label for run in runs if run.measured.items is None]
    if first and absent:
        yield f"the samples of {len(absent)} of {len(runs)} runs are not on this machine, so they are shown without tests"
    simulated = {run.simulated for run in runs}
    if first and simulated == {True, False}:
        yield "models of the sandbox engine are toys: do not compare them with the others"


def _odd(rows: Sequence[Row], grader: str, *, counts: bool) -> Iterator[str]:
    """Name what was counted and not graded."""
    for row in rows:
        said = [f"{count} {name}" for name in _ODD if counts and (count := sum(run.measured.counts.get(name, 0) for run in row.runs))]
        if row.ungraded:
            said.append(f"{row.ungraded} not graded by `{grader}`, in none of the figures")
        if said:
            yield f"`{row.label}`: {', '.join(said)}"


def _about_the_judge(grader: str, runs: Sequence[EvalRun]) -> Iterator[str]:
    """Say how far a judge agrees with the other graders, and how often it preferred a place to an answer."""
    scores = [run.measured.scores[grader] for run in runs if grader in run.measured.scores]
    for other in dict.fromkeys(other for score in scores for other in score.get("kappa", {})):
        kappas = [score["kappa"][other] for score in scores if other in score.get("kappa", {})]
        spread = f"{min(kappas):.2f} to {max(kappas):.2f}" if len(kappas) > 1 else f"{kappas[0]:.2f}"
        yield f"the judge agrees with `{other}` beyond chance by kappa {spread} (1 is always)"
    labels = [score.get("labels", {}) for score in scores]
    swapped, all_pairs = sum(one.get("position", 0) for one in labels), sum(sum(one.values()) for one in labels)
    if swapped:
        yield f"the judge preferred the same place both times in {swapped / all_pairs:.0%} of the pairs; they count as ties"


def too_much(grader: str, runs: Sequence[EvalRun], by_key: Mapping[str, EvalRun]) -> Iterator[str]:
    """Say where more of a number made the models worse: the best value of an axis against every larger one."""
    tuned = [run for run in runs if run.base is not None and run.base in by_key]
    for experiment in dict.fromkeys(experiment_of(run.address) for run in tuned if run.address):
        mine = [run for run in tuned if run.address and experiment_of(run.address) == experiment]
        for axis in dict.fromkeys(axis for run in mine for axis in run.axes):
            if axis not in SEED_AXES:
                yield from _too_much_of(axis, grader, mine)


def _too_much_of(axis: str, grader: str, runs: Sequence[EvalRun]) -> Iterator[str]:
    groups: dict[float, list[dict[str, float]]] = {}
    for run in runs:
        value = run.axes.get(axis)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and (items := _graded(run, grader)):
            groups.setdefault(value, []).append(items)
    if len(groups) < 2:
        return
    scores = {value: statistics.mean_over_seeds(group) for value, group in groups.items()}
    means = {value: plain.fmean(items.values()) for value, items in scores.items() if items}
    best = max(means, key=lambda value: means[value])
    tests = []
    for value in sorted(value for value in means if value > best):
        shared = [item for item in scores[value] if item in scores[best]]
        found = statistics.paired([scores[value][item] for item in shared], [scores[best][item] for item in shared])
        if found is not None:
            tests.append((value, found))
    for (value, found), p in zip(tests, statistics.holm([test.p for _, test in tests]), strict=True):
        if p < SURE and found.difference < 0:
            why = ": it overfits" if "epoch" in axis else ""
            yield f"`{axis}` {axis_text(value)} scores {means[value]:.2f}, `{axis}` {axis_text(best)} {means[best]:.2f} ({p_text(p)}){why}"


def p_text(p: float) -> str:
    """Return a p value as people write it."""
    return "p < 0.001" if p < 0.001 else f"p {p:.3f}"


def flips(run: EvalRun, base: EvalRun, grader: str, *, limit: int = 3) -> list[Flip]:
    """Return items that the run won and lost against its base, at most `limit` of each, in the dataset's order."""
    if run.samples is None or base.samples is None:
        return []
    own, other = _graded(run, grader), _graded(base, grader)
    wins = [item for item in own if item in other and own[item] > other[item]][: min(limit, _MOST_EXAMPLES)]
    losses = [item for item in own if item in other and own[item] < other[item]][: min(limit, _MOST_EXAMPLES)]
    wanted = {*wins, *losses}
    mine, theirs = _texts(run.samples(), wanted), _texts(base.samples(), wanted)
    return [
        Flip(
            item=item,
            won=item in wins,
            question=mine[item].question,
            reference=mine[item].reference,
            base=theirs[item].text if item in theirs else "",
            tuned=mine[item].text,
        )
        for item in (*wins, *losses)
        if item in mine
    ]


def _texts(samples: Iterator[Sample], wanted: set[str]) -> dict[str, Sample]:
    """Return the first sample of each wanted item (or group of items)."""
    found: dict[str, Sample] = {}
    for sample in samples:
        name = sample.group or sample.item
        if name in wanted:
            found.setdefault(name, sample)
    return found
