"""Asks engines what became of jobs, and says it as facts.

Only unfinished jobs are asked about. Words that nobody knows are not the end and are kept verbatim; no
time limit ends a job. The fact of a job's end carries everything that is known of it (model,
checkpoints, metrics, tokens, cost, result files) and is written once: a job that succeeded
but has no model yet is asked about again before that.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from ftspec.engines.base import EngineError
from ftspec.engines.result_csv import number
from ftspec.executor import facts
from ftspec.executor.clock import engine_time, rfc3339, seconds_of
from ftspec.record import JobStatus
from ftspec.state.base import JobFact

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from ftspec.engines.base import Clock, Engine, JobEvent, ObservedJob
    from ftspec.executor.result import CostOf
    from ftspec.record import Attempt, Checkpoint, RecordedJob

Together: TypeAlias = "Callable[[Sequence[Callable[[], Awaitable[Any]]]], Awaitable[list[Any]]]"
"""`Crew.together`."""

LIST_FROM = 6
"""From so many jobs on, pages of a list are cheaper than single questions."""

MODEL_WINDOW = 600.0
"""Seconds that a job may have succeeded without naming its model."""

DAY = 86_400

SERVED_WINDOW = 60.0
"""Seconds that a new model is given to appear among the engine's models before it is used all the same."""


