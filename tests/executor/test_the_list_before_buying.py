"""Before it buys, an apply looks at the engine's own list: what somebody else bought for our key is adopted instead."""

import copy
import dataclasses

import msgspec
import pytest

from ftspec.actions import KeepJob, LaunchJob, Reason
from ftspec.engines.base import EngineError
from ftspec.executor.census import FRESH, Census
from ftspec.executor.result import ApplyOptions
from ftspec.experiment import Limits
from ftspec.record import JobStatus
from ftspec.state.memory import MemoryState
from ftspec.testing.account import FAIR, Rules, SimulatedEngine, Weather
from ftspec.testing.bench import Bench

LAUNCH_ONLY = ApplyOptions(wait=False)


@pytest.fixture
def shared():
    """Return a bench on an engine that keeps labels and would sell a key twice."""
    bench = Bench(rules=Rules())
    bench.account.training = (5000.0, 6000.0)
    return bench


def census(bench: Bench, *, engine=None) -> Census:
    """Return what a new apply of this state knows before it looks."""
    with MemoryState(bench.store).lock("test") as writer:
        effects = bench.effects(writer)
    return Census(engine or bench.engine, Limits(), effects=effects, recorded=bench.state.jobs.values())


def looked(bench: Bench, one: Census) -> Census:
    """Let it look at the list."""
    one.learn(bench.run(one.take()))
    return one


def bought_elsewhere(bench: Bench) -> str:
    """Let another clone buy the one job; return its id. Our state knows nothing of it."""
    mine, bench.store = bench.store, copy.deepcopy(bench.store)
    bench.execute(options=LAUNCH_ONLY)
    bench.store = mine
    return next(reversed(bench.account.jobs))


def changed(value, **changes):
    """Return a plan, a spec or a part of one with other members."""
    change = msgspec.structs.replace if isinstance(value, msgspec.Struct) else dataclasses.replace
    return change(value, **changes)


def key(bench: Bench) -> str:
    """Return the key of the one job."""
    return next(action.key for action in bench.plan().actions if isinstance(action, (LaunchJob, KeepJob)))


def test_a_job_under_our_key_that_state_does_not_know_is_ours(shared):
    """It is found once; of several the oldest."""
    first = bought_elsewhere(shared)
    shared.sim._pass(50)
    younger = copy.deepcopy(shared.account.jobs[first])
    younger.id, younger.created = "ftjob-0", younger.created + 40
    shared.account.jobs = {younger.id: younger, **shared.account.jobs}
    one = looked(shared, census(shared))
    found = one.already(key(shared), 1)
    assert found is not None
    assert found.id == first
    assert one.already(key(shared), 1) is None
    assert looked(shared, census(shared)).already(key(shared), 2) is None  # whoever buys a second one knows of a first


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELLED])
def test_a_job_that_came_to_nothing_is_not_adopted(shared, status):
    """What failed or was cancelled is no reason not to buy."""
    bought_elsewhere(shared)

    class Ended(SimulatedEngine):
        async def find_jobs(self, **how):
            listing = await super().find_jobs(**how)
            return dataclasses.replace(listing, items=[dataclasses.replace(job, status=status) for job in listing.items])

    engine = Ended(shared.account, shared.process, lambda _what: None)
    assert looked(shared, census(shared, engine=engine)).already(key(shared), 1) is None


def test_jobs_that_state_knows_are_not_found_again(shared):
    """Neither those of attempts nor those that were reported as duplicates."""
    wanted = key(shared)
    shared.execute(options=LAUNCH_ONLY)
    assert looked(shared, census(shared)).already(wanted, 1) is None
    (record,) = shared.state.jobs.values()
    other = msgspec.structs.replace(record.last, engine_job_id="ftjob-other")
    doubled = msgspec.structs.replace(record, attempts=(other,), duplicates=(record.last.engine_job_id,))
    one = Census(shared.engine, Limits(), effects=census(shared)._effects, recorded=[doubled])
    assert looked(shared, one).already(wanted, 1) is None


