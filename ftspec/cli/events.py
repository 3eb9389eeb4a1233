"""Show what an engine says about a job, step by step."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from ftspec.cli import _console
from ftspec.cli._options import project_options
from ftspec.printable import printable, redacted

if TYPE_CHECKING:
    from ftspec.engines.base import Engine, JobEvent
    from ftspec.pipeline.planning import Loaded
    from ftspec.pipeline.project import Project
    from ftspec.record import RecordedJob


@click.command()
@click.argument("job")
@project_options
@click.option("--follow", is_flag=True, help="Go on until the job has ended.")
@click.option("--every", type=click.FloatRange(min=0.2), default=2.0, show_default=True, metavar="SECONDS", help="How often --follow asks.")
@click.option("--engine", metavar="NAME", help="Ask this engine about a job id that state does not know.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(project: Project, job: str, *, follow: bool, every: float, engine: str | None, as_json: bool) -> None:
    r"""Show what an engine says about a job, step by step, oldest first.

    JOB is an address, a selector of one job, or the engine's own job id.

    \b
        ftspec events triage/base_model=sandbox-mini,epochs=3,seed=1
        ftspec events ftjob-abc123 --follow
    """
    import asyncio

    from ftspec.pipeline.planning import load

    loaded = load(project)
    name, job_id, known = _which(loaded, job, engine)
    asyncio.run(_show(loaded, name, job_id, known, every=every if follow else None, as_json=as_json))


def _which(loaded: Loaded, job: str, engine: str | None) -> tuple[str, str, list[RecordedJob]]:
    """Return the engine's name, its id of the job, and the record that says whose job it is."""
    if engine is not None:
        return engine, job, []
    from ftspec.cli._records import NotOneJob, only
    from ftspec.pipeline.planning import state_of

    state, problems = state_of(loaded.project, loaded.spec).read()
    _console.show(problems)
    record = only(state, job)
    if record.last.engine_job_id is None:
        raise NotOneJob(f"{record.address} is not on its engine ({record.status})", help=f"`ftspec status '{record.address}'` says more")
    return record.engine, record.last.engine_job_id, [record]


async def _show(loaded: Loaded, name: str, job_id: str, known: list[RecordedJob], *, every: float | None, as_json: bool) -> None:
    import asyncio

    from ftspec.diagnostics import FtspecError
    from ftspec.engines.base import EngineError
    from ftspec.pipeline.session import Session

    async with Session(loaded.project, loaded.spec) as session:
        session.remember(known)
        engine = session.engine(name)
        seen: set[str] = set()
        try:
            while True:
                # The status first: events that come after it are asked for once more.
                ended = every is None or await _ended(engine, job_id)
                complete = await _write_new(engine, job_id, seen, as_json=as_json)
                if every is None or ended:
                    break
                await asyncio.sleep(every)
        except EngineError as error:
            raise FtspecError(f"`{name}` did not say: {error.message}") from None
    if not complete:
        _console.warn("the engine's list broke off; there may be more events")


async def _ended(engine: Engine, job_id: str) -> bool:
    job = await engine.job(job_id)
    return job is None or job.status.terminal


async def _write_new(engine: Engine, job_id: str, seen: set[str], *, as_json: bool) -> bool:
    with _console.waiting("asking for events") if not seen else nullcontext():
        listing = await engine.events(job_id)
    for event in listing.items:
        if event.id not in seen:
            seen.add(event.id)
            _console.out(_as_json(event) if as_json else _as_text(event))
    return listing.complete


def _as_text(event: JobEvent) -> str:
    level = "" if event.level == "info" else f"{event.level}: "
    return f"{_utc(event.time)}  {level}{printable(redacted(event.message))}"


def _as_json(event: JobEvent) -> str:
    import json

    from ftspec.render.json import harmless

    value: dict[str, Any] = {"id": event.id, "time": _utc(event.time), "level": event.level, "type": event.type}
    return redacted(harmless(json.dumps({**value, "message": event.message, "data": dict(event.data)})))


def _utc(seconds: int) -> str:
    import datetime as dt

    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
