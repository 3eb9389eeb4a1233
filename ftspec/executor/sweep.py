"""Two jobs with one key on an engine that cannot refuse the second: which one counts, and what happens to the others.

Two clones of a repository that apply at the same moment know nothing of each other. After launching,
each lists the engine's jobs and decides alike: the smallest (created_at, id) is kept; a job that
this clone bought, that is not the one kept and has not started, is cancelled; every other one is
recorded as a duplicate and reported. Jobs of the last day are looked at again by the next run,
because the one that bought them may have died before it looked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ftspec.engines.base import EngineError
from ftspec.engines.request import ATTEMPT
from ftspec.executor import facts
from ftspec.executor.clock import rfc3339, seconds_of
from ftspec.executor.matching import DAY, LABEL, LOST, seniority
from ftspec.executor.watch import newest_bought
from ftspec.record import JobStatus, Origin
from ftspec.state.base import JobFact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ftspec.engines.base import Clock, Engine, ObservedJob
    from ftspec.record import RecordedJob

PAUSES = (0.0, 30.0, 120.0)
"""Seconds after the last launch at which an engine is swept: lists lag, and the other clone may still be at it."""

AGAIN = 4
"""How often a sweep is made again because its list broke off."""

_STARTED = JobStatus.RUNNING.rank


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """A job that this clone bought."""

    key: str
    address: str
    attempt: int
    job_id: str
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubled:
    """A key with more than one job: `facts` to be recorded, `kept` the job that counts."""

    key: str
    kept: ObservedJob
    cancelled: tuple[str, ...]
    extra: tuple[str, ...]
    facts: tuple[JobFact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What one sweep found. Not `complete`: the list broke off, so there may be more."""

    doubled: tuple[Doubled, ...] = ()
    complete: bool = True


async def sweep(ours: Mapping[str, Ours], *, engine: Engine, clock: Clock) -> Swept:
    """Find the keys (of `ours`) that have more than one job on the engine, and cancel what may be cancelled. Writes nothing."""
    try:
        listing = await engine.find_jobs(since=int(min(one.created_at for one in ours.values())) - DAY)
    except EngineError:
        return Swept(complete=False)
    by_key: dict[str, dict[str, ObservedJob]] = {}
    for job in listing.items:
        key = job.metadata.get(LABEL)
        if key is not None and key in ours:
            by_key.setdefault(key, {})[job.id] = job
    doubled = []
    for key, jobs in by_key.items():
        one = ours[key]
        mine = jobs.get(one.job_id)
        # What was stopped before it cost anything, and an earlier attempt of ours, is no duplicate.
        live = [job for job in jobs.values() if job is mine or job.status not in LOST]
        if mine is not None and mine.status in LOST:
            # Nor is what another clone bought because ours came to nothing.
            live = [job for job in live if job.metadata.get(ATTEMPT) == mine.metadata.get(ATTEMPT)]
        if len(live) > 1:
            doubled.append(await _decide(one, sorted(live, key=seniority), engine=engine, clock=clock))
    return Swept(doubled=tuple(doubled), complete=listing.complete)


async def _decide(one: Ours, jobs: list[ObservedJob], *, engine: Engine, clock: Clock) -> Doubled:
    kept, *rest = jobs
    cancelled, extra = [], []
    stopped = []
    for job in rest:
        if job.id == one.job_id and job.status.rank < _STARTED:
            try:
                values = facts.observed(await engine.cancel(job.id))
            except EngineError:
                extra.append(job.id)
            else:
                cancelled.append(job.id)
                stopped.append(JobFact(key=one.key, attempt=one.attempt, at=rfc3339(clock.now()), values=values))
        else:
            extra.append(job.id)
    now = clock.now()
    new = [facts.bought(one.key, one.attempt, job, at=now, origin=Origin.ADOPTED) for job in jobs if job.id != one.job_id]
    return Doubled(
        key=one.key,
        kept=kept,
        cancelled=tuple(cancelled),
        extra=tuple(extra),
        facts=(*new, *stopped),
    )


def recent(recorded: Iterable[RecordedJob], now: float) -> dict[str, Ours]:
    """Return the recorded jobs of the last day, by key."""
    found = {}
    for record in recorded:
        last = newest_bought(record)
        if last is None or last.engine_job_id is None or last.created_at is None or record.duplicates:
            continue
        created = seconds_of(last.created_at)
        if created > now - DAY:
            found[record.key] = Ours(
                key=record.key, address=record.address, attempt=last.number, job_id=last.engine_job_id, created_at=created
            )
    return found


class Sweeper:
    """The sweeps of one engine during a walk: which are due, and what was found already."""

    def __init__(self, engine: Engine, *, clock: Clock, ours: dict[str, Ours]) -> None:
        self._engine, self._clock, self.ours = engine, clock, ours
        self._able = engine.profile.metadata and not engine.profile.unique_keys
        self._done = self._broken = 0
        self._seen: dict[str, tuple[str, ...]] = {}

    def add(self, one: Ours) -> None:
        """Take a job that was just bought: sweeping begins anew."""
        self.ours[one.key] = one
        self._done = self._broken = 0

    def due(self, *, wait: bool) -> bool:
        """Whether another sweep should be made; without `wait` only the first."""
        return self._able and bool(self.ours) and self._done < (len(PAUSES) if wait else 1)

    @property
    def optional(self) -> bool:
        """Whether the sweep that is due need not be waited for once everything else is done."""
        return self._done > 0

    async def sweep(self) -> Swept:
        """Wait until the next sweep is due, and make it."""
        before = PAUSES[self._done - 1] if self._done else 0.0
        await self._clock.sleep(2.0**self._broken if self._broken else PAUSES[self._done] - before)
        return await sweep(dict(self.ours), engine=self._engine, clock=self._clock)

    def learn(self, swept: Swept) -> list[Doubled]:
        """Return what is new of what a sweep found. One whose list broke off is made again, a few times."""
        if swept.complete or self._broken >= AGAIN:
            self._done, self._broken = self._done + 1, 0
        else:
            self._broken += 1
        new = []
        for one in swept.doubled:
            ids = (one.kept.id, *one.cancelled, *one.extra)
            if self._seen.get(one.key) != ids:
                self._seen[one.key] = ids
                new.append(one)
        return new
