"""Ask engines about unfinished jobs, record what changed, show where everything is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ftspec.cli import _console
from ftspec.cli._options import project_options
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.pipeline.planning import Loaded
    from ftspec.pipeline.project import Project
    from ftspec.pipeline.refreshing import Asked
    from ftspec.record import Attempt, RecordedJob, State
    from ftspec.state.pace import Pace

PARTLY = 4
_DETAILS = 3


@click.command()
@click.argument("select", nargs=-1, metavar="[SELECT]...")
@project_options
@click.option("--watch", is_flag=True, help="Keep asking until every job has ended.")
@click.option("--every", type=click.FloatRange(min=0.2), default=10.0, show_default=True, metavar="SECONDS", help="How often --watch asks.")
@click.option("--all", "everything", is_flag=True, help="Ask about finished jobs too.")
@click.option("--offline", is_flag=True, help="Ask nobody; show what state says.")
@click.option("--json", "as_json", is_flag=True, help="The records as JSON.")
def command(
    project: Project, select: tuple[str, ...], *, watch: bool, every: float, everything: bool, offline: bool, as_json: bool
) -> None:
    r"""Ask engines about unfinished jobs, record what changed, show where everything is.

    SELECT are addresses, globs, `status:failed`, `tag:k=v`, keys or engine job ids. One job is
    shown with its error, last events and what to do next. Exit 4 while a job is in doubt.

    \b
        ftspec status
        ftspec status --watch
        ftspec status 'triage/*seed=1'
    """
    from ftspec.pipeline.planning import load, state_of, utc_now
    from ftspec.planner.quota import next_slots
    from ftspec.render.words import time_text

    loaded = load(project)
    state, problems = state_of(project, loaded.spec).read()
    _console.show([*loaded.diagnostics, *problems])
    keys = _keys(select, state)
    asked = None
    if not offline and _worth_asking(state, keys, everything=everything):
        asked = _ask(loaded, state, keys, watch=watch, every=every, everything=everything)
        state = asked.state
    records = [state.jobs[key] for key in state.jobs if keys is None or key in keys]
    records = [record for record in records if not record.forgotten]
    if as_json:
        _show_json(records)
    else:
        _show(loaded, records, state, detailed=bool(select) and len(records) <= _DETAILS, ask=not offline)
    if not as_json and not select:
        for engine, at in next_slots(loaded.spec, state, utc_now()).items():
            _console.out(f"Next slot on {engine}: {time_text(at)}")
    if asked is not None:
        for engine, trouble in asked.refreshed.trouble.items():
            _console.warn(f"`{engine}` could not be asked: {printable(trouble)}")
        for address in asked.refreshed.missing:
            _console.warn(f"{address}: its engine does not show this job any more; the record stays")
        if not as_json and any(_trains_here(loaded, record) for record in records):
            _console.talk("The sandbox trains in the command that waits for it: `ftspec status --watch`, or `ftspec apply`.")
    if any(record.doubtful for record in records):
        _console.stop(PARTLY)


def _keys(select: tuple[str, ...], state: State) -> set[str] | None:
    if not select:
        return None
    from ftspec.planner.selectors import select_records

    by_id = {a.engine_job_id: record.key for record in state.jobs.values() for a in record.attempts if a.engine_job_id}
    ids = {by_id[word] for word in select if word in by_id}
    words = [word for word in select if word not in by_id]
    return ids | (select_records(words, state) if words else set())


def _worth_asking(state: State, keys: set[str] | None, *, everything: bool) -> bool:
    records = [record for key, record in state.jobs.items() if keys is None or key in keys]
    return any(everything or record.doubtful or ((status := record.status).bought and not status.terminal) for record in records)


def _ask(loaded: Loaded, state: State, keys: set[str] | None, *, watch: bool, every: float, everything: bool) -> Asked:
    from ftspec.cli._awaited import of_records
    from ftspec.cli._progress import progress
    from ftspec.pipeline.refreshing import refresh

    def again(asked: Asked) -> float | None:
        _tell(asked)
        return every if watch and _worth_asking(asked.state, keys, everything=False) else None

    records = [record for key, record in state.jobs.items() if keys is None or key in keys]
    with progress(of_records(records, state)) as shown:
        return refresh(
            loaded,
            keys=keys,
            everything=everything,
            progress=shown,
            command="status --watch" if watch else "status",
            again=again,
        )


def _tell(asked: Asked) -> None:
    for change in asked.refreshed.changes:
        _console.talk(f"{change.address}: {change.old} -> {printable(change.raw)}")
    for note in asked.notes:
        _console.warn(note)


def _show(loaded: Loaded, records: list[RecordedJob], state: State, *, detailed: bool, ask: bool) -> None:
    import datetime as dt

    from ftspec.address import axes_of
    from ftspec.cli._progress import remaining
    from ftspec.render.jobs import JobLine, jobs_text
    from ftspec.state.pace import Pace

    if not records:
        _console.out("No jobs are recorded yet. `ftspec plan` shows what is missing.")
        return
    axes = {job.address: job.axes for job in loaded.spec.jobs}
    pace, now = Pace(state.jobs.values()), dt.datetime.now(dt.UTC)
    lines = [
        JobLine(
            address=one.address, axes=axes.get(one.address) or axes_of(one.address), record=one, done=remaining(_finish(one, pace), now=now)
        )
        for one in records
    ]
    _console.out(jobs_text(lines, color=_console.colour()))
    for record in records if detailed else ():
        _console.out()
        _details(loaded, record, pace, ask=ask)
    if not detailed:
        _doubts([record.address for record in records if record.doubtful])


def _doubts(addresses: list[str]) -> None:
    """Say how each doubt ends; of many, the first ones."""
    if not addresses:
        return
    _console.out("\nNobody knows whether these launches became jobs, so they are not sent again.")
    _console.out("Look for each on its engine, or say what you know (`--job-id ID`, `--absent`):\n")
    for address in addresses[:_DETAILS]:
        _console.out(f"    ftspec import '{printable(address)}' --search")
    if len(addresses) > _DETAILS:
        _console.out(f"    ftspec import status:in-doubt --search    (all {len(addresses)})")


def _trains_here(loaded: Loaded, record: RecordedJob) -> bool:
    """Whether a job goes on only while a command waits for it: the sandbox trains in the command's own process."""
    from ftspec.pipeline.planning import profiles

    entry = loaded.spec.engines.get(record.engine)
    if entry is None or entry.base_url is not None:
        return False
    profile = profiles()[entry.type]
    return profile.in_process and profile.simulated and (status := record.status).bought and not status.terminal


