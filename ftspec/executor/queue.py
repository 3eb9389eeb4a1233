"""How many jobs an engine may be given now, and when the next one.

Nothing is kept anywhere: the queue follows from what state recorded and what the engine lists, so
it survives restarts and sees what others bought. Times are the engine's where it tells them.

- `max_running` jobs may run at once, of which `leave_free` stay free for others;
- `per_day` jobs may be created in any 24 hours;
- an engine that refuses because a limit is reached closes the queue for a while, whatever was
  declared; then one launch finds out whether it is open again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ftspec.executor.clock import seconds_of
from ftspec.planner.quota import MARGIN as PLANNED_MARGIN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ftspec.engines.base import ObservedJob
    from ftspec.experiment import Limits
    from ftspec.record import RecordedJob

DAY = 86_400.0
MARGIN = PLANNED_MARGIN.total_seconds()

_PROBE = {"daily": 900.0, "concurrent": 60.0, "rate": 20.0}
_LONGEST_PROBE = 3600.0
_REFUSED = {
    "daily": "the engine's own daily limit",
    "concurrent": "the engine's own limit of running jobs",
    "rate": "the engine's own rate limit",
}


@dataclass(slots=True)
class Queue:
    """The slots of one engine entry. A launch counts by its key until its job's id is known."""

    limits: Limits
    created: dict[str, float] = field(default_factory=dict)
    """When jobs were created, by id; those of the last day matter."""
    running: set[str] = field(default_factory=set)
    """Ids of jobs that take a slot."""
    closed_until: float = 0.0
    closed_by: str | None = None
    refusals: int = 0
    probe: str | None = None
    """Key of the one launch that finds out whether a closed queue is open again."""

    def free(self, now: float) -> int | None:
        """Return how many jobs may be created now; `None`: as many as one likes."""
        if self.probe is not None or now < self.closed_until:
            return 0
        slots = [1] if self.closed_by is not None else []
        if self.limits.max_running is not None:
            slots.append(self.limits.max_running - self.limits.leave_free - len(self.running))
        if self.limits.per_day is not None:
            slots.append(self.limits.per_day - len(self._today(now)))
        return max(0, min(slots)) if slots else None

    def next_at(self, now: float) -> float | None:
        """Return when a slot will be free; `None`: when some job ends, which nobody knows."""
        at = self.closed_until if self.closed_until > now else 0.0
        per_day = self.limits.per_day
        if per_day is not None and len(today := self._today(now)) >= per_day > 0:
            at = max(at, today[-per_day] + DAY + MARGIN)
        return at or None

    def promised_at(self, now: float) -> float | None:
        """Return when a slot will be free at the latest, to be shown; `None`: nobody knows.

        A daily limit of the engine's own also counts jobs that we do not see. One of those may be older
        than all that we see, so it is tried earlier.
        """
        today = self._today(now) if self.closed_by == "daily" else []
        return today[0] + DAY + MARGIN if today else self.next_at(now)

    def why(self, now: float) -> str:
        """Return what holds launches back, as a phrase."""
        if self.closed_by is not None:
            return _REFUSED[self.closed_by]
        if self.limits.per_day is not None and len(self._today(now)) >= self.limits.per_day:
            return f"per_day: {self.limits.per_day}"
        left = f", leave_free: {self.limits.leave_free}" if self.limits.leave_free else ""
        return f"max_running: {self.limits.max_running}{left}"

    def asked(self, key: str, now: float) -> None:
        """Take a slot for a request that goes out."""
        self.created[key] = now
        self.running.add(key)
        if self.closed_by is not None:
            self.probe = key

    def taken(self, key: str, job_id: str) -> None:
        """Give the slot of a request to its job."""
        self.created[job_id] = self.created.pop(key, 0.0)
        self.running.discard(key)
        self.running.add(job_id)
        self.refusals, self.closed_by = 0, None
        self._probed(key)

    def in_doubt(self, key: str) -> None:
        """Wait no longer for a launch that no list shows: if it runs after all, the engine refuses what is too much."""
        self.running.discard(key)
        self._probed(key)

    def given_back(self, key: str) -> None:
        """Free the slot of a request that bought nothing."""
        self.created.pop(key, None)
        self.running.discard(key)
        self._probed(key)

    def ended(self, job_id: str) -> None:
        """Free the slot of a job that ended; what was refused because too many ran may be tried again."""
        self.running.discard(job_id)
        if self.closed_by == "concurrent":
            self.closed_until = 0.0

    def refused(self, quota: str, now: float, retry_after: float | None) -> None:
        """Close the queue for a while, because the engine said that a limit is reached."""
        pause = min(_PROBE[quota] * 2**self.refusals, _LONGEST_PROBE)
        self.refusals += 1
        self.closed_by = quota
        self.closed_until = now + max(pause, retry_after or 0.0)

    def observe(self, listed: Iterable[ObservedJob]) -> None:
        """Take in what the engine lists: others buy and end jobs too."""
        for job in listed:
            self.created[job.id] = float(job.created_at)
            (self.running.discard if job.status.terminal else self.running.add)(job.id)

    def _probed(self, key: str) -> None:
        if self.probe == key:
            self.probe = None

    def _today(self, now: float) -> list[float]:
        return sorted(at for at in self.created.values() if at > now - DAY - MARGIN)


def _asked_at(record: RecordedJob) -> float:
    asked = (record.open or (record.last,))[-1]
    return float(asked.engine_time or seconds_of(asked.intent_at or "1970-01-01T00:00:00Z"))


def queue_of(limits: Limits, *, recorded: Iterable[RecordedJob], listed: Iterable[ObservedJob], now: float) -> Queue:
    """Return the queue of an engine entry as state and the engine tell it; a job that both know counts once."""
    queue = Queue(limits=limits)
    for record in recorded:
        for attempt in record.attempts:
            if attempt.engine_job_id is not None:
                if attempt.created_at is not None:
                    queue.created[attempt.engine_job_id] = seconds_of(attempt.created_at)
                if not attempt.status.terminal:
                    queue.running.add(attempt.engine_job_id)
        if record.doubtful:
            # It may be one of today's jobs; whether it runs, the engine's list says.
            queue.created[record.key] = _asked_at(record)
    queue.observe(listed)
    queue.created = {one: at for one, at in queue.created.items() if at > now - DAY - MARGIN}
    return queue
