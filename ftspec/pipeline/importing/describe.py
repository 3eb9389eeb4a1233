"""A spec written from jobs of engines: what they were asked for, as far as the engine says.

An engine shows what it made of `auto` and of a seed that nobody gave, so the spec gives those
values too. Rows are on the engine: with a folder to put them in, they are read back, and the spec
is one that plans nothing once the jobs are imported.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ftspec.diagnostics import FtspecError
from ftspec.engines.base import EngineError
from ftspec.executor.matching import LABEL
from ftspec.pipeline.importing.remote import RemoteJob, unknown_jobs
from ftspec.pipeline.importing.stub import Stub, StubDataset, StubJob, settings_of, slug, told_apart
from ftspec.pipeline.planning import load
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.engines.base import ObservedJob
    from ftspec.experiment import Spec
    from ftspec.pipeline.project import Project
    from ftspec.pipeline.session import Session

METHODS = ("supervised", "dpo", "reinforcement")
_OURS = re.compile(r"\.[0-9a-f]{12}\Z")
"""What our own uploads add to the names of files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A spec for jobs that state does not know, the command that records each, and what could not be done."""

    stub: Stub
    commands: Sequence[str]
    notes: Sequence[str] = ()


def describe(project: Project, ids: Sequence[str], *, engine: str | None = None, download: Path | None = None) -> Described:
    """Write a spec for unknown jobs: of these ids, or all that the spec does not ask for already. `download`: a folder below the root for their rows."""
    remote = unknown_jobs(project, engine=engine)
    chosen = [one for one in remote.jobs if (one.job.id in ids if ids else one.fits is None)]
    missing = sorted(set(ids) - {one.job.id for one in chosen})
    if missing:
        raise FtspecError(
            f"no engine of the spec shows an unknown job {', '.join(printable(one) for one in missing)}",
            help="list what they have: ftspec import --list",
        )
    spec = load(project).spec
    files = asyncio.run(_files(project, spec, chosen, download)) if chosen else {}
    known = set(spec.datasets)
    names: dict[tuple[str, str], StubDataset] = {}
    for key, file in files.items():
        name = slug(PurePosixPath(file.name).stem, taken=(*known, *(one.name for one in names.values())))
        names[key] = StubDataset(name=name, path=file.path, note=file.note)
    jobs = told_apart([_job(one, names) for one in chosen])
    remarks = ["Jobs that exist, as their engines describe them. What was `auto` stands as the engine resolved it."]
    stub = Stub(jobs=jobs, datasets=list(names.values()), remarks=remarks, taken={job.experiment for job in spec.jobs})
    # A job that we bought for another spec carries the key that it has there.
    commands = [
        f"ftspec import {shlex.quote(address)} --job-id {one.job.id}" + (" --force" if LABEL in one.job.metadata else "")
        for address, one in zip(stub.addresses(), chosen, strict=True)
    ]
    notes = [f"`{name}` could not be asked: {why}" for name, why in remote.trouble.items()]
    notes += [f"the list of `{name}` is not whole" for name in remote.cut]
    return Described(stub=stub, commands=commands, notes=notes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    name: str
    path: str
    note: str = ""


def _job(one: RemoteJob, names: Mapping[tuple[str, str], StubDataset]) -> StubJob:
    job = one.job
    method = job.method if job.method in METHODS else "supervised"
    settings = {"base_model": job.base_model, **settings_of(method, job.hyperparameters), "seed": job.seed, "suffix": job.suffix}
    validation = names.get((one.engine, job.validation_file or ""))
    return StubJob(
        engine=one.engine,
        train=names[one.engine, job.training_file or ""].name,
        validation=validation.name if validation else None,
        method=method,
        grader=_grader(job) if method == "reinforcement" else None,
        settings={name: value for name, value in settings.items() if value is not None},
        source=job.id,
    )


def _grader(job: ObservedJob) -> Mapping[str, object] | None:
    method = job.raw.get("method")
    block = method.get("reinforcement") if isinstance(method, dict) else None
    grader = block.get("grader") if isinstance(block, dict) else None
    return grader if isinstance(grader, dict) else None


async def _files(project: Project, spec: Spec, chosen: Sequence[RemoteJob], download: Path | None) -> dict[tuple[str, str], _File]:
    """Return the files of the jobs by (engine, file id), read back into `download` where it is given."""
    from ftspec.pipeline.session import Session

    found: dict[tuple[str, str], _File] = {}
    used: set[str] = set()
    folder = download or Path("data")
    async with Session(project, spec) as session:
        for one in chosen:
            for file_id in (one.job.training_file or "", one.job.validation_file):
                if file_id is None or (one.engine, file_id) in found:
                    continue
                name = await _name(session, one.engine, file_id, used)
                path = folder / name
                note = f"file {file_id} of {one.engine}" if file_id else "its engine does not say which file it was trained on"
                if download is not None and file_id:
                    note = await _fetch(session, one.engine, file_id, project.root / path) or note
                found[one.engine, file_id] = _File(name=name, path=path.as_posix(), note=note)
    return found


async def _name(session: Session, engine: str, file_id: str, used: set[str]) -> str:
    try:
        file = await session.engine(engine).file(file_id) if file_id else None
    except EngineError:
        file = None
    written = PurePosixPath(file.name).stem if file is not None and file.name else file_id or "rows"
    stem = slug(_OURS.sub("", written), taken=used)
    used.add(stem)
    return f"{stem}.jsonl"


async def _fetch(session: Session, engine: str, file_id: str, path: Path) -> str:
    """Write a file's rows to `path`; return what went wrong."""
    try:
        content = await session.engine(engine).content(file_id)
    except EngineError as error:
        return f"file {file_id} could not be read back: {error.message}"
    await asyncio.to_thread(_write, path, content)
    return ""


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        if path.read_bytes() != content:
            message = f"`{printable(path.name)}` exists already and is another file; nothing was written over it"
            raise FtspecError(message, help="name another folder: --download DIR") from None
