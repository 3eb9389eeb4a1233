"""What an engine's own list says before something is bought there: free slots, and jobs that are ours already.

An engine with unique keys answers a second request for one job with the first job. Any other may
have been given our jobs by another clone of the project, or by a run whose state is lost; where
it keeps labels, its list shows them. So that list is never older than `FRESH` when
something is bought, and what it shows is adopted instead of bought again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ftspec.engines.base import EngineError
from ftspec.engines.request import ATTEMPT
from ftspec.executor.clock import engine_time
from ftspec.executor.matching import LABEL, LOST, seniority
from ftspec.executor.queue import Queue, queue_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ftspec.engines.base import Engine, ObservedJob
    from ftspec.executor.effects import Effects
    from ftspec.experiment import Limits
    from ftspec.record import RecordedJob

LOOK_BACK = 30 * 86_400
"""How far back jobs are looked for: those that take slots, and those that carry our keys (seconds)."""

FRESH = 30.0
"""How old the list may be when something is bought that somebody else could have bought too (seconds)."""

LISTS = 3
"""How often the list is asked for when it breaks off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What one look at the list showed, and the engine's time."""

    jobs: Sequence[ObservedJob]
    said: int | None


class Census:
    """What is known of all jobs of one account. `known` are the ids that state has."""

    def __init__(self, engine: Engine, limits: Limits, *, effects: Effects, recorded: Iterable[RecordedJob]) -> None:
        self._engine, self._limits, self._effects = engine, limits, effects
        self._recorded = list(recorded)
        self.known = {a.engine_job_id for record in self._recorded for a in record.attempts if a.engine_job_id}
        self.known.update(extra for record in self._recorded for extra in record.duplicates)
        self.queue: Queue | None = None
        self._ours: dict[str, dict[str, ObservedJob]] = {}
        self._said: int | None = None
        self._offset = 0.0
        self._at = (0.0, 0.0)
        self._limited = limits.max_running is not None or limits.per_day is not None
        self._shared = engine.profile.metadata and not engine.profile.unique_keys

    def now(self) -> float:
        """Return the engine's time as far as it is known."""
        return self._effects.clock.now() + self._offset

    @property
    def due(self) -> bool:
        """Whether the list has to be seen before the next purchase."""
        return self.queue is None or self._stale

    @property
    def _stale(self) -> bool:
        # One of the two clocks stands still while a laptop sleeps, the other may jump.
        ages = (abs(now - then) for now, then in zip(self._moment(), self._at, strict=True))
        return self._shared and max(ages) > FRESH

    def _moment(self) -> tuple[float, float]:
        return self._effects.clock.monotonic(), self._effects.clock.now()

    async def take(self, pause: float = 0.0) -> Counted:
        """Look at the list, after a pause."""
        if pause:
            await self._effects.clock.sleep(pause)
        for again in range(LISTS):
            listed, complete = await self._list()
            if complete:
                break
            await self._effects.clock.sleep(2.0**again)
        # Incomplete still: what is known is a lower bound, and the engine itself refuses what is too much.
        return Counted(jobs=listed, said=await engine_time(self._engine))

    async def _list(self) -> tuple[Sequence[ObservedJob], bool]:
        if not self._limited and not self._shared:
            return (), True
        try:
            listing = await self._engine.find_jobs(since=int(self.now()) - LOOK_BACK)
        except EngineError:
            return (), False
        return listing.items, listing.complete

    def learn(self, counted: Counted) -> None:
        """Take in what a look at the list showed."""
        self._at = self._moment()
        if counted.said is not None and counted.said != self._said:
            # Only what it says anew tells how far its clock is from ours: it may be its last word of long ago.
            self._said, self._offset = counted.said, counted.said - self._effects.clock.now()
        if self.queue is None:
            self.queue = queue_of(self._limits, recorded=self._recorded, listed=counted.jobs, now=self.now())
        else:
            self.queue.observe(counted.jobs)
        for job in counted.jobs:
            label = job.metadata.get(LABEL)
            if label is not None and job.id not in self.known and job.status not in LOST:
                self._ours.setdefault(label, {})[job.id] = job

    def already(self, key: str, nth: int) -> ObservedJob | None:
        """Return the job that would be bought again by buying the `nth` of this key: the oldest that state does not know. Forgets all of the key.

        Who buys a second one knows the first and wants another, so only a second one counts then.
        """
        there = self._ours.pop(key, {}).values()
        return min((job for job in there if nth == 1 or job.metadata.get(ATTEMPT) == str(nth)), key=seniority, default=None)
