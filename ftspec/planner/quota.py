"""What an engine's declared limits make of a plan's launches.

`per_day` counts launches of a rolling 24 hours: a slot is free again one day after the launch
that took it. Only launches that state knows are counted, so the answer is the earliest
possible one: other projects of the same account are invisible.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ftspec.actions import LaunchJob, Quota
from ftspec.record import purchases

if TYPE_CHECKING:
    from ftspec.experiment import Spec
    from ftspec.record import State

DAY = dt.timedelta(days=1)
MARGIN = dt.timedelta(seconds=5)
"""Added to the end of a rolling window, for clocks that nearly agree."""


def quotas(launches: Iterable[LaunchJob], spec: Spec, state: State, now: str) -> tuple[Quota, ...]:
    """Return one quota for each engine that has limits and something to launch."""
    wanted = Counter(launch.job.engine for launch in launches)
    return tuple(_quota(name, count, spec, state, now) for name, count in sorted(wanted.items()) if _limited(spec, name))


def _limited(spec: Spec, engine: str) -> bool:
    entry = spec.engines.get(engine)
    return entry is not None and (entry.limits.per_day is not None or entry.limits.max_running is not None)


def _quota(engine: str, launches: int, spec: Spec, state: State, now: str) -> Quota:
    entry = spec.engines[engine]
    per_day = entry.limits.per_day
    used, next_slot = 0, None
    if per_day:
        used, next_slot = _used(state, entry.scope, per_day, now)
    return Quota(
        engine=engine,
        launches=launches,
        per_day=per_day,
        max_running=None if entry.limits.max_running is None else max(0, entry.limits.max_running - entry.limits.leave_free),
        used_today=used,
        days=_days(launches, per_day, used),
        next_slot_at=next_slot,
    )


def next_slots(spec: Spec, state: State, now: str) -> dict[str, str]:
    """Return when there will be a slot again on each engine whose daily limit is used up, as far as state knows."""
    used = {name: _used(state, entry.scope, entry.limits.per_day, now) for name, entry in spec.engines.items() if entry.limits.per_day}
    return {name: at for name, (_, at) in sorted(used.items()) if at is not None}


def _used(state: State, scope: str, per_day: int, now: str) -> tuple[int, str | None]:
    """Return how many launches of the day are taken, and when the next one is possible if none is left."""
    taken = launch_times(state, scope, since=dt.datetime.fromisoformat(now) - DAY - MARGIN)
    return len(taken), _rfc3339(taken[-per_day] + DAY + MARGIN) if len(taken) >= per_day else None


def _days(launches: int, per_day: int | None, used: int) -> int:
    if not per_day:
        return 1
    later = launches - max(per_day - used, 0)
    return 1 if later <= 0 else 1 + -(-later // per_day)


def launch_times(state: State, scope: str, *, since: dt.datetime) -> list[dt.datetime]:
    """Return when jobs were bought in a scope after `since`, oldest first."""
    bought = purchases(record for record in state.jobs.values() if record.scope == scope)
    said = (attempt.created_at or attempt.intent_at for _, attempt in bought if attempt.status.bought)
    return sorted(when for at in said if at and (when := dt.datetime.fromisoformat(at)) > since)


def _rfc3339(when: dt.datetime) -> str:
    return when.astimezone(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
