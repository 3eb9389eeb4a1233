"""A person's word: this job on the engine is that one of ours; that launch never became one."""

import copy

import pytest

from ftspec.diagnostics import FtspecError
from ftspec.engines.base import ObservedJob
from ftspec.executor.clock import rfc3339
from ftspec.executor.doubt import import_job, mark_absent, settle
from ftspec.executor.lane import verdict_facts
from ftspec.executor.lookup import Absent
from ftspec.executor.matching import Match, OpenIntent
from ftspec.executor.result import ApplyOptions
from ftspec.record import JobStatus, Origin
from ftspec.state.base import JobFact
from ftspec.state.memory import MemoryState
from ftspec.testing.account import Rules, Weather
from ftspec.testing.bench import Bench, BrokenDisk
from ftspec.testing.storm import Wish

ABOUT = {"address": "grid/seed=1", "engine": "sim", "scope": "sim"}


def doubtful(**rest) -> Bench:
    """Return a bench with one launch in doubt."""
    bench = Bench(rules=Rules(), **rest)
    bench.fates += ["lost_answer"]
    bench.account.weather = Weather(hidden=1.0, lag=100_000.0)
    bench.execute()
    bench.account.weather = Weather()
    return bench


def imported(bench: Bench, job_id: str, *, key: str | None = None, **rest):
    """Import a job for the key in doubt, or for another."""
    state = bench.state
    with MemoryState(bench.store).lock("import") as writer:
        return bench.run(
            import_job(
                key=key or next(iter(state.jobs)),
                about=ABOUT,
                engine=bench.engine,
                engine_job_id=job_id,
                state=state,
                writer=writer,
                clock=bench.process,
                **rest,
            )
        )


def test_a_launch_in_doubt_becomes_the_job_that_a_person_names():
    """The open intent and the named job are one attempt; the next apply waits for it."""
    bench = doubtful()
    (job_id,) = bench.account.jobs
    assert imported(bench, job_id).attempt == 1
    (record,) = bench.state.jobs.values()
    assert (record.last.engine_job_id, record.last.origin, len(record.attempts)) == (job_id, Origin.IMPORTED, 1)
    assert bench.execute().succeeded == ("grid/seed=1",)


def test_a_job_that_nobody_asked_for_here_can_be_imported_for_an_address():
    """Without an intent it is the first attempt of its key."""
    bench = Bench()
    plan = bench.plan()
    bench.execute()
    bench.store.lines.clear()
    (job_id,) = bench.account.jobs
    key = next(action.key for action in plan.actions if hasattr(action, "attempt"))
    assert imported(bench, job_id, key=key).attempt == 1
    assert bench.execute().launched == ()


def test_a_job_that_is_not_what_was_asked_for_needs_force():
    """The difference is named; with `force` it is recorded all the same."""
    bench = doubtful()
    (job,) = bench.account.jobs.values()
    job.body = {**job.body, "training_file": "file-of-somebody"}
    with pytest.raises(FtspecError, match="training_file `file-of-somebody` instead of"):
        imported(bench, job.id)
    assert imported(bench, job.id, force=True).differences


def test_a_job_of_another_address_or_of_nobody_is_refused():
    """One job is one record; an id that the account does not know is said."""
    bench = doubtful(wish=Wish(seeds=2))
    known = next(record for record in bench.state.jobs.values() if record.last.engine_job_id)
    with pytest.raises(FtspecError, match="recorded already, as `grid/seed=2`"):
        imported(bench, known.last.engine_job_id, key=next(key for key in bench.state.jobs if key != known.key))
    with pytest.raises(FtspecError, match="has no job ftjob-nothing"):
        imported(bench, "ftjob-nothing")
    bench.account.weather = Weather(read_fails=1.0)
    with pytest.raises(FtspecError, match="could not be asked"):
        imported(bench, known.last.engine_job_id)


def test_absent_is_only_said_of_launches_in_doubt():
    """A job that exists cannot be called absent."""
    bench = Bench()
    bench.execute()
    (record,) = bench.state.jobs.values()
    with MemoryState(bench.store).lock("import") as writer, pytest.raises(FtspecError, match="is not in doubt: it is succeeded"):
        mark_absent(record, writer=writer, clock=bench.process)


def settled(bench: Bench, *, spec=None, writer=None, **options):
    """Settle every open intent."""
    with MemoryState(bench.store).lock("settle") as real:
        return bench.run(
            settle(
                spec=spec or bench.wanted.spec,
                writer=writer(real) if writer else real,
                engines=lambda _name: bench.engine,
                clock=bench.process,
                options=ApplyOptions(**options),
            )
        )


def test_settling_records_what_is_found_and_buys_nothing():
    """Found is adopted; further jobs of the key are reported."""
    bench = doubtful()
    (job,) = bench.account.jobs.values()
    job.shown = 0.0
    twin = type(job)(**{name: getattr(job, name) for name in job.__slots__} | {"id": "ftjob-twin", "created": job.created + 9})
    bench.account.jobs["ftjob-twin"] = twin
    answer = settled(bench)
    assert answer.adopted == ("grid/seed=1",)
    assert answer.duplicates[0].extra == ("ftjob-twin",)
    (record,) = bench.state.jobs.values()
    assert (record.last.engine_job_id, record.duplicates) == (job.id, ("ftjob-twin",))
    assert len(bench.account.posts) == 1


