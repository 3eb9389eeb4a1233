"""The settle window: how long, how often, and what an answer proves."""

import pytest

from ftspec.engines.base import EngineError, Listing, ObservedJob
from ftspec.executor.clock import rfc3339
from ftspec.executor.lookup import Absent, Doubt, look_up
from ftspec.executor.matching import Match, OpenIntent
from ftspec.record import JobStatus
from ftspec.testing.account import Rules
from ftspec.testing.bench import Bench


class Lists:
    """An engine that answers lists from a script and notes when it was asked."""

    def __init__(self, bench: Bench, answers, *, unique=False, metadata=True, said=None):
        self.profile = Bench(rules=Rules(unique_keys=unique, metadata=metadata)).account.profile()
        self.bench, self.answers, self.said = bench, list(answers), said
        self.asked: list[float] = []
        self.start = bench.sim.world.now

    async def find_jobs(self, *, key=None, since=None):
        if since is not None:
            self.asked.append(round(self.bench.sim.world.now - self.start, 1))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, EngineError):
            raise answer
        return answer

    async def server_time(self):
        return self.said


NOTHING = Listing(items=())
BROKEN = Listing(items=(), complete=False)


def look(bench: Bench, engine: Lists, *, age: float = 0.0, engine_age: float | None = None, **options):
    """Look up one lost launch and return the verdict."""
    now = bench.sim.world.now
    said = None if engine_age is None or engine.said is None else int(engine.said - engine_age)
    intent = OpenIntent(key="k", address="a", attempt=1, requested={"model": "m"}, intent_at=rfc3339(now - age), engine_time=said)
    settings = {"window": 120.0, "known": set()} | options
    return bench.run(look_up([intent], engine=engine, clock=bench.process, **settings))["k"]


def test_a_launch_that_no_list_shows_stays_in_doubt(bench):
    """Lists over the whole window, at least three of them, and still no proof."""
    engine = Lists(bench, [NOTHING])
    verdict = look(bench, engine)
    assert isinstance(verdict, Doubt)
    assert "complete lists over 120 s did not show it" in verdict.why
    assert len(engine.asked) >= 3
    assert engine.asked[0] == 0
    assert engine.asked[-1] >= 120


def test_a_person_may_have_it_called_absent_after_the_window(bench):
    """With `launch_absent`, three complete lists over the whole window are enough."""
    engine = Lists(bench, [NOTHING])
    assert isinstance(look(bench, engine, launch_absent=True), Absent)
    assert engine.asked[-1] >= 120


def test_an_engine_with_unique_keys_needs_one_complete_list(bench):
    """A second launch there would be answered with the first job, so nobody has to wait."""
    engine = Lists(bench, [NOTHING], unique=True)
    assert isinstance(look(bench, engine), Absent)
    assert engine.asked == [0]


@pytest.mark.parametrize(("answer", "why"), [(BROKEN, "its list of jobs is incomplete"), (EngineError("bad gateway"), "bad gateway")])
def test_lists_that_break_off_are_no_answer(bench, answer, why):
    """Without complete lists even a person's word does not make it absent, and it ends some time."""
    engine = Lists(bench, [answer])
    verdict = look(bench, engine, launch_absent=True)
    assert verdict == Doubt(why=f"the engine could not say: {why}")
    assert 120 <= engine.asked[-1] < 600


def test_a_few_complete_lists_among_broken_ones_are_enough(bench):
    """Rounds count one by one; broken ones prove nothing and spoil nothing."""
    engine = Lists(bench, [BROKEN, NOTHING, NOTHING, BROKEN, NOTHING, NOTHING, BROKEN, BROKEN, NOTHING, NOTHING, NOTHING])
    assert isinstance(look(bench, engine, launch_absent=True), Absent)


def test_a_job_that_appears_late_in_the_window_is_found(bench):
    """The lookup goes on until the window is over, and ends when it finds."""
    world = Bench(rules=Rules())
    world.fates += ["lost_answer"]
    world.account.weather = world.account.weather.__class__(hidden=1.0, lag=100.0)
    result = world.execute()
    assert result.adopted == ("grid/seed=1",)


def test_the_age_of_an_old_intent_counts_as_waiting(bench):
    """An intent of an hour ago needs lists, but no more waiting."""
    engine = Lists(bench, [NOTHING], said=1_000_000)
    assert isinstance(look(bench, engine, age=3600, engine_age=3600), Doubt)
    assert engine.asked[-1] < 10


def test_of_two_clocks_the_slower_tells_the_age(bench):
    """Our clock jumped ahead, the engine's did not: the window is waited for."""
    engine = Lists(bench, [NOTHING], said=1_000_000)
    assert isinstance(look(bench, engine, age=7200, engine_age=5), Doubt)
    assert engine.asked[-1] >= 110


