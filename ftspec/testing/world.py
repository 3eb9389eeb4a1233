"""The fault campaign: whole applies in a simulated world, a seed at a time.

A seed decides everything: what kind of engine it is, what is wanted, the weather (lost answers,
lists that lag, break off and repeat, requests that land late, full disks, limits), which runs
are killed at which step, interrupted, suspended, or started twice. What runs is the real
code: planner, fold, executor. Only time, network, disk and chance are made up.

After the storm the weather clears, a person decides what is still in doubt, and `ftspec apply` is run
until nothing is left to do. Then the promises must hold (`check`), and each run is held to its own
word on the way. A seed that breaks a promise is replayed, with its story, by

    python -m ftspec.testing.world --seed N
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import io
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO

from ftspec.actions import DatasetFacts, Plan, WaitJob
from ftspec.engines.base import Engine
from ftspec.engines.request import job_body
from ftspec.executor import ApplyOptions, ApplyResult, Stop, execute, import_job, mark_absent, settle
from ftspec.executor.clock import rfc3339
from ftspec.executor.journal import StateNotWritten
from ftspec.experiment import DesiredDataset, DesiredJob, EngineEntry, Limits, Spec
from ftspec.fingerprint import digest
from ftspec.planner import plan
from ftspec.planner.identify import Identified, identify
from ftspec.planner.prices import PriceTable
from ftspec.planner.request import PlanRequest
from ftspec.record import JobStatus, State
from ftspec.state.base import Fact, StateLocked
from ftspec.state.memory import MemoryState, MemoryWriter, Store
from ftspec.testing.account import FAIR, Account, Job, Post, Rules, SimulatedEngine, Weather
from ftspec.testing.virtual import Killed, Process, VirtualCrew, World

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

START = 1_790_000_000.0
PRICES = PriceTable(date="2026-01-01")
CALM = 3_600.0
"""Seconds between the storm and the calm: longer than any request or list is late."""


class BrokenPromise(AssertionError):
    """What the executor promises did not hold. The message says which promise and of what."""


class Blob:
    """A dataset file in memory."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def open(self, _mode: str) -> BinaryIO:
        """Open it for reading."""
        return io.BytesIO(self.content)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is wanted: a grid of `seeds`, some of which are the parents of children."""

    seeds: int
    children: int = 0
    twins: bool = False
    """Two jobs that only `replicate` tells apart."""
    validation: bool = False
    max_running: int | None = None
    leave_free: int = 0
    per_day: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A spec with its keys and data."""

    spec: Spec
    jobs: list[Identified]
    datasets: dict[str, DatasetFacts]
    blobs: dict[str, Blob]


@cache
def wanted(wish: Wish) -> Wanted:
    """Return the spec of a wish."""
    blobs = {ref: Blob(f'{{"messages":["{ref}"]}}\n'.encode() * 3) for ref in ("data", "held-out")}
    datasets = {
        ref: DatasetFacts(ref=ref, key=hashlib.sha256(blob.content).hexdigest(), rows=3, bytes=len(blob.content), format="chat")
        for ref, blob in blobs.items()
    }
    common: dict[str, Any] = {"experiment": "grid", "engine": "sim", "scope": "sim", "train": "data"}
    if wish.validation:
        common["validation"] = "held-out"
    jobs = [
        DesiredJob(address=f"grid/seed={n}", base_model="base", seed=n, hyperparameters={"n_epochs": n}, suffix=f"s{n}", **common)
        for n in range(1, wish.seeds + 1)
    ]
    if wish.twins:
        jobs += [DesiredJob(address=f"grid/twin={n}", base_model="base", replicate=n, **common) for n in (1, 2)]
    jobs += [
        DesiredJob(address=f"polish/seed={n}", base_model="", parent=f"grid/seed={n}", **(common | {"experiment": "polish"}))
        for n in range(1, wish.children + 1)
    ]
    limits = Limits(max_running=wish.max_running, leave_free=wish.leave_free, per_day=wish.per_day)
    spec = Spec(
        root=".",
        project="world",
        engines={"sim": EngineEntry(name="sim", type="simulated", scope="sim", limits=limits)},
        datasets={ref: DesiredDataset(name=ref, path=f"{ref}.jsonl") for ref in blobs},
        jobs=tuple(jobs),
    )
    identified, problems = identify(spec.jobs, datasets)
    if problems:
        raise BrokenPromise(str(problems))
    return Wanted(spec=spec, jobs=identified, datasets=datasets, blobs=blobs)


