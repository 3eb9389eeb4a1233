"""`apply`: lock, settle what is open, plan, ask for approval, do it, compact, write the lockfile.

Everything that can be refused is refused before the first purchase: a stale saved plan (exit
3), policy (5), another writer (6), no approval (7). What happens afterwards is recorded as it
happens by the executor; running `apply` again always continues.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftspec import __version__
from ftspec.diagnostics import FtspecError, has_errors
from ftspec.executor.result import ApplyOptions, ApplyResult, Settled
from ftspec.pipeline.planning import (
    InvalidSpec,
    Loaded,
    Planned,
    PlanOptions,
    PlanStale,
    Watch,
    load,
    make_plan,
    profiles,
    state_of,
    unwatched,
    want,
)
from ftspec.pipeline.spending import Spending

if TYPE_CHECKING:
    from ftspec.actions import Plan, Verdict
    from ftspec.experiment import Spec
    from ftspec.pipeline.planning import Wanted
    from ftspec.pipeline.project import Project
    from ftspec.record import State
    from ftspec.state.base import StateWriter

Approve = Callable[["Planned"], None]
"""Shows a plan and asks; raises `FtspecError` (exit 7) when the answer is not yes."""


class PolicyRefused(FtspecError):
    """The plan breaks the policy of its spec."""

    exit_code = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What was planned, what was done, and what state says now."""

    planned: Planned
    result: ApplyResult
    state: State
    notes: tuple[str, ...] = ()
    gates: tuple[Verdict, ...] = ()
    """What `require:` says of each tuned model; one that does not hold makes the exit code 5."""
    lockfile: Path | None = None
    """Set when the lockfile was rewritten."""

    @property
    def exit_code(self) -> int:
        """That of the walk, else 5 where a gate does not hold."""
        if self.result.exit_code:
            return self.result.exit_code
        return 5 if any(not verdict.ok for verdict in self.gates) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyRequest:
    """What to apply and how. `saved` are the bytes of a plan file, whose options then count."""

    options: PlanOptions = field(default_factory=PlanOptions)
    saved: bytes | None = None
    execution: ApplyOptions = field(default_factory=ApplyOptions)
    allow_code: bool = False
    command: str = "apply"


def apply(
    project: Project, request: ApplyRequest, *, approve: Approve, progress: Callable[[Planned], Any], watch: Watch = unwatched
) -> Applied:
    """Do what a plan says. `progress(planned)` is a context manager that is a `Progress` observer, `watch` one for reading data."""
    loaded = load(project, sample=request.options.sample)
    warm_up()
    wanted = want(loaded, buying=True, watch=watch)
    backend = state_of(project, loaded.spec)
    with backend.lock(request.command) as writer:
        applied = asyncio.run(_apply(loaded, wanted, request, writer, approve, progress))
    return _told(applied, request.command)


def _told(applied: Applied, command: str) -> Applied:
    """Tell whoever the spec names about the jobs that ended, unless the person is in a hurry to stop."""
    planned = applied.planned
    if not planned.spec.notify or applied.result.signal is not None:
        return applied
    from dataclasses import replace

    from ftspec.pipeline.notifying import ended_keys, notify

    ended = set(ended_keys(planned.state, applied.state))
    warnings = notify(planned.project, planned.spec, applied.state, ended, command=command)
    return replace(applied, notes=(*applied.notes, *warnings))


def warm_up() -> None:
    """Import the SDK while datasets are read: it takes about a second."""
    threading.Thread(target=lambda: __import__("openai"), daemon=True).start()


