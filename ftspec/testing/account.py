"""An engine with bad days: one account on it, and the client by which a process reaches it.

`Account` is the truth: jobs, files, and what was asked of it. `SimulatedEngine` is what a
process sees through a network that loses requests and answers, with lists that lag, break off
and repeat themselves. Its dice come from the world, so a seed decides everything.
"""

# ruff: noqa: ARG002 the protocol gives the arguments their names

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ftspec.engines.base import EngineError, JobEvent, Listing, NotSent, ObservedFile, ObservedJob, Refused, UnknownOutcome
from ftspec.profile import MethodProfile, Profile
from ftspec.record import Checkpoint, JobError, JobStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from random import Random
    from typing import BinaryIO

    from ftspec.engines.base import JobRequest
    from ftspec.testing.virtual import Process, World

DAY = 86_400.0
TIMEOUT = 120.0
STRANGER = "a stranger"


@dataclass(slots=True, kw_only=True)
class Rules:
    """What kind of engine it is."""

    unique_keys: bool = False
    idempotency_key: bool = False
    metadata: bool = True
    drops_metadata: bool = False
    """It takes labels and forgets them, whatever its profile says."""
    tells_time: bool = True
    echoes: bool = True
    """Whether jobs say what they were made from (suffix, seed, hyperparameters)."""
    clock_off: float = 0.0
    """How far its clock is from the true time."""
    running_limit: int | None = None
    daily_limit: int | None = None
    in_process: bool = False


@dataclass(slots=True, kw_only=True)
class Weather:
    """How often what goes wrong, as probabilities, and how badly (seconds)."""

    not_sent: float = 0.0
    lost_request: float = 0.0
    lost_answer: float = 0.0
    late: float = 0.0
    late_by: float = 60.0
    error_after: float = 0.0
    """An error page although the job was made."""
    error_before: float = 0.0
    refused: float = 0.0
    rate_limited: float = 0.0
    read_fails: float = 0.0
    incomplete: float = 0.0
    repeated: float = 0.0
    hidden: float = 0.0
    """How likely a job lags behind in lists."""
    lag: float = 0.0
    file_trouble: float = 0.0
    training_fails: float = 0.0
    odd_status: float = 0.0


FAIR = Weather()


@dataclass(slots=True, kw_only=True)
class Job:
    """A job as the engine has it."""

    id: str
    key: str
    """The truth: for which of our jobs it was bought, whatever labels the engine keeps."""
    nth: int
    body: Mapping[str, Any]
    created: float
    starts: float
    ends: float
    fails: bool
    odd: bool
    named: float
    """When a list shows it, and when its model has a name."""
    shown: float
    buyer: str
    cancelled: float | None = None

    def status(self, now: float) -> JobStatus:
        """Return its status at a time."""
        if self.cancelled is not None:
            return JobStatus.CANCELLED
        if now < self.starts:
            return JobStatus.QUEUED
        if now < self.ends:
            return JobStatus.RUNNING
        return JobStatus.FAILED if self.fails else JobStatus.SUCCEEDED


@dataclass(slots=True, kw_only=True)
class Post:
    """A job request that was sent."""

    at: float
    buyer: str
    key: str
    body: Mapping[str, Any]
    unknown: bool = False
    """Whether its sender cannot know what became of it."""


@dataclass(slots=True, kw_only=True)
class File:
    """A file as the engine has it."""

    id: str
    name: str
    content: bytes
    created: float
    ready: float
    word: str | None


