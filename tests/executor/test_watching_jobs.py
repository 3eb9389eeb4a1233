"""What engines say of bought jobs becomes facts: once, whole, and whatever words they use."""

import pytest

from ftspec.engines.base import EngineError, JobEvent, Listing, ObservedJob
from ftspec.executor import progress as said
from ftspec.executor.refresh import refresh
from ftspec.executor.result import ApplyOptions
from ftspec.executor.watch import MODEL_WINDOW, newest_metrics
from ftspec.record import JobStatus
from ftspec.state.memory import MemoryState
from ftspec.testing.account import Rules, SimulatedEngine, Weather
from ftspec.testing.bench import Bench
from ftspec.testing.storm import Wish
from ftspec.testing.virtual import VirtualCrew


def launched(**rest) -> Bench:
    """Return a bench whose jobs are bought and not waited for."""
    bench = Bench(**rest)
    bench.execute(options=ApplyOptions(wait=False))
    return bench


def ask(bench: Bench, engine=None, **rest):
    """Ask the engine about recorded jobs once."""
    with MemoryState(bench.store).lock("status") as writer:
        return bench.run(
            refresh(
                spec=bench.wanted.spec,
                writer=writer,
                engines={"sim": engine or bench.engine},
                clock=bench.process,
                crew=VirtualCrew(bench.process),
                progress=bench.events.append,
                **rest,
            )
        )


def test_status_writes_what_changed_and_says_it():
    """Queued, then running, then succeeded: each change is recorded once."""
    bench = launched()
    (job,) = bench.account.jobs.values()
    bench.sim._pass(job.starts - bench.sim.world.now + 1)
    first = ask(bench)
    assert [(one.old, one.new) for one in first.changes] == [(JobStatus.QUEUED, JobStatus.RUNNING)]
    assert ask(bench).changes == ()
    bench.sim._pass(1000)
    done = ask(bench)
    assert [(one.new, one.raw) for one in done.changes] == [(JobStatus.SUCCEEDED, "succeeded")]
    (record,) = bench.state.jobs.values()
    assert record.model is not None
    assert ask(bench).asked == 0


def test_status_asks_only_about_unfinished_jobs_unless_told_otherwise():
    """Ended jobs are left alone; `--all` asks again; a selection asks about those keys only."""
    bench = launched(wish=Wish(seeds=2))
    bench.sim._pass(1000)
    keys = sorted(bench.state.jobs)
    assert ask(bench, keys={keys[0]}).asked == 1
    assert ask(bench).asked == 1
    assert ask(bench).asked == 0
    assert ask(bench, everything=True).asked == 2


def test_many_jobs_are_asked_about_by_pages_and_the_missing_ones_one_by_one():
    """A list is cheaper than single questions; what it leaves out is asked for by id."""
    bench = launched(wish=Wish(seeds=8))

    class Listed(SimulatedEngine):
        single = 0

        async def find_jobs(self, **how):
            listing = await super().find_jobs(**how)
            return Listing(items=sorted(listing.items, key=lambda one: one.id)[1:], complete=False)

        async def job(self, job_id):
            self.single += 1
            return await super().job(job_id)

    engine = Listed(bench.account, bench.process, lambda _what: None)
    assert len(ask(bench, engine).changes) <= 8
    assert engine.single == 1


def test_an_engine_that_cannot_be_asked_is_reported():
    """Its jobs stay as they were, and `status` says why."""
    bench = launched()
    bench.account.weather = Weather(read_fails=1.0)
    answer = ask(bench)
    assert answer.trouble == {"sim": "bad gateway"}
    assert answer.changes == ()


def test_jobs_of_an_engine_that_no_spec_declares_are_reported():
    """Nobody knows how to ask about them."""
    bench = launched()
    spec = bench.wanted.spec
    with MemoryState(bench.store).lock("status") as writer:
        answer = bench.run(
            refresh(spec=type(spec)(root="."), writer=writer, engines={}, clock=bench.process, crew=VirtualCrew(bench.process))
        )
    assert answer.trouble == {"sim": "no engine of the spec buys in `sim`"}


def test_a_job_that_the_engine_does_not_show_is_missing_and_stays_as_it_was():
    """Not shown is not failed."""
    bench = launched()
    bench.account.jobs.clear()
    assert ask(bench).missing == ("grid/seed=1",)
    (record,) = bench.state.jobs.values()
    assert record.status is JobStatus.QUEUED


def test_a_word_that_nobody_knows_is_kept_and_is_not_the_end():
    """`paused_by_policy` is shown verbatim; the job is waited for as before."""
    bench = Bench(weather=Weather(odd_status=1.0))
    result = bench.execute()
    assert "paused_by_policy" in [event.raw for event in bench.told(said.StatusChanged)]
    assert result.succeeded == ("grid/seed=1",)


