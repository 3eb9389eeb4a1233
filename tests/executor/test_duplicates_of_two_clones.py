"""Two clones that apply at the same moment: one of two jobs counts, the other is stopped or reported."""

from ftspec.engines.base import EngineError
from ftspec.executor import progress as said
from ftspec.executor.result import ApplyOptions
from ftspec.record import JobStatus
from ftspec.state.memory import Store
from ftspec.testing.account import Rules, SimulatedEngine
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
    assert bench.told(said.Duplicate)


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