@dataclass(slots=True, kw_only=True)
class Account:
    """Everything that one account on the engine holds."""

    world: World
    dice: Random
    rules: Rules
    weather: Weather = field(default_factory=Weather)
    jobs: dict[str, Job] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)
    posts: list[Post] = field(default_factory=list)
    """Every job request that was sent, whatever became of it."""
    fates: list[str] = field(default_factory=list)
    """What happens to the next job requests, before the weather decides."""
    file_fates: list[str] = field(default_factory=list)
    """The same for the next uploads."""
    answered: dict[str, str] = field(default_factory=dict)
    """Idempotency key to job id."""
    pending: int = 0
    """Requests that are on their way and will still land."""
    training: tuple[float, float] = (20.0, 120.0)
    tell: Callable[[str], None] = lambda _story: None

    def profile(self) -> Profile:
        """Return what the engine says of itself."""
        rules = self.rules
        return Profile(
            name="simulated",
            title="simulated",
            methods={"supervised": MethodProfile(hyperparameters={}, dataset_format="chat")},
            unique_keys=rules.unique_keys,
            idempotency_key=rules.idempotency_key,
            metadata=rules.metadata,
            in_process=rules.in_process,
        )

    def create(self, request: JobRequest, buyer: str) -> Job:
        """Take a job request (`Refused`)."""
        now = self.world.now
        if self.rules.idempotency_key and request.idempotency_key in self.answered:
            return self.jobs[self.answered[request.idempotency_key]]
        if self.rules.unique_keys:
            for job in self.jobs.values():
                if job.key == request.key and job.nth == request.attempt:
                    return job
        self._admit(request, now)
        dice, weather = self.dice, self.weather
        starts = now + dice.uniform(0.0, 15.0)
        ends = starts + dice.uniform(*self.training)
        job = Job(
            id=f"ftjob-{dice.getrandbits(32):08x}",
            key=request.key,
            nth=request.attempt,
            body=request.body,
            created=now,
            starts=starts,
            ends=ends,
            fails=dice.random() < weather.training_fails,
            odd=dice.random() < weather.odd_status,
            named=ends + (dice.uniform(0, 60) if dice.random() < weather.hidden else 0.0),
            shown=now + (dice.uniform(0, weather.lag) if dice.random() < weather.hidden else 0.0),
            buyer=buyer,
        )
        self.jobs[job.id] = job
        if self.rules.idempotency_key:
            self.answered[request.idempotency_key] = job.id
        self.tell(f"engine: {job.id} made for {request.key[:6]} #{request.attempt}")
        return job

    def create_foreign(self) -> None:
        """Take a job request of a stranger."""
        body = {"model": "another", "training_file": "file-of-a-stranger", "method": {"type": "supervised", "supervised": {}}}
        at = self.world.now
        job = Job(
            id=f"ftjob-{self.dice.getrandbits(32):08x}",
            key="",
            nth=1,
            body=body,
            created=at,
            starts=at + 5,
            ends=at + self.dice.uniform(*self.training),
            fails=False,
            odd=False,
            named=at,
            shown=at,
            buyer=STRANGER,
        )
        self.jobs[job.id] = job
        self.tell(f"stranger: {job.id} made")

    def _admit(self, request: JobRequest, now: float) -> None:
        for name in ("training_file", "validation_file"):
            file_id = request.body.get(name)
            if file_id is not None and file_id not in self.files:
                raise Refused(f"invalid file {file_id}", code="invalid_file", status=400, param=name)
        if self.rules.daily_limit is not None and sum(job.created > now - DAY for job in self.jobs.values()) >= self.rules.daily_limit:
            raise _quota("daily", "daily_rate_limit_exceeded")
        active = sum(not job.status(now).terminal for job in self.jobs.values())
        if self.rules.running_limit is not None and active >= self.rules.running_limit:
            raise _quota("concurrent", "concurrent_jobs_limit_exceeded")

    def show(self, job: Job) -> ObservedJob:
        """Return a job as the engine describes it."""
        now, rules, body = self.world.now, self.rules, job.body
        status = job.status(now)
        done = status is JobStatus.SUCCEEDED and now >= job.named
        labels = {} if rules.drops_metadata or not rules.metadata else dict(body.get("metadata", {}))
        odd = job.odd and status is JobStatus.RUNNING
        return ObservedJob(
            id=job.id,
            status=status,
            raw_status="paused_by_policy" if odd else status.value,
            base_model=body["model"],
            created_at=int(job.created + rules.clock_off),
            training_file=body["training_file"],
            validation_file=body.get("validation_file"),
            finished_at=int(job.ends + rules.clock_off) if status.terminal else None,
            model=f"ft:{body['model']}:{job.id[-8:]}" if done else None,
            hyperparameters=dict(body["method"]["supervised"].get("hyperparameters", {})) if rules.echoes else {},
            seed=body.get("seed") if rules.echoes else None,
            suffix=body.get("suffix") if rules.echoes else None,
            trained_tokens=1000 if done else None,
            error=JobError(code="training_failed", message="loss is not a number") if status is JobStatus.FAILED else None,
            result_files=(f"file-{job.id}",) if done else (),
            metadata=labels,
        )

    def cancel(self, job: Job) -> None:
        """Stop a job, unless it ended."""
        if not job.status(self.world.now).terminal:
            job.cancelled = self.world.now


