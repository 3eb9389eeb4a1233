"""A workbench for executor tests: one account, one state, and one coroutine or apply at a time, on a virtual clock.

bench = Bench(rules=Rules(metadata=False), wish=Wish(seeds=2))
bench.fates += ["lost_answer"]           # what happens to the next job requests
result = bench.execute()
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from ftspec.actions import Plan
from ftspec.engines.request import job_body
from ftspec.executor.apply import execute
from ftspec.executor.effects import Effects
from ftspec.executor.interrupt import Stop
from ftspec.executor.journal import Journal
from ftspec.executor.result import ApplyOptions, ApplyResult
from ftspec.record import State
from ftspec.state.memory import MemoryState, MemoryWriter, Store
from ftspec.testing.account import FAIR, Rules, SimulatedEngine, Weather
from ftspec.testing.storm import CALMLY, Scenario, Wish
from ftspec.testing.virtual import Process, VirtualCrew
from ftspec.testing.world import Run, Simulation


class Bench:
    """One account, one clone's state, one process at a time."""

    def __init__(self, *, rules: Rules | None = None, weather: Weather = FAIR, wish: Wish | None = None) -> None:
        scenario = Scenario(seed=0, rules=rules or Rules(unique_keys=True), weather=weather, wish=wish or Wish(seeds=1))
        self.sim = Simulation(scenario)
        self.account = self.sim.account
        self.store: Store = self.sim.mine
        self.wanted = self.sim.wanted
        self.events: list[Any] = []
        self.fates = self.account.fates
        self.process = Process(self.sim.world, name="bench")
        self.engine = self.new_engine(self.process)

    def new_engine(self, process: Process) -> SimulatedEngine:
        """Return an engine of the account."""
        return SimulatedEngine(self.account, process, lambda _what: None)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine of the current process to its end; return its value or raise its error."""
        ended: list[Any] = []
        self.process.start(work, ended.append)
        self.sim.world.run(until=lambda: bool(ended))
        if ended[0].error is not None:
            raise ended[0].error
        return ended[0].value

    @property
    def state(self) -> State:
        """What is recorded."""
        return MemoryState(self.store).read()[0]

    def plan(self) -> Plan:
        """Plan from what is recorded."""
        return self.sim.plan(self.state)

    def effects(self, writer: Any, *, options: ApplyOptions | None = None, stop: Stop | None = None, **rest: Any) -> Effects:
        """Return effects of this bench."""
        return Effects(
            journal=Journal(writer),
            clock=self.process,
            random=self.sim.dice,
            request_body=job_body,
            materialise=self.materialise,
            progress=self.events.append,
            options=options or ApplyOptions(),
            stop=stop or Stop(),
            **rest,
        )

    async def materialise(self, ref: str, key: str) -> Any:
        """Return the dataset file of the wish."""
        facts = self.wanted.datasets[ref]
        return self.wanted.blobs[ref], key, facts.rows, facts.bytes

    def execute(self, plan: Plan | None = None, *, writer: Any = None, **rest: Any) -> ApplyResult:
        """Do a plan in a process of its own."""
        self.process = Process(self.sim.world, name=f"bench{len(self.events)}")
        self.engine = rest.pop("engine", None) or self.new_engine(self.process)
        arguments: dict[str, Any] = {
            "spec": self.wanted.spec,
            "engines": {"sim": self.engine},
            "request_body": job_body,
            "materialise": self.materialise,
            "clock": self.process,
            "random": self.sim.dice,
            "progress": self.events.append,
            "crew": VirtualCrew(self.process),
        } | rest
        with MemoryState(self.store).lock("bench") as real:
            result: ApplyResult = self.run(execute(plan or self.plan(), writer=writer(real) if writer else real, **arguments))
        return result

    def apply(self) -> Run:
        """Run a whole apply: settle, plan, execute."""
        return self.sim.apply(self.store, CALMLY)

    def told(self, kind: type) -> list[Any]:
        """Return the events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]


class BrokenDisk:
    """A writer that fails at some fact: `fails(fact)` says at which."""

    def __init__(self, real: MemoryWriter, fails: Callable[[Any], bool]) -> None:
        self._real, self._fails = real, fails
        self.calls = 0

    def append(self, *facts: Any) -> None:
        """Append unless told to fail."""
        self.calls += 1
        if any(map(self._fails, facts)):
            raise OSError(28, "No space left on device")
        self._real.append(*facts)

    def read(self) -> State:
        """Return the state."""
        return self._real.read()

    def compact(self) -> None:
        """Do nothing."""
