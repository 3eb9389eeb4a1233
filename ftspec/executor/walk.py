"""The walk of a plan: starts what can start, waits, records, and starts what that made possible.

The walk knows how jobs, files and evals depend on each other; each engine's `Lane` buys and
watches. One coordinator decides, work at engines runs beside it (`Crew`), and what buys
something has made its outcome durable before it comes back. State is read once, at the beginning,
so that a job costs the same however many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from ftspec.actions import AdoptJob, KeepJob, LaunchJob, RunEval, WaitJob
from ftspec.engines.base import Engine, EngineError, ObservedJob
from ftspec.executor import facts
from ftspec.executor import progress as said
from ftspec.executor.clock import rfc3339
from ftspec.executor.evals import Evals
from ftspec.executor.files import Files
from ftspec.executor.graph import Node, Phase, base_model, graph_of
from ftspec.executor.journal import StateNotWritten
from ftspec.executor.lane import Hands, Lane, watched_job
from ftspec.executor.launch import Purchase
from ftspec.executor.matching import open_intent
from ftspec.executor.result import ApplyResult, DuplicateJob, Trouble
from ftspec.executor.watch import wait_until_served, watched
from ftspec.record import JobError, JobStatus, Origin
from ftspec.state.base import JobFact
from ftspec.state.ledger import open_text

if TYPE_CHECKING:
    from ftspec.actions import Plan
    from ftspec.executor.crew import Crew
    from ftspec.executor.effects import Effects
    from ftspec.experiment import Spec
    from ftspec.record import RecordedJob, State

Engines: TypeAlias = Mapping[str, Engine] | Callable[[str], Engine]
"""Engines by the name of their entry. A function is called once a name."""


class Walk:
    """One walk of one plan."""

    def __init__(self, plan: Plan, *, spec: Spec, state: State, engines: Engines, effects: Effects, crew: Crew) -> None:
        self._plan, self._spec, self._state, self._effects, self._crew = plan, spec, state, effects, crew
        self._nodes = graph_of(plan.actions, state)
        self._open = engines.__getitem__ if isinstance(engines, Mapping) else engines
        self._hands = Hands(effects.options.concurrency)
        self._lanes: dict[str, Lane] = {}
        evals = [action for action in plan.actions if isinstance(action, RunEval)] if effects.options.wait and effects.evaluate else []
        self._eval_engines = {action.engine for action in evals}
        self._evals = Evals(evals, effects=effects, crew=crew, engine=self._engine)
        self._files = Files(
            state=state, effects=effects, crew=crew, hands=self._hands, engine=self._engine, go=self._offer, fail=self.failed
        )
        self._halted: str | None = None
        self._bug: BaseException | None = None
        self._state_error: StateNotWritten | None = None
        self._signal: int | None = None
        self._trouble: list[Trouble] = []
        self._duplicates: dict[str, DuplicateJob] = {}
        self._unrecorded: dict[str, str] = {}

    async def run(self) -> ApplyResult:
        """Walk to the end, or until told to stop."""
        self._effects.stop.listen(self._crew.wake)
        self._carefully(self._begin)
        while not self._over():
            self._carefully(self._step)
            if self._crew.busy <= sum(lane.idle for lane in self._lanes.values()):
                break
            await self._take()
        # What is still going on now only asks; nothing that it would learn is waited for.
        self._crew.drop()
        while self._crew.busy:
            await self._take()
        if self._bug is not None:
            raise self._bug
        return self._result()

    # Beginning

    def _begin(self) -> None:
        for name in self._engines_needed():
            recorded = [record for record in self._state.jobs.values() if record.scope == self._spec.engines[name].scope]
            self._lanes[name] = Lane(
                self._spec.engines[name],
                self._open(name),
                effects=self._effects,
                crew=self._crew,
                hands=self._hands,
                report=self,
                recorded=recorded,
            )
        labels = []
        for node in self._nodes.values():
            action = node.action
            if isinstance(action, KeepJob) and action.relabelled:
                labels.append(JobFact(key=node.key, at=self._at(), job=facts.labels(node.job)))
            if isinstance(action, AdoptJob):
                work = _shown(self._lanes[node.job.engine].engine, action.engine_job_id)
                self._crew.start(partial(self._found, node), work)
            elif node.phase is Phase.UNSETTLED and node.record is not None:
                self._lanes[node.job.engine].doubt(node, open_intent(node.record))
            elif node.phase is Phase.RUNNING and node.record is not None:
                self._watch_recorded(node, node.record)
            elif node.phase is Phase.READY:
                self._files.want(node)
            elif node.phase is Phase.SKIPPED:
                self._skip_children(node)
        if labels:
            self._effects.journal.append(*labels)

    def _engines_needed(self) -> list[str]:
        needed = {node.job.engine for node in self._nodes.values() if node.phase not in {Phase.SUCCEEDED, Phase.SKIPPED}}
        return sorted(needed | self._eval_engines)

    def _engine(self, name: str) -> Engine:
        return self._lanes[name].engine

    def _watch_recorded(self, node: Node, record: RecordedJob) -> None:
        job = watched(record)
        assert job is not None  # noqa: S101 a kept job that has not ended has one
        job.address = node.address
        self._lanes[node.job.engine].watch(node, job)

    def _found(self, node: Node, job: ObservedJob | JobError) -> None:
        """Adopt a job that `plan --refresh` found on the engine under our key."""
        assert isinstance(node.action, AdoptJob)  # noqa: S101 only those are asked for
        if isinstance(job, JobError):
            self.failed(node, job)
            return
        fact = facts.bought(node.key, node.attempt, job, at=self._effects.clock.now(), origin=Origin.ADOPTED)
        about = JobFact(
            key=node.key, attempt=node.attempt, at=fact.at, values=fact.values, job=facts.about(node.action, self._effects.options.project)
        )
        self._effects.journal.append(about)
        self._lanes[node.job.engine].watch(node, watched_job(node, job))
        self.bought(node, job, adopted=True)

    # Going on

    def _over(self) -> bool:
        self._signal = self._effects.stop.requested
        if self._signal is not None:
            running = sum(lane.running for lane in self._lanes.values())
            self._crew.drop()
            self._effects.progress(said.Stopping(signal=self._signal, calls=self._crew.busy, running=running))
        return self._signal is not None or self._state_error is not None or self._bug is not None

    def _step(self) -> None:
        self._files.step()
        for lane in self._lanes.values():
            lane.step(wait=self._effects.options.wait)
        self._evals.step()

    def _offer(self, node: Node) -> None:
        """Let a job be bought: its parents have succeeded and its files are there."""
        if self._halted is not None:
            self.skipped(node, self._halted)
        else:
            self._lanes[node.job.engine].offer(node)

    async def _take(self) -> None:
        for done in await self._crew.results():
            if isinstance(done.error, StateNotWritten):
                self._state_error = self._state_error or done.error
            elif done.error is not None:
                self._bug = self._bug or done.error
            else:
                self._carefully(partial(done.tag, done.value))

    def _carefully(self, work: Callable[[], None]) -> None:
        """Do something that may write state; if it cannot, or has a bug, the walk is over once the calls in flight are."""
        try:
            work()
        except StateNotWritten as error:
            self._state_error = self._state_error or error
        except Exception as error:  # noqa: BLE001 raised again at the end
            self._bug = self._bug or error

    # What lanes report

    def purchase(self, node: Node) -> Purchase:
        """Return what to buy for a queued node."""
        job, launch = node.job, node.action
        assert isinstance(launch, LaunchJob)  # noqa: S101 only launches are offered
        training_file, validation_file = self._files.ids(node)
        body = self._effects.request_body(
            job,
            profile=self._lanes[job.engine].engine.profile,
            base_model_name=base_model(node, self._nodes),
            training_file=training_file,
            validation_file=validation_file,
            project=self._spec.project,
            key=node.key,
            attempt=node.nth,
        )
        return Purchase(
            launch=launch, attempt=node.attempt, nth=node.nth, body=body, training_file=training_file, validation_file=validation_file
        )

    def bought(self, node: Node, job: ObservedJob, *, adopted: bool) -> None:
        """Take notice that it exists; state has it."""
        node.phase, node.engine_job_id = Phase.RUNNING, job.id
        node.launched, node.adopted = not adopted, adopted
        self._effects.progress(said.Launched(address=node.address, engine=node.job.engine, engine_job_id=job.id, adopted=adopted))

    def ended(self, node: Node, job: ObservedJob, values: Mapping[str, Any]) -> None:
        """Take notice of its end; start what waited for it."""
        self._effects.progress(
            said.Finished(
                address=node.address,
                engine=node.job.engine,
                engine_job_id=job.id,
                status=job.status,
                model=job.model,
                trained_tokens=job.trained_tokens,
                cost=values.get("cost"),
                currency=values.get("currency"),
                metrics=values.get("metrics"),
                error=job.error,
            )
        )
        if job.status is not JobStatus.SUCCEEDED:
            error = job.error or JobError(code=job.raw_status, message=f"the engine says `{job.raw_status}`")
            self._fail(node, error, bought=True)
            return
        if job.model is None:
            error = JobError(code="no_model", message="it succeeded, and the engine names no model; ask again later: ftspec status")
            self._fail(node, error, bought=True)
            return
        node.phase, node.model, node.ended = Phase.SUCCEEDED, job.model, True
        needed = node.children or self._evals.wanted(node.address)
        lane = self._lanes[node.job.engine]
        if needed and not lane.engine.profile.in_process:
            self._crew.start(partial(self._served, node), wait_until_served(job.model, engine=lane.engine, clock=self._effects.clock))
        else:
            self._served(node, None)

    def _served(self, node: Node, _nothing: None) -> None:
        """Start what waited for a job's model."""
        self._evals.served(node)
        for child in node.children:
            child.parents.discard(node.address)
            if not child.parents and child.phase is Phase.BLOCKED:
                child.phase = Phase.READY
                self._files.want(child)

    def failed(self, node: Node, error: JobError) -> None:
        """Take notice that nothing was bought, or that nothing more will be heard of it."""
        self._effects.progress(said.NotLaunched(address=node.address, engine=node.job.engine, error=error))
        if error.param in {"training_file", "validation_file"} and isinstance(node.action, LaunchJob):
            self._files.forget(node)
        self._fail(node, error, bought=node.engine_job_id is not None)

    def in_doubt(self, node: Node, error: JobError) -> None:
        """Take notice that nobody knows whether it exists."""
        node.phase, node.error = Phase.IN_DOUBT, error
        self._effects.progress(said.InDoubt(address=node.address, engine=node.job.engine, why=error.message or ""))
        self._skip_children(node)

    def skipped(self, node: Node, because: str) -> None:
        """Take notice that it was not tried."""
        node.phase, node.because = Phase.SKIPPED, because
        self._effects.progress(said.Skipped(address=node.address, because=because))
        self._skip_children(node)

    def unrecorded(self, node: Node, job: ObservedJob) -> None:
        """Take notice that it exists and state could not be written."""
        node.phase, node.engine_job_id = Phase.RUNNING, job.id
        self._unrecorded[node.address] = job.id
        failed = self._effects.journal.failed
        self._state_error = failed
        why = str(failed)
        self._effects.progress(said.NotRecorded(address=node.address, engine=node.job.engine, engine_job_id=job.id, message=why))

    def doubled(self, duplicate: DuplicateJob) -> None:
        """Take notice that its key has more than one job."""
        self._duplicates[duplicate.key] = duplicate

    def _fail(self, node: Node, error: JobError, *, bought: bool) -> None:
        node.phase, node.error = Phase.FAILED, error
        self._trouble.append(Trouble(address=node.address, error=error, engine_job_id=node.engine_job_id, bought=bought))
        self._skip_children(node)
        if not self._effects.options.keep_going and self._halted is None:
            self._halted = f"{node.address} failed"
            for lane in self._lanes.values():
                lane.close(self._halted)

    def _skip_children(self, node: Node) -> None:
        for child in node.children:
            if child.phase is Phase.BLOCKED:
                self.skipped(child, node.address)

    # The end

    def _at(self) -> str:
        return rfc3339(self._effects.clock.now())

    def _result(self) -> ApplyResult:
        nodes = list(self._nodes.values())

        blocked = [node for node in nodes if node.phase is Phase.SKIPPED and isinstance(node.action, WaitJob)]

        def addresses(wanted: Callable[[Node], bool]) -> tuple[str, ...]:
            return tuple(node.address for node in nodes if wanted(node))

        return ApplyResult(
            launched=addresses(lambda node: node.launched),
            adopted=addresses(lambda node: node.adopted),
            uploaded=tuple(self._files.sent),
            succeeded=addresses(lambda node: node.ended),
            failed=(*self._trouble, *self._evals.trouble),
            in_doubt=tuple(
                Trouble(
                    address=node.address, error=node.error or JobError(code="in_doubt", message="its outcome was not looked up to the end")
                )
                for node in nodes
                if node.phase in {Phase.IN_DOUBT, Phase.UNSETTLED}
            )
            + tuple(beside for node in nodes if (beside := _beside(node)) is not None),
            skipped={
                node.address: node.because or "" for node in nodes if node.phase is Phase.SKIPPED and isinstance(node.action, LaunchJob)
            },
            blocked={node.address: node.because or "" for node in blocked},
            unblocked=tuple(node.address for node in blocked if self._found_meanwhile(node)),
            running=addresses(lambda node: node.phase is Phase.RUNNING),
            queued=addresses(lambda node: node.phase in {Phase.BLOCKED, Phase.READY, Phase.QUEUED}),
            next_slot_at={lane.name: lane.next_slot_at for lane in self._lanes.values() if lane.next_slot_at is not None},
            evaluated=tuple(self._evals.done),
            duplicates=tuple(self._duplicates.values()),
            unrecorded=self._unrecorded,
            state_error=None if self._state_error is None else str(self._state_error),
            signal=self._signal,
        )

    def _found_meanwhile(self, node: Node) -> bool:
        """Whether a job was blocked only by parents in doubt that are not any more."""
        parents = [self._nodes[address] for address in node.job.parents if address in self._nodes]
        return all(parent.phase in {Phase.SUCCEEDED, Phase.RUNNING} for parent in parents)


def _beside(node: Node) -> Trouble | None:
    """Return the doubt about another launch of a job that is there: settling has not found out what became of it."""
    if node.phase in {Phase.IN_DOUBT, Phase.UNSETTLED} or node.record is None or node.record.forgotten or not node.record.open:
        return None
    return Trouble(address=node.address, error=JobError(code="in_doubt", message=f"{open_text(node.record)}; what it became is not known"))


async def _shown(engine: Engine, job_id: str) -> ObservedJob | JobError:
    """Return a job that is to be adopted, or why it cannot be."""
    try:
        job = await engine.job(job_id)
    except EngineError as error:
        return facts.error_of(error)
    return job or JobError(code="job_gone", message=f"job {job_id} is not there any more")
