"""Look at what is recorded, rename it, protect it, forget it, mend it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ftspec.cli import CorrectingGroup, _console, _state
from ftspec.fingerprint import SHORT
from ftspec.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ftspec.pipeline.project import Project
    from ftspec.record import RecordedJob
    from ftspec.state.base import JobFact
    from ftspec.state.repair import Fix

_SELECT = click.argument("select", nargs=-1, required=True, metavar="SELECT...")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(cls=CorrectingGroup)
def command() -> None:
    r"""Look at what is recorded, rename it, protect it, forget it, mend it.

    SELECT are addresses, globs, `experiment:x`, `tag:k=v`, `status:failed` or keys. Nothing is
    ever deleted: forgotten jobs can be restored, replaced lines are set aside.

    \b
        ftspec state list
        ftspec state mv triage tickets
        ftspec state protect 'triage/*seed=1'
    """


@command.command("list")
@click.argument("select", nargs=-1, metavar="[SELECT]...")
@_state.state_options
@click.option("--all", "everything", is_flag=True, help="Forgotten jobs too.")
@_JSON
def list_(project: Project, select: tuple[str, ...], *, everything: bool, as_json: bool) -> None:
    r"""List the recorded jobs.

    \b
        ftspec state list
        ftspec state list status:failed
    """
    store = _state.backend(project)
    records = _state.chosen(select, _state.read(store), forgotten=everything)
    if as_json:
        _show_json(records)
    elif not records:
        _console.out("No jobs are selected." if select else f"No jobs are recorded in `{printable(store.name)}`.")
    else:
        rows = [(one.address, _word(one), one.engine, len(one.attempts), one.key[:SHORT], one.model) for one in records]
        _console.table(("address", "status", "engine", "attempts", "key", "model"), rows)


@command.command()
@_SELECT
@_state.state_options
@_JSON
def show(project: Project, select: tuple[str, ...], *, as_json: bool) -> None:
    r"""Show everything that is recorded of jobs.

    \b
        ftspec state show triage/seed=1
        ftspec state show key:1f2e3d4c --json
    """
    records = _state.chosen(select, _state.read(_state.backend(project)), forgotten=True)
    if as_json:
        _show_json(records)
        return
    for record in records:
        _console.out(printable(record.address))
        for name, value in _members(record.plain()):
            _console.out(f"  {name}: {printable(value)}")


@command.command()
@click.argument("old")
@click.argument("new")
@_state.state_options
def mv(project: Project, old: str, new: str) -> None:
    r"""Give a job, or all jobs of an experiment, a new address. Retrains nothing.

    \b
        ftspec state mv triage/seed=1 triage/best
        ftspec state mv triage tickets
    """
    from ftspec.state.edits import move

    state = _state.backend(project)
    with state.lock("state mv") as writer:
        facts = move(writer.read(), old, new, at=_state.now())
        addresses = {record.key: record.address for record in writer.read().jobs.values()}
        writer.append(*facts)
    for fact in facts:
        _console.out(f"{printable(addresses[fact.key])} -> {printable(fact.job['address'])}")


@command.command()
@_SELECT
@_state.state_options
@click.option("--running", is_flag=True, help="Also jobs that are not over; they go on at the engine.")
def rm(project: Project, select: tuple[str, ...], *, running: bool) -> None:
    r"""Forget jobs: `plan` buys them again where a spec asks for them.

    Records stay as history and models stay at the engine; `ftspec state restore` takes it back.

    \b
        ftspec state rm 'triage/*seed=3'
    """
    from ftspec.state.edits import forget

    _edit(project, select, "state rm", "forgotten", lambda records: forget(records, at=_state.now(), running=running))


@command.command()
@_SELECT
@_state.state_options
def restore(project: Project, select: tuple[str, ...]) -> None:
    r"""Use forgotten jobs again.

    \b
        ftspec state restore triage/seed=3
    """
    from ftspec.state.edits import restore as facts

    _edit(project, select, "state restore", "restored", lambda records: facts(records, at=_state.now()), forgotten=True)


@command.command()
@_SELECT
@_state.state_options
@click.option("--off", is_flag=True, help="Lift the protection (the same as `ftspec state unprotect`).")
def protect(project: Project, select: tuple[str, ...], *, off: bool) -> None:
    r"""Protect jobs: a plan that would replace or forget them is an error.

    \b
        ftspec state protect triage/seed=1
    """
    _protect(project, select, on=not off)


@command.command()
@_SELECT
@_state.state_options
def unprotect(project: Project, select: tuple[str, ...]) -> None:
    r"""Lift the protection of jobs.

    \b
        ftspec state unprotect triage/seed=1
    """
    _protect(project, select, on=False)


@command.command()
@_state.state_options
def compact(project: Project) -> None:
    r"""Fold all segments of the log into the base files.

    `apply` does it where that cannot make a merge conflict; here you decide.

    \b
        ftspec state compact
    """
    state = _state.backend(project)
    segments = len(state.load().segments)
    with state.lock("state compact") as writer:
        writer.compact()
        jobs = len(writer.read().jobs)
    _console.out(f"{_count(segments, 'segment')} folded into the records of {_count(jobs, 'job')}")


@command.command()
@_state.state_options
@click.option("--yes", "-y", is_flag=True, help="Make the fixes without asking.")
@click.option("--dry-run", is_flag=True, help="Explain the fixes only.")
@click.option("--accept-edit", is_flag=True, help="Take lines of the log that were changed by hand as they stand.")
def repair(project: Project, *, yes: bool, dry_run: bool, accept_edit: bool) -> None:
    r"""Mend state that cannot be read. Explains each fix before it makes it.

    What is taken out of a file is set aside in a `.bad` file beside it.

    \b
        ftspec state repair --dry-run
        ftspec state repair --yes
    """
    from ftspec.diagnostics import FtspecError
    from ftspec.state.repair import ACCEPT_EDIT, examine, mend

    state = _state.backend(project)
    found = examine(state)
    accepted = {ACCEPT_EDIT} if accept_edit else set[str]()
    fixes = [fix for fixes in found.values() for fix in fixes]
    ready = [fix for fix in fixes if fix.needs is None or fix.needs in accepted]
    for fix in fixes:
        _explain(fix, accepted)
    if not fixes:
        _console.out("Every line can be read; there is nothing to mend.")
        return
    if dry_run:
        _console.out(f"{_count(len(ready), 'fix', 'fixes')} could be made; nothing was changed")
        return
    if ready:
        if not yes:
            _console.confirm(f"Make {_count(len(ready), 'fix', 'fixes')}?", what="mending state")
        mend(state, found, accepted=accepted)
        _console.out(f"{_count(len(ready), 'fix', 'fixes')} made")
    if len(ready) < len(fixes):
        raise FtspecError(
            f"{_count(len(fixes) - len(ready), 'line')} stayed as they are",
            help="restore the files from version control, or add the option that each of them names",
        )


@command.command()
@_state.state_options
@_JSON
def log(project: Project, *, as_json: bool) -> None:
    r"""Show which commands wrote state, who ran them, when and at which commit.

    \b
        ftspec state log
    """
    from ftspec.state.folder import history

    entries = history(_state.backend(project).load())
    if as_json:
        _json({"format_version": "1.0", "commands": entries})
    elif not entries:
        _console.out("Nothing has been written yet.")
    else:
        rows = [
            (e["at"], e["by"], e["command"], e["facts"], (e.get("commit") or "")[:SHORT], "" if e["compacted"] else "in the log")
            for e in entries
        ]
        _console.table(("time", "by", "command", "facts", "commit", ""), rows)


def _edit(project: Project, select: Sequence[str], command: str, done: str, facts_of: Any, *, forgotten: bool = False) -> None:
    state = _state.backend(project)
    with state.lock(command) as writer:
        records = _state.chosen(select, writer.read(), forgotten=forgotten)
        facts: list[JobFact] = facts_of(records)
        writer.append(*facts)
    addresses = {record.key: record.address for record in records}
    for fact in facts:
        _console.out(f"{done}: {printable(addresses[fact.key])}")
    if not facts:
        _console.out("Nothing to change.")


def _protect(project: Project, select: Sequence[str], *, on: bool) -> None:
    from ftspec.state.edits import protect as facts

    done = "protected" if on else "no longer protected"
    _edit(project, select, "state protect" if on else "state unprotect", done, lambda records: facts(records, on=on, at=_state.now()))


def _explain(fix: Fix, accepted: set[str]) -> None:
    _console.out(f"{printable(str(fix.at))}: {printable(fix.wrong)}")
    _console.out(f"  {fix.action}" if fix.needs is None or fix.needs in accepted else f"  with `{fix.needs}`, {fix.action}")


def _word(record: RecordedJob) -> str:
    words = ["in doubt" if record.in_doubt else record.status.value]
    words += ["another launch in doubt"] if record.open and not record.in_doubt else []
    words += ["protected"] if record.protected else []
    words += ["forgotten"] if record.forgotten else []
    return ", ".join(words)


def _members(members: dict[str, Any]) -> list[tuple[str, str]]:
    """Return members as lines: one per scalar, dotted where they are nested."""
    lines = []
    for name, value in members.items():
        if isinstance(value, dict):
            lines += [(f"{name}.{inner}", text) for inner, text in _members(value)]
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            for i, item in enumerate(value, 1):
                lines += [(f"{name}.{i}.{inner}", text) for inner, text in _members(item)]
        else:
            lines.append((name, value if isinstance(value, str) else _text(value)))
    return lines


def _text(value: Any) -> str:
    from ftspec.fingerprint import canonical_json

    return canonical_json(value).decode()


def _count(number: int, noun: str, plural: str | None = None) -> str:
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def _show_json(records: Sequence[RecordedJob]) -> None:
    _json({"format_version": "1.0", "jobs": [record.plain() for record in records]})


def _json(value: Any) -> None:
    from ftspec.render.json import dumps

    _console.out_raw(dumps(value))
