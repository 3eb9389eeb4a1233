"""Bring in jobs that were bought elsewhere, or of which nobody knows what became."""

# ruff: noqa: N999 commands are found by file name
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ftspec.cli import _console
from ftspec.cli._options import project_options
from ftspec.diagnostics import FtspecError
from ftspec.fingerprint import SHORT
from ftspec.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ftspec.engines.base import ObservedJob
    from ftspec.pipeline.importing.llmcomp import Placed
    from ftspec.pipeline.importing.one import Found, ImportedJob
    from ftspec.pipeline.importing.stub import Stub
    from ftspec.pipeline.project import Project

PARTLY = 4


@click.command()
@click.argument("words", nargs=-1, metavar="[ADDRESS | ID...]")
@project_options(need_spec=False)  # type: ignore[untyped-decorator]
@click.option("--job-id", metavar="ID", help="Record this job of the engine as that of ADDRESS.")
@click.option(
    "--search", is_flag=True, help="Look on the engine for the jobs of ADDRESS (or a selector); record each if only one can be meant."
)
@click.option("--absent", is_flag=True, help="Your word that the launch in doubt of ADDRESS never became a job.")
@click.option("--force", is_flag=True, help="With --job-id: although the job is not what ADDRESS asks for.")
@click.option("--list", "listing", is_flag=True, help="List the jobs on engines that state does not know.")
@click.option("--generate", is_flag=True, help="Print a spec for unknown jobs (of these IDs, or all) instead of recording any.")
@click.option("--llmcomp", metavar="DIR", help="Record the jobs of llmcomp's finetuning manager.")
@click.option("--azd", multiple=True, metavar="FILE", help="Print a spec for job files of azd's fine-tuning extension.")
@click.option("--engine", metavar="NAME", help="Only this engine of the spec.")
@click.option("--download", metavar="DIR", help="With --generate: read the rows of the jobs back into DIR.")
@click.option("-o", "--output", metavar="FILE", help="Write the spec to FILE instead of printing it.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON.")
def command(  # noqa: PLR0913 one for each option
    project: Project,
    *,
    words: tuple[str, ...],
    job_id: str | None,
    search: bool,
    absent: bool,
    force: bool,
    listing: bool,
    generate: bool,
    llmcomp: str | None,
    azd: tuple[str, ...],
    engine: str | None,
    download: str | None,
    output: str | None,
    as_json: bool,
) -> None:
    r"""Bring in jobs that were bought elsewhere, or of which nobody knows what became.

    Nothing is bought and nothing is trained again. A job is compared with what the spec
    asks for, down to the rows of its files; what disagrees is an error. Exit 4 when a search
    leaves several candidates, or an engine could not be asked.

    \b
        ftspec import triage/seed=1 --job-id ftjob-abc123
        ftspec import 'triage/*' --search
        ftspec import --list
        ftspec import --generate --download data -o specs/found.yaml
        ftspec import --llmcomp llmcomp_models
        ftspec import --azd fine-tune.yaml > ftspec.yaml
    """
    chosen = [name for name, on in _ways(job_id, search, absent, listing, generate, llmcomp, azd) if on]
    if len(chosen) > 1 and set(chosen) != {"--llmcomp", "--generate"}:
        raise click.UsageError(f"{' and '.join(chosen)} exclude each other.")
    if not chosen:
        raise click.UsageError("Say what to bring in: ADDRESS with --job-id, --search or --absent; --list, --generate, --llmcomp or --azd.")
    if (download or output) and not (generate or azd):
        raise click.UsageError("--download and --output go with a spec that is written: --generate or --azd.")
    if download and llmcomp:
        raise click.UsageError("--download asks an engine for rows; --llmcomp asks none.")
    if llmcomp is not None:
        _llmcomp(project, Path(llmcomp), engine, generate=generate, output=output, as_json=as_json)
        return
    if azd:
        _azd(project, azd, engine, output)
        return
    if not project.files:
        raise FtspecError("there is no spec here that names the engines", help="make one with `ftspec init`, or name it with `-f FILE`")
    from ftspec.pipeline.importing.one import addresses

    if listing:
        _list(project, engine, as_json=as_json)
    elif generate:
        _generate(project, words, engine, download, output)
    elif search and words and not as_json and len(found := addresses(project, words)) > 1:
        _each(project, found)
    else:
        if len(words) != 1:
            raise click.UsageError("Name one ADDRESS.")
        _one(project, words[0], job_id, search=search, force=force, as_json=as_json)


def _ways(
    job_id: str | None, search: bool, absent: bool, listing: bool, generate: bool, llmcomp: str | None, azd: tuple[str, ...]
) -> list[tuple[str, bool]]:
    return [
        ("--job-id", job_id is not None),
        ("--search", search),
        ("--absent", absent),
        ("--list", listing),
        ("--generate", generate),
        ("--llmcomp", llmcomp is not None),
        ("--azd", bool(azd)),
    ]


