"""Buys one job: a durable intent, one POST, a durable outcome.

The engine may have taken a job although its answer was lost, so nothing here asks twice for
something that might have happened. Only two repetitions exist: after `NotSent` (no connection
was made), and, where the engine promises that one `Idempotency-Key` buys one job, after an
unknown outcome.

An intent without an outcome is an *open intent*; `settle.py` finds out what became of it, now or
on any later run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ftspec.engines.base import EngineError, JobRequest, NotSent, Refused, UnknownOutcome
from ftspec.executor import facts
from ftspec.executor.clock import engine_time
from ftspec.executor.journal import StateNotWritten
from ftspec.executor.matching import OpenIntent
from ftspec.executor.progress import Launching
from ftspec.printable import printable
from ftspec.record import JobError, JobStatus, Origin

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ftspec.actions import LaunchJob
    from ftspec.engines.base import Engine, ObservedJob
    from ftspec.executor.effects import Effects
    from ftspec.state.base import JobFact

REPEATS = 3
"""How often a request is sent again where that is safe."""

EARLIER = 5
"""A job that an engine says is this many seconds older than our request existed before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """One launch with everything that its request needs.

    `attempt` numbers the record, `nth` the jobs of this key: attempts that bought nothing do not count.
    It is what the engine is told, so that an engine with unique keys answers the launch that
    follows a lost one with the job of the lost one, should that exist after all.
    """

    launch: LaunchJob
    attempt: int
    nth: int
    body: Mapping[str, Any]
    training_file: str
    validation_file: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bought:
    """The job exists and is recorded."""

    job: ObservedJob
    adopted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NotBought:
    """Nothing was bought, and that is recorded. `quota` as in `Refused`."""

    error: JobError
    quota: str | None = None
    retry_after: float | None = None
    status: int | None = None
    sent: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class InTheDark:
    """It may or may not have been bought; the intent stays open, and is what to look for."""

    error: JobError
    intent: OpenIntent


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRecorded:
    """The job exists and state could not be written: its intent is durable, nothing more may be bought."""

    job: ObservedJob
    why: StateNotWritten


class NotTried:
    """Somebody asked to stop before anything was written or sent."""


Outcome: TypeAlias = Bought | NotBought | InTheDark | NotRecorded | NotTried


async def buy(purchase: Purchase, *, engine: Engine, effects: Effects, known: set[str] | None = None) -> Outcome:
    """Buy one job (`StateNotWritten`: the intent could not be written and nothing was sent).

    `known` are the ids of the jobs that state has; the new one is added to them.
    """
    launch, attempt = purchase.launch, purchase.attempt
    journal, clock, run = effects.journal, effects.clock, effects.options.run
    if effects.stop.requested is not None:
        return NotTried()
    request = JobRequest(key=launch.key, attempt=purchase.nth, body=purchase.body)
    said = await engine_time(engine)
    intent = facts.intent(
        launch,
        purchase.body,
        attempt=attempt,
        files=(purchase.training_file, purchase.validation_file),
        at=clock.now(),
        engine_time=said,
        options=effects.options,
    )
    journal.append(intent)
    effects.progress(Launching(address=launch.job.address, engine=launch.job.engine, attempt=attempt))
    try:
        job = await _post(engine, request, effects)
        if known is not None:
            _must_be_new(job, known, engine)
    except NotSent as error:
        why = JobError(code="not_sent", message=error.message)
        journal.append(facts.not_bought(launch.key, attempt, JobStatus.ABSENT, why, at=clock.now(), launch=run))
        return NotBought(error=why, sent=False)
    except Refused as error:
        why = facts.error_of(error)
        journal.append(facts.not_bought(launch.key, attempt, JobStatus.REFUSED, why, at=clock.now(), launch=run))
        return NotBought(error=why, quota=error.quota, retry_after=error.retry_after, status=error.status)
    except EngineError as error:
        why = facts.error_of(error)
        journal.append(facts.unsettled(launch.key, attempt, why, at=clock.now()))
        return InTheDark(error=why, intent=_open(launch, intent))
    adopted = said is not None and job.created_at < said - EARLIER
    origin = Origin.ADOPTED if adopted else Origin.LAUNCHED
    try:
        journal.append(facts.bought(launch.key, attempt, job, at=clock.now(), origin=origin, launch=run))
    except StateNotWritten as error:
        return NotRecorded(job=job, why=error)
    return Bought(job=job, adopted=adopted)


def _must_be_new(job: ObservedJob, known: set[str], engine: Engine) -> None:
    """Raise `UnknownOutcome` if the answer is another launch's: caches, and servers that mix up answers, give one job out twice."""
    if job.id in known and not engine.profile.unique_keys:
        raise UnknownOutcome(f"the launch was answered with job `{printable(job.id)}`, which another launch became")
    known.add(job.id)


def _open(launch: LaunchJob, intent: JobFact) -> OpenIntent:
    return OpenIntent(
        key=launch.key,
        address=launch.job.address,
        attempt=intent.attempt,
        requested=intent.values["requested"],
        intent_at=intent.at,
        engine_time=intent.values.get("engine_time"),
        launches=((intent.attempt, intent.values["launch"]),) if "launch" in intent.values else (),
    )


async def _post(engine: Engine, request: JobRequest, effects: Effects) -> ObservedJob:
    """Send one request, again only where a second one cannot buy a second job."""
    pause = 0.5
    unknown: EngineError | None = None
    for repeat in range(REPEATS + 1):
        if repeat:
            await effects.clock.sleep(pause * (0.75 + effects.random.random() / 2))
            pause *= 2
            if effects.stop.requested is not None:
                break
        try:
            return await engine.create_job(request)
        except NotSent as error:
            last: EngineError = error
        except Refused:
            # An earlier request of ours may have become a job all the same: only a lookup can tell.
            if unknown is not None:
                raise unknown from None
            raise
        except EngineError as error:
            last = unknown = error
            if not engine.profile.idempotency_key:
                break
    raise unknown or last
