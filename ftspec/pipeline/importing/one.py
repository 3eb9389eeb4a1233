"""One job of an engine becomes the job of one address: by its id, or by looking for it.

A job is compared with what the spec (or the open intent) asks for: base model, method, files,
suffix, seed, hyperparameters, and the rows of its files where they can be read. What disagrees
is an error that `force` overrides; what cannot be compared is said. A search records a job only
where nothing else can be meant: it carries our key, or it is the only one that fits and its rows
are those of the spec. Everything else is a candidate for a person to judge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ftspec.diagnostics import FtspecError
from ftspec.engines.base import EngineError
from ftspec.executor import facts
from ftspec.executor.matching import LABEL, differences, seniority
from ftspec.fingerprint import SHORT, job_preimage
from ftspec.pipeline.planning import Loaded, load, profiles, state_of, want
from ftspec.planner.selectors import UnknownSelector, select, select_records
from ftspec.printable import printable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ftspec.engines.base import Engine, ObservedJob
    from ftspec.pipeline.planning import Wanted
    from ftspec.pipeline.project import Project
    from ftspec.pipeline.session import Session
    from ftspec.planner.identify import Identified
    from ftspec.record import JobStatus, RecordedJob, State
    from ftspec.state.base import StateWriter


T = TypeVar("T")
_LOST = frozenset({"failed", "cancelled"})


class NotThisJob(FtspecError):
    """What was named cannot be imported there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The job of an address: what is wanted there, and what state has of it.

    `requested` is the request body as far as it is known; `rows` the dataset keys of its files.
    """

    address: str
    key: str
    engine: str
    scope: str
    about: Mapping[str, Any]
    requested: Mapping[str, Any]
    rows: Mapping[str, str]
    record: RecordedJob | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A job that may be the one, and why that is not certain."""

    job: ObservedJob
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedJob:
    """What an address means from now on. `differences` were overridden, `notes` could not be compared."""

    address: str
    engine: str
    engine_job_id: str
    status: JobStatus
    model: str | None
    differences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    lockfile: Path | None = None
    known_before: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search found: a job that was imported, or candidates. Not `complete`: the engine's list was cut."""

    target: Target
    imported: ImportedJob | None = None
    candidates: tuple[Candidate, ...] = ()
    complete: bool = True


def by_id(project: Project, word: str, *, job_id: str, force: bool = False) -> ImportedJob:
    """Record the job `job_id` of the engine as that of the address `word`."""

    async def run(importer: _Importer) -> ImportedJob:
        job = await importer.job(job_id)
        return await importer.take(job, force=force)

    return _run(project, word, run)


def search(project: Project, word: str) -> Found:
    """Look for the job of an address on its engine; record it where exactly one can be meant."""
    return _run(project, word, lambda importer: importer.search())


def addresses(project: Project, words: Sequence[str]) -> list[str]:
    """Return the addresses that selectors mean: those of the spec in its order, then those that only state has (`UnknownSelector`)."""
    loaded = load(project)
    wanted = want(loaded)
    state, _ = state_of(project, loaded.spec).read()
    meant: set[str] = set()
    for word in words:
        try:
            meant |= select([word], wanted.jobs, state)
        except UnknownSelector as error:
            records = select_records([word], state) if state.jobs else None
            if not records:
                raise error from None
            meant |= {state.jobs[key].address for key in records}
    ours = [one.job.address for one in wanted.jobs if one.job.address in meant]
    return ours + sorted(meant - set(ours))


def absent(project: Project, word: str, *, by: str | None = None) -> RecordedJob:
    """Record a person's word that the launch in doubt at this address never became a job."""
    from ftspec.engines.clock import SystemClock
    from ftspec.executor.doubt import mark_absent

    with state_of(project, load(project).spec).lock("import --absent") as writer:
        state = writer.read()
        records = [state.jobs[key] for key in select_records([word], state)]
        open_ones = [record for record in records if record.doubtful] or records
        if len(open_ones) != 1:
            raise _several(word, [record.address for record in open_ones])
        mark_absent(open_ones[0], writer=writer, clock=SystemClock(), by=by)
        return open_ones[0]


