"""Two clones that apply at the same moment: one of two jobs counts, the other is stopped or reported."""

import copy

import pytest

from ftspec.engines.base import EngineError
from ftspec.executor import progress as said
from ftspec.executor.result import ApplyOptions
from ftspec.executor.sweep import Ours, Sweeper, sweep
from ftspec.record import JobStatus
from ftspec.state.memory import Store
from ftspec.testing.account import Rules, SimulatedEngine, Weather
from ftspec.testing.bench import Bench
from ftspec.testing.storm import CALMLY, Wish
from ftspec.testing.world import Run


class Blind(SimulatedEngine):
    """An engine whose first list shows nothing, so that the look before buying finds nothing."""

    lists = 0

    async def find_jobs(self, **how):
        listing = await super().find_jobs(**how)
        self.lists += 1
        return type(listing)(items=()) if self.lists == 1 else listing


def second_clone(bench: Bench, engine_type=Blind, **options) -> tuple[Store, object]:
    """Let another clone of the project buy the same jobs; return its state and result."""
    mine, bench.store = bench.store, Store()
    result = bench.execute(engine=engine_type(bench.account, bench.process, lambda _what: None), options=ApplyOptions(**options))
    bench.store, other = mine, bench.store
    return other, result


def test_a_job_that_has_started_is_reported_and_not_touched():
    """What has begun to cost money is nobody's to stop but a person's: exit 4, both ids in state."""
    bench = Bench(rules=Rules())
    bench.account.training = (500.0, 600.0)
    bench.execute(options=ApplyOptions(wait=False))
    (first,) = bench.account.jobs

    class Started(Blind):
        async def create_job(self, request):
            job = await super().create_job(request)
            self.account.jobs[job.id].starts = 0.0
            return job

    bench.sim._pass(5)
    other, result = second_clone(bench, Started)
    (younger,) = set(bench.account.jobs) - {first}
    assert (result.duplicates[0].kept, result.duplicates[0].extra, result.duplicates[0].cancelled) == (first, (younger,), ())
    assert result.exit_code == 4
    bench.store = other
    (record,) = bench.state.jobs.values()
    assert record.last.engine_job_id == first
    assert record.duplicates == (younger,)
    assert len(bench.told(said.Duplicate)) == 1  # though three sweeps saw it


def cancelled_in_time(bench: Bench, engine_type):
    """Let a second clone buy a job that does not start for an hour; return both ids and the second clone's result."""
    bench.execute(options=ApplyOptions(wait=False))
    (first,) = bench.account.jobs
    bench.sim._pass(5)

    class Slow(engine_type):
        async def create_job(self, request):
            job = await super().create_job(request)
            self.account.jobs[job.id].starts = self.account.jobs[job.id].ends = self.account.world.now + 3600
            return job

    other, result = second_clone(bench, Slow)
    (younger,) = set(bench.account.jobs) - {first}
    return first, younger, other, result


def test_a_clone_goes_on_with_the_job_that_counts():
    """Our own job is cancelled, the elder one is waited for and becomes the model of the address."""
    bench = Bench(rules=Rules())
    first, younger, other, result = cancelled_in_time(bench, Blind)
    assert bench.account.jobs[younger].cancelled is not None
    assert result.duplicates[0].cancelled == (younger,)
    assert result.succeeded == ("grid/seed=1",)
    assert result.exit_code == 0
    bench.store = other
    (record,) = bench.state.jobs.values()
    assert record.last.engine_job_id == first
    assert record.status is JobStatus.SUCCEEDED
    assert bench.plan().empty


def test_a_cancel_that_fails_is_reported_as_a_duplicate():
    """What could not be stopped costs money: it is said."""

    class Stubborn(Blind):
        async def cancel(self, job_id):
            raise EngineError("not supported")

    bench = Bench(rules=Rules())
    first, younger, _, result = cancelled_in_time(bench, Stubborn)
    assert (result.duplicates[0].kept, result.duplicates[0].extra) == (first, (younger,))
    assert result.exit_code == 4


def test_an_engine_that_cannot_be_listed_is_not_swept():
    """Without a list nothing is known of duplicates, and nothing is claimed."""

    class Mute(SimulatedEngine):
        async def find_jobs(self, **how):
            raise EngineError("bad gateway")

    bench = Bench(rules=Rules())
    result = bench.execute(engine=Mute(bench.account, bench.process, lambda _what: None))
    assert result.succeeded == ("grid/seed=1",)
    assert result.duplicates == ()


def test_a_sweep_whose_list_breaks_off_is_made_again():
    """The duplicate is on a page that did not come at first: found once a list is whole."""

    class Torn(Blind):
        async def create_job(self, request):
            job = await super().create_job(request)
            self.account.jobs[job.id].starts = 0.0
            return job

        async def find_jobs(self, **how):
            listing = await super().find_jobs(**how)
            if self.lists == 2:
                raise EngineError("bad gateway")
            return type(listing)(items=(), complete=False) if self.lists in {3, 4} else listing

    bench = Bench(rules=Rules())
    bench.account.training = (500.0, 600.0)
    bench.execute(options=ApplyOptions(wait=False))
    bench.sim._pass(5)
    _, result = second_clone(bench, Torn, wait=False)
    assert len(result.duplicates) == 1


def test_a_list_that_never_comes_whole_is_given_up():
    """Sweeping does not hold up an apply for ever; what was shown was treated."""

    class Torn(SimulatedEngine):
        lists = 0

        async def find_jobs(self, **how):
            self.lists += 1
            return type(await super().find_jobs(**how))(items=(), complete=False)

    bench = Bench(rules=Rules())
    engine = Torn(bench.account, bench.process, lambda _what: None)
    result = bench.execute(engine=engine, options=ApplyOptions(wait=False))
    assert result.launched == ("grid/seed=1",)
    assert 3 < engine.lists < 12


