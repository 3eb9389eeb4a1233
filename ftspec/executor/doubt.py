"""Jobs in doubt, and jobs that were not bought through us: looked up, imported, or declared absent.

`settle` asks the engines about every open intent of a project. `import_job` records a job that
a person names; `mark_absent` takes a person's word that a launch never became one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ftspec.diagnostics import FtspecError
from ftspec.engines.base import Engine, EngineError
from ftspec.executor import facts
from ftspec.executor.journal import Journal
from ftspec.executor.lane import verdict_facts
from ftspec.executor.lookup import Absent, Doubt, Verdict, look_up
from ftspec.executor.matching import Match, differences, open_intent
from ftspec.executor.result import ApplyOptions, DuplicateJob, Settled, Trouble
from ftspec.record import JobError, Origin
from ftspec.state.base import JobFact

if TYPE_CHECKING:
    from ftspec.engines.base import Clock, ObservedJob
    from ftspec.experiment import Spec
    from ftspec.record import RecordedJob, State
    from ftspec.state.base import StateWriter

Engines: TypeAlias = Mapping[str, Engine] | Callable[[str], Engine]
"""Engines by the name of their entry."""


async def settle(
    *, spec: Spec, writer: StateWriter, engines: Engines, clock: Clock, options: ApplyOptions | None = None, state: State | None = None
) -> Settled:
    """Look up every launch whose outcome is unknown, and record what became of it. Buys nothing.

    `apply` does it before it plans: what is found is adopted, what can be called absent is
    launched by the plan that follows, the rest stays in doubt.
    """
    options = options or ApplyOptions()
    state = state or writer.read()
    journal = Journal(writer)
    by_scope: dict[str, list[RecordedJob]] = {}
    for record in state.jobs.values():
        if record.doubtful and not record.forgotten:
            by_scope.setdefault(record.scope, []).append(record)
    found = _Found()
    for scope, records in sorted(by_scope.items()):
        name = next((entry.name for entry in spec.engines.values() if entry.scope == scope), None)
        if name is None:
            for record in records:
                found.doubt(record, f"no engine of the spec buys in `{scope}`")
            continue
        engine = engines[name] if isinstance(engines, Mapping) else engines(name)
        known = {a.engine_job_id for r in state.jobs.values() if r.scope == scope for a in r.attempts if a.engine_job_id}
        known |= {extra for r in state.jobs.values() if r.scope == scope for extra in r.duplicates}
        # A job that was found, and that no launch is known to have become, may be what an open one became.
        known -= {
            record.last.engine_job_id for record in records if record.last.launch is None and record.last.origin is not Origin.LAUNCHED
        }
        verdicts = await look_up(
            [open_intent(record) for record in records],
            engine=engine,
            known=known,
            clock=clock,
            window=options.settle_window,
            launch_absent=options.launch_absent,
        )
        for record in records:
            journal.append(*verdict_facts(open_intent(record), verdicts[record.key], unique=engine.profile.unique_keys, at=clock.now()))
            found.take(record, verdicts[record.key], writer.read().jobs[record.key])
    return found.settled()


class _Found:
    """What `settle` found so far."""

    def __init__(self) -> None:
        self._adopted: list[str] = []
        self._absent: list[str] = []
        self._doubts: list[Trouble] = []
        self._duplicates: list[DuplicateJob] = []

    def take(self, record: RecordedJob, verdict: Verdict, now: RecordedJob) -> None:
        """Take in what became of a record, and what state says of it now."""
        match verdict:
            case Match(job=job):
                if record.in_doubt:
                    self._adopted.append(record.address)
                if now.duplicates:
                    kept = now.last.engine_job_id or job.id
                    self._duplicates.append(
                        DuplicateJob(address=now.address, key=now.key, engine=now.engine, kept=kept, extra=now.duplicates)
                    )
            case Absent():
                self._absent.append(record.address)
            case Doubt(why=why, candidates=candidates):
                self.doubt(record, why if not candidates else f"{why}: {', '.join(candidates)}")

    def doubt(self, record: RecordedJob, why: str) -> None:
        self._doubts.append(Trouble(address=record.address, error=JobError(code="in_doubt", message=why)))

    def settled(self) -> Settled:
        return Settled(
            adopted=tuple(self._adopted),
            absent=tuple(self._absent),
            in_doubt=tuple(self._doubts),
            duplicates=tuple(self._duplicates),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A job that was imported, and in what it differs from what the spec or the open intent asked for."""

    job: ObservedJob
    attempt: int
    differences: tuple[str, ...] = ()


async def import_job(  # noqa: PLR0913 what, where, and what it should have been
    *,
    key: str,
    about: Mapping[str, object],
    engine: Engine,
    engine_job_id: str,
    state: State,
    writer: StateWriter,
    clock: Clock,
    requested: Mapping[str, object] | None = None,
    force: bool = False,
) -> Imported:
    """Record a job of the engine as that of `key`; the oldest open launch of the key becomes this job.

    `about` are the members of the record (`facts.about`, or labels and scope). `requested` is the body that
    we would have sent; where the job disagrees with it `FtspecError` is raised unless `force`.
    """
    try:
        job = await engine.job(engine_job_id)
    except EngineError as error:
        raise FtspecError(f"the engine could not be asked for job {engine_job_id}: {error.message}") from None
    if job is None:
        raise FtspecError(f"this account has no job {engine_job_id}", help="list what it has: ftspec import --list")
    owner = next((r for r in state.jobs.values() if r.key != key and any(a.engine_job_id == job.id for a in r.attempts)), None)
    if owner is not None:
        raise FtspecError(f"job {job.id} is recorded already, as `{owner.address}`", help="name it there: ftspec state mv")
    record = state.jobs.get(key)
    attempt = 1 if record is None else record.last.number + (not record.doubtful)
    launches: tuple[tuple[int, str], ...] = ()
    if record is not None and record.doubtful:
        doubt = open_intent(record)
        attempt, requested, launches = doubt.attempt, doubt.requested or requested, doubt.launches[:1]
    wrong = tuple(differences(requested or {}, job)) if requested else ()
    if wrong and not force:
        raise FtspecError(
            f"job {job.id} is not what was asked for: {'; '.join(wrong)}", help="if it is the right one all the same, add --force"
        )
    own = next((run for number, run in launches if number == attempt), None)
    fact = facts.bought(key, attempt, job, at=clock.now(), origin=Origin.IMPORTED, launch=own)
    settled = [facts.settled(key, number, run, at=clock.now()) for number, run in launches if run != own]
    Journal(writer).append(JobFact(key=key, attempt=attempt, at=fact.at, values=fact.values, job=dict(about)), *settled)
    return Imported(job=job, attempt=attempt, differences=wrong)


def mark_absent(record: RecordedJob, *, writer: StateWriter, clock: Clock, by: str | None = None) -> None:
    """Record a person's word that a launch in doubt never became a job; the next plan launches it again."""
    if not record.doubtful:
        raise FtspecError(f"`{record.address}` is not in doubt: it is {record.status.value}")
    why = f"said to be absent by {by}" if by else "said to be absent"
    Journal(writer).append(*verdict_facts(open_intent(record), Absent(why=why), at=clock.now()))