async def _apply(
    loaded: Loaded, wanted: Wanted, request: ApplyRequest, writer: StateWriter, approve: Approve, progress: Callable[[Planned], Any]
) -> Applied:
    from ftspec.engines.clock import SystemClock
    from ftspec.executor.apply import execute
    from ftspec.executor.doubt import settle
    from ftspec.executor.interrupt import Stop, stop_on_signals
    from ftspec.pipeline.evaluating import Evaluator
    from ftspec.pipeline.session import Session
    from ftspec.pipeline.uploading import Materialiser

    project, spec, clock = loaded.project, loaded.spec, SystemClock()
    execution = _signed(project, spec, request.execution)
    async with Session(project, spec, allow_code=request.allow_code) as session:
        state, settled = writer.read(), Settled()
        session.remember(state.jobs.values())
        if any(record.doubtful and not record.forgotten for record in state.jobs.values()):
            settled = await settle(spec=spec, writer=writer, engines=session.engine, clock=clock, options=execution, state=state)
            state = writer.read()
        planned = make_plan(project, request.options, wanted=wanted, state=state)
        if request.saved is not None:
            planned = _as_saved(request.saved, planned)
        if has_errors(planned.diagnostics):
            raise InvalidSpec(planned.diagnostics)
        _refuse_policy(planned.plan)
        if not planned.plan.empty:
            approve(planned)
        stop = Stop()
        with stop_on_signals(stop):
            with progress(planned) as shown, Materialiser(wanted) as materialise:
                result = await execute(
                    planned.plan,
                    spec=spec,
                    writer=writer,
                    engines=session.engine,
                    request_body=_job_body,
                    materialise=materialise,
                    clock=clock,
                    random=random.SystemRandom(),
                    progress=shown,
                    options=execution,
                    evaluate=Evaluator(wanted, session, writer, allow_code=request.allow_code),
                    cost_of=Spending(spec, profiles()).trained,
                    stop=stop,
                )
            return _finish(planned, settled.before(result), writer)


def _finish(planned: Planned, result: ApplyResult, writer: StateWriter) -> Applied:
    from ftspec.pipeline.evaluating import gate_verdicts
    from ftspec.pipeline.locking import write_lockfile
    from ftspec.state.worktree import should_compact

    folder = state_of(planned.project, planned.spec).folder
    notes = []
    if result.state_error is None and should_compact(folder):
        try:
            writer.compact()
        except (OSError, FtspecError) as error:
            why = error.message if isinstance(error, FtspecError) else error.strerror
            notes.append(f"state could not be compacted: {why}; nothing of it is missing, and `ftspec state compact` tries again")
    state = writer.read()
    lockfile = None
    try:
        lockfile = write_lockfile(planned.wanted, state) if "sample" not in planned.plan.options else None
    except OSError as error:
        notes.append(f"the lockfile could not be written: {error.strerror}; `ftspec lock` makes it again")
    return Applied(
        planned=planned,
        result=result,
        state=state,
        notes=tuple(notes),
        gates=gate_verdicts(planned.wanted, state) if any(one.require for one in planned.spec.evals.values()) else (),
        lockfile=lockfile,
    )


def _refuse_policy(plan: Plan) -> None:
    broken = [verdict for verdict in plan.verdicts if not verdict.ok]
    if broken:
        raise PolicyRefused(
            "the policy of the spec refuses this plan: " + "; ".join(f"`{verdict.rule}`: {verdict.sentence}" for verdict in broken),
            help="plan less (`--target`), or change `policy:` in the spec",
        )


def _as_saved(content: bytes, planned: Planned) -> Planned:
    """Return the plan that was saved, if everything that it promised still holds."""
    from msgspec.structs import replace

    from ftspec.planner import saved

    kept = saved.load(content)
    broken = saved.check(kept, planned.plan, planned.state, request_of=request_of(planned))
    if broken:
        raise PlanStale(broken)
    return replace(planned, plan=saved.restricted(kept, planned.plan, planned.request))


def request_of(planned: Planned) -> Callable[[Any], Mapping[str, Any]]:
    """Return what renders the request of a launch for a saved plan: names instead of file ids, no secrets."""

    def render(launch: Any) -> Mapping[str, Any]:
        job = launch.job
        entry = planned.spec.engines[job.engine]
        return _job_body(
            job,
            profile=profiles()[entry.type],
            base_model_name=job.base_model or f"(model of {job.parent})",
            training_file=job.train,
            validation_file=job.validation,
            project=planned.spec.project,
            key=launch.key,
            attempt=launch.attempt,
        )

    return render


def _job_body(*args: Any, **rest: Any) -> Mapping[str, Any]:
    from ftspec.engines.request import job_body

    return job_body(*args, **rest)


def _signed(project: Project, spec: Spec, options: ApplyOptions) -> ApplyOptions:
    import getpass
    import secrets
    import socket
    from dataclasses import replace

    from ftspec.state.worktree import head_commit

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return replace(
        options,
        run=secrets.token_hex(4),
        by=f"{user}@{socket.gethostname()}",
        git_commit=head_commit(project.root),
        ftspec_version=__version__,
        project=spec.project,
    )