@dataclass(slots=True, kw_only=True)
class Mishap:
    """What happens to one run."""

    kill_step: int | None = None
    """The step at which it is killed: 1 is its first."""
    kill_after: float | None = None
    interrupt_after: float | None = None
    jump: float = 0.0
    suspend: float = 0.0
    wrong_by: float = 0.0
    disk: float = 0.0
    """How likely a write fails."""
    wait: bool = True
    keep_going: bool = True


CALMLY = Mishap()


class Disk:
    """State as one run writes it: what was appended before it dies is there, in order, up to some fact."""

    def __init__(self, writer: MemoryWriter, run: Run) -> None:
        self._writer, self._run = writer, run

    def append(self, *new: Fact) -> None:
        """Make facts durable, one after the other."""
        run, dice = self._run, self._run.sim.dice
        for fact in new:
            run.step("append")
            torn = run.mishap.disk and dice.random() < run.mishap.disk
            if torn and dice.random() < 0.5:
                raise OSError(errno.ENOSPC, "no space left on device")
            self._writer.append(fact)
            if torn:
                # It is on the disk although the system call says no.
                raise OSError(errno.EIO, "input/output error")
            run.step("appended")

    def read(self) -> State:
        """Return the state as this run knows it."""
        return self._writer.read()

    def compact(self) -> None:
        """Do nothing."""
        self._writer.compact()


class Run:
    """One `ftspec apply`, as a process."""

    def __init__(self, sim: Simulation, clone: Store, mishap: Mishap) -> None:
        sim.runs += 1
        self.sim, self.clone, self.mishap = sim, clone, mishap
        self.name = f"run{sim.runs}"
        self.process = Process(sim.world, name=self.name, wrong_by=mishap.wrong_by)
        self.stop = Stop()
        self.stopped_at: float | None = None
        self.steps = 0
        self.result: ApplyResult | None = None
        self.locked = False
        self.error: BaseException | None = None
        self.engine = SimulatedEngine(sim.account, self.process, self.step)

    @property
    def over(self) -> bool:
        """Whether it ended, one way or the other."""
        return not self.process.alive or self.result is not None or self.locked or self.error is not None

    def step(self, what: str) -> None:
        """Be at a point at which a process can die."""
        if not self.process.alive:
            raise Killed
        self.steps += 1
        if self.steps == self.mishap.kill_step:
            self.sim.tell(f"{self.name}: killed at step {self.steps}, {what}")
            self.process.kill()
            raise Killed

    def start(self) -> None:
        """Begin."""
        world, mishap = self.sim.world, self.mishap
        self.sim.tell(f"{self.name}: starts, {mishap}")
        self.process.start(self._main(), self._ended)
        if mishap.kill_after is not None:
            world.at(world.now + mishap.kill_after, self._kill)
        if mishap.interrupt_after is not None:
            world.at(world.now + mishap.interrupt_after, self._interrupt)
        if mishap.jump:
            world.at(world.now + 1.0, lambda: self.process.jump(mishap.jump))
        if mishap.suspend:
            world.at(world.now + 2.0, lambda: self.process.suspend(mishap.suspend))

    def _kill(self) -> None:
        if not self.over:
            self.sim.tell(f"{self.name}: killed")
            self.process.kill()

    def _interrupt(self) -> None:
        if not self.over:
            self.sim.tell(f"{self.name}: SIGINT")
            self.stopped_at = self.sim.world.now
            self.stop.request(2)

    def _ended(self, done: Any) -> None:
        if isinstance(done.error, StateLocked):
            self.locked = True
        else:
            self.error = done.error
        self.sim.tell(f"{self.name}: ends, {'locked out' if self.locked else done.error or self.result}")

    async def _main(self) -> None:
        sim = self.sim
        with MemoryState(self.clone).lock(self.name) as real:
            writer = Disk(real, self)
            options = ApplyOptions(wait=self.mishap.wait, keep_going=self.mishap.keep_going, ftspec_version="0")
            engines: dict[str, Engine] = {"sim": self.engine}
            spec = sim.wanted.spec
            try:
                await settle(spec=spec, writer=writer, engines=engines, clock=self.process, options=options)
                self.result = await execute(
                    sim.plan(real.read()),
                    spec=spec,
                    writer=writer,
                    engines=engines,
                    request_body=job_body,
                    materialise=self._materialise,
                    clock=self.process,
                    random=sim.dice,
                    options=options,
                    stop=self.stop,
                    crew=VirtualCrew(self.process),
                    progress=sim.hear,
                )
            except StateNotWritten as error:
                # What the command line makes of it: state could not be written while settling.
                self.result = ApplyResult(state_error=str(error))

    async def _materialise(self, ref: str, key: str) -> tuple[Blob, str, int, int]:
        facts_of = self.sim.wanted.datasets[ref]
        return self.sim.wanted.blobs[ref], key, facts_of.rows, facts_of.bytes


