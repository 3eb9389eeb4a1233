"""What is wanted: the values that a spec means, before anything is compared with state.

`spec.load` produces a `Spec`; its `jobs` are fully expanded (one per cell), their settings
resolved from defaults, matrix, overrides and references. Nothing here was read from a
dataset, a clock, the network or state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import msgspec

from ftspec.diagnostics import Place

Method = Literal["supervised", "dpo", "reinforcement"]
DatasetFormat = Literal["chat", "preference", "reinforcement", "completion", "eval"]


class SettingPlaces(Protocol):
    """Where the settings of an experiment's jobs are written."""

    def place(self, setting: str, axes: Mapping[str, Any]) -> Place | None:
        """Return where `setting` (dotted) of the cell `axes` got its value, as near as known."""


class DesiredJob(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One fine-tuning job that a spec asks for.

    `hyperparameters` holds only what the spec gave, under the wire names of the method
    (`n_epochs`, `batch_size`, `learning_rate_multiplier`, `learning_rate`, `beta`, ...);
    `"auto"` is a value that was given. `base_model` is the name sent to the engine, or ""
    when `parent` holds the address of the job whose model is the base. `train` and
    `validation` are dataset references (`tickets`, `tickets.train`). `axes` are the matrix
    values of the cell, in declared order. `depends_on` are addresses (the parent is not
    repeated there). `engine` is the entry's name in the spec, `scope` the account it buys in.
    """

    address: str
    experiment: str
    engine: str
    scope: str
    base_model: str
    train: str
    method: Method = "supervised"
    parent: str | None = None
    validation: str | None = None
    hyperparameters: dict[str, Any] = {}
    grader: dict[str, Any] | None = None
    lora: dict[str, Any] = {}
    engine_options: dict[str, Any] = {}
    seed: int | None = None
    replicate: int | str | None = None
    suffix: str | None = None
    suffix_is_identity: bool = False
    tags: dict[str, str] = {}
    integrations: tuple[dict[str, Any], ...] = ()
    evals: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    axes: dict[str, Any] = {}
    preset: str | None = None
    origin: Any = None
    """A `SettingPlaces`; not serialised."""

    @property
    def parents(self) -> tuple[str, ...]:
        """Addresses that must have succeeded before this job can start."""
        return (*((self.parent,) if self.parent else ()), *self.depends_on)


class SplitRule(msgspec.Struct, frozen=True, kw_only=True):
    """How rows are dealt to parts: by a hash of the row or of `group_by`, stable when rows are added."""

    shares: Mapping[str, float]
    """Part name to share; the shares add up to 1."""
    seed: int = 0
    group_by: str | None = None


class DesiredDataset(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset as declared. `path` is absolute-free: relative to the project root, POSIX style.

    `parts` of a split dataset are referred to as `name.part`. `transforms` are the declared
    ones in order, each `{"type": ..., ...}`; they are part of the dataset key.
    """

    name: str
    path: str
    format: DatasetFormat | None = None
    split: SplitRule | None = None
    transforms: tuple[Mapping[str, Any], ...] = ()
    at: Place | None = None
    path_at: Place | None = None
    description: str | None = None

    def refs(self) -> tuple[str, ...]:
        """Every reference that names this dataset or a part of it."""
        return (self.name, *(f"{self.name}.{part}" for part in (self.split.shares if self.split else ())))


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """An engine's queue: jobs running at once, slots left to others, launches per rolling 24 hours."""

    max_running: int | None = None
    leave_free: int = 0
    per_day: int | None = None


class EngineEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An engine as declared under `engines:`, or the implied entry of a shipped engine.

    `scope` is the account it buys in (`sandbox`, `openai/org-acme/proj_triage`, or the
    entry's own `scope:` label). Keys are named (`api_key_env`), never held.
    """

    name: str
    type: str
    scope: str
    base_url: str | None = None
    api_key_env: str | None = None
    organization: str | None = None
    project: str | None = None
    limits: Limits = Limits()
    options: Mapping[str, Any] = {}
    """Settings of this engine type that others do not have (local: `python`, `root`, `executor`, ...)."""
    at: Place | None = None


class DesiredEval(msgspec.Struct, frozen=True, kw_only=True):
    """An eval as declared: a dataset, how models are asked, how answers are graded.

    `graders` are the definitions as given, by name, checked by `evals`; `models` are what to
    evaluate beside a job's own model (`base`, `job`, `job@checkpoints`); `require` are gates
    such as `exact >= base.exact - 0.01`.
    """

    name: str
    dataset: str
    graders: Mapping[str, Mapping[str, Any]]
    prompt: Any = None
    sampling: Mapping[str, Any] = {}
    repeat: int = 1
    models: tuple[str, ...] = ("base", "job")
    compare_to: str | None = "base"
    require: tuple[str, ...] = ()
    budget: float | None = None
    options: Mapping[str, Any] = {}
    at: Place | None = None
    grader_places: Mapping[str, Place] = {}


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan may not exceed (money in `currency`, default US dollars); `None`: no limit."""

    max_cost: float | None = None
    max_jobs: int | None = None
    max_tokens: int | None = None
    require_validation: bool = False
    require_known_cost: bool = False
    allow_leakage: bool = False
    """Whether models may be measured on rows that they were trained on (told, and no error)."""
    allow_engines: tuple[str, ...] | None = None
    distinct_suffixes: bool = False
    """Whether a suffix that labels other training data already is an error, not a warning."""
    at: Place | None = None


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the spec files of one run mean.

    `files` are the paths read (relative to `root`, in order, includes after their includer).
    `jobs` are in declared order, children after parents is *not* promised.
    """

    root: str
    files: tuple[str, ...] = ()
    project: str | None = None
    engines: Mapping[str, EngineEntry] = {}
    datasets: Mapping[str, DesiredDataset] = {}
    jobs: tuple[DesiredJob, ...] = ()
    evals: Mapping[str, DesiredEval] = {}
    policy: Policy = Policy()
    state_dir: str | None = None
    prices: Mapping[str, Any] = {}
    notify: tuple[Mapping[str, Any], ...] = ()
    protect: tuple[str, ...] = ()
    """Selectors of jobs whose records and models must not be replaced or forgotten."""