def test_a_job_that_succeeded_without_a_model_is_asked_again():
    """The model's name may come a little later than the status."""
    bench = Bench(weather=Weather(hidden=1.0))
    result = bench.execute()
    assert result.succeeded == ("grid/seed=1",)
    (record,) = bench.state.jobs.values()
    assert record.model is not None


@pytest.mark.parametrize("tells_time", [True, False])
def test_a_job_that_never_names_its_model_is_a_failure_after_a_while(tells_time):
    """Ten minutes after its end it is recorded as it is and reported; `status` may learn more later."""

    class Nameless(SimulatedEngine):
        async def job(self, job_id):
            job = await super().job(job_id)
            return None if job is None else ObservedJob(**{name: getattr(job, name) for name in ObservedJob.__slots__} | {"model": None})

    bench = Bench(rules=Rules(unique_keys=True, tells_time=tells_time, clock_off=-7000.0))
    began = bench.sim.world.now
    result = bench.execute(engine=Nameless(bench.account, bench.process, lambda _what: None))
    assert [one.error.code for one in result.failed] == ["no_model"]
    assert bench.sim.world.now - began > MODEL_WINDOW
    (record,) = bench.state.jobs.values()
    assert record.status is JobStatus.SUCCEEDED
    assert record.model is None
    assert ask(bench, bench.new_engine(bench.process)).asked == 1
    (record,) = bench.state.jobs.values()
    assert record.model is not None


def test_an_engine_that_is_away_for_a_while_is_asked_again():
    """A network partition changes nothing in state: the watch goes on when the answers come back."""
    bench = launched()
    bench.account.weather = Weather(read_fails=1.0)
    bench.sim.world.at(bench.sim.world.now + 3000, lambda: setattr(bench.account, "weather", Weather()))
    result = bench.execute()
    assert result.succeeded == ("grid/seed=1",)
    assert bench.told(said.EngineTrouble)[0].message == "bad gateway"
    assert max(event.retry_in for event in bench.told(said.EngineTrouble)) == 60.0


def test_a_job_that_vanished_is_given_up_after_many_rounds():
    """The engine does not show it any more: reported, state unchanged."""
    bench = launched()
    bench.account.jobs.clear()
    result = bench.execute()
    assert [one.error.code for one in result.failed] == ["job_gone"]
    (record,) = bench.state.jobs.values()
    assert record.status is JobStatus.QUEUED


def test_details_that_cannot_be_had_do_not_keep_the_end_from_being_recorded():
    """Events and checkpoints are a bonus; a model without them is still a model."""

    class Terse(SimulatedEngine):
        async def events(self, job_id):
            raise EngineError("not supported")

        async def checkpoints(self, job_id):
            raise EngineError("not supported")

    bench = Bench()
    result = bench.execute(engine=Terse(bench.account, bench.process, lambda _what: None))
    assert result.succeeded == ("grid/seed=1",)
    (record,) = bench.state.jobs.values()
    assert record.last.checkpoints == ()


def test_metrics_are_the_newest_of_each_kind_whatever_the_order():
    """Oldest first or newest first, null data, other types: the last known value of each metric, and the last step."""
    events = [
        JobEvent(id="3", time=30, level="info", message="", type="metrics", data={"step": 3, "train_loss": 0.1}),
        JobEvent(id="1", time=10, level="info", message="", type="metrics", data={"step": 1, "train_loss": 0.9, "valid_loss": 1.0}),
        JobEvent(id="2", time=20, level="info", message="", type="metrics", data={"step": 2, "train_loss": "nan", "ok": True}),
        JobEvent(id="4", time=40, level="info", message="done"),
        JobEvent(id="5", time=50, level="info", message="", type="metrics", data={}),
    ]
    assert newest_metrics(events) == (3, {"train_loss": 0.1, "valid_loss": 1.0})
    assert newest_metrics(reversed(events)) == newest_metrics(events)
    assert newest_metrics([]) == (None, {})


def test_a_metric_that_is_no_number_is_none():
    """Engines may write anything: words, lists, whole numbers that no float holds."""
    data = {"step": 1, "train_loss": 10**400, "train_accuracy": "0.5", "note": [1], "valid_loss": 2}
    assert newest_metrics([JobEvent(id="e", time=1, type="metrics", level="info", message="", data=data)]) == (1, {"valid_loss": 2.0})


def test_progress_shows_metrics_once_a_step_and_the_end_with_everything():
    """A step that was shown is not shown again."""
    bench = Bench()
    bench.execute()
    assert [event.step for event in bench.told(said.Metrics)] == [1]
    (end,) = bench.told(said.Finished)
    assert (end.status, end.trained_tokens, end.metrics) == (JobStatus.SUCCEEDED, 1000, {"train_loss": 0.5})