@dataclass(slots=True, kw_only=True)
class Scenario:
    """Everything that a seed decides beforehand."""

    seed: int
    rules: Rules
    weather: Weather
    wish: Wish
    runs: list[Mishap] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    """Seconds between the runs of the first clone."""
    intruder: float | None = None
    """When a second apply starts on the same state."""
    rival: float | None = None
    """When a second clone, with a state of its own, starts to apply."""
    training: tuple[float, float] = (20.0, 120.0)
    crowd: int = 0
    """Jobs of strangers on the account."""


def scenario(seed: int) -> Scenario:
    """Return the scenario of a seed."""
    dice = random.Random(seed)  # noqa: S311 a simulation
    sometimes = dice.random

    def rate(most: float, chance: float = 0.3) -> float:
        return dice.uniform(0, most) if sometimes() < chance else 0.0

    unique = sometimes() < 0.3
    metadata = unique or sometimes() < 0.75
    rules = Rules(
        unique_keys=unique,
        idempotency_key=unique and sometimes() < 0.5,
        metadata=metadata,
        drops_metadata=metadata and not unique and sometimes() < 0.15,
        tells_time=sometimes() < 0.8,
        echoes=sometimes() < 0.8,
        clock_off=dice.choice((0.0, 0.0, dice.uniform(-5, 5), dice.uniform(-7200, 7200))),
        running_limit=dice.choice((None, None, None, 1, 2)),
        daily_limit=dice.choice((None,) * 12 + (2,)),
        in_process=sometimes() < 0.3,
    )
    weather = Weather(
        not_sent=rate(0.2),
        lost_request=rate(0.3),
        lost_answer=rate(0.4),
        late=rate(0.3),
        late_by=dice.choice((5.0, 90.0, 1500.0)),
        error_after=rate(0.2),
        error_before=rate(0.2),
        refused=rate(0.15, 0.1),
        rate_limited=rate(0.2, 0.15),
        read_fails=rate(0.3),
        incomplete=rate(0.6, 0.2),
        repeated=rate(0.5, 0.2),
        hidden=rate(1.0, 0.4),
        lag=dice.choice((2.0, 30.0, 100.0, 1200.0)),
        file_trouble=rate(0.5, 0.2),
        training_fails=rate(0.4, 0.15),
        odd_status=rate(0.5, 0.1),
    )
    wish = Wish(
        seeds=dice.choice((1, 2, 2, 3)),
        children=dice.choice((0, 0, 0, 1)),
        twins=sometimes() < 0.1,
        validation=sometimes() < 0.2,
        max_running=dice.choice((None, None, None, 1, 2)),
        per_day=dice.choice((None,) * 12 + (2,)),
    )
    rival = dice.uniform(0, 5) if sometimes() < 0.1 and not rules.drops_metadata and metadata else None
    if rival is not None:
        weather.lag = weather.hidden = weather.late = 0.0
    runs = []
    for _ in range(dice.choice((1, 2, 2, 3))):
        runs.append(
            Mishap(
                kill_step=dice.randint(1, 60) if sometimes() < 0.45 else None,
                kill_after=dice.uniform(0, 300) if sometimes() < 0.1 else None,
                interrupt_after=dice.uniform(0, 60) if sometimes() < 0.15 else None,
                jump=dice.choice((-7200.0, 7200.0, 30.0)) if sometimes() < 0.1 else 0.0,
                suspend=dice.uniform(10, 5000) if sometimes() < 0.1 else 0.0,
                wrong_by=dice.uniform(-7200, 7200) if sometimes() < 0.15 else 0.0,
                disk=dice.uniform(0, 0.15) if sometimes() < 0.1 else 0.0,
                wait=sometimes() < 0.8,
                keep_going=sometimes() < 0.9,
            )
        )
    return Scenario(
        seed=seed,
        rules=rules,
        weather=weather,
        wish=wish,
        runs=runs,
        gaps=[dice.choice((0.0, 1.0, 60.0, 900.0)) for _ in runs],
        intruder=dice.uniform(0, 30) if sometimes() < 0.1 else None,
        rival=rival,
        training=(1.0, 15.0) if rules.in_process else (600.0, 5000.0) if sometimes() < 0.04 else (20.0, 120.0),
    )


