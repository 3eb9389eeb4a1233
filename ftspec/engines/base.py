"""What the executor needs of an engine, and what an engine's answers mean.

`client.WireEngine` implements `Engine` for every engine of the OpenAI protocol; the simulator
and other protocols implement it too. Every method is one request (lists: one per page). No
method retries a purchase; reads may retry.

The outcome of a purchase (`create_job`, `upload`) is one of: the value (bought), `NotSent`
(could not connect: nothing can have happened), `Refused` (the engine said no in its own error
form) or `UnknownOutcome` (everything else: it may or may not have happened). Only the
classifier in `outcome.py` decides which.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from ftspec.record import Checkpoint, JobError, JobStatus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from typing import BinaryIO

    from ftspec.profile import Profile

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedJob:
    """A job as the engine describes it. `status` is the neutral one, `raw_status` its own word.

    Unknown words are `running` (not terminal) and kept verbatim. Times are Unix seconds.
    `organization` is the only place where an ordinary key learns its account.
    """

    id: str
    status: JobStatus
    raw_status: str
    base_model: str
    created_at: int
    training_file: str | None = None
    validation_file: str | None = None
    finished_at: int | None = None
    estimated_finish: int | None = None
    model: str | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    method: str | None = None
    seed: int | None = None
    suffix: str | None = None
    trained_tokens: int | None = None
    error: JobError | None = None
    result_files: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    organization: str | None = None
    owner: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedFile:
    """A file as the engine describes it; `status` may be absent."""

    id: str
    name: str
    bytes: int | None
    status: str | None
    purpose: str | None
    created_at: int | None = None
    status_details: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """One event of a job. `data` is always a mapping here; `time` in Unix seconds."""

    id: str
    time: int
    level: str
    message: str
    type: str = "message"
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing(Generic[T]):
    """What a list call found. Not `complete` (paging broke off or looped): absence proves nothing."""

    items: Sequence[T]
    complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """One purchase, ready to send: `body` is the JSON request with file ids; `key` its ftspec key."""

    key: str
    attempt: int
    body: Mapping[str, Any]

    @property
    def idempotency_key(self) -> str:
        """What a repeated POST of the same purchase carries."""
        return f"{self.key}-{self.attempt}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatAnswer:
    """One completion: text, why it ended, token counts, tool calls and refusal if any."""

    text: str
    finish_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    refusal: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict)


class EngineError(Exception):
    """The engine could not be asked or said no. `message` is redacted and printable."""

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.param = param
        self.retry_after = retry_after


class NotSent(EngineError):
    """No connection was made: nothing was bought, sending again is safe."""


class Refused(EngineError):
    """The engine understood and said no: nothing was bought.

    `quota` tells a full queue from a mistake: `daily` (limit per day), `concurrent` (too many
    running), `rate` (too many requests), `money` (no credit left), `None` (anything else).
    """

    quota: str | None = None


class UnknownOutcome(EngineError):
    """The request may have been carried out although the answer was lost or makes no sense."""


class Clock(Protocol):
    """Time as an engine needs it, so that tests and the simulated world can bend it."""

    def now(self) -> float:
        """Return the wall clock in Unix seconds."""
        ...

    def monotonic(self) -> float:
        """Return seconds that only go forward."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let that much time pass."""
        ...


class Engine(Protocol):
    """One account (scope) on one engine. Async; every method may raise `EngineError`."""

    profile: Profile
    scope: str

    async def upload(self, *, name: str, content: BinaryIO, purpose: str, progress: Callable[[int], None] | None = None) -> ObservedFile:
        """Send a file: one POST (parts above 512 MiB). Raises the outcomes above."""
        ...

    async def file(self, file_id: str) -> ObservedFile | None:
        """Return the file, or `None` where this account has no such file."""
        ...

    async def find_files(self, *, name: str, purpose: str) -> Listing[ObservedFile]:
        """Return the files of exactly this name."""
        ...

    async def create_job(self, request: JobRequest) -> ObservedJob:
        """Buy a job: exactly one POST, never a retry. Raises the outcomes above."""
        ...

    async def job(self, job_id: str) -> ObservedJob | None:
        """Return the job, or `None` where this account has no such job."""
        ...

    async def find_jobs(self, *, key: str | None = None, since: int | None = None) -> Listing[ObservedJob]:
        """Return jobs with metadata `ftspec_key` = `key` (filtered here too), or all created since a Unix time."""
        ...

    async def events(self, job_id: str) -> Listing[JobEvent]:
        """Return all events, oldest first."""
        ...

    async def checkpoints(self, job_id: str) -> Sequence[Checkpoint]:
        """Return the checkpoints, lowest step first."""
        ...

    async def cancel(self, job_id: str) -> ObservedJob:
        """Ask the engine to stop the job for good."""
        ...

    async def pause(self, job_id: str) -> ObservedJob:
        """Ask the engine to pause the job."""
        ...

    async def resume(self, job_id: str) -> ObservedJob:
        """Ask the engine to go on with a paused job."""
        ...

    async def content(self, file_id: str) -> bytes:
        """Return the bytes of a (result) file."""
        ...

    async def models(self) -> Sequence[Mapping[str, Any]]:
        """Return the raw model objects that this account sees."""
        ...

    async def chat(self, *, model: str, messages: Sequence[Mapping[str, Any]], **sampling: Any) -> ChatAnswer:
        """Ask a model once."""
        ...

    def chat_stream(self, *, model: str, messages: Sequence[Mapping[str, Any]], **sampling: Any) -> AsyncIterator[str]:
        """Ask a model and yield the text as it comes."""
        ...

    async def server_time(self) -> int | None:
        """Return the engine's clock (its last `Date` header) in Unix seconds, if it said."""
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...
