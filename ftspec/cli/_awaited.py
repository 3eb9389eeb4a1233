"""The jobs that `apply` and `status --watch` wait for, with when each should be done, for the live table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftspec.actions import Plan
    from ftspec.record import RecordedJob, State
    from ftspec.state.pace import Pace


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """A job that should end. `finish` is when (RFC 3339) if it runs already, `takes` how many seconds from its launch on if not."""

    address: str
    engine: str
    status: str | None = None
    finish: str | None = None
    takes: float | None = None


def of_plan(plan: Plan, state: State) -> list[Awaited]:
    """Return what a plan launches, and what it waits for."""
    from ftspec.actions import KeepJob, LaunchJob
    from ftspec.state.pace import Pace

    pace = Pace(state.jobs.values())
    launches = [
        Awaited(
            address=one.job.address,
            engine=one.job.engine,
            takes=pace.seconds(engine=one.job.engine, preimage=one.preimage, tokens=one.cost.tokens),
        )
        for one in plan.actions
        if isinstance(one, LaunchJob)
    ]
    return launches + _unfinished((one.record for one in plan.actions if isinstance(one, KeepJob)), pace)


def of_records(records: Iterable[RecordedJob], state: State) -> list[Awaited]:
    """Return the recorded jobs that have not ended."""
    from ftspec.state.pace import Pace

    return _unfinished(records, Pace(state.jobs.values()))


def _unfinished(records: Iterable[RecordedJob], pace: Pace) -> list[Awaited]:
    return [
        Awaited(
            address=record.address,
            engine=record.engine,
            status=record.last.raw_status or record.status.value,
            finish=record.last.estimated_finish or pace.finish(record),
        )
        for record in records
        if record.status.bought and not record.status.terminal
    ]