def test_a_list_that_breaks_off_is_asked_for_again(shared):
    """The job is on a page that came at the third time."""
    there = bought_elsewhere(shared)

    class Torn(SimulatedEngine):
        lists = 0

        async def find_jobs(self, **how):
            self.lists += 1
            if self.lists == 1:
                raise EngineError("bad gateway")
            listing = await super().find_jobs(**how)
            return listing if self.lists > 2 else dataclasses.replace(listing, items=(), complete=False)

    engine = Torn(shared.account, shared.process, lambda _what: None)
    found = looked(shared, census(shared, engine=engine)).already(key(shared), 1)
    assert found is not None
    assert found.id == there


class OwnClocks:
    """Clocks that are set by hand."""

    def __init__(self, clock):
        self._clock, self.wall, self.steady = clock, 0.0, 0.0

    def now(self):
        return self._clock.now() + self.wall

    def monotonic(self):
        return self._clock.monotonic() + self.steady

    async def sleep(self, seconds):
        await self._clock.sleep(seconds)


@pytest.mark.parametrize(("wall", "steady", "due"), [(0, 0, False), (FRESH + 1, FRESH + 1, True), (0, FRESH + 1, True), (-3600, 0, True)])
def test_a_list_grows_old_by_either_clock(shared, wall, steady, due):
    """The monotonic clock stands still while a laptop sleeps, the wall clock may be set: whichever moved, the list is asked for anew."""
    one = census(shared)
    clocks = OwnClocks(shared.process)
    one._effects = dataclasses.replace(one._effects, clock=clocks)
    assert one.due
    looked(shared, one)
    clocks.wall, clocks.steady = wall, steady
    assert one.due == due


@pytest.mark.parametrize("held_back", ["by its parent", "by a limit"])
def test_the_list_is_seen_anew_before_a_purchase_that_comes_late(shared, held_back):
    """An apply that waited for a parent or a slot buys nothing that somebody else bought meanwhile."""
    more = {"children": 1} if held_back == "by its parent" else {"seeds": 2}
    bench = Bench(rules=Rules(), wish=changed(shared.sim.scenario.wish, **more))
    bench.account.training = (500.0, 600.0)
    entry = bench.wanted.spec.engines["sim"]
    limits = Limits(max_running=1) if held_back == "by a limit" else Limits()
    spec = changed(bench.wanted.spec, engines={"sim": changed(entry, limits=limits)})
    plan = bench.plan()
    *_, later = (action for action in plan.actions if isinstance(action, LaunchJob))

    def other_clone() -> None:
        """Buy the later job: it is not in the list that was looked at first."""
        twin = copy.deepcopy(next(iter(bench.account.jobs.values())))
        twin.id, twin.created = "ftjob-elsewhere", bench.sim.world.now
        twin.body = {**twin.body, "metadata": {**twin.body["metadata"], "ftspec_key": later.key}}
        bench.account.jobs[twin.id] = twin

    bench.sim.world.at(bench.sim.world.now + 100, other_clone)
    result = bench.execute(plan, spec=spec)
    assert result.adopted == (later.job.address,)
    assert len(bench.account.posts) == 1


def test_a_job_that_was_tried_again_elsewhere_is_adopted_by_who_tries_it_again(shared):
    """Two clones know that a job failed, and one after the other retries it: one second job, not two; the first one is nobody's second."""
    shared.account.weather = Weather(training_fails=1.0)
    shared.account.training = (5.0, 6.0)
    shared.execute()
    shared.account.weather, shared.account.training = FAIR, (5000.0, 6000.0)
    (keep,) = [action for action in shared.plan().actions if isinstance(action, KeepJob)]
    (failed,) = shared.state.jobs.values()
    retry = LaunchJob(
        job=keep.job,
        key=keep.key,
        preimage=failed.preimage,
        train_key=shared.wanted.jobs[0].train_key,
        validation_key=None,
        attempt=2,
        reason=Reason.RETRY_FAILED,
    )
    plan = changed(shared.plan(), actions=(retry,))
    elsewhere = copy.deepcopy(shared.store)
    assert shared.execute(plan, options=LAUNCH_ONLY).launched == ("grid/seed=1",)
    shared.sim._pass(300)
    shared.store = elsewhere
    result = shared.execute(plan, options=LAUNCH_ONLY)
    assert result.adopted == ("grid/seed=1",)
    assert result.duplicates == ()
    assert sorted(job.nth for job in shared.account.jobs.values()) == [1, 2]
