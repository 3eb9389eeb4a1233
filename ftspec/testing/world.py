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
import gc
import os
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from ftspec.actions import Plan
from ftspec.engines.base import Engine
from ftspec.engines.request import job_body
from ftspec.executor.apply import execute
from ftspec.executor.clock import rfc3339
from ftspec.executor.doubt import import_job, mark_absent, settle
from ftspec.executor.interrupt import Stop
from ftspec.executor.journal import StateNotWritten
from ftspec.executor.result import ApplyOptions, ApplyResult
from ftspec.planner import plan
from ftspec.planner.prices import PriceTable
from ftspec.planner.request import PlanRequest
from ftspec.record import State
from ftspec.state.base import Fact, StateLocked
from ftspec.state.memory import MemoryState, MemoryWriter, Store
from ftspec.testing.account import FAIR, Account, SimulatedEngine
from ftspec.testing.promises import BrokenPromise, check_end, check_run
from ftspec.testing.storm import CALMLY, Blob, Mishap, Scenario, scenario, wanted
from ftspec.testing.virtual import Killed, Process, VirtualCrew, World

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

START = 1_790_000_000.0
PRICES = PriceTable(date="2026-01-01")
CALM = 3_600.0
"""Seconds between the storm and the calm: longer than any request or list is late."""


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
            options = ApplyOptions(wait=self.mishap.wait, keep_going=self.mishap.keep_going, ftspec_version="0", run=self.name)
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
        self.decisions = 0
        """How often a person had to say what became of a launch."""
        self.done: list[Run] = []
        self._read: dict[int, tuple[int, State]] = {}

    def state_of(self, clone: Store) -> State:
        """Return what a clone's state says (`BrokenPromise`: it cannot be read)."""
        lines, state = self._read.get(id(clone), (-1, State()))
        if lines != len(clone.lines):
            state, problems = MemoryState(clone).read()
            if any(problem.severity == "error" for problem in problems):
                raise BrokenPromise(f"I3: {problems}")
            self._read[id(clone)] = (len(clone.lines), state)
        return state

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
        for after in of.strangers:
            self.world.at(self.world.now + after, self.account.create_foreign)
        for mishap, gap in zip(of.runs, of.gaps, strict=True):
            self.apply(self.mine, mishap)
            self._pass(gap)
        self._pass(CALM)
        self.account.weather = FAIR
        self.account.rules.daily_limit = self.account.rules.running_limit = None
        self._finish(self.mine)
        if of.rival is not None:
            self._finish(rival)
        check_end(self, [self.mine] if of.rival is None else [self.mine, rival])

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
        check_run(self, run)
        return run

    def _pass(self, seconds: float) -> None:
        """Let time pass."""
        over = self.world.now + seconds
        passed: list[float] = []
        self.world.at(over, lambda: passed.append(over))
        self.world.run(until=lambda: bool(passed))

    def _finish(self, clone: Store) -> None:
        """Apply in fair weather until nothing is left to do; a person decides what stays in doubt."""
        for _ in range(8):
            run = self.apply(clone, CALMLY)
            if run.locked:
                self._pass(86_400.0)
                continue
            state = self.state_of(clone)
            doubts = [record for record in state.jobs.values() if record.in_doubt]
            if doubts:
                self._decide(clone, state)
            elif self.plan(state).empty and not any(not r.last.status.terminal for r in state.jobs.values()):
                return
            if run.result is not None and run.result.exit_code == 0 and not doubts:
                return
        raise BrokenPromise(f"liveness: still not done after eight applies in fair weather: {self.plan(self.state_of(clone)).actions}")

    def _decide(self, clone: Store, state: State) -> None:
        """Be the person who looks at the engine's own pages and says what became of each launch in doubt."""
        run = Run(self, clone, CALMLY)
        recorded = {a.engine_job_id for r in state.jobs.values() for a in r.attempts} | {
            d for r in state.jobs.values() for d in r.duplicates
        }

        async def decide() -> None:
            with MemoryState(clone).lock("import") as writer:
                for record in state.jobs.values():
                    if not record.in_doubt:
                        continue
                    self.decisions += 1
                    there = sorted(job.id for job in self.account.jobs.values() if job.key == record.key and job.id not in recorded)
                    if there:
                        self.tell(f"person: {record.address} is {there[0]}")
                        about = {"address": record.address, "engine": record.engine, "scope": record.scope}
                        await import_job(
                            key=record.key,
                            about=about,
                            engine=run.engine,
                            engine_job_id=there[0],
                            state=state,
                            writer=writer,
                            clock=run.process,
                            force=True,  # a rival's job was made from another copy of the file
                        )
                    elif not self.account.pending:
                        self.tell(f"person: {record.address} is absent")
                        mark_absent(record, writer=writer, clock=run.process)

        over: list[Any] = []
        run.process.start(decide(), over.append)
        self.world.run(until=lambda: bool(over))
        if over[0].error is not None:
            raise over[0].error


def play(seed: int, *, story: Callable[[str], None] | None = None) -> Simulation:
    """Play one seed and judge it (`BrokenPromise`)."""
    simulation = Simulation(scenario(seed), story=story)
    simulation.run()
    return simulation


def campaign(seeds: range) -> list[tuple[int, str]]:
    """Play seeds and return those that broke a promise, with the promise."""
    broken = []
    # A seed makes few cycles and ends soon; a fifth of the time went into looking for them.
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        for seed in seeds:
            if seed % 500 == 0:
                gc.collect()
            try:
                play(seed)
            except Exception as error:  # noqa: BLE001 a crash of the executor breaks a promise too
                broken.append((seed, f"{type(error).__name__}: {error}"))
    finally:
        gc.enable()
        gc.unfreeze()
    return broken


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay a seed with its story, or play many on all cores."""
    parser = argparse.ArgumentParser(prog="python -m ftspec.testing.world", description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, help="replay one seed and tell its story")
    parser.add_argument("--seeds", type=int, default=2000, help="how many seeds to play (default: 2000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--jobs", type=int, default=0, help="processes (default: one for each core)")
    given = parser.parse_args(arguments)
    if given.seed is not None:
        return _replay(given.seed)
    began = time.monotonic()
    broken = many(range(given.first, given.first + given.seeds), jobs=given.jobs)
    took = time.monotonic() - began
    for seed, why in broken[:20]:
        _say(f"seed {seed}: {why}\n    python -m ftspec.testing.world --seed {seed}")
    _say(f"{given.seeds} seeds in {took:.1f} s, {given.seeds / took:.0f} a second, {len(broken)} broke a promise")
    return 1 if broken else 0


def _replay(seed: int) -> int:
    _say(str(scenario(seed)))
    try:
        play(seed, story=_say)
    except BrokenPromise as broken:
        _say(f"broken: {broken}")
        return 1
    _say("every promise held")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def many(seeds: range, *, jobs: int = 0) -> list[tuple[int, str]]:
    """Play seeds on several cores."""
    jobs = jobs or os.cpu_count() or 1
    if jobs == 1:
        return campaign(seeds)
    pieces = [seeds[at : at + 250] for at in range(0, len(seeds), 250)]
    with ProcessPoolExecutor(max_workers=jobs, mp_context=get_context("spawn")) as pool:
        return [one for found in pool.map(campaign, pieces) for one in found]


if __name__ == "__main__":
    raise SystemExit(main())
