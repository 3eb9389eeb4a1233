"""Asking engines: `status`, `plan --refresh`, and everything else that reads them and writes what changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ftspec.executor.progress import silent
from ftspec.executor.result import ApplyOptions, Refreshed, Settled
from ftspec.pipeline.planning import Loaded, PlanOptions, load, make_plan, profiles, state_of, want
from ftspec.pipeline.session import Session
from ftspec.pipeline.spending import Spending

if TYPE_CHECKING:
    from ftspec.executor.progress import Progress
    from ftspec.pipeline.planning import Planned
    from ftspec.pipeline.project import Project
    from ftspec.record import State
    from ftspec.state.base import StateWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What engines said and what state says now."""

    state: State
    refreshed: Refreshed
    settled: Settled
    notes: tuple[str, ...] = ()


def refresh(
    loaded: Loaded,
    *,
    keys: Collection[str] | None = None,
    everything: bool = False,
    progress: Progress = silent,
    command: str = "status",
    again: Callable[[Asked], float | None] = lambda _: None,
) -> Asked:
    """Ask the engines about unfinished jobs and launches in doubt; record and return what changed.

    `again` sees each answer and returns the seconds after which to ask once more, or `None`. Engines
    stay open in between (one that trains in this process goes on), the lock is free.
    """
    return asyncio.run(_refresh(loaded, keys, everything, progress, command, again))


async def _refresh(
    loaded: Loaded,
    keys: Collection[str] | None,
    everything: bool,  # noqa: FBT001 passed on
    progress: Progress,
    command: str,
    again: Callable[[Asked], float | None],
) -> Asked:
    async with Session(loaded.project, loaded.spec) as session:
        while True:
            with state_of(loaded.project, loaded.spec).lock(command) as writer:
                before = writer.read()
                asked = await _ask(loaded, session, writer, keys, everything, progress)
            asked = _notified(loaded, before, asked, command)
            seconds = again(asked)
            if seconds is None:
                return asked
            await asyncio.sleep(seconds)
            everything = False


def _notified(loaded: Loaded, before: State, asked: Asked, command: str) -> Asked:
    if not loaded.spec.notify or not command.startswith("status"):
        return asked
    from ftspec.pipeline.notifying import ended_keys, notify

    ended = set(ended_keys(before, asked.state))
    return replace(asked, notes=tuple(notify(loaded.project, loaded.spec, asked.state, ended, command="status")))


async def _ask(
    loaded: Loaded,
    session: Session,
    writer: StateWriter,
    keys: Collection[str] | None,
    everything: bool,  # noqa: FBT001 passed on
    progress: Progress,
) -> Asked:
    from ftspec.engines.clock import SystemClock
    from ftspec.executor.doubt import settle
    from ftspec.executor.refresh import refresh as ask

    clock = SystemClock()
    state = writer.read()
    settled = Settled()
    session.remember(state.jobs.values())
    if any(record.doubtful and not record.forgotten for record in state.jobs.values()):
        # One look at the lists now; the full settle window is apply's to wait for.
        settled = await settle(
            spec=loaded.spec, writer=writer, engines=session.engine, clock=clock, options=ApplyOptions(settle_window=0), state=state
        )
        state = writer.read()
    refreshed = await ask(
        spec=loaded.spec,
        writer=writer,
        engines=session.engine,
        clock=clock,
        progress=progress,
        keys=keys,
        everything=everything,
        cost_of=Spending(loaded.spec, profiles()).trained,
        state=state,
    )
    return Asked(state=writer.read(), refreshed=refreshed, settled=settled)


def refreshed_plan(project: Project, options: PlanOptions) -> Planned:
    """Make a plan after asking the engines."""
    loaded = load(project, sample=options.sample)
    wanted = want(loaded, buying=True)
    asked = refresh(loaded, command="plan --refresh")
    return make_plan(project, options, wanted=wanted, state=asked.state)