class Simulation:
    """One scenario from its beginning to its judgement."""

    def __init__(self, of: Scenario, *, story: Callable[[str], None] | None = None) -> None:
        self.scenario = of
        self.dice = random.Random(f"world {of.seed}")  # noqa: S311 a simulation
        self.world = World(START)
        self.story = story
        self.wanted = wanted(of.wish)
        self.account = Account(world=self.world, dice=self.dice, rules=of.rules, weather=of.weather, training=of.training, tell=self.tell)
        self.mine = Store()
        self.runs = 0
        self.done: list[Run] = []

    def tell(self, what: str) -> None:
        """Add to the story."""
        if self.story is not None:
            self.story(f"{self.world.now - START:9.2f}  {what}")

    def hear(self, event: Any) -> None:
        """Add what the executor says to the story."""
        if self.story is not None:
            self.tell(f"    {event}")

    def plan(self, state: State) -> Plan:
        """Plan as `ftspec plan` does."""
        want = self.wanted
        return plan(
            PlanRequest(
                spec=want.spec,
                jobs=want.jobs,
                datasets=want.datasets,
                state=state,
                profiles={"simulated": self.account.profile()},
                prices=PRICES,
                now=rfc3339(self.world.now),
                version="0",
            )
        )

    def run(self) -> None:
        """Play the scenario and judge it (`BrokenPromise`)."""
        of = self.scenario
        rival = Store()
        if of.rival is not None:
            self._later(of.rival, rival, CALMLY)
        if of.intruder is not None:
            self._later(of.intruder, self.mine, CALMLY)
        for mishap, gap in zip(of.runs, of.gaps, strict=True):
            self.apply(self.mine, mishap)
            self._pass(gap)
        self._pass(CALM)
        self.account.weather = FAIR
        self.account.rules.daily_limit = self.account.rules.running_limit = None
        self._finish(self.mine)
        if of.rival is not None:
            self._finish(rival)
        self._check([self.mine] if of.rival is None else [self.mine, rival])

    def _later(self, after: float, clone: Store, mishap: Mishap) -> None:
        run = Run(self, clone, mishap)
        self.done.append(run)
        self.world.at(self.world.now + after, run.start)

    def apply(self, clone: Store, mishap: Mishap) -> Run:
        """Run one apply to its end."""
        run = Run(self, clone, mishap)
        self.done.append(run)
        run.start()
        self.world.run(until=lambda: run.over)
        self._check_run(run)
        return run

    def _pass(self, seconds: float) -> None:
        """Let time pass."""
        over = self.world.now + seconds
        passed = [False]
        self.world.at(over, lambda: passed.__setitem__(0, True))
        self.world.run(until=lambda: passed[0])

    def _finish(self, clone: Store) -> None:
        """Apply in fair weather until nothing is left to do; a person decides what stays in doubt."""
        for _ in range(8):
            run = self.apply(clone, CALMLY)
            if run.locked:
                self._pass(86_400.0)
                continue
            state, _ = MemoryState(clone).read()
            doubts = [record for record in state.jobs.values() if record.in_doubt]
            if doubts:
                self._decide(clone, state)
            elif self.plan(state).empty and not any(not r.last.status.terminal for r in state.jobs.values()):
                return
            if run.result is not None and run.result.exit_code == 0 and not doubts:
                return
        raise BrokenPromise(f"liveness: still not done after eight applies in fair weather: {self.plan(MemoryState(clone).read()[0]).actions}")

    def _decide(self, clone: Store, state: State) -> None:
        """Be the person who looks at the engine's own pages and says what became of each launch in doubt."""
        run = Run(self, clone, CALMLY)
        recorded = {a.engine_job_id for r in state.jobs.values() for a in r.attempts} | {d for r in state.jobs.values() for d in r.duplicates}

        async def decide() -> None:
            with MemoryState(clone).lock("import") as writer:
                for record in state.jobs.values():
                    if not record.in_doubt:
                        continue
                    there = sorted(job.id for job in self.account.jobs.values() if job.key == record.key and job.id not in recorded)
                    if there:
                        self.tell(f"person: {record.address} is {there[0]}")
                        about = {"address": record.address, "engine": record.engine, "scope": record.scope}
                        await import_job(
                            key=record.key, about=about, engine=run.engine, engine_job_id=there[0], state=state, writer=writer, clock=run.process
                        )
                    elif not self.account.pending:
                        self.tell(f"person: {record.address} is absent")
                        mark_absent(record, writer=writer, clock=run.process)

        over: list[Any] = []
        run.process.start(decide(), over.append)
        self.world.run(until=lambda: bool(over))
        if over[0].error is not None:
            raise over[0].error

    # The promises

    def _check_run(self, run: Run) -> None:
        """Hold one run to its word."""
        if run.error is not None:
            raise run.error
        unknown: set[str] = set()
        for post in self.account.posts:
            if post.buyer != run.name:
                continue
            if post.key in unknown and not self.scenario.rules.idempotency_key:
                raise BrokenPromise(f"one POST: {run.name} asked again for {post.key[:6]} after an unknown outcome")
            if post.unknown:
                unknown.add(post.key)
            if run.stopped_at is not None and post.at > run.stopped_at:
                raise BrokenPromise(f"interrupt: {run.name} bought {post.key[:6]} {post.at - run.stopped_at:.1f} s after SIGINT")
        result = run.result
        if result is None or run.clone is not self.mine:
            return
        state, _ = MemoryState(run.clone).read()
        failed = {one.job.address for one in self.wanted.jobs if one.key in state.jobs and state.jobs[one.key].status is JobStatus.FAILED}
        missing = [
            one.job.address
            for one in self.wanted.jobs
            if failed.isdisjoint((one.job.address, one.job.parent)) and (one.key not in state.jobs or not state.jobs[one.key].model)
        ]
        if result.exit_code == 0 and run.mishap.wait and missing:
            raise BrokenPromise(f"I4: {run.name} says 0, and {missing} have no model")
        doubts = sorted(record.address for record in state.jobs.values() if record.in_doubt)
        if doubts and result.exit_code == 0:
            raise BrokenPromise(f"I4: {run.name} says 0, and {doubts} are in doubt")
        known = {a.engine_job_id for r in state.jobs.values() for a in r.attempts}
        for address in result.launched:
            if not any(record.address == address and record.last.engine_job_id in known for record in state.jobs.values()):
                raise BrokenPromise(f"I4: {run.name} says that it launched {address}, state does not")

    def _check(self, clones: Sequence[Store]) -> None:
        """Hold the end to the promises."""
        states = []
        for clone in clones:
            state, problems = MemoryState(clone).read()
            if any(problem.severity == "error" for problem in problems):
                raise BrokenPromise(f"I3: {problems}")
            states.append(state)
        self._check_once(states)
        self._check_nothing_lost(states)
        for state in states:
            after = self.plan(state)
            unexplained = [a for a in after.actions if isinstance(a, WaitJob) and a.record is not None and a.record.in_doubt]
            if unexplained or (not after.empty and not any(r.last.status in {JobStatus.FAILED, JobStatus.CANCELLED} for r in state.jobs.values())):
                raise BrokenPromise(f"I5: the plan afterwards is {after.actions}")

    def _check_once(self, states: Sequence[State]) -> None:
        """I1: each key has at most one job that was not refused, failed or stopped; a rival's extra one is reported.

        Where labels are not kept nobody can tell the jobs of twins apart, so they are counted together.
        """
        rules = self.scenario.rules
        kept = rules.metadata and not rules.drops_metadata

        def asked(job: Job | Post) -> str:
            return job.key if kept else digest({name: value for name, value in job.body.items() if name != "metadata"})

        live = [job for job in self.account.jobs.values() if job.status(self.world.now) is not JobStatus.FAILED and job.cancelled is None]
        wanted_of: dict[str, set[str]] = {}
        for post in self.account.posts:
            wanted_of.setdefault(asked(post), set()).add(post.key)
        reported = {key for state in states for key, record in state.jobs.items() if record.duplicates}
        for what, count in Counter(map(asked, live)).items():
            if count > len(wanted_of[what]) and (len(states) == 1 or what not in reported):
                raise BrokenPromise(f"I1: {what[:6]} has {count} jobs")

    def _check_nothing_lost(self, states: Sequence[State]) -> None:
        """I2: every job and file on the engine is in state."""
        recorded = {a.engine_job_id for state in states for r in state.jobs.values() for a in r.attempts}
        recorded |= {one for state in states for r in state.jobs.values() for one in r.duplicates}
        lost = [job.id for job in self.account.jobs.values() if job.id not in recorded]
        if lost:
            raise BrokenPromise(f"I2: {lost} are not in state")
        names = {file.name for state in states for file in state.files.values()}
        strays = [file.id for file in self.account.files.values() if file.name not in names]
        if strays:
            raise BrokenPromise(f"I2: files {strays} are not in state")


