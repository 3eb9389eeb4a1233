"""One launch: a durable intent, one POST, a durable outcome."""

import pytest

from ftspec.actions import LaunchJob
from ftspec.engines.base import EngineError
from ftspec.executor.journal import Journal, StateNotWritten
from ftspec.executor.launch import Bought, InTheDark, NotBought, NotRecorded, NotTried, Purchase, buy
from ftspec.executor.progress import Launching
from ftspec.executor.result import ApplyOptions
from ftspec.record import JobStatus, Origin
from ftspec.state.memory import MemoryState
from ftspec.testing.account import Rules
from ftspec.testing.bench import Bench, BrokenDisk


def purchase(bench: Bench, attempt: int = 1, nth: int = 1) -> Purchase:
    """Return the purchase of the one wanted job."""
    (launch,) = [action for action in bench.plan().actions if isinstance(action, LaunchJob)]
    bench.account.files.setdefault("file-1", None)
    body = {
        "model": "base",
        "training_file": "file-1",
        "method": {"type": "supervised", "supervised": {}},
        "metadata": {"ftspec_key": launch.key},
    }
    return Purchase(launch=launch, attempt=attempt, nth=nth, body=body, training_file="file-1", validation_file=None)


def bought(bench: Bench, *, disk=lambda fact: False, stop=None, one: Purchase | None = None, run: str | None = None):
    """Buy the one wanted job and return the outcome."""
    with MemoryState(bench.store).lock("test") as real:
        effects = bench.effects(BrokenDisk(real, disk), stop=stop, options=ApplyOptions(run=run))
        return bench.run(buy(one or purchase(bench), engine=bench.engine, effects=effects))


def only_attempt(bench: Bench):
    """Return the one attempt of the one job."""
    (record,) = bench.state.jobs.values()
    return record.last


def test_a_purchase_is_recorded_with_what_was_asked_and_what_came_back(bench):
    """Intent and outcome are joined in one attempt: request, digest, engine's clock, id and status."""
    outcome = bought(bench)
    assert isinstance(outcome, Bought)
    attempt = only_attempt(bench)
    assert attempt.engine_job_id == outcome.job.id
    assert attempt.status is JobStatus.QUEUED
    assert attempt.requested["training_file"] == "file-1"
    assert attempt.request_digest is not None
    assert attempt.intent_at is not None
    assert attempt.origin is Origin.LAUNCHED
    assert attempt.training_file == "file-1"
    (record,) = bench.state.jobs.values()
    assert (record.address, record.engine, record.scope) == ("grid/seed=1", "sim", "sim")
    assert record.preimage["base_model"] == "base"


def test_the_intent_is_durable_before_the_request_goes_out(bench):
    """A request that cannot be preceded by its intent is not sent at all."""
    with pytest.raises(StateNotWritten, match="No space left on device"):
        bought(bench, disk=lambda fact: fact.values.get("status") == "intent")
    assert bench.account.posts == []
    assert bench.told(Launching) == []


def test_a_purchase_that_cannot_be_recorded_names_its_job(bench):
    """The disk fills between intent and outcome: the id is handed up, the intent stays for the next run."""
    outcome = bought(bench, disk=lambda fact: "engine_job_id" in fact.values)
    assert isinstance(outcome, NotRecorded)
    assert outcome.job.id in bench.account.jobs
    assert only_attempt(bench).status is JobStatus.INTENT


def test_after_a_failed_write_nothing_else_is_written(bench):
    """The disk may lie the second time: one failed append ends all writing."""
    with MemoryState(bench.store).lock("test") as real:
        disk = BrokenDisk(real, lambda fact: True)
        journal = Journal(disk)
        for _ in range(3):
            with pytest.raises(StateNotWritten):
                journal.append(bench)
        assert disk.calls == 1


def test_a_refusal_is_recorded_with_the_engines_words(bench):
    """The engine said no: status refused, code and message kept, nothing bought."""
    bench.fates += ["refused"]
    outcome = bought(bench)
    assert isinstance(outcome, NotBought)
    assert (outcome.quota, outcome.status) == (None, 400)
    attempt = only_attempt(bench)
    assert attempt.status is JobStatus.REFUSED
    assert attempt.error is not None
    assert (attempt.error.code, attempt.error.message) == ("invalid_value", "invalid hyperparameters")


def test_a_quota_is_told_apart_from_a_mistake(bench):
    """What kind of limit was reached is passed on, by code alone."""
    bench.fates += ["rate_limited"]
    outcome = bought(bench)
    assert isinstance(outcome, NotBought)
    assert outcome.quota == "rate"