def test_the_next_run_finds_the_duplicate_of_a_run_that_died():
    """Killed between buying and sweeping: the next apply of that clone looks at the jobs of the last day."""
    bench = Bench(rules=Rules(), wish=Wish(seeds=2))
    bench.account.training = (5000.0, 6000.0)
    bench.execute(options=ApplyOptions(wait=False))
    bench.sim._pass(5)
    other, _ = second_clone(bench, Unswept, wait=False)
    bench.store = other
    assert not any(record.duplicates for record in bench.state.jobs.values())
    result = bench.execute(options=ApplyOptions(wait=False))
    assert len(result.duplicates) == 2
    assert all(record.duplicates for record in bench.state.jobs.values()) or all(one.cancelled for one in result.duplicates)


class Unswept(SimulatedEngine):
    """An engine that shows no list at all to this run."""

    async def find_jobs(self, **how):
        listing = await super().find_jobs(**how)
        return type(listing)(items=())


def test_where_keys_are_unique_two_clones_get_the_same_job():
    """The engine answers the second clone with the first one's job: one job, recorded by both."""
    bench = Bench()
    runs = [Run(bench.sim, store, CALMLY) for store in (Store(), Store())]
    for run in runs:
        run.start()
    bench.sim.world.run(until=lambda: all(run.over for run in runs))
    assert len(bench.account.jobs) == 1
    assert [run.result.exit_code for run in runs] == [0, 0]


def two_jobs(bench: Bench, *, ours: str = "elder", **theirs):
    """Return a sweep of a key with a job of ours and one of another clone, 10 s apart."""
    bench.execute(options=ApplyOptions(wait=False))
    (elder,) = bench.account.jobs.values()
    elder.starts = elder.ends = bench.sim.world.now + 3600
    younger = copy.deepcopy(elder)
    younger.id, younger.created, younger.shown = "ftjob-younger", elder.created + 10, 0.0
    bench.account.jobs[younger.id] = younger
    other = younger if ours == "elder" else elder
    for name, value in theirs.items():
        setattr(other, name, value)
    mine = elder if ours == "elder" else younger
    one = Ours(key=elder.key, address="grid/seed=1", attempt=1, job_id=mine.id, created_at=mine.created)
    bench.sim._pass(60)
    return bench.run(sweep({elder.key: one}, engine=bench.engine, clock=bench.process)), mine, other


def test_the_job_of_another_clone_is_never_stopped():
    """Ours is the one that counts; the younger one has not started, and is its buyer's to cancel."""
    bench = Bench(rules=Rules())
    swept, mine, other = two_jobs(bench)
    assert [(one.kept.id, one.cancelled, one.extra) for one in swept.doubled] == [(mine.id, (), (other.id,))]
    assert other.cancelled is None


def test_the_buyer_of_the_younger_job_stops_it():
    """Both clones decide alike."""
    bench = Bench(rules=Rules())
    swept, mine, other = two_jobs(bench, ours="younger")
    assert [(one.kept.id, one.cancelled, one.extra) for one in swept.doubled] == [(other.id, (mine.id,), ())]
    assert mine.cancelled is not None


@pytest.mark.parametrize("ours", ["elder", "younger"])
@pytest.mark.parametrize("end", [{"cancelled": 1.0}, {"fails": True, "starts": 1.0, "ends": 2.0}], ids=["cancelled", "failed"])
def test_a_job_that_came_to_nothing_is_no_duplicate(ours, end):
    """What another clone cancelled, or what failed there, is not in the way of ours."""
    bench = Bench(rules=Rules())
    swept, mine, _other = two_jobs(bench, ours=ours, **end)
    assert swept.doubled == ()
    assert mine.cancelled is None


def test_another_attempt_of_another_clone_is_no_duplicate_of_a_job_that_failed():
    """Ours failed, and another clone tried again: that is not a second job of ours."""
    bench = Bench(rules=Rules())
    bench.account.weather = Weather(training_fails=1.0)
    bench.execute()
    (failed,) = bench.account.jobs.values()
    again = copy.deepcopy(failed)
    again.id, again.fails, again.shown = "ftjob-again", False, 0.0
    again.starts = again.ends = bench.sim.world.now + 3600
    again.body = {**again.body, "metadata": {**again.body["metadata"], "ftspec_attempt": "2"}}
    bench.account.jobs[again.id] = again
    one = Ours(key=failed.key, address="grid/seed=1", attempt=1, job_id=failed.id, created_at=failed.created)
    assert bench.run(sweep({failed.key: one}, engine=bench.engine, clock=bench.process)).doubled == ()


def test_sweeps_are_made_until_two_minutes_after_the_last_launch():
    """Lists lag, and the other clone may buy a moment later: at once, after 30 s and after 120 s, and again from the start for a new job."""
    bench = Bench(rules=Rules())
    one = Ours(key="k", address="a", attempt=1, job_id="j", created_at=bench.sim.world.now)
    sweeper = Sweeper(bench.engine, clock=bench.process, ours={})
    assert not sweeper.due(wait=True)
    sweeper.add(one)
    began, at = bench.sim.world.now, []
    while sweeper.due(wait=True):
        sweeper.learn(bench.run(sweeper.sweep()))
        at.append(round(bench.sim.world.now - began))
        assert not sweeper.due(wait=False)
    assert [time // 10 * 10 for time in at] == [0, 30, 120]
    sweeper.add(one)
    assert sweeper.due(wait=False)
