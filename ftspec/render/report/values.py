"""What a report says, before anything is drawn: jobs, curves, evals, costs, flags.

`pipeline.reporting` makes a `Report`; the renderings only read it. Equal reports give equal bytes.
Figures of simulated engines are marked, and no table, total or chart holds both kinds.
Text in these values is foreign: whoever shows it passes it through `printable` and `redacted`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from ftspec.address import axis_text
from ftspec.experiment import DesiredJob
from ftspec.record import Attempt, Checkpoint, RecordedJob

Points: TypeAlias = Sequence[tuple[float, float]]
"""(step, value), steps rising."""

_AS_GOOD: Final = 0.99
SEEDS: Final = ("seed", "replicate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """What an engine measured while it trained. `valid` are minibatches of the validation set, `full` is all of it."""

    measure: Literal["loss", "reward"] = "loss"
    train: Points = ()
    valid: Points = ()
    full: Points = ()

    @property
    def all(self) -> Iterator[Points]:
        """The curves that hold something."""
        return iter(points for points in (self.train, self.valid, self.full) if points)

    @property
    def empty(self) -> bool:
        """Whether nothing was measured."""
        return not (self.train or self.valid or self.full)


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """A dataset part as a job uses it."""

    ref: str
    digest: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportJob:
    """One job: what the spec asks for, what is recorded (nothing yet: `None`), what was measured.

    `preimage` is flat: what decides the result, by the names that specs use. `best` is the
    checkpoint with the lowest validation loss, where it is not the last.
    """

    job: DesiredJob
    key: str
    record: RecordedJob | None
    train: Data
    validation: Data | None = None
    simulated: bool = False
    curves: Curves = field(default_factory=Curves)
    preimage: Mapping[str, Any] = field(default_factory=dict)
    ends: str | None = None
    """ISO day on which the base model's provider stops serving it."""
    number: int = 0
    """Position in the report; names its anchor."""

    @property
    def address(self) -> str:
        """The job's address."""
        return self.job.address

    @property
    def status(self) -> str:
        """The status in words."""
        if self.record is None:
            return "not launched"
        return "in doubt" if self.record.in_doubt else self.record.status.value

    @property
    def attempt(self) -> Attempt | None:
        """The newest attempt."""
        return None if self.record is None else self.record.last

    @property
    def model(self) -> str | None:
        """The fine-tuned model."""
        return None if self.record is None else self.record.model

    @property
    def cell(self) -> str:
        """The address without seeds: what is varied on purpose."""
        return ",".join(f"{axis}={axis_text(value)}" for axis, value in self.job.axes.items() if axis not in SEEDS)

    @property
    def label(self) -> str:
        """The address without its experiment."""
        return self.address.partition("/")[2] or self.address

    @property
    def short(self) -> str:
        """The label as a caption: words stand alone, numbers with their names."""
        axes = self.job.axes
        said = [value if isinstance(value, str) else f"{axis} {axis_text(value)}" for axis, value in axes.items()]
        return " · ".join(said) if said else self.label

    def metric(self, *names: str) -> float | None:
        """Return the last known value of the first of these metrics that has one."""
        metrics = {} if self.attempt is None else self.attempt.metrics
        return next((value for name in names if (value := metrics.get(name)) is not None), None)

    @property
    def checkpoints(self) -> Sequence[Checkpoint]:
        """The models saved during training."""
        return () if self.attempt is None else self.attempt.checkpoints

    @property
    def best(self) -> Checkpoint | None:
        """The checkpoint with the lowest loss on all of the validation set, where that is an earlier one."""
        return best_checkpoint(self.checkpoints)


def checkpoint_loss(checkpoint: Checkpoint) -> float | None:
    """Return the loss on all of the validation set that was measured at a checkpoint."""
    return checkpoint.metrics.get("full_valid_loss")


def best_checkpoint(checkpoints: Sequence[Checkpoint]) -> Checkpoint | None:
    """Return the checkpoint with the lowest full validation loss, unless the last one is as good (to one in a hundred)."""
    measured = [(loss, one) for one in checkpoints if (loss := checkpoint_loss(one)) is not None]
    if len(measured) < 2:
        return None
    last = max(measured, key=lambda pair: pair[1].step)
    best = min(measured, key=lambda pair: (pair[0], pair[1].step))
    return best[1] if best[0] < last[0] * _AS_GOOD else None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalRow:
    """A line of an eval table: one model, or one cell with its seeds folded. `seeds` are (label, mean) of each run."""

    label: str
    base: bool
    mean: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    seeds: Sequence[tuple[str, float]] = ()
    against: float | None = None
    """Mean of the model that it is compared with."""
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    wins: int | None = None
    losses: int | None = None
    ties: int | None = None
    p: float | None = None
    verdict: str = ""
    cost: float | None = None
    addresses: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FlippedExample:
    """An item that one of two models got right and the other did not."""

    won: bool
    question: str
    reference: str
    base: str
    tuned: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Flipped:
    """What the best model won and lost against its base."""

    best: str
    base: str
    examples: Sequence[FlippedExample]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalTable:
    """One eval and one of its graders, for the models of simulated engines or of the others, never both."""

    eval: str
    grader: str
    rows: Sequence[EvalRow]
    simulated: bool = False
    notes: Sequence[str] = ()
    too_much: Sequence[str] = ()
    """Sentences about values of an axis that score worse than a smaller one."""
    flipped: Flipped | None = None

    @property
    def best(self) -> EvalRow | None:
        """The tuned row with the highest mean."""
        return max((row for row in self.rows if not row.base and row.mean is not None), key=lambda row: row.mean or 0.0, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Money for one thing on one engine, in one currency. `low`, `high`: the estimate; `None` is unknown, never zero.

    `unknown` counts the things whose actual cost is not known; they are not part of `actual`.
    """

    engine: str
    what: str
    count: int
    currency: str
    simulated: bool = False
    low: float | None = None
    high: float | None = None
    actual: float | None = None
    unknown: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """Something a person should know before they believe a figure. `jobs` are addresses."""

    kind: str
    severity: Literal["problem", "warning", "note"]
    sentence: str
    jobs: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalSetup:
    """How an eval asks and grades."""

    name: str
    dataset: Data
    graders: Mapping[str, str]
    sampling: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that a report says. `as_of` is when state last changed, not when the report was made."""

    title: str
    spec_files: Sequence[str]
    jobs: Sequence[ReportJob]
    evals: Sequence[EvalTable] = ()
    spent: Sequence[Spent] = ()
    flags: Sequence[Flag] = ()
    datasets: Sequence[Data] = ()
    setups: Sequence[EvalSetup] = ()
    as_of: str | None = None
    lock: str | None = None
    """What is to be said of the lockfile."""
    versions: Sequence[str] = ()
    """The versions of ftspec that made the records."""
    notes: Sequence[str] = ()
    """What is missing from the report, and why."""

    def experiments(self) -> Iterator[tuple[str, bool, Sequence[ReportJob]]]:
        """Yield (name, simulated, jobs) for each experiment and kind of engine, in the spec's order."""
        groups: dict[tuple[str, bool], list[ReportJob]] = {}
        for one in self.jobs:
            groups.setdefault((one.job.experiment, one.simulated), []).append(one)
        for (name, simulated), jobs in groups.items():
            yield name, simulated, jobs
