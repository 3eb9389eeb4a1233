"""Asks engines about recorded jobs, once, and writes what changed: what `status` does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ftspec.executor import progress as said
from ftspec.executor.crew import AsyncioCrew
from ftspec.executor.journal import Journal
from ftspec.executor.result import CostOf, Refreshed, StatusChange
from ftspec.executor.watch import look, watched

if TYPE_CHECKING:
    from collections.abc import Collection

    from ftspec.engines.base import Clock
    from ftspec.executor.crew import Crew
    from ftspec.executor.doubt import Engines
    from ftspec.executor.progress import Progress
    from ftspec.executor.watch import Look, Watched
    from ftspec.experiment import Spec
    from ftspec.record import State
    from ftspec.state.base import StateWriter

SHOWN = 32
"""Running jobs whose metrics are asked for on each engine."""


async def refresh(  # noqa: PLR0913 what to ask, whom, and every effect
    *,
    spec: Spec,
    writer: StateWriter,
    engines: Engines,
    clock: Clock,
    progress: Progress = said.silent,
    keys: Collection[str] | None = None,
    everything: bool = False,
    cost_of: CostOf | None = None,
    state: State | None = None,
    crew: Crew | None = None,
) -> Refreshed:
    """Ask about unfinished jobs (`everything`: about finished ones too) of these keys, or of all.

    An engine that cannot be asked is reported, and the others are asked all the same.
    """
    state = state or writer.read()
    journal, crew = Journal(writer), crew or AsyncioCrew()
    by_scope: dict[str, list[Watched]] = {}
    for record in state.jobs.values():
        one = watched(record, finished=everything)
        if one is not None and (keys is None or record.key in keys):
            by_scope.setdefault(record.scope, []).append(one)
    changes: list[StatusChange] = []
    missing: list[str] = []
    trouble: dict[str, str] = {}
    for scope, jobs in sorted(by_scope.items()):
        name = next((entry.name for entry in spec.engines.values() if entry.scope == scope), None)
        if name is None:
            trouble[jobs[0].engine] = f"no engine of the spec buys in `{scope}`"
            continue
        engine = engines[name] if isinstance(engines, Mapping) else engines(name)
        shown = [one.job_id for one in jobs[:SHOWN]]
        seen = await look(jobs, engine=engine, clock=clock, together=crew.together, cost_of=cost_of, show=shown)
        if seen.trouble is not None:
            trouble[name] = seen.trouble.message
        changes += _record(seen, name, journal, progress)
        missing += [one.address for one in seen.missing]
    asked = sum(map(len, by_scope.values()))
    return Refreshed(changes=tuple(changes), asked=asked, missing=tuple(missing), trouble=trouble)


def _record(seen: Look, engine: str, journal: Journal, progress: Progress) -> list[StatusChange]:
    facts = [sighting.fact for sighting in seen.sightings if sighting.fact is not None]
    if facts:
        journal.append(*facts)
    changes = []
    for sighting in seen.sightings:
        one, job = sighting.watched, sighting.job
        if (one.status, one.raw_status) != (job.status, job.raw_status):
            changes.append(StatusChange(key=one.key, address=one.address, old=one.status, new=job.status, raw=job.raw_status))
        if sighting.metrics:
            progress(said.Metrics(address=one.address, engine=engine, step=sighting.step, values=sighting.metrics))
    return changes
