"""Stop jobs on their engines for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ftspec.cli import _console
from ftspec.cli._options import project_options
from ftspec.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ftspec.pipeline.planning import Loaded
    from ftspec.pipeline.project import Project
    from ftspec.record import RecordedJob, State

_NOT_ALL = 4


@click.command()
@click.argument("select", nargs=-1, required=True, metavar="SELECT...")
@project_options
@click.option("-y", "--auto-approve", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="What became of each job, as JSON.")
def command(project: Project, select: tuple[str, ...], *, auto_approve: bool, as_json: bool) -> None:
    r"""Stop jobs on their engines for good; what they trained so far may still be billed.

    SELECT are addresses, globs, `status:running`, `tag:k=v`, keys or engine job ids. A cancelled
    job is attempted again only with `ftspec apply --retry-failed`.

    \b
        ftspec cancel triage/base_model=sandbox-mini,epochs=3,seed=1
        ftspec cancel -y status:running
    """
    import asyncio

    from ftspec.cli._records import chosen
    from ftspec.pipeline.planning import load, state_of
    from ftspec.pipeline.refreshing import refresh
    from ftspec.state.base import StateLocked

    loaded = load(project)
    state, problems = state_of(project, loaded.spec).read()
    _console.show(problems)
    running = [record for record in chosen(state, select) if record.status.bought and not record.status.terminal]
    if not running:
        _console.talk("Nothing to cancel: no such job is unfinished.")
        if as_json:
            _show_json([], state, {})
        return
    if not auto_approve:
        listed = "".join(f"\n  {record.address}  {record.last.engine_job_id}" for record in running)
        _console.confirm(f"Cancel {len(running)} job{'s' if len(running) != 1 else ''}?{listed}", what="cancelling")
    refused = asyncio.run(_cancel(loaded, running))
    try:
        state = refresh(loaded, keys={record.key for record in running}, command="cancel").state
    except StateLocked as busy:
        _console.warn(f"{busy.message}; it will record what became of these jobs")
    if as_json:
        _show_json(running, state, refused)
    for record in () if as_json else running:
        _console.out(f"{record.address}: {refused.get(record.key) or state.jobs[record.key].status}")
    if refused:
        _console.stop(_NOT_ALL)


def _show_json(records: Sequence[RecordedJob], state: State, refused: Mapping[str, str]) -> None:
    from ftspec.render.json import dumps

    jobs = [
        {"address": one.address, "key": one.key, "status": state.jobs[one.key].status.value, "error": refused.get(one.key)}
        for one in records
    ]
    _console.out_raw(dumps({"format_version": "1.0", "jobs": jobs}))


async def _cancel(loaded: Loaded, records: Sequence[RecordedJob]) -> dict[str, str]:
    """Ask engines to cancel; return by key why one did not (a job that has ended meanwhile is none)."""
    from ftspec.engines.base import EngineError
    from ftspec.pipeline.session import Session

    trouble: dict[str, str] = {}
    async with Session(loaded.project, loaded.spec) as session:
        session.remember(records)
        for record in records:
            job_id = record.last.engine_job_id or ""
            engine = session.engine(record.engine)
            try:
                await engine.cancel(job_id)
            except EngineError as error:
                try:
                    seen = await engine.job(job_id)
                except EngineError:
                    seen = None
                if seen is None or not seen.status.terminal:
                    trouble[record.key] = f"not cancelled, {printable(error.message)}"
    return trouble
