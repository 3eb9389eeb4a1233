"""Promises broken on purpose: a campaign that would not notice them proves nothing."""

import msgspec

from ftspec.engines.base import NotSent
from ftspec.executor import lane, launch, lookup, matching, sweep
from ftspec.executor.journal import Journal
from ftspec.testing.world import campaign

SEEDS = range(400)


def broken_promises() -> set[str]:
    """Return which promises the first seeds break, by their short names."""
    found = set()
    for start in range(SEEDS.start, SEEDS.stop, 50):
        found |= {why.partition(": ")[2].partition(":")[0] for _, why in campaign(range(start, start + 50))}
        if found:
            break
    return found


def test_without_intents_jobs_are_lost_or_bought_twice(monkeypatch):
    """An intent that is not written before the purchase leaves jobs that nobody knows of."""
    real = Journal.append

    def forgetful(self, *facts):
        real(self, *(fact for fact in facts if getattr(fact, "values", {}).get("status") != "intent" or not hasattr(fact, "key")))

    monkeypatch.setattr(Journal, "append", forgetful)
    assert broken_promises() & {"I1", "I2", "I4"}


def test_asking_again_after_a_lost_answer_buys_twice(monkeypatch):
    """A second POST after an unknown outcome is noticed, as such or as a second job."""
    real = launch._post

    async def insistent(engine, request, effects):
        try:
            return await real(engine, request, effects)
        except launch.EngineError as error:
            if isinstance(error, (NotSent, launch.Refused)):
                raise
            return await real(engine, request, effects)

    monkeypatch.setattr(launch, "_post", insistent)
    assert broken_promises() & {"one POST", "I1"}


def test_taking_unknown_for_absent_buys_twice(monkeypatch):
    """A launch that no list shows may still land; calling it absent ends in two jobs."""

    async def hasty(intents, **_):
        return {intent.key: lookup.Absent(why="nobody looked") for intent in intents}

    monkeypatch.setattr(lane, "look_up", hasty)
    monkeypatch.setattr("ftspec.executor.doubt.look_up", hasty)
    assert "I1" in broken_promises()


def test_taking_not_found_for_absent_buys_twice(monkeypatch):
    """Even three complete lists over the whole window do not prove that a late request never lands."""
    real = lookup.look_up

    async def trusting(intents, **options):
        return await real(intents, **{**options, "launch_absent": True})

    monkeypatch.setattr(lane, "look_up", trusting)
    monkeypatch.setattr("ftspec.executor.doubt.look_up", trusting)
    assert "I1" in broken_promises()


def test_trusting_a_list_that_broke_off_buys_twice(monkeypatch):
    """A list that is not complete is no proof of absence, not even for a person in a hurry."""
    real = lookup.look_up

    async def trusting(intents, **options):
        return await real(intents, **{**options, "launch_absent": True, "window": 0.0})

    async def whole(engine, jobs, **how):
        await real_list(engine, jobs, **how)
        return True, ""

    real_list = lookup._list
    monkeypatch.setattr(lookup, "_list", whole)
    monkeypatch.setattr(lane, "look_up", trusting)
    assert "I1" in broken_promises()


def test_claiming_any_job_that_is_new_is_noticed(monkeypatch):
    """Where labels are dropped, a job that something else could have become must be left alone."""

    def greedy(intents, jobs, **_):
        pairs = zip(intents, sorted(jobs, key=matching.seniority), strict=False)
        return {intent.key: matching.Match(job=job) for intent, job in pairs}

    monkeypatch.setattr(matching, "_match_bare", greedy)
    assert broken_promises() & {"I1", "I2", "I4", "liveness"}


def test_forgetting_an_outcome_is_noticed(monkeypatch):
    """A purchase whose outcome is not written is not what the run says it is."""
    real = launch.facts.bought
    monkeypatch.setattr(launch.facts, "bought", lambda *a, **k: replace_values(real(*a, **k)))
    assert broken_promises() & {"I2", "I4", "I5", "liveness"}


def replace_values(fact):
    """Return a fact about a purchase that says nothing of it."""
    return msgspec.structs.replace(fact, values={})


def test_buying_on_after_an_interrupt_is_noticed(monkeypatch):
    """A run that is told to stop and buys on is not believed."""
    monkeypatch.setattr("ftspec.executor.interrupt.Stop.request", lambda self, signum: None)
    assert "interrupt" in broken_promises()


def test_not_sweeping_leaves_the_duplicates_of_two_clones(monkeypatch):
    """Without the sweep (and without a look before buying) two clones that start together both pay."""

    async def blind(*_, **__):
        return sweep.Swept()

    monkeypatch.setattr(sweep, "sweep", blind)
    monkeypatch.setattr("ftspec.executor.census.Census.already", lambda self, key, nth: None)
    assert "I1" in broken_promises()


def test_calling_a_failure_success_is_noticed(monkeypatch):
    """An exit code of 0 over missing models is a lie that is found out."""
    monkeypatch.setattr("ftspec.executor.result.ApplyResult.exit_code", property(lambda self: 0))
    assert "I4" in broken_promises()


def test_the_campaign_is_clean_without_sabotage():
    """The same seeds break nothing when nothing is sabotaged."""
    assert broken_promises() == set()
