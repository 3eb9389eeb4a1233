"""What to do: a plan is a list of actions, each with a reason.

The planner makes them, `render` shows them and the executor walks the same list, so that
what is shown is what is done. Every action is one of the variants of `Action`; a new
variant breaks every place that must learn about it (`match` with `assert_never`).

They are msgspec structs, because a plan of ten thousand jobs has as many actions and is made in
a moment; change one with `msgspec.structs.replace`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from ftspec.diagnostics import Diagnostic, Place
from ftspec.experiment import DesiredEval, DesiredJob
from ftspec.record import RecordedEval, RecordedJob


class Reason(enum.StrEnum):
    """Why an action is in the plan. Printed by `render`, serialised as is."""

    NOT_RECORDED = "not_recorded"
    CHANGED = "changed"
    DATASET_CHANGED = "dataset_changed"
    PARENT_CHANGED = "parent_changed"
    REPLACE_REQUESTED = "replace_requested"
    RETRY_FAILED = "retry_failed"
    RETRY_CANCELLED = "retry_cancelled"
    REFUSED_BEFORE = "refused_before"
    """An earlier attempt was refused by the engine or never sent: nothing was bought, so it is tried again."""
    RECORDED = "recorded"
    RUNNING = "running"
    FAILED = "failed"
    CANCELLED = "cancelled"
    IN_DOUBT = "in_doubt"
    FOUND_ON_ENGINE = "found_on_engine"
    PARENT_FAILED = "parent_failed"
    PARENT_IN_DOUBT = "parent_in_doubt"
    NOT_IN_SPEC = "not_in_spec"
    NOT_UPLOADED = "not_uploaded"
    FILE_GONE = "file_gone"
    NOT_EVALUATED = "not_evaluated"
    EVAL_CHANGED = "eval_changed"
    RETIRED = "retired"
    """The engine no longer serves the model; it is not trained again by itself."""
    PARENT_RETIRED = "parent_retired"
    PROTECTED = "protected"
    """A changed or replaced job whose record is protected: it is neither replaced nor bought."""
    PARENT_PROTECTED = "parent_protected"


class FieldChange(msgspec.Struct, frozen=True, kw_only=True):
    """One changed setting of a job: dotted `field`, `old -> new`, and the line of the spec that says `new`."""

    field: str
    old: Any
    new: Any
    at: Place | None = None


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """Money as a range; `None` bounds mean unknown, never zero. Tokens are trained tokens (epochs included)."""

    low: float | None = None
    high: float | None = None
    tokens: int | None = None
    tokens_low: int | None = None
    tokens_high: int | None = None
    exact_tokens: bool = False
    currency: str = "USD"
    price_date: str | None = None
    """ISO day of the price table's row that was used."""

    @property
    def known(self) -> bool:
        """Whether both bounds are known."""
        return self.low is not None and self.high is not None


class UploadFile(msgspec.Struct, frozen=True, kw_only=True):
    """Send a dataset part to a scope (once, for all jobs that need it)."""

    dataset: str
    dataset_key: str
    engine: str
    scope: str
    rows: int
    bytes: int
    reason: Reason
    purpose: str = "fine-tune"


class LaunchJob(msgspec.Struct, frozen=True, kw_only=True):
    """Buy one job.

    `attempt` is the number it will get. `replaces` is the recorded job of the same address
    that stays beside it (create-new-keep-old). `after` are addresses that must succeed first.
    """

    job: DesiredJob
    key: str
    preimage: Mapping[str, Any]
    train_key: str
    validation_key: str | None
    attempt: int
    reason: Reason
    changes: tuple[FieldChange, ...] = ()
    replaces: RecordedJob | None = None
    after: tuple[str, ...] = ()
    cost: Cost = Cost()


class AdoptJob(msgspec.Struct, frozen=True, kw_only=True):
    """Record a job that was found on the engine under our key."""

    job: DesiredJob
    key: str
    preimage: Mapping[str, Any]
    engine_job_id: str
    reason: Reason = Reason.FOUND_ON_ENGINE


