"""What may be said to `execute`, and what it says when it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ftspec.record import JobError, JobStatus, RecordedEval

CostOf = Callable[[str, str, str, int], tuple[float, str] | None]
"""(engine entry, base model, method, trained tokens) to (money, currency), `None` where no price is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyOptions:
    """How to do a plan.

    `wait`: until jobs and evals end (else return after launching what the limits allow).
    `settle_window`: seconds during which an engine is asked for a launch whose outcome is
    unknown. `launch_absent`: take a job that three complete lists over that window do not show
    as never created, even on an engine that could not refuse a second one (a person's word;
    such an engine otherwise leaves it in doubt). `concurrency`: requests in flight at once.
    `keep_going`: independent jobs go on when one fails. `file_window`: how long to wait for an
    uploaded file to be processed before the engine is asked to use it all the same.
    """

    wait: bool = True
    settle_window: float = 120.0
    launch_absent: bool = False
    concurrency: int = 8
    keep_going: bool = True
    file_window: float = 300.0
    by: str | None = None
    """user@host, recorded with each purchase."""
    git_commit: str | None = None
    ftspec_version: str | None = None
    project: str | None = None
    """The spec's project, recorded with each job."""
    run: str | None = None
    """A name that no other run has: what became of its launches says nothing of those of other runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What went wrong with one job, file or eval, in one sentence."""

    address: str
    error: JobError
    engine_job_id: str | None = None
    bought: bool = False
    """Whether it failed after it was bought (training failed) rather than before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateJob:
    """More than one job for one key on an engine. `cancelled` and `extra` are ids; `extra` were not ours to stop."""

    address: str
    key: str
    engine: str
    kept: str
    cancelled: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyResult:
    """What a walk did. Jobs are named by address; each is in at most one of the tuples of endings.

    `launched` and `adopted` came into state now (whatever became of them later); `succeeded`
    reached their end during this walk. `waiting` are bought but unfinished (`running`), or not bought
    yet because of a limit or a parent (`queued`).
    """

    launched: tuple[str, ...] = ()
    adopted: tuple[str, ...] = ()
    uploaded: tuple[str, ...] = ()
    """Dataset references that were sent."""
    succeeded: tuple[str, ...] = ()
    failed: tuple[Trouble, ...] = ()
    in_doubt: tuple[Trouble, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Address to the address or sentence that stopped it."""
    blocked: Mapping[str, str] = field(default_factory=dict)
    """Address to what already held it back when the plan was made: a parent that failed before, for one."""
    unblocked: tuple[str, ...] = ()
    """Jobs that waited for a parent in doubt that was found meanwhile: another `apply` launches them."""
    running: tuple[str, ...] = ()
    queued: tuple[str, ...] = ()
    next_slot_at: Mapping[str, str] = field(default_factory=dict)
    """Engine to the time (RFC 3339) of its next free slot, where jobs are queued for one."""
    evaluated: tuple[RecordedEval, ...] = ()
    duplicates: tuple[DuplicateJob, ...] = ()
    unrecorded: Mapping[str, str] = field(default_factory=dict)
    """Address to the id of a job that was bought and could not be recorded: state could not be written."""
    state_error: str | None = None
    """Why state could not be written; nothing more was bought after that."""
    signal: int | None = None
    """The signal that ended the walk early."""

    @property
    def waiting(self) -> tuple[str, ...]:
        """Jobs that another `apply` goes on with."""
        return self.running + self.queued

    @property
    def exit_code(self) -> int:
        """0 done, 1 error, 4 partly done or in doubt, 128 + signal."""
        if self.signal is not None:
            return 128 + self.signal
        if self.state_error is not None:
            return 1
        if self.in_doubt or self.unblocked or any(one.extra for one in self.duplicates):
            return 4
        if self.failed or self.skipped:
            done = self.succeeded or self.running or self.evaluated or (set(self.launched) - {t.address for t in self.failed})
            return 4 if done else 1
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of launches whose outcome was unknown, by address."""

    adopted: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    """Never became a job: the next plan launches them again."""
    in_doubt: tuple[Trouble, ...] = ()
    duplicates: tuple[DuplicateJob, ...] = ()

    def before(self, result: ApplyResult) -> ApplyResult:
        """Return the result of an apply that settled this first, and then walked."""
        adopted = [address for address in self.adopted if address not in result.adopted]
        keys = {one.key for one in result.duplicates}
        duplicates = [one for one in self.duplicates if one.key not in keys]
        return replace(result, adopted=(*adopted, *result.adopted), duplicates=(*duplicates, *result.duplicates))


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusChange:
    """A job whose status an engine told anew."""

    key: str
    address: str
    old: JobStatus
    new: JobStatus
    raw: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """What asking engines about recorded jobs told. It is in state already."""

    changes: tuple[StatusChange, ...] = ()
    asked: int = 0
    missing: tuple[str, ...] = ()
    """Addresses of jobs that their engine does not show."""
    trouble: Mapping[str, str] = field(default_factory=dict)
    """Engine to why it could not be asked."""