def _each(project: Project, addresses: Sequence[str]) -> None:
    """Look for each job; the next is looked for although one was not found, or could not be told from others."""
    from ftspec.pipeline.importing import one

    none, lockfile = 0, None
    doubtful = False
    for address in addresses:
        try:
            found = one.search(project, address)
        except one.NotThisJob as error:
            _console.warn(f"`{printable(address)}`: {error.message}")
            doubtful = True
            continue
        if found.imported is not None:
            lockfile = found.imported.lockfile or lockfile
            _said(found.imported)
        elif found.candidates or not found.complete:
            _candidates(found)
            doubtful = True
        else:
            none += 1
            doubtful = doubtful or (found.target.record is not None and found.target.record.doubtful)
    if none:
        _console.talk(f"Nothing was found for {_count(none, 'job')}; `ftspec plan` shows {'it' if none == 1 else 'them'}.")
    if lockfile is not None:
        _console.talk(f"wrote {project.relative(lockfile)}")
    if doubtful:
        _console.stop(PARTLY)


def _one(project: Project, address: str, job_id: str | None, *, search: bool, force: bool, as_json: bool) -> None:
    from ftspec.pipeline.importing import one

    if job_id is not None:
        _imported(project, one.by_id(project, address, job_id=job_id, force=force), as_json=as_json)
        return
    if not search:
        record = one.absent(project, address, by=_me())
        _console.out(f"{printable(record.address)}: absent; the next `ftspec apply` launches it again")
        return
    found = one.search(project, address)
    target = found.target
    if found.imported is not None:
        _imported(project, found.imported, as_json=as_json)
        return
    if as_json:
        if not found.complete:
            _console.warn(f"the list of `{target.engine}` is not whole")
        _json({"address": target.address, "candidates": [_plain(each.job, target.engine) | {"why": each.why} for each in found.candidates]})
    else:
        _candidates(found)
        if not found.candidates:
            raise FtspecError(
                f"no unknown job on `{target.engine}` can be that of `{printable(target.address)}`",
                help=f"if you know that there is none: ftspec import '{printable(target.address)}' --absent"
                if target.record is not None and target.record.doubtful
                else "list what the engine has: ftspec import --list",
            )
    _console.stop(PARTLY)


def _candidates(found: Found) -> None:
    """Write the jobs that may be meant, as commands that take them."""
    address = printable(found.target.address)
    if not found.complete:
        _console.warn(f"the list of `{found.target.engine}` is not whole")
    if found.candidates:
        _console.talk(f"Which one is `{address}`? Nothing was recorded.")
    for each in found.candidates:
        _console.out(f"ftspec import '{address}' --job-id {printable(each.job.id)}")
        _console.out(f"    {each.job.status.value}, created {_when(each.job.created_at)}: {printable(each.why)}")


def _me() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _imported(project: Project, done: ImportedJob, *, as_json: bool) -> None:
    if as_json:
        _notes(done)
        members = {"address": done.address, "engine": done.engine, "engine_job_id": done.engine_job_id}
        _json({**members, "status": done.status.value, "model": done.model, "differences": list(done.differences)})
    else:
        _said(done)
    if done.lockfile is not None:
        _console.talk(f"wrote {project.relative(done.lockfile)}")


def _said(done: ImportedJob) -> None:
    _notes(done)
    job = printable(done.engine_job_id)
    said = f"{job} is recorded already" if done.known_before else f"imported {job}"
    model = f", model {printable(done.model)}" if done.model else ""
    _console.out(f"{printable(done.address)}: {said}, {done.status.value}{model}")


def _notes(done: ImportedJob) -> None:
    for difference in done.differences:
        _console.warn(f"taken although: {printable(difference)}")
    for note in done.notes:
        _console.talk(f"note: {printable(note)}")


def _list(project: Project, engine: str | None, *, as_json: bool) -> None:
    from ftspec.pipeline.importing.remote import unknown_jobs

    remote = unknown_jobs(project, engine=engine)
    for name, why in remote.trouble.items():
        _console.warn(f"`{name}` could not be asked: {why}")
    for name in remote.cut:
        _console.warn(f"the list of `{name}` is not whole")
    if as_json:
        _json({"jobs": [_plain(one.job, one.engine) | {"fits": one.fits} for one in remote.jobs], "trouble": dict(remote.trouble)})
    elif not remote.jobs:
        asked = [f"`{name}`" for name in remote.asked if name not in remote.trouble]
        if asked:
            _console.out(f"State knows every job on {', '.join(asked)}.")
    else:
        rows = [(one.engine, *_row(one.job), one.fits and printable(one.fits)) for one in remote.jobs]
        headers = ("engine", "job", "status", "base model", "suffix", "created", "fits")
        used = [i for i, _ in enumerate(headers) if any(row[i] for row in rows)]
        _console.table([headers[i] for i in used], [[row[i] for i in used] for row in rows])
    if remote.trouble or remote.cut:
        _console.stop(PARTLY)


