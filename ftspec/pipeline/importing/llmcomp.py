"""Jobs of llmcomp's finetuning manager (`jobs.jsonl`, `files.jsonl` in its data folder) become records.

No engine is asked and nothing is trained again. A job whose training file is here, unchanged (its
MD5 says so), gets the key that a spec gives it: that of the job of this project's spec which it
fits, otherwise that of the spec that `Migration.stub` writes. A job without its rows is recorded
under a key of its own until they are found.

What llmcomp wrote: a line a job with `id`, `file_name`, `base_model`, `suffix`, `file_id`, `epochs`,
`batch_size`, `learning_rate_multiplier`, `file_md5`, `organization_id` (early versions: `project_id`)
and, once it ended, `status`, `seed`, `model`, `model-1` and `model-2` (checkpoints one and two epochs
before the end). Whether a seed or an `auto` was given is lost: what the engine made of it is there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import msgspec

from ftspec.address import format_address
from ftspec.data.importers.normal import decoded
from ftspec.diagnostics import FtspecError
from ftspec.fingerprint import RECIPE, digest, job_preimage
from ftspec.pipeline.importing.rows import digest_of_file
from ftspec.pipeline.importing.stub import Stub, StubDataset, StubEngine, StubJob, slug, told_apart
from ftspec.pipeline.planning import load, state_of, want
from ftspec.printable import printable
from ftspec.record import JobStatus, Origin
from ftspec.state.base import FileFact, JobFact

if TYPE_CHECKING:
    from ftspec.experiment import EngineEntry
    from ftspec.pipeline.planning import Loaded, Wanted
    from ftspec.pipeline.project import Project
    from ftspec.planner.identify import Identified
    from ftspec.record import RecordedJob, State

ENGINE = "openai"
KEYS = "OPENAI_API_KEY*"
"""llmcomp tries `OPENAI_API_KEY` and every `OPENAI_API_KEY_*`."""

_NUMBERS = ("epochs", "batch_size", "learning_rate_multiplier")
_WIRE = {"epochs": "n_epochs", "batch_size": "batch_size", "learning_rate_multiplier": "learning_rate_multiplier"}
_ENDED = {"succeeded": JobStatus.SUCCEEDED, "failed": JobStatus.FAILED, "cancelled": JobStatus.CANCELLED}
_GOING = {"validating_files": JobStatus.QUEUED, "queued": JobStatus.QUEUED, "running": JobStatus.RUNNING}
_LOST = "md5:"
"""What stands for a dataset key where the rows are not here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One job as llmcomp wrote it. `rows` is the dataset key of its file, if that is here unchanged, at `path`."""

    id: str
    file_name: str
    md5: str
    base_model: str
    members: Mapping[str, Any]
    path: str | None = None
    rows: str | None = None
    digest: str | None = None

    def number(self, name: str) -> Any:
        """Return a hyperparameter: a number, `auto`, or nothing."""
        value = self.members.get(name)
        return value if value == "auto" or (isinstance(value, (int, float)) and not isinstance(value, bool)) else None

    def text(self, name: str) -> str | None:
        """Return a member that is text."""
        value = self.members.get(name)
        return value if isinstance(value, str) and value else None

    @property
    def seed(self) -> int | None:
        """The seed, once the job has ended."""
        seed = self.members.get("seed")
        return seed if isinstance(seed, int) and not isinstance(seed, bool) else None

    @property
    def settings(self) -> dict[str, Any]:
        """What a spec would give."""
        numbers = {name: self.number(name) for name in _NUMBERS}
        given = {"base_model": self.base_model, **numbers, "seed": self.seed, "suffix": self.text("suffix")}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def status(self) -> JobStatus:
        """How far it got, when llmcomp last asked."""
        if self.text("model"):
            return JobStatus.SUCCEEDED
        said = self.text("status") or ""
        return _ENDED.get(said) or _GOING.get(said, JobStatus.LAUNCHED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where a job belongs: its address, key and what the key was made of. `declared`: this project's spec asks for it."""

    line: Line
    address: str
    key: str
    preimage: Mapping[str, Any]
    declared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """A data folder, compared with the project."""

    project: Project
    engine: EngineEntry
    placed: Sequence[Placed]
    stub: Stub
    """A spec for the jobs that no spec asks for and whose rows are here."""
    lost: Sequence[Line] = ()
    """Jobs whose rows are not here, or not any more."""
    loaded: Loaded | None = None
    wanted: Wanted | None = None
    files: Sequence[FileFact] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What was written to state, and which jobs it had already."""

    new: Sequence[Placed]
    known: Sequence[Placed]
    files: int
    lockfile: Path | None = None


def migrate(project: Project, folder: Path, *, engine: str | None = None) -> Migration:
    """Read a data folder and find the address and key of each job. Writes nothing."""
    loaded = load(project) if project.files else None
    wanted = want(loaded) if loaded is not None else None
    lines = [_with_rows(line, project, folder) for line in _jobs(folder)]
    entry = _entry(loaded, engine)
    declared, rest = _declared(lines, entry, wanted) if entry is not None and wanted is not None else ([], lines)
    stub = _stub([line for line in rest if line.rows is not None], entry, loaded)
    placed = [*declared, *_stubbed(project, loaded, stub, [line for line in rest if line.rows is not None])]
    entry = entry or _default_entry(project, stub)
    lost = [line for line in rest if line.rows is None]
    placed += [_lost(line, entry, {one.address for one in placed}) for line in lost]
    files = list(_files(folder, lines, entry))
    return Migration(project=project, engine=entry, placed=placed, stub=stub, lost=lost, loaded=loaded, wanted=wanted, files=files)


def record(migration: Migration) -> Recorded:
    """Write the jobs and files that state does not have."""
    from ftspec.pipeline.locking import write_lockfile

    project, loaded = migration.project, migration.loaded
    with state_of(project, loaded.spec if loaded else None).lock("import --llmcomp") as writer:
        state = writer.read()
        new, known, facts = [], [], list[JobFact]()
        for placed in migration.placed:
            before = _records_of(state, placed)
            if any(not _outdated(old, placed, migration) for old in before):
                known.append(placed)
                continue
            new.append(placed)
            facts += [_superseded(old.key) for old in before]
            facts.append(_fact(placed, migration))
        files = [fact for fact in migration.files if not any(file.file_id == fact.values["file_id"] for file in state.files.values())]
        writer.append(*files, *facts)
        lockfile = write_lockfile(migration.wanted, writer.read()) if migration.wanted is not None else None
    return Recorded(new=new, known=known, files=len(files), lockfile=lockfile)


def _outdated(old: RecordedJob, placed: Placed, migration: Migration) -> bool:
    """Whether an earlier import of the same job gives way: its rows were found, or `auto` has become a number."""
    asked_for = {one.key for one in migration.wanted.jobs} if migration.wanted is not None else set()
    return old.key != placed.key and old.last.origin is Origin.IMPORTED and old.key not in asked_for and placed.line.rows is not None


def _records_of(state: State, placed: Placed) -> list[RecordedJob]:
    return [r for r in state.jobs.values() if not r.forgotten and any(a.engine_job_id == placed.line.id for a in r.attempts)]


# Reading


def _jobs(folder: Path) -> Iterator[Line]:
    path = folder / "jobs.jsonl"
    if not path.is_file():
        raise FtspecError(
            f"there is no `jobs.jsonl` in `{printable(folder.name)}`", help="name llmcomp's data folder, by default `llmcomp_models`"
        )
    seen = set()
    for number, members in _objects(path):
        texts = [members.get(name) for name in ("id", "file_name", "file_md5", "base_model")]
        if not all(isinstance(text, str) and text for text in texts):
            raise FtspecError(
                f"`jobs.jsonl` line {number} is not a job of llmcomp: it needs `id`, `file_name`, `file_md5` and `base_model`"
            )
        job_id, file_name, md5, base_model = (str(text) for text in texts)
        if job_id not in seen:
            seen.add(job_id)
            yield Line(id=job_id, file_name=file_name, md5=md5, base_model=base_model, members=members)


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                members = decoded(line)
            except ValueError:
                members = None
            if not isinstance(members, dict):
                raise FtspecError(f"`{path.name}` line {number} is not a JSON object")
            yield number, members


def _with_rows(line: Line, project: Project, folder: Path) -> Line:
    """Return the line with the key of its rows, where the file is below the root and has not changed."""
    for base in (project.root, folder.parent, folder):
        try:
            path = (base / line.file_name).resolve()
            inside = path.is_relative_to(project.root) and path.is_file()
            content = path.read_bytes() if inside else b""
        except (OSError, ValueError):
            continue
        if not inside or hashlib.md5(content, usedforsecurity=False).hexdigest() != line.md5:
            continue
        relative = path.relative_to(project.root).as_posix()
        found = digest_of_file(relative, root=project.root)
        if found is not None:
            return replace(line, path=relative, rows=found[0], digest=hashlib.sha256(content).hexdigest())
    return line


def _files(folder: Path, lines: Sequence[Line], entry: EngineEntry) -> Iterator[FileFact]:
    """Yield what is known of the uploads: only of bytes that are here can it be said what they hold."""
    from ftspec.pipeline.planning import utc_now

    path = folder / "files.jsonl"
    here = {(line.file_name, line.md5): line for line in lines if line.rows is not None}
    seen = set()
    for _, members in _objects(path) if path.is_file() else ():
        line = here.get((str(members.get("name")), str(members.get("md5"))))
        file_id = members.get("id")
        if line is None or not isinstance(file_id, str) or not file_id or line.digest in seen:
            continue
        seen.add(line.digest)
        values = {"dataset_key": line.rows, "file_id": file_id, "name": PurePosixPath(line.file_name).name, "status": "uploaded"}
        yield FileFact(scope=entry.scope, digest=str(line.digest), at=utc_now(), values=values)


# Finding the place of each job


def _entry(loaded: Loaded | None, name: str | None) -> EngineEntry | None:
    """Return the engine entry that the jobs were bought with: the named one, else the only one of OpenAI."""
    engines = loaded.spec.engines if loaded is not None else {}
    if name is not None:
        if name not in engines:
            raise FtspecError(f"no spec declares an engine `{printable(name)}`", help="declare it under `engines:`")
        return engines[name]
    hosted = [entry for entry in engines.values() if entry.type == ENGINE]
    if len(hosted) > 1:
        raise FtspecError(
            f"{len(hosted)} engines of the spec are of the type `{ENGINE}`",
            help=f"say which one bought the jobs: --engine {hosted[0].name}",
        )
    return hosted[0] if hosted else None


def _declared(lines: Sequence[Line], entry: EngineEntry, wanted: Wanted) -> tuple[list[Placed], list[Line]]:
    """Give each job of the spec the first job that fits it, equal suffixes first; return the rest too."""
    free = [one for one in wanted.jobs if one.job.scope == entry.scope and one.job.method == "supervised" and one.parent_key is None]
    placed: dict[str, Placed] = {}
    for same_suffix in (True, False):
        for line in lines:
            if line.id in placed or line.rows is None:
                continue
            fits = (one for one in free if _fits(one, line) and (not same_suffix or one.job.suffix == line.text("suffix")))
            one = next(fits, None)
            if one is not None:
                free.remove(one)
                image = job_preimage(one.job, train=one.train_key, validation=one.validation_key, parent=None)
                placed[line.id] = Placed(line=line, address=one.job.address, key=one.key, preimage=image, declared=True)
    return list(placed.values()), [line for line in lines if line.id not in placed]


def _fits(one: Identified, line: Line) -> bool:
    job = one.job
    if one.train_key != line.rows or job.base_model != line.base_model or job.grader or job.lora or job.engine_options:
        return False
    if job.seed is not None and job.seed != line.seed:
        return False
    has = {_WIRE[name]: line.number(name) for name in _NUMBERS}
    return all(name in has and (value == "auto" or value == has[name]) for name, value in job.hyperparameters.items())


def _stub(lines: Sequence[Line], entry: EngineEntry | None, loaded: Loaded | None) -> Stub:
    spec = loaded.spec if loaded is not None else None
    declared = {one.path: name for name, one in spec.datasets.items() if one.split is None and not one.transforms} if spec else {}
    names: dict[str, str] = {}
    datasets = []
    for line in lines:
        path = str(line.path)
        if path in declared:
            names[path] = declared[path]
        elif path not in names:
            names[path] = slug(PurePosixPath(path).stem, taken=(*(spec.datasets if spec else ()), *names.values()))
            datasets.append(StubDataset(name=names[path], path=path))
    jobs = [
        StubJob(engine=entry.name if entry else ENGINE, train=names[str(line.path)], settings=line.settings, source=line.id)
        for line in lines
    ]
    engines = [] if entry is not None else [_engine(lines)]
    remarks = [
        "Jobs of llmcomp's finetuning manager. What was `auto`, and seeds that nobody gave, stand as the",
        "engine resolved them: leave them out of new experiments.",
    ]
    taken = {job.experiment for job in spec.jobs} if spec else set()
    return Stub(jobs=told_apart(jobs), datasets=datasets, engines=engines, remarks=remarks, taken=taken)


def _engine(lines: Sequence[Line]) -> StubEngine:
    owners = {line.text("organization_id") for line in lines} - {None}
    note = f"{len(owners)} organizations: each key is tried, and which one owns a job is remembered" if len(owners) > 1 else ""
    return StubEngine(name=ENGINE, members={"type": ENGINE, "api_key_env": KEYS if len(owners) > 1 else "OPENAI_API_KEY"}, note=note)


def _stubbed(project: Project, loaded: Loaded | None, stub: Stub, lines: Sequence[Line]) -> list[Placed]:
    """Return the jobs of the stub with the keys that the stub gives them when it is read as a spec."""
    if not lines:
        return []
    wanted = want(load(msgspec.structs.replace(project, files=(*(project.files if loaded else ()), _written(project, stub)))))
    found = {one.job.address: one for one in wanted.jobs}
    placed = []
    for line, address in zip(lines, stub.addresses(), strict=True):
        one = found[address]
        if not _fits(one, line) or one.job.validation is not None or one.job.seed != line.seed:
            raise FtspecError(
                f"with the `defaults` of this project's spec, `{printable(address)}` would be another job than {printable(line.id)}",
                help="import into a spec of its own: -f specs/llmcomp.yaml, or in another folder: -C DIR",
            )
        image = job_preimage(one.job, train=one.train_key, validation=one.validation_key, parent=one.parent_key)
        placed.append(Placed(line=line, address=address, key=one.key, preimage=image))
    return placed


def _written(project: Project, stub: Stub) -> Path:
    """Write the stub where it can be read as a spec of this project; the folder is ignored."""
    path = project.private / "import.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(stub.text(prefix="../"), encoding="utf-8")
    return path


def _default_entry(project: Project, stub: Stub) -> EngineEntry:
    """Return the entry that the stub declares."""
    engines = stub.engines or [_engine([])]
    only = replace(stub, jobs=(), datasets=(), engines=engines)
    return load(msgspec.structs.replace(project, files=(_written(project, only),))).spec.engines[engines[0].name]


def _lost(line: Line, entry: EngineEntry, taken: set[str]) -> Placed:
    """Return a place for a job whose rows are not here: a key that no spec can have."""
    image = {
        "recipe": RECIPE,
        "scope": entry.scope,
        "base_model": line.base_model,
        "method": "supervised",
        "train": f"{_LOST}{line.md5}",
        "hyperparameters": {_WIRE[name]: line.number(name) for name in _NUMBERS if line.number(name) is not None},
        "job": line.id,
        **({"seed": line.seed} if line.seed is not None else {}),
    }
    axes = {name: value for name, value in line.settings.items() if name != "suffix"}
    name = slug(line.text("suffix") or PurePosixPath(line.file_name).stem)
    address = format_address(name, axes)
    if address in taken:
        address = format_address(name, axes | {"job": line.id})
    taken.add(address)
    return Placed(line=line, address=address, key=digest(image), preimage=image)


# Writing


def _superseded(key: str) -> JobFact:
    from ftspec.pipeline.planning import utc_now

    return JobFact(key=key, at=utc_now(), job={"forgotten": True})


def _fact(placed: Placed, migration: Migration) -> JobFact:
    from ftspec import __version__
    from ftspec.pipeline.planning import utc_now

    line, spec = placed.line, migration.loaded.spec if migration.loaded else None
    hyperparameters = {_WIRE[name]: value for name in _NUMBERS if (value := line.number(name)) is not None}
    values: dict[str, Any] = {
        "status": line.status.value,
        "raw_status": line.text("status"),
        "engine_job_id": line.id,
        "training_file": line.text("file_id"),
        "base_model": line.base_model,
        "hyperparameters": hyperparameters,
        "seed": line.seed,
        "model": line.text("model"),
        "checkpoints": _checkpoints(line),
        "organization": line.text("organization_id"),
        "origin": Origin.IMPORTED.value,
        "ftspec_version": __version__,
    }
    about: dict[str, Any] = {
        "address": placed.address,
        "suffix": line.text("suffix"),
        "engine": migration.engine.name,
        "scope": migration.engine.scope,
        "preimage": dict(placed.preimage),
        "tags": {},
    }
    if spec is not None and spec.project is not None:
        about["project"] = spec.project
    said = {name: value for name, value in values.items() if value not in (None, [], {})}
    return JobFact(key=placed.key, attempt=1, at=utc_now(), values=said, job=about)


def _checkpoints(line: Line) -> list[dict[str, Any]]:
    """Return the checkpoints by epoch; their steps are not known, so the epoch stands for the step until the engine is asked."""
    epochs = line.number("epochs")
    names = [(back, line.text(f"model-{back}")) for back in (2, 1)]
    return [
        {"model": name, "step": int(epochs - back), "epoch": float(epochs - back)}
        for back, name in names
        if name is not None and isinstance(epochs, (int, float)) and epochs > back
    ]
