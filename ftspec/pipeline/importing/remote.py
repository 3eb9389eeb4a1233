"""The jobs of engines that state does not know: bought by hand, by other tools, by somebody else."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ftspec.diagnostics import FtspecError
from ftspec.engines.base import EngineError
from ftspec.executor.matching import LABEL, seniority
from ftspec.pipeline.importing.one import known_ids
from ftspec.pipeline.planning import InvalidSpec, load, state_of, want
from ftspec.pipeline.session import Session
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.engines.base import Engine, ObservedJob
    from ftspec.experiment import Spec
    from ftspec.pipeline.planning import Loaded
    from ftspec.pipeline.project import Project
    from ftspec.record import State


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteJob:
    """A job that state does not know. `fits` is the address whose key it carries, if it is one of the spec's."""

    engine: str
    job: ObservedJob
    fits: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """What engines have. `trouble` are those that could not be asked, `cut` those whose lists were not whole."""

    jobs: Sequence[RemoteJob] = ()
    trouble: Mapping[str, str] = field(default_factory=dict)
    cut: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()


def unknown_jobs(project: Project, *, engine: str | None = None) -> Remote:
    """Ask the engines that the spec uses (or only one) for the jobs that state does not know, oldest first."""
    loaded = load(project)
    state, problems = state_of(project, loaded.spec).read()
    if any(problem.severity == "error" for problem in problems):
        raise InvalidSpec(problems)
    names = used_engines(loaded.spec) if engine is None else [engine]

    async def ask() -> Remote:
        async with Session(project, loaded.spec) as session:
            session.remember(state.jobs.values())
            return await _ask(names, loaded, state, session)

    return asyncio.run(ask())


def used_engines(spec: Spec) -> list[str]:
    """Return the engines that the spec declares or that its jobs train on, sorted."""
    return sorted({job.engine for job in spec.jobs} | {entry.name for entry in spec.engines.values() if entry.at is not None})


async def _ask(names: Sequence[str], loaded: Loaded, state: State, session: Session) -> Remote:
    jobs: list[RemoteJob] = []
    trouble: dict[str, str] = {}
    cut = []
    addresses = _addresses(loaded)
    seen: set[str] = set()
    for name in names:
        scope = session.entry(name).scope
        if scope in seen:
            continue
        seen.add(scope)
        try:
            found, complete = await unknown_on(session.engine(name), known_ids(state, scope))
        except (EngineError, FtspecError) as error:
            trouble[name] = printable(error.message) + (f"; {help_}" if (help_ := getattr(error, "help", None)) else "")
            continue
        if not complete:
            cut.append(name)
        jobs += [RemoteJob(engine=name, job=job, fits=addresses.get(job.metadata.get(LABEL, ""))) for job in found]
    return Remote(jobs=jobs, trouble=trouble, cut=tuple(cut), asked=tuple(names))


async def unknown_on(engine: Engine, known: Collection[str]) -> tuple[list[ObservedJob], bool]:
    """Return an engine's jobs that are not known, oldest first, and whether its list was whole."""
    listing = await engine.find_jobs()
    return sorted((job for job in listing.items if job.id not in known), key=seniority), listing.complete


def _addresses(loaded: Loaded) -> dict[str, str]:
    """Return the address of each key; nothing where the datasets cannot be read."""
    try:
        return {one.key: one.job.address for one in want(loaded).jobs}
    except FtspecError:
        return {}