def play(seed: int, *, story: Callable[[str], None] | None = None) -> Simulation:
    """Play one seed and judge it (`BrokenPromise`)."""
    simulation = Simulation(scenario(seed), story=story)
    simulation.run()
    return simulation


def campaign(seeds: range) -> list[tuple[int, str]]:
    """Play seeds and return those that broke a promise, with the promise."""
    import gc

    broken = []
    gc.disable()  # a seed makes few cycles and ends soon; a fifth of the time went into looking for them
    for seed in seeds:
        if seed % 200 == 0:
            gc.collect()
        try:
            play(seed)
        except Exception as error:  # noqa: BLE001 a crash of the executor breaks a promise too
            broken.append((seed, f"{type(error).__name__}: {error}"))
    gc.enable()
    return broken


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay a seed with its story, or play many on all cores."""
    parser = argparse.ArgumentParser(prog="python -m ftspec.testing.world", description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, help="replay one seed and tell its story")
    parser.add_argument("--seeds", type=int, default=2000, help="how many seeds to play (default: 2000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--jobs", type=int, default=0, help="processes (default: one for each core)")
    given = parser.parse_args(arguments)
    say = sys.stdout.write
    if given.seed is not None:
        of = scenario(given.seed)
        say(f"{of}\n")
        play(given.seed, story=lambda line: say(f"{line}\n") and None)
        say("every promise held\n")
        return 0
    began = time.monotonic()
    broken = many(range(given.first, given.first + given.seeds), jobs=given.jobs)
    took = time.monotonic() - began
    for seed, why in broken[:20]:
        say(f"seed {seed}: {why}\n    python -m ftspec.testing.world --seed {seed}\n")
    say(f"{given.seeds} seeds in {took:.1f} s, {given.seeds / took:.0f} a second, {len(broken)} broke a promise\n")
    return 1 if broken else 0


def many(seeds: range, *, jobs: int = 0) -> list[tuple[int, str]]:
    """Play seeds on several cores."""
    import os
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    jobs = jobs or os.cpu_count() or 1
    if jobs == 1:
        return campaign(seeds)
    pieces = [seeds[at : at + 250] for at in range(0, len(seeds), 250)]
    with ProcessPoolExecutor(max_workers=jobs, mp_context=get_context("spawn")) as pool:
        return [one for found in pool.map(campaign, pieces) for one in found]


if __name__ == "__main__":
    raise SystemExit(main())
