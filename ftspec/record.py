"""What happened: the records of jobs, files and evals, as state says.

State is a fold over journal lines (docs/how-it-works.md): base records written by compaction and
append-only segments. `fold` is a join: it does not depend on the order of the lines, and
folding a line twice changes nothing. Requested, resolved and observed values stay apart.
Unknown members of a line survive in `extra` and are written back.

No API key, header, prompt or completion is ever part of a record.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import msgspec

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""A number of things, or seconds; one of hundreds of digits is a mistake that no arithmetic survives."""


class JobStatus(enum.StrEnum):
    """How far an attempt got; it only moves forward by `rank`.

    `absent` (settled: the request never became a job) and `refused` (the engine said no)
    rank below `launched`, because proof that a job exists always wins.
    """

    INTENT = "intent"
    ABSENT = "absent"
    REFUSED = "refused"
    LAUNCHED = "launched"
    QUEUED = "queued"
    RUNNING = "running"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SUCCEEDED = "succeeded"

    @property
    def rank(self) -> int:
        """Position in the order in which statuses may follow each other."""
        return _RANKS[self]

    @property
    def terminal(self) -> bool:
        """Whether the engine will not change it any more."""
        return self in _TERMINAL

    @property
    def bought(self) -> bool:
        """Whether a job exists (or existed) on the engine."""
        return self.rank >= _RANKS[JobStatus.LAUNCHED]


_RANKS = {status: rank for rank, status in enumerate(JobStatus)}
_TERMINAL = frozenset({JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.SUCCEEDED})


class Origin(enum.StrEnum):
    """How a job came into state."""

    LAUNCHED = "launched"
    ADOPTED = "adopted"
    IMPORTED = "imported"


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model saved during training, usable by name; metrics as the engine names them."""

    model: str
    step: Count
    epoch: float | None = None
    metrics: dict[str, float | None] = {}


class JobError(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why an attempt failed or was refused, in the engine's words (redacted)."""

    code: str | None = None
    message: str | None = None
    param: str | None = None


class Attempt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One launch of a job: what was asked for, what the engine made of it, what was seen.

    Times are RFC 3339 UTC strings with a `Z`. `intent_at` is when the intent was made durable,
    `unsettled_since` is set while its outcome is unknown. `requested` is the request body
    without secrets (file ids included); `hyperparameters` and `seed` are what the engine
    resolved them to; costs are in `currency`.
    """

    number: int
    status: JobStatus
    raw_status: str | None = None
    engine_job_id: str | None = None
    request_digest: str | None = None
    requested: dict[str, Any] = {}
    intent_at: str | None = None
    engine_time: Count | None = None
    """The engine's own clock (Unix seconds) when the intent was made, where it had said what time it is."""
    unsettled_since: str | None = None
    created_at: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    estimated_finish: str | None = None
    training_file: str | None = None
    validation_file: str | None = None
    base_model: str | None = None
    """The model the engine says it trained (an alias may come back as a snapshot)."""
    hyperparameters: dict[str, Any] = {}
    seed: int | None = None
    model: str | None = None
    """The fine-tuned model's name."""
    deployment: str | None = None
    """The name to ask it by, on an engine whose models answer once they are deployed."""
    checkpoints: tuple[Checkpoint, ...] = ()
    metrics: dict[str, float | None] = {}
    """Last known training metrics: `train_loss`, `valid_loss`, `full_valid_loss`, ..."""
    trained_tokens: Count | None = None
    estimated_tokens: Count | None = None
    estimated_cost: tuple[float, float] | None = None
    cost: float | None = None
    currency: str | None = None
    error: JobError | None = None
    result_files: tuple[str, ...] = ()
    origin: Origin = Origin.LAUNCHED
    organization: str | None = None
    owner: str | None = None
    """The name of the variable whose key owns the job, where an engine entry has several."""
    git_commit: str | None = None
    launch: str | None = None
    """The run that sent the request which this is the outcome of, by the name that it gave itself."""
    by: str | None = None
    """user@host that made the purchase."""
    ftspec_version: str | None = None
    extra: dict[str, Any] = {}
    """Members that a newer ftspec, or another tool, wrote; kept as they are."""


