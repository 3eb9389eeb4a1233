"""Watches the unfinished jobs of one engine: when to ask, how often, and whom to tell.

After news the next question follows soon; without any, pauses grow, with jitter. No pause ends a
job and no silence does; a job that its engine stopped showing is given up after many rounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from ftspec.executor import progress as said
from ftspec.executor.clock import rfc3339
from ftspec.executor.watch import Look, Sighting, Together, Watched, look

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftspec.engines.base import Engine, ObservedJob
    from ftspec.executor.effects import Effects

NEAR = (0.15, 2.0)
"""Shortest and longest pause between questions to an engine in this process (seconds)."""

FAR = (1.0, 60.0)
"""The same for one behind a network."""

SHOWN = 4
"""Running jobs whose events are read each time, in turn."""

UNSEEN = 30
"""Rounds in which the engine does not show a job before it is given up."""


class Watching(Protocol):
    """Who wants to know what became of jobs."""

    def ended(self, one: Watched, job: ObservedJob, values: Mapping[str, Any]) -> None:
        """Take notice of a job's end; `values` is what was recorded of it."""
        ...

    def vanished(self, one: Watched) -> None:
        """Take notice that the engine does not show a job any more."""
        ...


class Watcher:
    """The unfinished jobs of one engine."""

    def __init__(self, name: str, engine: Engine, *, effects: Effects, together: Together, tell: Watching) -> None:
        self._name, self._engine, self._effects, self._together, self._tell = name, engine, effects, together, tell
        self._shortest, self._longest = NEAR if engine.profile.in_process else FAR
        self._jobs: dict[str, Watched] = {}
        self._unseen: dict[str, int] = {}
        self._pause = 0.0
        self._turn = 0

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: Watched) -> None:
        """Watch a job."""
        self._jobs[job.job_id] = job
        self._pause = 0.0

    def remove(self, job_id: str) -> Watched | None:
        """Watch a job no longer."""
        self._unseen.pop(job_id, None)
        return self._jobs.pop(job_id, None)

    async def poll(self) -> Look:
        """Pause, then ask about all jobs once."""
        await self._effects.clock.sleep((self._pause or self._shortest) * (0.9 + self._effects.random.random() / 5))
        jobs = list(self._jobs.values())
        shown = {jobs[(self._turn + i) % len(jobs)].job_id for i in range(min(SHOWN, len(jobs)))}
        self._turn += SHOWN
        effects = self._effects
        return await look(jobs, engine=self._engine, clock=effects.clock, together=self._together, cost_of=effects.cost_of, show=shown)

    def learn(self, seen: Look) -> None:
        """Record what one round told, then tell it."""
        self._pause = min((self._pause or self._shortest) * 1.5, self._longest)
        if seen.trouble is not None:
            self._effects.progress(said.EngineTrouble(engine=self._name, message=seen.trouble.message, retry_in=self._pause))
            return
        learned = [sighting.fact for sighting in seen.sightings if sighting.fact is not None]
        if learned:
            self._effects.journal.append(*learned)
            self._pause = 0.0
        for sighting in seen.sightings:
            self._take(sighting)
        for one in seen.missing:
            self._unseen[one.job_id] = self._unseen.get(one.job_id, 0) + 1
            if self._unseen[one.job_id] >= UNSEEN and self.remove(one.job_id) is not None:
                self._tell.vanished(one)

    def _take(self, sighting: Sighting) -> None:
        one, job = sighting.watched, sighting.job
        self._unseen.pop(job.id, None)
        first_estimate = one.estimated_finish is None and job.estimated_finish is not None and not job.status.terminal
        if (job.status, job.raw_status) != (one.status, one.raw_status) or first_estimate:
            self._tell_status(one, job)
        if sighting.metrics and sighting.step != one.step and not sighting.ended:
            one.step = sighting.step
            self._effects.progress(said.Metrics(address=one.address, engine=self._name, step=sighting.step, values=sighting.metrics))
        one.status, one.raw_status, one.estimated_finish = job.status, job.raw_status, job.estimated_finish
        if sighting.ended and sighting.fact is not None and self.remove(job.id) is not None:
            self._tell.ended(one, job, sighting.fact.values)

    def _tell_status(self, one: Watched, job: ObservedJob) -> None:
        self._effects.progress(
            said.StatusChanged(
                address=one.address,
                engine=self._name,
                engine_job_id=job.id,
                old=one.status,
                new=job.status,
                raw=job.raw_status,
                estimated_finish=None if job.estimated_finish is None else rfc3339(job.estimated_finish),
            )
        )
