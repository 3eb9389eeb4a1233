"""What the executor says while it works: typed events for whoever renders them.

Events are told after the fact that they speak of is durable. Texts from engines are already
redacted and printable. A renderer that fails because its terminal is gone (`OSError`) is
ignored: nobody watching is no reason to stop recording purchases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from ftspec.record import JobError, JobStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploading:
    """Bytes of a dataset file have been sent."""

    dataset: str
    engine: str
    name: str
    sent: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """A file is on the engine and ready. `adopted`: it was there already."""

    dataset: str
    engine: str
    file_id: str
    adopted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Launching:
    """The intent is durable; the request goes out."""

    address: str
    engine: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """A job exists and is recorded. `adopted`: it existed before we asked, or was found afterwards."""

    address: str
    engine: str
    engine_job_id: str
    adopted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusChanged:
    """The engine tells another status; `raw` is its own word."""

    address: str
    engine: str
    engine_job_id: str
    old: JobStatus
    new: JobStatus
    raw: str
    estimated_finish: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Newest training metrics of a running job."""

    address: str
    engine: str
    step: int | None
    values: Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A job reached its end; `model` is its model if it has one."""

    address: str
    engine: str
    engine_job_id: str
    status: JobStatus
    model: str | None
    trained_tokens: int | None = None
    cost: float | None = None
    currency: str | None = None
    metrics: Mapping[str, float | None] | None = None
    error: JobError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingForSlot:
    """The engine's limits hold `jobs` launches back, until `until` (RFC 3339) where that is known."""

    engine: str
    jobs: int
    why: str
    until: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settling:
    """The outcome of a launch is not known; the engine is being asked, for up to `window` seconds."""

    address: str
    engine: str
    window: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InDoubt:
    """Still not known: the job may exist. `why` is one sentence, `candidates` are ids that might be it."""

    address: str
    engine: str
    why: str
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NotLaunched:
    """Nothing was bought for this job: the engine refused, or the request never left."""

    address: str
    engine: str
    error: JobError


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Not tried, because of `because` (an address that failed, or a sentence)."""

    address: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """An engine has more than one job for one key: `kept` counts, `cancelled` were stopped, `extra` go on."""

    address: str
    engine: str
    kept: str
    cancelled: tuple[str, ...]
    extra: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluating:
    """An eval of a model begins."""

    eval: str
    address: str | None
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """An eval of a model ended."""

    eval: str
    address: str | None
    model: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTrouble:
    """The engine could not be asked; asked again in `retry_in` seconds."""

    engine: str
    message: str
    retry_in: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRecorded:
    """A job was bought and state could not be written: the intent is on disk, its job id is this one."""

    address: str
    engine: str
    engine_job_id: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """A signal came: nothing more is bought, `calls` requests in flight are finished first, `running` jobs go on."""

    signal: int
    calls: int
    running: int


Event: TypeAlias = (
    Uploading
    | Uploaded
    | Launching
    | Launched
    | StatusChanged
    | Metrics
    | Finished
    | WaitingForSlot
    | Settling
    | InDoubt
    | NotLaunched
    | Skipped
    | Duplicate
    | Evaluating
    | Evaluated
    | EngineTrouble
    | NotRecorded
    | Stopping
)


class Progress(Protocol):
    """Whoever shows what happens. Called from the event loop only; must return quickly."""

    def __call__(self, event: Event, /) -> None:
        """Take notice of one event."""
        ...


def silent(event: Event) -> None:
    """Show nothing."""