def _quota(kind: str, code: str) -> Refused:
    refused = Refused("a limit is reached", code=code, status=429)
    refused.quota = kind
    return refused


class SimulatedEngine:
    """One process's client of an account. Every method is a moment at which the process can die."""

    scope = "sim"

    def __init__(self, account: Account, process: Process, step: Callable[[str], None]) -> None:
        self.account = account
        self.process = process
        self.profile = account.profile()
        self._step = step
        self._said: int | None = None

    async def _send(self) -> None:
        self._step("send")
        await self.process.world.sleep(self.account.dice.uniform(0.02, 0.4))

    async def _answer(self) -> None:
        await self.process.world.sleep(self.account.dice.uniform(0.02, 0.4))
        if self.account.rules.tells_time:
            self._said = int(self.process.world.now + self.account.rules.clock_off)
        self._step("answer")

    async def _read(self) -> None:
        await self._send()
        if self.account.dice.random() < self.account.weather.read_fails:
            await self.process.world.sleep(self.account.dice.choice((0.1, 30.0)))
            raise EngineError("bad gateway", status=502)

    async def create_job(self, request: JobRequest) -> ObservedJob:
        """Buy a job, on a bad day."""
        account, world = self.account, self.process.world
        fate = self._fate()
        post = Post(at=world.now, buyer=self.process.name, key=request.key, body=request.body)
        account.posts.append(post)
        account.tell(f"{self.process.name}: POST job {request.key[:6]} #{request.attempt}: {fate}")
        await self._send()
        if fate == "not_sent":
            raise NotSent("connection refused")
        if fate == "refused":
            raise Refused("invalid hyperparameters", code="invalid_value", status=400)
        if fate == "rate_limited":
            raise _quota("rate", "rate_limit_exceeded")
        if fate == "late":
            account.pending += 1
            world.at(world.now + account.dice.uniform(0.5, account.weather.late_by), lambda: self._land(request))
        if fate in {"lost_request", "late"}:
            post.unknown = True
            await world.sleep(TIMEOUT)
            raise UnknownOutcome("timed out")
        if fate == "error_before":
            post.unknown = True
            await self._answer()
            raise UnknownOutcome("internal server error", status=500)
        job = account.create(request, self.process.name)
        self._step("made")
        post.unknown = fate in {"lost_answer", "error_after"}
        if fate == "lost_answer":
            await world.sleep(account.dice.choice((0.1, TIMEOUT)))
            raise UnknownOutcome("connection reset")
        await self._answer()
        if fate == "error_after":
            raise UnknownOutcome("bad gateway", status=502)
        return account.show(job)

    def _land(self, request: JobRequest) -> None:
        self.account.pending -= 1
        with contextlib.suppress(Refused):
            self.account.create(request, self.process.name)

    def _fate(self) -> str:
        if self.account.fates:
            return self.account.fates.pop(0)
        roll, weather = self.account.dice.random(), self.account.weather
        for fate in ("not_sent", "lost_request", "lost_answer", "late", "error_after", "error_before", "refused", "rate_limited"):
            roll -= getattr(weather, fate)
            if roll < 0:
                return fate
        return "fine"

    async def upload(self, *, name: str, content: BinaryIO, purpose: str, progress: Callable[[int], None] | None = None) -> ObservedFile:
        """Send a file, on a bad day."""
        account, world = self.account, self.process.world
        await self._send()
        trouble = account.dice.random() < account.weather.file_trouble
        fate = account.dice.choice(("not_sent", "lost_request", "lost_answer", "refused")) if trouble else "fine"
        if account.file_fates:
            fate = account.file_fates.pop(0)
        account.tell(f"{self.process.name}: upload {name}: {fate}")
        if fate == "not_sent":
            raise NotSent("connection refused")
        if fate == "refused":
            raise Refused("too many files", code="file_limit", status=400)
        if fate == "lost_request":
            raise UnknownOutcome("timed out")
        slow = account.dice.random() < account.weather.file_trouble
        file = File(
            id=f"file-{account.dice.getrandbits(32):08x}",
            name=name,
            content=content.read(),
            created=world.now,
            ready=world.now + (account.dice.uniform(0, 60) if slow else 0.0),
            word="pending_scan" if slow else account.dice.choice(("processed", None)),
        )
        account.files[file.id] = file
        self._step("uploaded")
        if fate == "lost_answer":
            raise UnknownOutcome("connection reset")
        await self._answer()
        return self._file(file)

    def _file(self, file: File) -> ObservedFile:
        ready = self.process.world.now >= file.ready
        return ObservedFile(
            id=file.id,
            name=file.name,
            bytes=len(file.content),
            status=("processed" if file.word == "pending_scan" else file.word) if ready else file.word,
            purpose="fine-tune",
            created_at=int(file.created + self.account.rules.clock_off),
        )

    async def file(self, file_id: str) -> ObservedFile | None:
        """Return a file."""
        await self._read()
        file = self.account.files.get(file_id)
        await self._answer()
        return None if file is None else self._file(file)

    async def find_files(self, *, name: str, purpose: str) -> Listing[ObservedFile]:
        """Return the files of a name."""
        await self._read()
        found = [self._file(file) for file in self.account.files.values() if file.name == name]
        await self._answer()
        return Listing(items=found)

    async def job(self, job_id: str) -> ObservedJob | None:
        """Return a job."""
        await self._read()
        job = self.account.jobs.get(job_id)
        await self._answer()
        return None if job is None else self.account.show(job)

    async def find_jobs(self, *, key: str | None = None, since: int | None = None) -> Listing[ObservedJob]:
        """Return jobs, as far as the list shows them."""
        await self._read()
        account, now = self.account, self.process.world.now
        shown = [account.show(job) for job in account.jobs.values() if now >= job.shown]
        if since is not None:
            shown = [job for job in shown if job.created_at >= since]
        if key is not None:
            shown = [job for job in shown if job.metadata.get("ftspec_key") == key]
        complete = account.dice.random() >= account.weather.incomplete
        if not complete:
            shown = shown[: account.dice.randint(0, len(shown))]
        if account.dice.random() < account.weather.repeated:
            shown = shown + shown[:1]
        account.dice.shuffle(shown)
        await self._answer()
        return Listing(items=shown, complete=complete)

    async def events(self, job_id: str) -> Listing[JobEvent]:
        """Return a metric or two."""
        await self._read()
        now = int(self.process.world.now)
        return Listing(items=[JobEvent(id="1", time=now, level="info", message="", type="metrics", data={"step": 1, "train_loss": 0.5})])

    async def checkpoints(self, job_id: str) -> Sequence[Checkpoint]:
        """Return one checkpoint."""
        await self._read()
        return [Checkpoint(model=f"{job_id}:ckpt-step-1", step=1)]

    async def cancel(self, job_id: str) -> ObservedJob:
        """Stop a job."""
        await self._read()
        job = self.account.jobs[job_id]
        self.account.cancel(job)
        await self._answer()
        return self.account.show(job)

    async def pause(self, job_id: str) -> ObservedJob:
        """Answer as an engine that does not know how."""
        raise Refused("not supported", code="unsupported", status=400)

    async def resume(self, job_id: str) -> ObservedJob:
        """Answer as an engine that does not know how."""
        raise Refused("not supported", code="unsupported", status=400)

    async def content(self, file_id: str) -> bytes:
        """Return the bytes of a file."""
        await self._read()
        return self.account.files[file_id].content

    async def models(self) -> Sequence[Mapping[str, Any]]:
        """Return the models that jobs made."""
        await self._read()
        shown = [self.account.show(job) for job in self.account.jobs.values()]
        return [{"id": job.model} for job in shown if job.model]

    async def chat(self, *, model: str, messages: Sequence[Mapping[str, Any]], **sampling: Any) -> Any:
        """Answer nothing: models of this engine are never asked."""
        raise EngineError("this engine does not chat")

    def chat_stream(self, *, model: str, messages: Sequence[Mapping[str, Any]], **sampling: Any) -> Any:
        """Answer nothing: models of this engine are never asked."""
        raise EngineError("this engine does not chat")

    async def server_time(self) -> int | None:
        """Return the time of the last answer, if the engine says it."""
        return self._said

    async def aclose(self) -> None:
        """Close nothing."""
