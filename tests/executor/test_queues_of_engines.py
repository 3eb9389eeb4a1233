"""How many jobs an engine may be given now, and when the next one."""

import itertools

import pytest

from ftspec.engines.base import ObservedJob
from ftspec.executor.clock import rfc3339
from ftspec.executor.queue import DAY, MARGIN, Queue, queue_of
from ftspec.experiment import Limits
from ftspec.record import Attempt, JobStatus, RecordedJob
from ftspec.testing.account import Rules, Weather
from ftspec.testing.bench import Bench
from ftspec.testing.storm import Wish

NOW = 1_795_176_000.0


def job(job_id: str, *, ago: float, status: JobStatus = JobStatus.SUCCEEDED) -> ObservedJob:
    """Return a job as the engine lists it."""
    return ObservedJob(id=job_id, status=status, raw_status=status.value, base_model="base", created_at=int(NOW - ago))


def record(key: str, *attempts: Attempt) -> RecordedJob:
    """Return a record."""
    return RecordedJob(key=key, address=key, engine="sim", scope="sim", attempts=attempts)


def attempt(job_id: str | None, *, ago: float, status: JobStatus, number: int = 1) -> Attempt:
    """Return an attempt that was made some time ago."""
    at = rfc3339(NOW - ago)
    return Attempt(number=number, status=status, engine_job_id=job_id, created_at=at if job_id else None, intent_at=at)


def test_without_limits_everything_may_be_launched():
    """An engine that declares nothing is limited by nothing."""
    assert queue_of(Limits(), recorded=[], listed=[], now=NOW).free(NOW) is None


def test_running_jobs_take_slots_and_some_stay_free_for_others():
    """`max_running` counts the jobs of everybody; `leave_free` slots are never taken."""
    queue = queue_of(
        Limits(max_running=4, leave_free=1),
        recorded=[record("a", attempt("j1", ago=60, status=JobStatus.RUNNING))],
        listed=[job("j1", ago=60, status=JobStatus.RUNNING), job("stranger", ago=9, status=JobStatus.QUEUED), job("done", ago=99)],
        now=NOW,
    )
    assert queue.free(NOW) == 1
    queue.asked("b", NOW)
    assert queue.free(NOW) == 0
    assert queue.next_at(NOW) is None
    assert queue.why(NOW) == "max_running: 4, leave_free: 1"
    queue.taken("b", "j2")
    queue.ended("j1")
    assert queue.free(NOW) == 1


def test_jobs_of_the_last_day_take_daily_slots_in_a_rolling_window():
    """A slot is free again a day after the job that took it; the engine's list counts beside state."""
    queue = queue_of(
        Limits(per_day=3),
        recorded=[
            record("a", attempt("j1", ago=DAY - 600, status=JobStatus.FAILED), attempt("j2", ago=50, status=JobStatus.SUCCEEDED, number=2)),
            record("b", attempt(None, ago=10, status=JobStatus.INTENT)),
            record("c", attempt(None, ago=10, status=JobStatus.REFUSED)),
            record("d", attempt("j0", ago=DAY + 60, status=JobStatus.SUCCEEDED)),
        ],
        listed=[job("j2", ago=50)],
        now=NOW,
    )
    assert queue.free(NOW) == 0
    assert queue.next_at(NOW) == NOW + 600 + MARGIN
    assert queue.why(NOW) == "per_day: 3"
    assert queue.free(NOW + 600 + MARGIN) == 1


def test_a_request_that_bought_nothing_gives_its_slot_back():
    """Refused or absent: the slot is free again."""
    queue = queue_of(Limits(max_running=1, per_day=1), recorded=[], listed=[], now=NOW)
    queue.asked("a", NOW)
    assert queue.free(NOW) == 0
    queue.given_back("a")
    assert queue.free(NOW) == 1


def test_a_job_that_state_knows_no_time_of_takes_a_running_slot_only():
    """An imported job may lack its creation time; it runs all the same."""
    bare = Attempt(number=1, status=JobStatus.RUNNING, engine_job_id="j1")
    queue = queue_of(Limits(max_running=2, per_day=2), recorded=[record("a", bare)], listed=[], now=NOW)
    assert queue.free(NOW) == 1
    assert queue.created == {}


def test_a_launch_in_doubt_keeps_its_daily_slot_only():
    """It may have been one of today's jobs; whether it runs the engine knows."""
    queue = queue_of(Limits(max_running=1, per_day=2), recorded=[], listed=[], now=NOW)
    queue.asked("a", NOW)
    queue.in_doubt("a")
    assert queue.free(NOW) == 1
    queue.asked("b", NOW)
    assert queue.why(NOW) == "per_day: 2"


@pytest.mark.parametrize(
    ("quota", "pause", "why"), [("daily", 900, "daily limit"), ("concurrent", 60, "limit of running jobs"), ("rate", 20, "rate limit")]
)
def test_a_refusal_closes_the_queue_and_one_launch_finds_out_whether_it_is_open(quota, pause, why):
    """Whatever was declared: pauses grow, and after one only one request goes out."""
    queue = Queue(limits=Limits())
    queue.refused(quota, NOW, None)
    assert queue.free(NOW) == 0
    assert queue.next_at(NOW) == NOW + pause
    assert why in queue.why(NOW)
    assert queue.free(NOW + pause) == 1
    queue.asked("a", NOW + pause)
    assert queue.free(NOW + pause) == 0
    queue.given_back("a")
    queue.refused(quota, NOW + pause, None)
    assert queue.next_at(NOW + pause) == NOW + pause + 2 * pause
    queue.asked("a", NOW + 5000)
    queue.taken("a", "j")
    assert queue.free(NOW + 5000) is None