class OpenLaunch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request of a run (`launch`) whose outcome nobody has recorded: it may have become a job. Members as in `Attempt`."""

    attempt: int
    launch: str
    requested: dict[str, Any] = {}
    intent_at: str | None = None
    engine_time: Count | None = None
    by: str | None = None


class RecordedJob(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that state knows of one key. `attempts` are ordered by number; the last one counts.

    `duplicates` are engine job ids beyond the first for one attempt: money spent twice by
    something outside our protocol; kept and reported, never dropped. `open` are launches whose
    outcome is not known, of any attempt: after a merge also beside a job that another clone bought.
    """

    key: str
    address: str
    engine: str
    scope: str
    attempts: tuple[Attempt, ...]
    project: str | None = None
    """The project of the spec that brought it into state; only that one's plans say when it is not wanted any more."""
    preimage: dict[str, Any] = {}
    suffix: str | None = None
    tags: dict[str, str] = {}
    duplicates: tuple[str, ...] = ()
    open: tuple[OpenLaunch, ...] = ()
    protected: bool = False
    forgotten: bool = False
    """No longer wanted by its owner (`state rm`, or `forget`); kept as history, not reused."""
    extra: dict[str, Any] = {}
    updated_at: str | None = None

    def plain(self) -> dict[str, Any]:
        """Return the record as JSON values (a backend's own kind of record may hold members that are still JSON text)."""
        whole = RecordedJob(**{name: getattr(self, name) for name in RecordedJob.__struct_fields__})
        members: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(whole))
        return members

    @property
    def last(self) -> Attempt:
        """The newest attempt."""
        return self.attempts[-1]

    @property
    def status(self) -> JobStatus:
        """Status of the newest attempt."""
        return self.attempts[-1].status

    @property
    def model(self) -> str | None:
        """The fine-tuned model of the newest attempt that has one."""
        return model_of(self.attempts)

    @property
    def replaced_models(self) -> frozenset[str]:
        """Models and checkpoints of attempts before the one whose model this job has now: what was seen of them is not true of it."""
        attempts = self.attempts
        newest = next((i for i in reversed(range(len(attempts))) if attempts[i].model), 0)
        older, now = (
            {name for one in some for name in (one.model, *(saved.model for saved in one.checkpoints)) if name}
            for some in (attempts[:newest], attempts[newest:])
        )
        return frozenset(older - now)

    @property
    def in_doubt(self) -> bool:
        """Whether the newest attempt may or may not have become a job."""
        return self.last.status is JobStatus.INTENT

    @property
    def doubtful(self) -> bool:
        """Whether any launch of it may or may not have become a job, be it beside the one that is shown."""
        return self.in_doubt or bool(self.open)


def model_of(attempts: Sequence[Attempt]) -> str | None:
    """Return the fine-tuned model of the newest attempt that has one."""
    return next((one.model for one in reversed(attempts) if one.model), None)


def purchases(records: Iterable[RecordedJob]) -> list[tuple[RecordedJob, Attempt]]:
    """Return the attempts that cost something, or may have: those neither refused nor proven absent.

    A job of an engine that is known by two attempts (one clone was refused before it adopted what
    another had bought) counts once, as the later one tells it.
    """
    found: dict[tuple[str, object], tuple[RecordedJob, Attempt]] = {}
    for record in records:
        for attempt in record.attempts:
            if attempt.status not in (JobStatus.REFUSED, JobStatus.ABSENT):
                job = (record.scope, attempt.engine_job_id) if attempt.engine_job_id else (record.key, attempt.number)
                found[job] = record, attempt
    return list(found.values())


class RecordedFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An uploaded file. Its identity is (scope, digest of the bytes sent): ids of one scope mean nothing in another."""

    scope: str
    digest: str
    """SHA-256 of the bytes that were sent."""
    dataset_key: str
    file_id: str | None = None
    name: str | None = None
    bytes: Count | None = None
    rows: Count | None = None
    status: str = "intent"
    """`intent`, `uploaded`, `confirmed` (the engine answered for it) or `gone`."""
    purpose: str = "fine-tune"
    created_at: str | None = None
    confirmed_at: str | None = None
    extra: dict[str, Any] = {}

    @property
    def key(self) -> str:
        """What state sorts files by."""
        return f"{self.scope} {self.digest}"


class RecordedEval(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One eval on one model. Scores are per grader; samples live beside state, by key, without prompts in state."""

    key: str
    name: str
    address: str | None = None
    model: str
    job_key: str | None = None
    step: Count | None = None
    status: str = "intent"
    """`intent`, `running`, `succeeded` or `failed`."""
    preimage: dict[str, Any] = {}
    samples: Count = 0
    errors: Count = 0
    scores: dict[str, Any] = {}
    """Per grader: `mean`, `low`, `high`, `n` items, `ungraded`, ..."""
    counts: dict[str, int] = {}
    """How many answers were odd: `errors`, `empty`, `refused`, `truncated`."""
    labels: dict[str, Any] = {}
    """Label metrics of a classification: `accuracy`, `macro_f1`, `confusion`, ..."""
    result_file: str | None = None
    result_digest: str | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cost: float | None = None
    currency: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    error: JobError | None = None
    ftspec_version: str | None = None
    extra: dict[str, Any] = {}


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Everything recorded. `jobs` and `evals` by key, `files` by (scope, dataset key): the newest usable one."""

    jobs: Mapping[str, RecordedJob] = {}
    files: Mapping[tuple[str, str], RecordedFile] = {}
    evals: Mapping[str, RecordedEval] = {}
    generation: str = ""
    """Changes whenever a record does; only compared for equality."""

    def is_outdated(self, run: RecordedEval) -> bool:
        """Whether a run asked a model that its job had before it was trained again."""
        job = self.jobs.get(run.job_key or "")
        return job is not None and run.model != job.model and run.model in job.replaced_models
