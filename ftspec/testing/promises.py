"""What must hold after a storm, and of every run on the way.

I1 each wanted key has at most one job on the engine; I2 every job and file on the engine is in state;
I3 state can be read; I4 what a run says is what happened; I5 a plan afterwards has nothing
to do. Beyond that: one POST for each unknown outcome, and none after an interrupt.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ftspec.actions import KeepJob, WaitJob
from ftspec.fingerprint import digest
from ftspec.record import JobStatus, State
from ftspec.state.memory import MemoryState, Store
from ftspec.testing.account import STRANGER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ftspec.testing.account import Job, Post
    from ftspec.testing.world import Run, Simulation


class BrokenPromise(AssertionError):
    """What the executor promises did not hold. The message says which promise and of what."""


def check_run(sim: Simulation, run: Run) -> None:
    """Hold one run to its word."""
    if run.error is not None:
        raise run.error
    unknown: set[str] = set()
    for post in sim.account.posts:
        if post.buyer != run.name:
            continue
        if post.key in unknown and not sim.scenario.rules.idempotency_key:
            raise BrokenPromise(f"one POST: {run.name} asked again for {post.key[:6]} after an unknown outcome")
        if post.unknown:
            unknown.add(post.key)
        if run.stopped_at is not None and post.at > run.stopped_at:
            raise BrokenPromise(f"interrupt: {run.name} bought {post.key[:6]} {post.at - run.stopped_at:.1f} s after SIGINT")
    result = run.result
    if result is None or run.clone is not sim.mine:
        return
    state = sim.state_of(run.clone)
    failed = {one.job.address for one in sim.wanted.jobs if one.key in state.jobs and state.jobs[one.key].status is JobStatus.FAILED}
    missing = [
        one.job.address
        for one in sim.wanted.jobs
        if failed.isdisjoint((one.job.address, one.job.parent)) and (one.key not in state.jobs or not state.jobs[one.key].model)
    ]
    if result.exit_code == 0 and run.mishap.wait and missing:
        raise BrokenPromise(f"I4: {run.name} says 0, and {missing} have no model")
    doubts = sorted(record.address for record in state.jobs.values() if record.doubtful)
    if doubts and result.exit_code == 0:
        raise BrokenPromise(f"I4: {run.name} says 0, and {doubts} are in doubt")
    known = {a.engine_job_id for r in state.jobs.values() for a in r.attempts}
    for address in result.launched:
        if not any(record.address == address and record.last.engine_job_id in known for record in state.jobs.values()):
            raise BrokenPromise(f"I4: {run.name} says that it launched {address}, state does not")


def check_end(sim: Simulation, clones: Sequence[Store]) -> None:
    """Hold the end to the promises."""
    states = [sim.state_of(clone) for clone in clones]
    _once(sim, states)
    _nothing_lost(sim, states)
    rules = sim.scenario.rules
    for state in [*states, *_merged(clones, labels=rules.metadata and not rules.drops_metadata)]:
        after = sim.plan(state)
        unexplained = [a for a in after.actions if isinstance(a, (KeepJob, WaitJob)) and a.record is not None and a.record.doubtful]
        if unexplained or (
            not after.empty and not any(r.last.status in {JobStatus.FAILED, JobStatus.CANCELLED} for r in state.jobs.values())
        ):
            raise BrokenPromise(f"I5: the plan afterwards is {after.actions}")


def _merged(clones: Sequence[Store], *, labels: bool) -> list[State]:
    """Return the state that several clones have once git has merged theirs: each job belongs to one key, and nothing new is in doubt."""
    if len(clones) < 2:
        return []
    state, _ = MemoryState(Store(lines=[line for clone in clones for line in clone.lines])).read()
    ids = Counter(one for r in state.jobs.values() for one in {*(a.engine_job_id for a in r.attempts), *r.duplicates} - {None})
    doubled = [one for one, count in ids.items() if count > 1]
    if doubled and labels:
        raise BrokenPromise(f"merge: {doubled} are recorded for more than one key")
    if doubtful := [record.address for record in state.jobs.values() if record.doubtful]:
        raise BrokenPromise(f"merge: {doubtful} are in doubt though nobody doubts them")
    return [state]


def _once(sim: Simulation, states: Sequence[State]) -> None:
    """I1: each key has at most one job that was not refused, failed or stopped; a rival's extra one is reported.

    Where labels are not kept nobody can tell the jobs of twins apart, so they are counted together.
    """
    rules = sim.scenario.rules
    kept = rules.metadata and not rules.drops_metadata

    def asked(job: Job | Post) -> str:
        return job.key if kept else digest({name: value for name, value in job.body.items() if name != "metadata"})

    ours = [job for job in sim.account.jobs.values() if job.buyer != STRANGER]
    live = [job for job in ours if job.status(sim.world.now) is not JobStatus.FAILED and job.cancelled is None]
    wanted_of: dict[str, set[str]] = {}
    for post in sim.account.posts:
        wanted_of.setdefault(asked(post), set()).add(post.key)
    reported = {key for state in states for key, record in state.jobs.items() if record.duplicates}
    for what, count in Counter(map(asked, live)).items():
        if count > len(wanted_of[what]) and (len(states) == 1 or what not in reported):
            raise BrokenPromise(f"I1: {what[:6]} has {count} jobs")


def _nothing_lost(sim: Simulation, states: Sequence[State]) -> None:
    """I2: every job and file on the engine is in state."""
    recorded = {a.engine_job_id for state in states for r in state.jobs.values() for a in r.attempts}
    recorded |= {one for state in states for r in state.jobs.values() for one in r.duplicates}
    lost = [job.id for job in sim.account.jobs.values() if job.id not in recorded and job.buyer != STRANGER]
    if lost:
        raise BrokenPromise(f"I2: {lost} are not in state")
    stolen = [job.id for job in sim.account.jobs.values() if job.id in recorded and job.buyer == STRANGER]
    if stolen:
        raise BrokenPromise(f"I2: {stolen} were bought by somebody else")
    names = {file.name for state in states for file in state.files.values()}
    strays = [file.id for file in sim.account.files.values() if file.name not in names]
    if strays:
        raise BrokenPromise(f"I2: files {strays} are not in state")