def test_a_request_that_never_left_is_sent_again(bench):
    """No connection was made, so sending again is safe."""
    bench.fates += ["not_sent", "not_sent", "fine"]
    assert isinstance(bought(bench), Bought)
    assert len(bench.account.posts) == 3


def test_a_request_that_never_leaves_is_recorded_as_absent(bench):
    """After a few tries it is given up; nothing was bought, and state says so."""
    bench.fates += ["not_sent"] * 9
    outcome = bought(bench)
    assert isinstance(outcome, NotBought)
    assert not outcome.sent
    assert len(bench.account.posts) == 4
    assert only_attempt(bench).status is JobStatus.ABSENT


@pytest.mark.parametrize(("fates", "open_launches"), [(["fine"], 0), (["refused"], 0), (["not_sent"] * 9, 0), (["lost_answer"], 1)])
def test_a_clear_outcome_closes_the_launch_of_its_run(fates, open_launches):
    """Bought, refused, never sent: nothing is left to be looked up; only an unknown outcome leaves it open."""
    bench = Bench(rules=Rules())
    bench.fates += fates
    bought(bench, run="run-1")
    (record,) = bench.state.jobs.values()
    assert len(record.open) == open_launches
    assert record.doubtful == bool(open_launches)


@pytest.mark.parametrize("fate", ["lost_answer", "lost_request", "error_before", "error_after", "late"])
def test_an_unknown_outcome_is_asked_for_exactly_once(fate):
    """Whatever happened to the answer, one POST; the intent stays open and says since when."""
    bench = Bench(rules=Rules())
    bench.fates += [fate]
    outcome = bought(bench)
    assert isinstance(outcome, InTheDark)
    assert outcome.intent.requested["training_file"] == "file-1"
    assert len(bench.account.posts) == 1
    attempt = only_attempt(bench)
    assert attempt.status is JobStatus.INTENT
    assert attempt.unsettled_since is not None


def test_an_engine_that_honours_idempotency_keys_is_asked_again():
    """One `Idempotency-Key` buys one job, so a lost answer is asked for again."""
    bench = Bench(rules=Rules(unique_keys=True, idempotency_key=True))
    bench.fates += ["lost_answer", "error_before", "fine"]
    outcome = bought(bench)
    assert isinstance(outcome, Bought)
    assert len(bench.account.posts) == 3
    assert len(bench.account.jobs) == 1


def test_an_unknown_outcome_is_not_made_known_by_a_later_refusal():
    """A refusal of the repetition says nothing of the first request, which may have become a job."""
    bench = Bench(rules=Rules(unique_keys=True, idempotency_key=True))
    bench.fates += ["lost_request", "refused"]
    assert isinstance(bought(bench), InTheDark)


def test_an_error_that_nobody_classified_is_an_unknown_outcome(bench):
    """What the classifier does not know is never taken for a refusal."""

    async def odd(_request):
        raise EngineError("odd")

    bench.engine.create_job = odd
    assert isinstance(bought(bench), InTheDark)


def test_a_job_that_is_older_than_its_request_was_bought_before(bench):
    """An engine with unique keys answers with the job it has: recorded as adopted, not as launched."""
    again = purchase(bench, attempt=2)
    bought(bench)
    bench.sim._pass(600)
    bench.run(bench.engine.job("nothing"))
    second = bought(bench, one=again)
    assert isinstance(second, Bought)
    assert second.adopted
    assert only_attempt(bench).origin is Origin.ADOPTED
    assert len(bench.account.jobs) == 1


def test_a_stop_before_anything_was_written_leaves_everything_as_it_was(bench):
    """A purchase that had not begun when the signal came is not begun."""
    from ftspec.executor.interrupt import Stop

    stop = Stop()
    stop.request(2)
    assert isinstance(bought(bench, stop=stop), NotTried)
    assert bench.state.jobs == {}


def test_a_stop_while_waiting_to_send_again_ends_the_tries(bench):
    """After a signal nothing is sent, not even what would have been safe."""
    from ftspec.executor.interrupt import Stop

    stop = Stop()
    bench.fates += ["not_sent"] * 9
    bench.sim.world.at(bench.sim.world.now + 0.6, lambda: stop.request(15))
    outcome = bought(bench, stop=stop)
    assert isinstance(outcome, NotBought)
    assert len(bench.account.posts) == 1


def test_a_success_after_an_unknown_outcome_clears_the_error():
    """What was noted while nobody knew is not shown beside a job that runs."""
    bench = Bench(rules=Rules())
    bench.fates += ["lost_answer"]
    result = bench.execute()
    assert result.adopted == ("grid/seed=1",)
    attempt = only_attempt(bench)
    assert attempt.error is None
    assert attempt.unsettled_since is None