def _run(project: Project, word: str, work: Callable[[_Importer], Awaitable[T]]) -> T:
    from ftspec.pipeline.session import Session

    loaded = load(project)
    wanted = want(loaded)

    async def inside(writer: StateWriter) -> T:
        async with Session(project, loaded.spec) as session:
            state = writer.read()
            session.remember(state.jobs.values())
            target = find(word, loaded, wanted, state)
            return await work(_Importer(target, loaded, wanted, session, writer))

    with state_of(project, loaded.spec).lock("import") as writer:
        return asyncio.run(inside(writer))


def find(word: str, loaded: Loaded, wanted: Wanted, state: State) -> Target:
    """Return the job that `word` means: one of the spec, else one that state has (`UnknownSelector`)."""
    try:
        addresses = select([word], wanted.jobs, state)
    except UnknownSelector:
        records = [state.jobs[key] for key in select_records([word], state)] if state.jobs else []
        if not records:
            raise
        if len(records) > 1:
            raise _several(word, [record.address for record in records]) from None
        return _recorded(records[0])
    if len(addresses) != 1:
        raise _several(word, sorted(addresses))
    [one] = [one for one in wanted.jobs if one.job.address in addresses]
    return _desired(one, loaded, state)


def _several(word: str, addresses: list[str]) -> FtspecError:
    shown = ", ".join(f"`{printable(address)}`" for address in addresses[:3]) + (", ..." if len(addresses) > 3 else "")
    return NotThisJob(
        f"`{printable(word)}` names {len(addresses)} jobs" + (f": {shown}" if addresses else ""), help="name one of them by its address"
    )


def _recorded(record: RecordedJob) -> Target:
    about = {"address": record.address, "suffix": record.suffix, "tags": dict(record.tags), "engine": record.engine, "scope": record.scope}
    return Target(
        address=record.address,
        key=record.key,
        engine=record.engine,
        scope=record.scope,
        about={**about, "preimage": dict(record.preimage)},
        requested=record.last.requested,
        rows=_rows(record.preimage.get("train"), record.preimage.get("validation")),
        record=record,
    )


def _desired(one: Identified, loaded: Loaded, state: State) -> Target:
    job = one.job
    image = job_preimage(job, train=one.train_key, validation=one.validation_key, parent=one.parent_key)
    return Target(
        address=job.address,
        key=one.key,
        engine=job.engine,
        scope=job.scope,
        about=facts.about_job(job, image, loaded.spec.project),
        requested=_request(one, loaded, state),
        rows=_rows(one.train_key, one.validation_key),
        record=state.jobs.get(one.key),
    )


def _rows(train: Any, validation: Any) -> dict[str, str]:
    named = (("training_file", train), ("validation_file", validation))
    return {name: key for name, key in named if isinstance(key, str)}


def _request(one: Identified, loaded: Loaded, state: State) -> dict[str, Any]:
    """Return the request that would buy a job, without what is not known yet."""
    from ftspec.engines.request import job_body

    job = one.job
    base = job.base_model
    if one.parent_key is not None:
        parent = state.jobs.get(one.parent_key)
        base = (parent.model if parent is not None else None) or ""
    if not base:
        raise NotThisJob(
            f"`{printable(job.address)}` trains on the model of `{printable(job.parent or '')}`, which has none yet",
            help=f"import that one first: ftspec import '{printable(job.parent or '')}' --search",
        )
    body = job_body(
        job,
        profile=profiles()[loaded.spec.engines[job.engine].type],
        base_model_name=base,
        training_file=_file_id(state, job.scope, one.train_key) or "",
        validation_file=_file_id(state, job.scope, one.validation_key),
        project=None,
        key=one.key,
        attempt=1,
    )
    return {name: value for name, value in body.items() if value not in ("", None)}