@dataclass(slots=True, kw_only=True)
class Watched:
    """A bought job whose end is not recorded, and what was last heard of it."""

    key: str
    address: str
    engine: str
    attempt: int
    job_id: str
    method: str
    created_at: float
    status: JobStatus = JobStatus.LAUNCHED
    raw_status: str = ""
    estimated_finish: int | None = None
    step: int | None = None
    nameless_since: float | None = None
    """When (monotonic) it was first seen to have succeeded without a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What one question told of a job: `fact` to be written if anything changed, `ended` when it was its end."""

    watched: Watched
    job: ObservedJob
    fact: JobFact | None
    ended: bool
    metrics: Mapping[str, float | None]
    step: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one round of questions to one engine told. `missing` are jobs that it does not show."""

    sightings: tuple[Sighting, ...] = ()
    missing: tuple[Watched, ...] = ()
    trouble: EngineError | None = None


def newest_bought(record: RecordedJob) -> Attempt | None:
    """Return the newest attempt that became a job: attempts that bought nothing change nothing."""
    return next((attempt for attempt in reversed(record.attempts) if attempt.status.bought), None)


def watched(record: RecordedJob, *, finished: bool = False) -> Watched | None:
    """Return what to watch of a record; `None`: it has no unfinished job (`finished`: no job at all).

    A job that succeeded and has no model yet is not finished.
    """
    last = newest_bought(record)
    if last is None or last.engine_job_id is None:
        return None
    if last.status.terminal and not finished and (last.model or last.status is not JobStatus.SUCCEEDED):
        return None
    return Watched(
        key=record.key,
        address=record.address,
        engine=record.engine,
        attempt=last.number,
        job_id=last.engine_job_id,
        method=str(record.preimage.get("method", "supervised")),
        created_at=seconds_of(last.created_at) if last.created_at else 0.0,
        status=last.status,
        raw_status=last.raw_status or "",
        estimated_finish=int(seconds_of(last.estimated_finish)) if last.estimated_finish else None,
    )


async def look(
    jobs: Sequence[Watched],
    *,
    engine: Engine,
    clock: Clock,
    together: Together,
    cost_of: CostOf | None = None,
    show: Iterable[str] = (),
) -> Look:
    """Ask one engine about these jobs, once. `show` are ids of running jobs whose events are read. Writes nothing."""
    try:
        seen = await _observe(jobs, engine, together)
    except EngineError as error:
        return Look(trouble=error)
    shown = set(show)
    said = await engine_time(engine)
    sightings = await together(
        [
            partial(_sight, one, seen[one.job_id], engine=engine, clock=clock, said=said, cost_of=cost_of, events=one.job_id in shown)
            for one in jobs
            if one.job_id in seen
        ]
    )
    return Look(sightings=tuple(sightings), missing=tuple(one for one in jobs if one.job_id not in seen))


async def _observe(jobs: Sequence[Watched], engine: Engine, together: Together) -> dict[str, ObservedJob]:
    wanted = {one.job_id for one in jobs}
    seen: dict[str, ObservedJob] = {}
    if len(jobs) >= LIST_FROM:
        since = max(0, int(min(one.created_at for one in jobs)) - 60)
        listing = await engine.find_jobs(since=since)
        seen = {job.id: job for job in listing.items if job.id in wanted}
    for job in await together([partial(engine.job, job_id) for job_id in sorted(wanted - seen.keys())]):
        if job is not None:
            seen[job.id] = job
    return seen


async def _sight(
    one: Watched, job: ObservedJob, *, engine: Engine, clock: Clock, said: int | None, cost_of: CostOf | None, events: bool
) -> Sighting:
    at = rfc3339(clock.now())
    nameless = job.status is JobStatus.SUCCEEDED and job.model is None
    if job.status.terminal and not (nameless and _may_be_named(one, job, clock, said)):
        step, metrics = newest_metrics(await _events(engine, job.id))
        values = facts.ended(job, checkpoints=await _checkpoints(engine, job.id), metrics=metrics, cost=_cost(one, job, cost_of))
        fact = JobFact(key=one.key, attempt=one.attempt, at=at, values=values)
        return Sighting(watched=one, job=job, fact=fact, ended=True, metrics=metrics, step=step)
    change: JobFact | None = None
    if not nameless and (job.status, job.raw_status, job.estimated_finish) != (one.status, one.raw_status, one.estimated_finish):
        change = JobFact(key=one.key, attempt=one.attempt, at=at, values=facts.observed(job))
    step, metrics = newest_metrics(await _events(engine, job.id)) if events and job.status is JobStatus.RUNNING else (None, {})
    return Sighting(watched=one, job=job, fact=change, ended=False, metrics=metrics, step=step)


def _may_be_named(one: Watched, job: ObservedJob, clock: Clock, said: int | None) -> bool:
    """Whether a job that succeeded so short a time ago may still be given its model."""
    if one.nameless_since is None:
        one.nameless_since = clock.monotonic()
    finished = job.finished_at or job.created_at
    ages = [clock.monotonic() - one.nameless_since, clock.now() - finished - DAY]  # our clock may be wrong by hours
    if said is not None:
        ages.append(said - finished)
    return max(ages) < MODEL_WINDOW


def _cost(one: Watched, job: ObservedJob, cost_of: CostOf | None) -> tuple[float, str] | None:
    if cost_of is None or job.trained_tokens is None:
        return None
    return cost_of(one.engine, job.base_model, one.method, job.trained_tokens)


async def _events(engine: Engine, job_id: str) -> Sequence[JobEvent]:
    try:
        return (await engine.events(job_id)).items
    except EngineError:
        return ()


async def _checkpoints(engine: Engine, job_id: str) -> Sequence[Checkpoint]:
    try:
        return await engine.checkpoints(job_id)
    except EngineError:
        return ()


async def wait_until_served(model: str, *, engine: Engine, clock: Clock) -> None:
    """Wait until the engine lists a model: a job that succeeded is not yet a model that answers.

    Some engines never list what they trained, so this gives up silently.
    """
    began, pause = clock.monotonic(), 1.0
    while clock.monotonic() - began < SERVED_WINDOW:
        try:
            if any(one.get("id") == model for one in await engine.models()):
                return
        except EngineError:
            pass
        await clock.sleep(pause)
        pause = min(pause * 2, 15.0)


def newest_metrics(events: Iterable[JobEvent]) -> tuple[int | None, dict[str, float | None]]:
    """Return the last step that any event tells, and the newest value of each metric. Order is not trusted."""
    told = [event for event in events if event.type == "metrics" and event.data]
    told.sort(key=lambda event: (event.time, _step(event.data) or 0))
    values: dict[str, float | None] = {}
    step = None
    for event in told:
        step = _step(event.data) or step
        for name, value in event.data.items():
            if name not in {"step", "total_steps"} and not isinstance(value, str) and (figure := number(value)) is not None:
                values[name] = figure
    return step, values


def _step(data: Mapping[str, Any]) -> int | None:
    step = data.get("step")
    return step if isinstance(step, int) else None
