"""What a list does not show may exist: in doubt, not absent."""

import pytest

from ftspec.executor.doubt import mark_absent
from ftspec.record import JobStatus
from ftspec.state.memory import MemoryState
from ftspec.testing.account import FAIR, Rules, Weather
from ftspec.testing.storm import CALMLY, Mishap, Scenario, Wish
from ftspec.testing.world import Simulation

AN_HOUR = 3600.0


def lost(rules: Rules, weather: Weather) -> Simulation:
    """Return a world with one wanted job whose purchase goes wrong in this weather."""
    return Simulation(Scenario(seed=3, rules=rules, weather=weather, wish=Wish(seeds=1)))


@pytest.mark.parametrize("rules", [Rules(), Rules(metadata=False)], ids=["labels", "no labels"])
def test_lag_beyond_the_window_stays_in_doubt_and_sends_nothing_on_ten_applies(rules):
    """The job exists and no list shows it: exit 4, one POST in eleven applies; once it is shown it is adopted."""
    world = lost(rules, Weather(lost_answer=1.0, hidden=1.0, lag=10.0 * AN_HOUR))
    for _ in range(11):
        run = world.apply(world.mine, CALMLY)
        assert run.result is not None
        assert run.result.exit_code == 4
        assert [trouble.address for trouble in run.result.in_doubt] == ["grid/seed=1"]
    assert len(world.account.posts) == 1
    world.account.weather = FAIR
    for job in world.account.jobs.values():
        job.shown = world.world.now
    adopted = world.apply(world.mine, CALMLY)
    assert adopted.result is not None
    assert adopted.result.exit_code == 0
    assert len(world.account.posts) == 1
    assert len(world.account.jobs) == 1


def test_a_job_without_the_label_that_was_promised_is_named_and_left_to_a_person():
    """Metadata lost on the way: the one job that fits is shown as a candidate, and nothing is bought."""
    world = lost(Rules(drops_metadata=True), Weather(lost_answer=1.0))
    run = world.apply(world.mine, CALMLY)
    (job,) = world.account.jobs
    assert run.result is not None
    assert run.result.in_doubt[0].error.message == f"jobs that could be it exist, and nothing tells which: {job}"
    assert len(world.account.posts) == 1


def test_a_request_that_lands_after_the_window_is_adopted_when_it_does():
    """The request lands twenty minutes later: nothing was bought again meanwhile, and the job is ours."""
    world = lost(Rules(), Weather(late=1.0, late_by=1200.0))
    first = world.apply(world.mine, CALMLY)
    assert first.result is not None
    assert first.result.exit_code == 4
    world._pass(AN_HOUR)
    second = world.apply(world.mine, CALMLY)
    assert second.result is not None
    assert second.result.succeeded == ("grid/seed=1",)
    assert len(world.account.posts) == 1


def test_an_engine_with_unique_keys_is_asked_again_and_answers_with_the_late_job():
    """Where one key has one job the next apply launches again, and a request that lands late changes nothing."""
    world = lost(Rules(unique_keys=True), Weather(late=1.0, late_by=1200.0))
    first = world.apply(world.mine, CALMLY)
    assert first.result is not None
    assert [trouble.error.code for trouble in first.result.failed] == ["absent"]
    world._pass(AN_HOUR)
    world.account.weather = FAIR
    second = world.apply(world.mine, CALMLY)
    assert second.result is not None
    assert second.result.succeeded == ("grid/seed=1",)
    assert len(world.account.jobs) == 1


def test_a_list_that_always_breaks_off_proves_nothing_even_to_a_person_in_a_hurry():
    """Endless paging: with no complete list a launch stays in doubt."""
    world = lost(Rules(), Weather(lost_request=1.0, incomplete=1.0))
    run = world.apply(world.mine, CALMLY)
    assert run.result is not None
    assert run.result.in_doubt[0].error.message == "the engine could not say: its list of jobs is incomplete"


def test_a_launch_that_a_person_calls_absent_is_bought_by_the_next_apply():
    """After the person's word, and not before, a second request goes out."""
    world = lost(Rules(), Weather(lost_request=1.0))
    world.apply(world.mine, CALMLY)
    world.account.weather = FAIR
    again = world.apply(world.mine, Mishap())
    assert again.result is not None
    assert again.result.exit_code == 4
    assert len(world.account.posts) == 1
    backend = MemoryState(world.mine)
    (record,) = backend.read()[0].jobs.values()
    with backend.lock("import") as writer:
        mark_absent(record, writer=writer, clock=again.process, by="ada@here")
    (record,) = backend.read()[0].jobs.values()
    assert record.status is JobStatus.ABSENT
    assert record.last.error is not None
    assert record.last.error.message == "said to be absent by ada@here"
    last = world.apply(world.mine, CALMLY)
    assert last.result is not None
    assert last.result.succeeded == ("grid/seed=1",)
    assert [post.key for post in world.account.posts] == [record.key] * 2