class KeepJob(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Nothing to buy: the key is recorded. Not terminal yet: `apply` waits for it.

    `relabelled` are free changes of labels (address, suffix, tags) that the lockfile or state will show.
    """

    job: DesiredJob
    key: str
    record: RecordedJob
    reason: Reason
    relabelled: tuple[FieldChange, ...] = ()


class WaitJob(msgspec.Struct, frozen=True, kw_only=True):
    """Not decided yet: in doubt, or blocked by a parent that failed or is in doubt."""

    job: DesiredJob
    key: str
    record: RecordedJob | None
    reason: Reason
    because: str | None = None
    """Address of the parent that blocks it."""


class ForgetJob(msgspec.Struct, frozen=True, kw_only=True):
    """No spec asks for it any more: record and model stay unless somebody removes them."""

    record: RecordedJob
    reason: Reason = Reason.NOT_IN_SPEC


class RunEval(msgspec.Struct, frozen=True, kw_only=True):
    """Evaluate one model: a job's (`job_key`, maybe `step`), known after apply, or a named one."""

    eval: DesiredEval
    key: str
    preimage: Mapping[str, Any]
    dataset_key: str
    address: str | None
    """Address of the job whose model is asked; `None` for a base model."""
    engine: str
    scope: str
    model: str | None
    """Name of the model; `None`: known after apply."""
    samples: int
    reason: Reason
    step: int | None = None
    cost: Cost = Cost()


class KeepEval(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The eval run is recorded."""

    eval: DesiredEval
    key: str
    record: RecordedEval
    address: str | None
    reason: Reason = Reason.RECORDED


Action: TypeAlias = UploadFile | LaunchJob | AdoptJob | KeepJob | WaitJob | ForgetJob | RunEval | KeepEval


class DatasetFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What one streaming pass learned of a dataset part. Never rows."""

    ref: str
    key: str
    rows: int
    bytes: int
    format: str
    trained_tokens: int | None = None
    """Tokens of one epoch that count for the loss and the bill; `None`: not known."""
    total_tokens: int | None = None
    exact_tokens: bool = False
    tokens_error: float = 0.0
    """How wrong an estimate can be, as a share (0.3: plus or minus 30 %)."""
    path: str | None = None


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine's declared limits make of the launches: how many now, how many later."""

    engine: str
    launches: int
    per_day: int | None
    max_running: int | None
    """How many may run at once, without those that are left to others."""
    used_today: int
    days: int
    next_slot_at: str | None = None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One policy rule's answer: its name, whether it holds, and the sentence for people."""

    rule: str
    ok: bool
    sentence: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is missing, why, and what it costs. `actions` are in dependency order.

    `now` is when it was made (RFC 3339). `options` are the flags that shaped it (targets,
    replace, retry), so that a saved plan says how to make it again.
    """

    project: str | None
    spec_files: tuple[str, ...]
    actions: tuple[Action, ...]
    datasets: Mapping[str, DatasetFacts]
    cost: Cost
    verdicts: tuple[Verdict, ...] = ()
    quota: tuple[Quota, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    now: str = ""
    ftspec_version: str = ""
    options: Mapping[str, Any] = {}

    @property
    def empty(self) -> bool:
        """Whether applying it would change nothing and buy nothing (it may still have to wait for running jobs)."""
        return not any(_effective(action) for action in self.actions)

    @property
    def in_doubt(self) -> bool:
        """Whether nobody knows what became of a launch of one of its jobs."""
        return any(
            isinstance(action, (KeepJob, WaitJob)) and action.record is not None and action.record.doubtful for action in self.actions
        )


_UNSETTLED = frozenset({Reason.IN_DOUBT, Reason.PARENT_IN_DOUBT})


def _effective(action: Action) -> bool:
    match action:
        case KeepJob():
            return bool(action.relabelled)
        case KeepEval() | ForgetJob():
            return False
        case WaitJob():
            return action.reason in _UNSETTLED
        case _:
            return True