def _row(job: ObservedJob) -> tuple[Any, ...]:
    suffix = printable(job.suffix) if job.suffix else None
    return printable(job.id), job.status.value, printable(job.base_model), suffix, _when(job.created_at)


def _when(seconds: int) -> str:
    import datetime as dt

    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M")


def _plain(job: ObservedJob, engine: str) -> dict[str, Any]:
    from ftspec.executor.matching import LABEL

    return {
        "engine": engine,
        "id": job.id,
        "status": job.status.value,
        "base_model": job.base_model,
        "method": job.method,
        "suffix": job.suffix,
        "seed": job.seed,
        "training_file": job.training_file,
        "validation_file": job.validation_file,
        "hyperparameters": dict(job.hyperparameters),
        "created_at": job.created_at,
        "model": job.model,
        "organization": job.organization,
        "owner": job.owner,
        "key": job.metadata.get(LABEL),
    }


def _generate(project: Project, ids: Sequence[str], engine: str | None, download: str | None, output: str | None) -> None:
    from ftspec.pipeline.importing.describe import describe

    described = describe(project, ids, engine=engine, download=_below(project, download) if download is not None else None)
    for note in described.notes:
        _console.warn(note)
    if not described.commands:
        _console.talk("State knows every job; there is nothing to write.")
        return
    _write(project, described.stub, output)
    _console.talk(f"\nWith that spec in place{_placing(project, output)}, these record the jobs:\n")
    for line in sorted(described.commands):
        _console.talk(f"    {printable(line)}")


def _placing(project: Project, output: str | None) -> str:
    """Return how a written spec becomes part of the one that is read here, where it does not by itself."""
    import os

    if output is None or len(project.files) != 1:
        return ""
    read = Path(project.relative(project.files[0]))
    return f" (`include: {printable(Path(os.path.relpath(output, read.parent)).as_posix())}` in `{printable(read.as_posix())}`)"


def _below(project: Project, name: str) -> Path:
    import os

    path = Path(os.path.normpath(project.root / name))
    if not path.is_relative_to(project.root):
        raise FtspecError(f"`{printable(name)}` is outside the project's root", help="name a folder below it")
    return path.relative_to(project.root)


def _write(project: Project, stub: Stub, output: str | None) -> None:
    if output is None:
        _console.out_raw(stub.text())
        return
    path = _below(project, output)
    target = project.root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(stub.text(prefix="../" * (len(path.parts) - 1)))
    except FileExistsError:
        raise FtspecError(f"`{printable(output)}` exists already; nothing was written over it", help="name another file") from None
    _console.talk(f"wrote {path.as_posix()}")


def _llmcomp(project: Project, folder: Path, engine: str | None, *, generate: bool, output: str | None, as_json: bool) -> None:
    from ftspec.pipeline.importing.llmcomp import migrate, record

    migration = migrate(project, (project.root / folder).resolve(), engine=engine)
    for line in migration.lost:
        _console.warn(
            f"{printable(line.id)}: `{printable(line.file_name)}` is not here, or has changed since; no spec can ask for this job"
        )
    if generate:
        if migration.stub.jobs:
            _write(project, migration.stub, output)
            _console.talk(f"\nWith that spec in place, this records them:\n\n    ftspec import --llmcomp {printable(str(folder))}")
        else:
            _console.talk("This project's spec asks for every job whose rows are here; there is nothing to write.")
        return
    done = record(migration)
    if as_json:
        _json({"recorded": [_placed(one) for one in done.new], "known": [_placed(one) for one in done.known], "files": done.files})
    else:
        rows = [(one.address, one.line.id, one.line.status.value, one.line.text("model")) for one in done.new]
        if rows:
            _console.table(("address", "job", "status", "model"), [[printable(cell) if cell else None for cell in row] for row in rows])
            _console.out()
        _console.out(
            f"Imported: {_count(len(done.new), 'job')}, {_count(done.files, 'file')}. Known before: {_count(len(done.known), 'job')}."
        )
    if done.lockfile is not None:
        _console.talk(f"wrote {project.relative(done.lockfile)}")
    if migration.stub.jobs:
        _console.talk(f"\nNo spec asks for {len(migration.stub.jobs)} of them yet. This writes one, with the same addresses and keys:\n")
        _console.talk(f"    ftspec import --llmcomp {printable(str(folder))} --generate -o specs/llmcomp.yaml")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _placed(one: Placed) -> dict[str, Any]:
    line = one.line
    return {
        "address": one.address,
        "key": one.key[:SHORT],
        "engine_job_id": line.id,
        "status": line.status.value,
        "model": line.text("model"),
    }


def _azd(project: Project, files: Sequence[str], engine: str | None, output: str | None) -> None:
    from ftspec.pipeline.importing.azd import translate

    stub, notes = translate(project, [project.root / name for name in files], engine=engine)
    for note in notes:
        _console.warn(note)
    _write(project, stub, output)


def _json(members: dict[str, Any]) -> None:
    from ftspec.render.json import dumps

    _console.out_raw(dumps({"format_version": "1.0", **members}))