def test_engines_may_be_given_by_name():
    """A mapping does as well as a function."""
    bench = doubtful()
    with MemoryState(bench.store).lock("settle") as writer:
        answer = bench.run(settle(spec=bench.wanted.spec, writer=writer, engines={"sim": bench.engine}, clock=bench.process))
    assert answer.in_doubt


def test_settling_leaves_in_doubt_what_nothing_proves():
    """Not found stays in doubt, unless a person allows to call it absent."""
    bench = doubtful()
    assert [one.address for one in settled(bench).in_doubt] == ["grid/seed=1"]
    assert settled(bench, launch_absent=True).absent == ("grid/seed=1",)
    (record,) = bench.state.jobs.values()
    assert record.status is JobStatus.ABSENT


def test_settling_says_where_nobody_can_be_asked():
    """An engine that the spec no longer declares leaves its launches in doubt."""
    bench = doubtful()
    spec = bench.wanted.spec
    answer = settled(bench, spec=type(spec)(root="."))
    assert answer.in_doubt[0].error.message == "no engine of the spec buys in `sim`"


def test_settling_names_the_candidates_that_it_did_not_take():
    """Labels were dropped on the way: the one job that fits is named for a person."""
    bench = Bench(rules=Rules(drops_metadata=True))
    bench.fates += ["lost_answer"]
    bench.execute()
    (job_id,) = bench.account.jobs
    assert settled(bench).in_doubt[0].error.message == f"jobs that could be it exist, and nothing tells which: {job_id}"


def test_settling_takes_no_job_that_was_reported_as_a_duplicate():
    """On an engine without labels, the second job of another key fits a lost launch: it is known, and is left alone."""
    bench = Bench(rules=Rules(metadata=False), wish=Wish(seeds=2))
    bench.fates += ["fine", "lost_request"]
    bench.execute(options=ApplyOptions(settle_window=0.0))
    open_one = next(record for record in bench.state.jobs.values() if record.in_doubt)
    other = next(record for record in bench.state.jobs.values() if not record.in_doubt)
    twin = copy.deepcopy(bench.account.jobs[other.last.engine_job_id])
    twin.id, twin.created, twin.body = "ftjob-twin", twin.created + 5, dict(open_one.last.requested)
    bench.account.jobs[twin.id] = twin
    with MemoryState(bench.store).lock("other") as writer:
        at = rfc3339(bench.sim.world.now)
        writer.append(JobFact(key=other.key, attempt=1, at=at, values={"status": "launched", "engine_job_id": twin.id, "created_at": at}))
    assert next(record for record in bench.state.jobs.values() if record.key == other.key).duplicates == (twin.id,)
    answer = settled(bench)
    assert answer.adopted == ()
    assert [one.address for one in answer.in_doubt] == [open_one.address]


def test_settling_asks_nobody_about_a_launch_that_was_forgotten():
    """Who forgets a record wants to hear of it no more."""
    bench = doubtful()
    (record,) = bench.state.jobs.values()
    with MemoryState(bench.store).lock("state rm") as writer:
        writer.append(JobFact(key=record.key, at=rfc3339(bench.sim.world.now), job={"forgotten": True}))
    for job in bench.account.jobs.values():
        job.shown = 0.0
    answer = settled(bench)
    assert (answer.adopted, answer.in_doubt) == ((), ())


LAUNCHES = ((1, "run-a"), (1, "run-b"))


@pytest.mark.parametrize(
    ("extra", "unique", "answered"), [((), False, ["run-a"]), (("j2",), False, ["run-a", "run-b"]), ((), True, ["run-a", "run-b"])]
)
def test_one_job_answers_one_launch_unless_keys_are_unique(extra, unique, answered):
    """Two clones sent the same launch: the second may be a second job, except where the engine would have refused to make one."""

    def job(name):
        return ObservedJob(id=name, status=JobStatus.QUEUED, raw_status="queued", base_model="m", created_at=1)

    intent = OpenIntent(key="k", address="a", attempt=1, requested={"model": "m"}, intent_at=rfc3339(0), launches=LAUNCHES)
    facts = verdict_facts(intent, Match(job=job("j1"), extra=tuple(map(job, extra))), at=5.0, unique=unique)
    assert [fact.values["launch"] for fact in facts if "launch" in fact.values] == answered
    assert [fact.values["engine_job_id"] for fact in facts if fact.values.get("engine_job_id")] == ["j1", *extra]


def test_absence_closes_every_launch_of_its_key():
    """A person's word, or a complete list where keys are unique, is about all of them."""
    intent = OpenIntent(key="k", address="a", attempt=1, requested={"model": "m"}, intent_at=rfc3339(0), launches=LAUNCHES)
    facts = verdict_facts(intent, Absent(why="said so"), at=5.0)
    assert [(fact.values["launch"], fact.values["status"]) for fact in facts] == [("run-a", "absent"), ("run-b", "absent")]


def test_settling_on_a_full_disk_says_so():
    """What was found and cannot be written stays open for the next run."""
    bench = doubtful()
    for job in bench.account.jobs.values():
        job.shown = 0.0
    with pytest.raises(FtspecError, match="No space left on device"):
        settled(bench, writer=lambda real: BrokenDisk(real, lambda fact: True))
    (record,) = bench.state.jobs.values()
    assert record.in_doubt