def _finish(record: RecordedJob, pace: Pace) -> str | None:
    """Return when an unfinished job should be done: as its engine says, else by how long jobs like it took."""
    return None if record.status.terminal else record.last.estimated_finish or pace.finish(record)


def _cost(last: Attempt) -> str | None:
    """Return what an attempt cost beside what was expected; what its engine does not say stays unknown."""
    from ftspec.render.words import expected_text

    expected = expected_text(last.estimated_cost)
    if last.cost is not None:
        return f"{last.cost:,.2f} {last.currency}{expected}"
    return f"unknown{expected}" if expected and last.status.terminal else None


def _details(loaded: Loaded, record: RecordedJob, pace: Pace, *, ask: bool) -> None:
    from ftspec.render.words import error_text, time_text

    last = record.last
    finish = None if last.estimated_finish else pace.finish(record)
    rows: list[tuple[str, object]] = [
        ("key", record.key),
        ("engine", f"{record.engine} ({record.scope})"),
        ("status", last.status.value + (f" ({printable(last.raw_status)})" if last.raw_status not in (None, last.status.value) else "")),
        ("attempt", last.number),
        ("created", last.created_at and time_text(last.created_at)),
        ("finished", last.finished_at and time_text(last.finished_at)),
        ("done about", time_text(last.estimated_finish) if last.estimated_finish and not last.status.terminal else None),
        ("done about", f"{finish}, by how long jobs like it took" if finish else None),
        ("trained tokens", f"{last.trained_tokens:,}" if last.trained_tokens is not None else None),
        ("cost", _cost(last)),
        ("bought by", last.by),
        ("organization", last.organization),
        ("key of", f"${last.owner}" if last.owner else None),
        ("job", last.engine_job_id),
        ("model", record.model),
        ("answers as", last.deployment),
    ]
    width = max(len(name) for name, _ in rows)
    _console.out(record.address)
    for name, value in rows:
        if value is not None:
            _console.out(f"  {name:<{width}}  {printable(str(value))}")
    for checkpoint in last.checkpoints:
        _console.out(f"  {'checkpoint':<{width}}  step {checkpoint.step}  {printable(checkpoint.model)}")
    if last.error is not None and (last.error.message or last.error.code):
        _console.out(f"  {'error':<{width}}  {error_text(last.error.code, last.error.message)}")
        if last.error.param:
            _console.out(f"  {'parameter':<{width}}  {printable(last.error.param)}")
    if ask and last.engine_job_id is not None:
        _events(loaded, record)
    for line in _next_steps(record, last) or _deploy(loaded, record):
        _console.out(line)


def _events(loaded: Loaded, record: RecordedJob) -> None:
    """Show the newest events, if the engine can be asked."""
    import asyncio

    from ftspec.diagnostics import FtspecError
    from ftspec.engines.base import EngineError
    from ftspec.pipeline.session import Session

    async def ask() -> list[str]:
        async with Session(loaded.project, loaded.spec) as session:
            session.remember([record])
            listing = await session.engine(record.engine).events(record.last.engine_job_id or "")
        return [printable(event.message) for event in listing.items if event.type != "metrics"][-5:]

    try:
        for message in asyncio.run(ask()):
            _console.out(f"    {message}")
    except (EngineError, FtspecError) as error:
        _console.talk(f"  events: {error}")


def _next_steps(record: RecordedJob, last: Attempt) -> list[str]:
    if record.doubtful:
        which = "this launch" if record.in_doubt else "another launch of this job"
        return [
            "",
            f"  Whether {which} became a job is not known.",
            f"    ftspec import '{record.address}' --search",
            f"    ftspec import '{record.address}' --job-id ID",
            f"    ftspec import '{record.address}' --absent",
        ]
    if last.status in ("failed", "cancelled"):
        return ["", "  It is not tried again by itself.", f"    ftspec apply --retry-failed '{record.address}'"]
    if last.status == "refused":
        return ["", "  Nothing was bought; the next apply tries again.", "    ftspec apply"]
    if not last.status.terminal:
        return ["", f"    ftspec events '{record.address}' --follow"]
    return []


def _deploy(loaded: Loaded, record: RecordedJob) -> list[str]:
    """Return what is left to do before a trained model answers."""
    from ftspec.pipeline.planning import profiles

    entry = loaded.spec.engines.get(record.engine)
    needs = profiles()[entry.type].deployment if entry is not None and record.model and not record.last.deployment else None
    if needs is None:
        return []
    from ftspec.render.paragraph import paragraph

    text = paragraph(f"On this engine: {needs}. Then record its name:", _console.width(), first=2, rest=2)
    return ["", f"  {text}", f"    ftspec deployed '{record.address}' NAME"]


def _show_json(records: list[RecordedJob]) -> None:
    from ftspec.render.json import dumps

    _console.out_raw(dumps({"format_version": "1.0", "jobs": [record.plain() for record in records]}))