def _file_id(state: State, scope: str, key: str | None) -> str | None:
    file = state.files.get((scope, key)) if key is not None else None
    return file.file_id if file is not None and file.status != "gone" else None


class _Importer:
    """Compares jobs of one engine with one target, and records."""

    def __init__(self, target: Target, loaded: Loaded, wanted: Wanted, session: Session, writer: StateWriter) -> None:
        from ftspec.engines.clock import SystemClock

        self._target, self._loaded, self._wanted, self._session, self._writer = target, loaded, wanted, session, writer
        self._state = writer.read()
        self._clock = SystemClock()
        self._engine: Engine = session.engine(self._entry())

    def _entry(self) -> str:
        """Return the entry that buys in the target's scope."""
        engines = self._loaded.spec.engines
        if self._target.engine in engines and engines[self._target.engine].scope == self._target.scope:
            return self._target.engine
        name = next((entry.name for entry in engines.values() if entry.scope == self._target.scope), None)
        if name is None:
            raise NotThisJob(f"no engine of the spec buys in `{printable(self._target.scope)}`", help="declare it under `engines:`")
        return name

    async def job(self, job_id: str) -> ObservedJob:
        """Return a job of the engine."""
        try:
            job = await self._engine.job(job_id)
        except EngineError as error:
            raise NotThisJob(f"`{self._entry()}` could not be asked for job {printable(job_id)}: {error.message}") from None
        if job is None:
            raise NotThisJob(
                f"this account on `{self._entry()}` has no job {printable(job_id)}", help="list what it has: ftspec import --list"
            )
        return job

    async def take(self, job: ObservedJob, *, force: bool) -> ImportedJob:
        """Record a job as the target's (`NotThisJob`: it is recorded elsewhere, or is not what was asked for)."""
        from ftspec.executor.doubt import import_job

        record = self._target.record
        doubtful = record is not None and record.doubtful
        if record is not None and not doubtful and any(attempt.engine_job_id == job.id for attempt in record.attempts):
            await self._refresh()
            return self._result(job, known_before=True)
        if record is not None and record.status.bought and not doubtful and not record.forgotten and not force:
            raise NotThisJob(
                f"`{printable(self._target.address)}` has a job already: {record.last.engine_job_id}, {record.status.value}",
                help="to record this one beside it, as a further attempt: add --force",
            )
        wrong, notes = self._disagreements(job), []
        rows_wrong, rows_notes = await self._compare_rows(job)
        wrong += rows_wrong
        notes += rows_notes
        if wrong and not force:
            raise NotThisJob(
                f"job {job.id} is not what `{printable(self._target.address)}` asks for: {'; '.join(wrong)}",
                help="if it is the right one all the same: add --force",
            )
        await import_job(
            key=self._target.key,
            about=self._about(),
            engine=self._engine,
            engine_job_id=job.id,
            state=self._state,
            writer=self._writer,
            clock=self._clock,
            requested=self._target.requested,
            force=True,  # what disagrees was judged above, with the rows
        )
        await self._refresh()
        return self._result(job, differences=tuple(wrong), notes=tuple(notes))

    async def search(self) -> Found:
        """Look for the target's job; take it where exactly one can be meant. One that is in use is not looked for again."""
        record = self._target.record
        if record is not None and not record.doubtful and not record.forgotten and record.last.engine_job_id and record.status not in _LOST:
            return Found(target=self._target, imported=await self.take(await self.job(record.last.engine_job_id), force=False))
        ours, bare, complete = await self._listed()
        if len(ours) == 1:
            return Found(target=self._target, imported=await self.take(ours[0], force=False))
        if ours:
            why = "carries the key of this job"
            return Found(target=self._target, candidates=tuple(Candidate(job=job, why=why) for job in ours), complete=complete)
        fitting = [job for job in bare if not self._disagreements(job)]
        candidates = []
        for job in fitting:
            wrong, notes = await self._compare_rows(job)
            if not wrong:
                candidates.append((job, notes))
        if len(candidates) == 1 and not candidates[0][1] and complete:
            return Found(target=self._target, imported=await self.take(candidates[0][0], force=False))
        judged = tuple(Candidate(job=job, why="; ".join(notes) or "its settings and rows fit") for job, notes in candidates)
        return Found(target=self._target, candidates=judged, complete=complete)

    async def _listed(self) -> tuple[list[ObservedJob], list[ObservedJob], bool]:
        """Return the unknown jobs with our key, those without any key, and whether the list was whole."""
        known = known_ids(self._state, self._target.scope)
        jobs: dict[str, ObservedJob] = {}
        complete = True
        try:
            if self._engine.profile.metadata:
                jobs.update((job.id, job) for job in (await self._engine.find_jobs(key=self._target.key)).items)
            listing = await self._engine.find_jobs()
        except EngineError as error:
            raise NotThisJob(f"`{self._entry()}` could not be asked for its jobs: {error.message}") from None
        jobs.update((job.id, job) for job in listing.items)
        complete = listing.complete
        unknown = sorted((job for job in jobs.values() if job.id not in known), key=seniority)
        ours = [job for job in unknown if job.metadata.get(LABEL) == self._target.key]
        return ours, [job for job in unknown if LABEL not in job.metadata], complete

    def _disagreements(self, job: ObservedJob) -> list[str]:
        wrong = differences(self._target.requested, job) if self._target.requested else []
        method = self._target.requested.get("method")
        wanted = method.get("type") if isinstance(method, dict) else None
        if job.method is not None and wanted is not None and job.method != wanted:
            wrong.append(f"method `{printable(job.method)}` instead of `{wanted}`")
        label = job.metadata.get(LABEL)
        if label is not None and label != self._target.key:
            wrong.append(f"it carries the key of another job, {printable(label[:SHORT])}")
        return wrong

    async def _compare_rows(self, job: ObservedJob) -> tuple[list[str], list[str]]:
        """Return which files of a job hold other rows than the spec's, and which could not be compared."""
        from ftspec.pipeline.importing.rows import compare

        wrong, notes = [], []
        for member, key in self._target.rows.items():
            file_id = job.training_file if member == "training_file" else job.validation_file
            if file_id is None:
                notes.append(f"the engine does not name its {member}")
                continue
            if self._target.requested.get(member) == file_id:
                continue
            compared = await compare(self._engine, file_id, key, scope=self._target.scope, state=self._state)
            if compared.same is False:
                wrong.append(f"the rows of its {member} are not those of the dataset")
            elif compared.same is None:
                notes.append(f"the rows of its {member} could not be compared: {compared.why}")
            elif compared.fact is not None:
                self._writer.append(compared.fact)
        return wrong, notes

    def _about(self) -> dict[str, Any]:
        record = self._target.record
        return {**self._target.about, **({"forgotten": False} if record is not None and record.forgotten else {})}

    async def _refresh(self) -> None:
        """Ask for the job's end, with everything that comes with it."""
        from ftspec.executor.refresh import refresh
        from ftspec.pipeline.spending import Spending

        await refresh(
            spec=self._loaded.spec,
            writer=self._writer,
            engines=self._session.engine,
            clock=self._clock,
            keys={self._target.key},
            cost_of=Spending(self._loaded.spec, profiles()).trained,
        )

    def _result(self, job: ObservedJob, **more: Any) -> ImportedJob:
        from ftspec.pipeline.locking import write_lockfile

        state = self._writer.read()
        record = state.jobs[self._target.key]
        return ImportedJob(
            address=self._target.address,
            engine=self._entry(),
            engine_job_id=job.id,
            status=record.status,
            model=record.model,
            lockfile=write_lockfile(self._wanted, state),
            **more,
        )


def known_ids(state: State, scope: str) -> set[str]:
    """Return the ids of all jobs that state has in a scope."""
    records = [record for record in state.jobs.values() if record.scope == scope]
    known = {attempt.engine_job_id for record in records for attempt in record.attempts if attempt.engine_job_id}
    return known | {extra for record in records for extra in record.duplicates}
