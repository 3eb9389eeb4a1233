"""What the server app needs of whatever trains: the `Trainer` protocol and its values.

The app owns what clients said (files, requests, metadata; `store.py`), a trainer owns what
became of a job (status, events, checkpoints, weights; its run folders). For any one fact
exactly one of them is the truth.

A trainer is *level-triggered*: the app calls `reconcile` whenever it looks at a job that is
not settled, and the trainer compares what should be with what is, starts again what stopped,
and says how far the job is. So a process may die at any moment, several processes may serve
one root, and nothing needs a daemon. All methods are synchronous, quick (`complete` aside)
and safe to call from several threads.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

Method = Literal["supervised", "dpo", "reinforcement"]
Status = Literal["validating_files", "queued", "running", "succeeded", "failed", "cancelled"]

TERMINAL: frozenset[str] = frozenset({"succeeded", "failed", "cancelled"})
"""Statuses that never change again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A base model that can be trained and asked. `created` in Unix seconds; `until`, if known, an ISO day."""

    name: str
    description: str
    created: int
    owned_by: str
    until: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """Which weights a model name stands for: a base, or what a job made of it (at a step; `None`: at its end)."""

    name: str
    base_model: str
    job_id: str | None = None
    step: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """A job as it was bought: never changed afterwards.

    `model` is what was asked for and `source` the weights that it starts from; `model_name` is
    what its result will be called. `hyperparameters` are those of the method as the request
    gave them ("auto" included). The paths hold the bytes of the files until the job is settled.
    """

    id: str
    project: str
    created_at: int
    model: str
    source: ModelSource
    model_name: str
    method: Method
    hyperparameters: Mapping[str, Any]
    grader: Mapping[str, Any] | None
    seed: int
    suffix: str | None
    metadata: Mapping[str, str] | None
    integrations: Sequence[Mapping[str, Any]]
    training_file: str
    training_path: Path
    validation_file: str | None = None
    validation_path: Path | None = None
    settled: bool = False
    """The app has seen the end of it, and keeps its result files (`result_files`)."""
    result_files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a request is refused, in the protocol's terms: `message`, the member at fault, a code, an HTTP status."""

    message: str
    param: str | None = None
    code: str | None = None
    status: int = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRequest:
    """A job that somebody wants to buy: what `Trainer.check` may refuse before it exists."""

    source: ModelSource
    method: Method
    hyperparameters: Mapping[str, Any]
    grader: Mapping[str, Any] | None
    integrations: Sequence[Mapping[str, Any]]
    has_validation: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFailure:
    """Why a job failed. `message` never holds rows of a dataset."""

    code: str
    message: str
    param: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress:
    """How far a job is. `hyperparameters` are resolved ones ("auto" became a number) once training began.

    A paused job is `queued` with `paused`: the protocol has no word for it. `results` are
    finished result files (CSV) that the app takes over when the job has ended.
    """

    status: Status
    paused: bool = False
    hyperparameters: Mapping[str, Any] | None = None
    estimated_finish: int | None = None
    finished_at: int | None = None
    trained_tokens: int | None = None
    error: JobFailure | None = None
    results: tuple[Path, ...] = ()

    @property
    def terminal(self) -> bool:
        """Whether it will never change again."""
        return self.status in TERMINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingEvent:
    """Something that happened to a job, as clients see it."""

    id: str
    created_at: int
    message: str
    level: Literal["info", "warn", "error"] = "info"
    type: Literal["message", "metrics"] = "message"
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCheckpoint:
    """A usable model saved during training; `final` is the one that carries the plain model name."""

    id: str
    created_at: int
    step: int
    metrics: Mapping[str, float | None]
    final: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One completion to make: the app makes `n` of them, each with its own `seed`.

    `top_logprobs` is `None` where no log probabilities were asked for. Stop sequences are the
    app's business; `stop` is only a hint that lets a trainer end early.
    """

    messages: Sequence[Mapping[str, Any]]
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int | None = None
    seed: int | None = None
    stop: Sequence[str] = ()
    top_logprobs: int | None = None
    tools: Sequence[Mapping[str, Any]] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    """Every other member of the request that the app passes through (`tool_choice`, `response_format`, ...)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatToken:
    """The next piece of an answer. `top` are the likeliest alternatives, best first.

    The last one has no text and says why the answer ended; `usage` are the tokens of prompt and
    answer where somebody else counted them. `calls` are parts of tool calls as the protocol
    streams them.
    """

    text: str
    logprob: float = 0.0
    top: Sequence[tuple[str, float]] = ()
    finish: Literal["stop", "length", "tool_calls", "content_filter"] | None = None
    usage: tuple[int, int] | None = None
    calls: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """An answer being made: the prompt's size, what makes it, and its tokens as they come (closed early or read to the end).

    Reading a token may raise `TrainerRefusal`: the answer broke off.
    """

    prompt_tokens: int
    fingerprint: str
    tokens: Generator[ChatToken, None, None]


class TrainerRefusal(Exception):
    """The trainer says no to something that a client asked."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Grade(Protocol):
    """Scores one sample of a reinforcement job: `ValueError` says what is wrong with the grader."""

    def __call__(self, grader: Mapping[str, Any], sample: Mapping[str, Any], item: Mapping[str, Any], /) -> float:
        """Return the score of `sample` (`output_text`, `output_json`) against `item` (the row's own members)."""
        ...


class Trainer(Protocol):
    """One kind of training behind the protocol."""

    name: str
    """`sandbox`, `local`: what `/healthz` says."""
    extra_hyperparameters: frozenset[str]
    """Names beyond OpenAI's that its hyperparameter blocks may hold; `check` judges their values."""
    grade: Grade
    """What scores samples, also for the grader endpoints."""

    def base_models(self) -> Sequence[ServedModel]:
        """Return the models that can be trained and asked."""
        ...

    def check(self, request: TrainingRequest) -> Sequence[Problem]:
        """Return what speaks against a job, before it is created."""
        ...

    def submit(self, job: TrainingJob) -> None:
        """Take a new job; saying it again changes nothing."""
        ...

    def reconcile(self, job: TrainingJob) -> JobProgress:
        """Make sure that an unfinished job goes on, and return how far it is."""
        ...

    def cancel(self, job: TrainingJob) -> JobProgress:
        """End the job for good. `TrainerRefusal` where it has ended already."""
        ...

    def pause(self, job: TrainingJob) -> JobProgress:
        """Stop training at the next step. `TrainerRefusal` where that makes no sense."""
        ...

    def resume(self, job: TrainingJob) -> JobProgress:
        """Go on with a paused job. `TrainerRefusal` where it is not paused."""
        ...

    def events(self, job: TrainingJob) -> Sequence[TrainingEvent]:
        """Return all events, oldest first."""
        ...

    def checkpoints(self, job: TrainingJob) -> Sequence[TrainingCheckpoint]:
        """Return the checkpoints that are kept, lowest step first."""
        ...

    def complete(self, model: ModelSource, request: ChatRequest) -> Completion:
        """Begin an answer (may take long: the app calls it in a thread). `TrainerRefusal` for what it cannot do."""
        ...

    def discard(self, model: ModelSource) -> None:
        """Free what a deleted model takes up; nobody will ask for it again."""
        ...

    def close(self) -> None:
        """Stop at the next step; whatever is unfinished goes on when somebody asks again."""
        ...