def test_a_daily_limit_of_the_engine_ends_at_the_latest_a_day_after_the_oldest_job_of_the_day():
    """That time is shown; tries before it cost nothing, because jobs that nobody sees here may count too."""
    queue = queue_of(Limits(), recorded=[], listed=[job("a", ago=DAY - 7200), job("b", ago=60), job("old", ago=DAY + 600)], now=NOW)
    queue.refused("daily", NOW, None)
    assert queue.promised_at(NOW) == NOW + 7200 + MARGIN
    assert queue.next_at(NOW) == NOW + 900
    bare = Queue(limits=Limits())
    bare.refused("daily", NOW, None)
    assert bare.promised_at(NOW) == bare.next_at(NOW) == NOW + 900


def test_a_server_that_says_how_long_to_wait_is_believed():
    """`retry-after` lengthens a pause and never shortens it."""
    queue = Queue(limits=Limits())
    queue.refused("rate", NOW, 500.0)
    assert queue.next_at(NOW) == NOW + 500
    queue.refused("rate", NOW, 1.0)
    assert queue.next_at(NOW) == NOW + 40


def test_the_end_of_a_job_opens_a_queue_that_too_many_running_jobs_had_closed():
    """A slot became free, so it is tried at once."""
    queue = Queue(limits=Limits(), running={"j1"})
    queue.refused("concurrent", NOW, None)
    queue.ended("j1")
    assert queue.free(NOW) == 1


def test_what_others_start_and_end_is_taken_in():
    """Later looks at the list move the slots too."""
    queue = queue_of(Limits(max_running=1), recorded=[], listed=[], now=NOW)
    queue.observe([job("other", ago=1, status=JobStatus.RUNNING)])
    assert queue.free(NOW) == 0
    queue.observe([job("other", ago=1)])
    assert queue.free(NOW) == 1


def test_apply_launches_as_many_as_may_run_and_the_rest_when_they_end():
    """Five jobs, two at a time, one slot left to others: never more than one runs."""
    bench = Bench(wish=Wish(seeds=4, max_running=2, leave_free=1))
    result = bench.execute()
    assert len(result.succeeded) == 4
    spans = sorted((job.created, job.ends) for job in bench.account.jobs.values())
    assert all(later[0] >= earlier[1] for earlier, later in itertools.pairwise(spans))


def test_a_slot_that_becomes_free_is_taken_at_once_and_not_waited_out():
    """The end of a job of ours is seen by watching it; the wait for other people's slots goes on beside, and ends with the walk."""
    bench = Bench(rules=Rules(unique_keys=True, in_process=True), wish=Wish(seeds=4, max_running=1))
    bench.account.training = (1.0, 2.0)
    began = bench.sim.world.now
    assert len(bench.execute().succeeded) == 4
    spans = sorted((job.created, job.ends) for job in bench.account.jobs.values())
    assert all(later[0] - earlier[1] < 6 for earlier, later in itertools.pairwise(spans))
    assert bench.sim.world.now - began < spans[-1][1] - began + 6


def test_without_waiting_the_rest_stays_queued_and_the_next_slot_is_said():
    """`--no-wait` launches what may be launched; running it again later goes on where state says it was."""
    from ftspec.executor.result import ApplyOptions

    bench = Bench(rules=Rules(), wish=Wish(seeds=3, per_day=2))
    first = bench.execute(options=ApplyOptions(wait=False))
    assert (len(first.launched), len(first.queued), first.exit_code) == (2, 1, 0)
    at = bench.sim.world.now
    assert rfc3339(at + DAY - 60) < first.next_slot_at["sim"] < rfc3339(at + DAY + 60)
    second = bench.execute(options=ApplyOptions(wait=False))
    assert second.launched == ()
    bench.sim._pass(DAY + 60)
    third = bench.execute()
    assert len(third.launched) == 1
    assert len(bench.account.jobs) == 3


def test_a_daily_limit_that_nobody_declared_is_waited_out():
    """The engine refuses by code; apply says why it waits, tries now and then, and ends with everything."""
    from ftspec.executor.progress import WaitingForSlot

    bench = Bench(rules=Rules(daily_limit=1), wish=Wish(seeds=2))
    began = bench.sim.world.now
    result = bench.execute()
    assert len(result.succeeded) == 2
    assert DAY - 60 < bench.sim.world.now - began < DAY + 2 * 3600
    assert {event.why for event in bench.told(WaitingForSlot)} == {"the engine's own daily limit"}
    assert len(bench.account.posts) < 40


def test_an_account_without_credit_is_asked_once(bench):
    """Money is not a queue: the first refusal ends the launches on that engine, with its reason."""
    from ftspec.engines.base import Refused

    class Poor(type(bench.engine)):
        async def create_job(self, request):
            self.account.posts.append(request)
            refused = Refused("you exceeded your current quota", code="insufficient_quota", status=429)
            refused.quota = "money"
            raise refused

    poor = Bench(wish=Wish(seeds=9))
    result = poor.execute(engine=Poor(poor.account, poor.process, lambda _what: None))
    assert result.failed
    assert result.skipped
    assert set(result.skipped.values()) == {"the account of `sim` has no credit left"}
    assert len(poor.account.posts) <= 8
    assert result.exit_code == 1


def test_a_rate_limit_is_waited_out():
    """Too many requests: the same job is asked for again after a pause, as a new attempt."""
    bench = Bench(weather=Weather())
    bench.fates += ["rate_limited", "rate_limited", "fine"]
    result = bench.execute()
    assert result.succeeded == ("grid/seed=1",)
    (kept,) = bench.state.jobs.values()
    assert [one.status for one in kept.attempts] == [JobStatus.REFUSED, JobStatus.REFUSED, JobStatus.SUCCEEDED]
    assert {post.key for post in bench.account.posts} == {kept.key}