def test_an_intent_from_the_future_is_waited_for_no_longer_than_the_window(bench):
    """Our clock was set back: the wait is the window, not the difference."""
    engine = Lists(bench, [NOTHING])
    assert isinstance(look(bench, engine, age=-7200), Doubt)
    assert 120 <= engine.asked[-1] <= 160


def test_an_old_intent_needs_three_lists_before_a_person_may_call_it_absent(bench):
    """The window is over long ago; one complete list could still be the one that lags."""
    engine = Lists(bench, [NOTHING], said=1_000_000)
    assert isinstance(look(bench, engine, age=3600, engine_age=3600, launch_absent=True), Absent)
    assert len(engine.asked) == 3


@pytest.mark.parametrize("halves", [[NOTHING, BROKEN], [BROKEN, NOTHING]], ids=["by key broken", "by time broken"])
def test_a_round_counts_only_if_both_lists_are_complete(bench, halves):
    """By time and by our key: where one of the two always breaks off, even a person's word proves nothing."""
    verdict = look(bench, Lists(bench, halves * 40), launch_absent=True)
    assert verdict == Doubt(why="the engine could not say: its list of jobs is incomplete")


@pytest.mark.parametrize("answer", [BROKEN, EngineError("bad gateway")])
def test_an_engine_with_unique_keys_needs_a_complete_list_all_the_same(bench, answer):
    """A list that breaks off says nothing there, either."""
    assert isinstance(look(bench, Lists(bench, [answer], unique=True)), Doubt)


def shown(job_id: str, *, label: str | None = None) -> ObservedJob:
    """Return a job of the base model that the intents here ask for."""
    labels = {} if label is None else {"ftspec_key": label}
    return ObservedJob(id=job_id, status=JobStatus.QUEUED, raw_status="queued", base_model="m", created_at=2_000_000_000, metadata=labels)


def test_a_job_that_only_the_question_for_its_key_shows_is_found(bench):
    """The list by time may lag behind the index of labels."""

    class Indexed(Lists):
        async def find_jobs(self, *, key=None, since=None):
            await super().find_jobs(key=key, since=since)
            return Listing(items=() if key is None else (shown("j", label=key),))

    verdict = look(bench, Indexed(bench, [NOTHING]))
    assert isinstance(verdict, Match)
    assert verdict.job.id == "j"


def look_for_two(bench: Bench, engine: Lists, *, ages=(0.0, 0.0), **options):
    """Look up two launches that asked for the same, and return the verdicts."""
    now = bench.sim.world.now
    intents = [
        OpenIntent(key=key, address=key, attempt=1, requested={"model": "m"}, intent_at=rfc3339(now - age), engine_time=int(now - age))
        for key, age in zip(("k1", "k2"), ages, strict=True)
    ]
    return bench.run(look_up(intents, engine=engine, clock=bench.process, window=120.0, known=set(), **options))


def test_one_job_is_what_one_launch_became(bench):
    """Two equal launches and one job without a label: shown again in every later list, it is still one."""
    verdicts = look_for_two(bench, Lists(bench, [Listing(items=(shown("j"),))], metadata=False))
    assert isinstance(verdicts["k1"], Match)
    assert isinstance(verdicts["k2"], Doubt)


def test_a_job_that_a_request_in_flight_may_have_become_is_a_candidate_only(bench):
    """Requests that were not answered yet have a claim in every round."""
    engine = Lists(bench, [Listing(items=(shown("j"),))], metadata=False)
    claim = OpenIntent(key="k2", address="b", attempt=1, requested={"model": "m"}, intent_at=rfc3339(0), engine_time=600)
    verdict = look(bench, engine, claims=lambda: [claim])
    assert isinstance(verdict, Doubt)
    assert verdict.candidates == ("j",)


def test_lists_go_back_to_the_oldest_launch(bench):
    """Several launches are looked up together, from the time of the first one on."""
    asked = []

    class Noting(Lists):
        async def find_jobs(self, *, key=None, since=None):
            asked.append(since)
            return await super().find_jobs(key=key, since=since)

    look_for_two(bench, Noting(bench, [NOTHING], metadata=False), ages=(50_000.0, 10.0))
    assert {int(bench.sim.world.now) - since >= 50_000 for since in asked} == {True}


def test_an_engine_without_labels_is_asked_by_time_only(bench):
    """Where no label is kept, asking for the key would prove nothing."""
    engine = Lists(bench, [NOTHING], metadata=False)
    assert isinstance(look(bench, engine), Doubt)
    assert not isinstance(look(bench, engine), Match)
