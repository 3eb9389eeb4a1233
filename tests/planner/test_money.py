"""Costs, prices, policy and quota."""

from __future__ import annotations

import json
from importlib import resources

import msgspec
import pytest

from ftspec.actions import Cost, LaunchJob, RunEval
from ftspec.experiment import DesiredEval, EngineEntry, Limits, Policy
from ftspec.planner.cost import known_part, total, training_cost
from ftspec.planner.prices import InvalidPrices, Price, price_table
from ftspec.planner.pricing import cost_of
from ftspec.profile import BaseModel, Profile
from ftspec.record import Attempt, JobStatus, RecordedJob, State, purchases

HOSTED = Profile(name="hosted", title="Hosted", methods={})
FREE = Profile(name="sandbox", title="Sandbox", methods={}, free=True)
PRICE = Price(engine="hosted", model="*", training=10.0, date="2026-11-01")


@pytest.mark.parametrize(
    ("hyperparameters", "known", "low", "high"),
    [
        ({"n_epochs": 3}, {"trained_tokens": 1_000_000, "exact_tokens": True}, 30.0, 30.0),
        ({"n_epochs": 1.5}, {"trained_tokens": 1_000_000, "exact_tokens": True}, 15.0, 15.0),
        ({"n_epochs": 3}, {"trained_tokens": 1_000_000, "exact_tokens": False, "tokens_error": 0.3}, 21.0, 39.0),
        ({"n_epochs": "auto"}, {"trained_tokens": 1_000_000, "exact_tokens": True, "rows": 300}, 10.0, 30.0),
        ({}, {"trained_tokens": 1_000_000, "exact_tokens": True, "rows": 20}, 10.0, 50.0),
        ({}, {"trained_tokens": 1_000_000, "exact_tokens": True, "rows": 1}, 10.0, 250.0),
        ({}, {"trained_tokens": None}, None, None),
    ],
)
def test_training_costs_tokens_times_epochs_times_price(world, hyperparameters, known, low, high):
    """What the spec leaves to the engine, or what is only estimated, makes a range; unknown tokens make an unknown cost."""
    cost = training_cost(world.job(hyperparameters=hyperparameters), world.dataset(**known), HOSTED, PRICE)
    assert (cost.low, cost.high) == (pytest.approx(low) if low else low, pytest.approx(high) if high else high)
    assert cost.price_date == ("2026-11-01" if low else None)


def test_a_documented_default_is_taken_for_auto(world):
    """An engine that says what `auto` means leaves no range."""
    profile = Profile(name="hosted", title="Hosted", methods={}, defaults={"n_epochs": 3})
    cost = training_cost(world.job(), world.dataset(trained_tokens=1_000_000), profile, PRICE)
    assert (cost.low, cost.high, cost.tokens) == (30.0, 30.0, 3_000_000)


def test_unknown_is_never_zero(world):
    """Without a price the tokens are known and the money is not; a free engine costs nothing; time is not tokens."""
    facts = world.dataset()
    assert training_cost(world.job(), facts, HOSTED, None).known is False
    assert training_cost(world.job(), facts, None, None).tokens == 3000
    assert training_cost(world.job(), facts, FREE, None).high == 0
    assert training_cost(world.job(method="reinforcement"), facts, HOSTED, PRICE).known is False
    assert training_cost(world.job(method="reinforcement"), facts, FREE, None).high == 0
    assert training_cost(world.job(), facts, HOSTED, Price(engine="hosted", model="*", input=1.0)).known is False


def test_a_sum_with_an_unknown_part_is_unknown():
    """Also two currencies have no sum; the oldest price is the date of all."""
    one = Cost(low=1, high=2, tokens=10, price_date="2026-11-02")
    two = Cost(low=3, high=4, tokens=20, price_date="2026-11-01", exact_tokens=True)
    assert total([one, two]) == Cost(low=4, high=6, tokens=30, price_date="2026-11-01")
    assert total([one, Cost(tokens=5)]).known is False
    assert total([one, Cost(tokens=5)]).tokens == 15
    assert total([one, Cost(low=1, high=1, currency="EUR")]).known is False
    assert total([]).high == 0


def test_the_shipped_prices_have_a_date_and_a_source():
    """A price that nobody stated is not shipped."""
    table = price_table()
    assert table.date
    assert all(row.source and row.date and row.confidence for row in table.rows)
    assert table.find(("openai",), "gpt-4o-mini-2024-07-18") is None
    assert table.find(("nebius",), "meta-llama/Llama-3.1-8B-Instruct", parameters=8e9) is not None
    assert table.find(("nebius",), "meta-llama/Llama-3.3-70B-Instruct", parameters=70e9) is None
    assert table.find(("nebius",), "something/unknown") is None


def test_the_prices_of_a_spec_come_first():
    """By the name or the type of an engine, with a number or with everything said."""
    table = price_table({"nebius": {"*": 0.5}, "work": {"gpt-*": {"training": 3, "currency": "EUR", "date": "2026-11-02"}}})
    assert table.find(("nebius",), "x") == Price(engine="nebius", model="*", training=0.5, confidence="given")
    found = table.find(("work", "openai"), "gpt-4o")
    assert found is not None
    assert (found.currency, found.date, found.source) == ("EUR", "2026-11-02", "spec")
    assert table.find(("openai",), "gpt-4o") is None


@pytest.mark.parametrize(
    "prices", [{"openai": 3}, {"openai": {"a": "x"}}, {"openai": {"a": {"trainin": 1}}}, {"openai": {"a": -1}}, {"o": {"a": float("inf")}}]
)
def test_prices_that_say_nothing_are_refused(prices):
    """The message names the member of the spec."""
    with pytest.raises(InvalidPrices, match=r"`prices\.o"):
        price_table(prices)


def test_a_chain_has_the_price_of_its_first_base_model(world):
    """A child is trained on a model of the same size."""
    chain = world.of(
        world.job("a", engine="hosted", base_model="big", hyperparameters={"n_epochs": 1}),
        world.job("b", engine="hosted", base_model="", parent="a", hyperparameters={"n_epochs": 2}),
    ).with_spec(prices={"hosted": {"big": 1000}})
    costs = [action.cost.high for action in chain.plan().actions if isinstance(action, LaunchJob)]
    assert costs == [1.0, 2.0]


def test_evals_cost_what_is_asked_and_at_most_what_may_be_answered(world):
    """Without a limit of its own an answer is taken to be no longer than 1,024 tokens."""
    facts = world.dataset("test", rows=10, total_tokens=1000)
    one = world.of(world.job(engine="hosted", evals=("e",)), datasets=(facts,))
    one = one.with_spec(prices={"hosted": {"*": {"training": 1, "input": 1, "output": 10}}})
    short = DesiredEval(name="e", dataset="test", graders={}, sampling={"max_tokens": 100}, compare_to=None, models=("job",))
    world_with = world(jobs=one.jobs, facts=one.facts | {"test": facts}, spec=one.spec)

    def cost(eval_):
        return next(action.cost for action in world_with.with_evals(eval_).plan().actions if isinstance(action, RunEval))

    assert (cost(short).low, cost(short).high) == (pytest.approx(0.001), pytest.approx(0.011))
    long = DesiredEval(name="e", dataset="test", graders={}, repeat=2, compare_to=None, models=("job",))
    assert cost(long).high == pytest.approx((2000 + 20 * 1024 * 10) / 1e6)
    uncounted = world(jobs=one.jobs, facts=one.facts | {"test": world.dataset("test", total_tokens=None)}, spec=one.spec)
    found = next(action.cost for action in uncounted.with_evals(short).plan().actions if isinstance(action, RunEval))
    assert found.known is False


def test_judges_cost_what_they_read_and_write(world):
    """Each answer is shown to each judge; `pairwise` asks twice; one within `multi` counts; an unknown price makes all unknown."""
    facts = world.dataset("test", rows=10, total_tokens=1000)
    one = world.of(world.job(engine="hosted", evals=("e",)), datasets=(facts,))
    one = one.with_spec(prices={"hosted": {"*": {"training": 1, "input": 1, "output": 10}}})

    def cost(**graders):
        eval_ = DesiredEval(name="e", dataset="test", graders=graders, sampling={"max_tokens": 100}, compare_to=None, models=("job",))
        there = world(jobs=one.jobs, facts=one.facts | {"test": facts}, spec=one.spec)
        return next(action.cost for action in there.with_evals(eval_).plan().actions if isinstance(action, RunEval))

    bare = cost()
    judge = {"type": "score_model", "model": "j", "input": [], "sampling_params": {"max_completions_tokens": 50}}
    judged = cost(g=judge)
    assert judged.low - bare.low == pytest.approx(10 / 1e6)
    most = 1000 + 10 * (100 + 2 / 3 + 256) + 10 * 50 * 10  # rows, answers with what is asked of it, its own answers
    assert judged.high - bare.high == pytest.approx(most / 1e6)
    twice = cost(g={**judge, "type": "pairwise"})
    assert twice.high - bare.high == pytest.approx(2 * (judged.high - bare.high))
    assert cost(m={"type": "multi", "graders": {"inner": judge}, "calculate_output": "inner"}).high == judged.high
    assert cost(g={**judge, "engine": "sandbox"}).high == bare.high
    assert cost(g={**judge, "engine": "nobody-has-prices"}).known is False


def test_actual_tokens_become_money():
    """The executor asks what a finished job cost."""
    from ftspec.experiment import Spec

    spec = Spec(root=".", engines={name: EngineEntry(name=name, type=name, scope=name) for name in ("hosted", "sandbox")})
    cost = cost_of(spec, {"hosted": HOSTED, "sandbox": FREE}, price_table({"hosted": {"gpt": 10}}))
    assert cost("hosted", "gpt", "supervised", 500_000) == (5.0, "USD")
    assert cost("hosted", "gpt", "reinforcement", 500_000) is None
    assert cost("hosted", "other", "supervised", 1) is None
    assert cost("sandbox", "sandbox-small", "supervised", 1) == (0.0, "USD")
    assert cost("unknown", "gpt", "supervised", 1) is None


def test_the_size_of_a_model_is_read_from_its_profile(world):
    """A price for small models is not used for one whose size nobody knows."""
    sized = Profile(name="nebius", title="N", methods={}, base_models=(BaseModel(name="small", parameters=8e9),))
    one = world.of(world.job(engine="nebius", base_model="small", seed=1), world.job("x", engine="nebius", base_model="big"))
    one = one.with_spec(engines={"nebius": EngineEntry(name="nebius", type="nebius", scope="nebius")})
    costs = {a.job.base_model: a.cost.known for a in one.plan(profiles={"nebius": sized}).actions if isinstance(a, LaunchJob)}
    assert costs == {"small": True, "big": False}


def verdicts(world, policy, **job):
    """Return rule to (ok, sentence) for a plan of three hosted jobs of 3 dollars each."""
    prices = job.pop("prices", {"hosted": {"*": 1000}})
    jobs = [world.job(f"t/seed={n}", seed=n, engine="hosted", hyperparameters={"n_epochs": 3}, **job) for n in (1, 2, 3)]
    plan = world.of(*jobs).with_spec(policy=policy, prices=prices).plan()
    return {one.rule: (one.ok, one.sentence) for one in plan.verdicts}


def test_policy_is_one_verdict_for_each_rule_that_was_given(world):
    """A rule that was not given says nothing."""
    assert verdicts(world, Policy()) == {}
    found = verdicts(world, Policy(max_cost=9, max_jobs=3, max_tokens=9000, require_known_cost=True, allow_engines=("hosted",)))
    assert {rule: ok for rule, (ok, _) in found.items()} == dict.fromkeys(
        ("max_cost", "max_jobs", "max_tokens", "require_known_cost", "allow_engines"), True
    )
    assert found["max_cost"][1] == "9.00 USD is within 9.00"


def test_a_broken_policy_says_by_how_much_or_by_whom(world):
    """Numbers are shown beside their limits, jobs by address."""
    found = verdicts(
        world, Policy(max_cost=8, max_jobs=2, max_tokens=8999, require_validation=True, allow_engines=("sandbox",)), train="x`y\x1b"
    )
    assert {rule: ok for rule, (ok, _) in found.items()} == dict.fromkeys(found, False)
    assert found["max_cost"][1] == "9.00 USD is more than 8.00"
    assert found["max_jobs"][1] == "3 launches are more than 2"
    assert found["max_tokens"][1] == "9,000 trained tokens are more than 8,999"
    assert found["require_validation"][1] == "without validation data: `t/seed=1`, `t/seed=2`, `t/seed=3`"
    assert found["allow_engines"][1] == "not among the allowed engines: `hosted`"


def test_an_unknown_cost_breaks_only_the_rule_that_forbids_it(world):
    """`max_cost` says that it could not be checked."""
    found = verdicts(world, Policy(max_cost=1, require_known_cost=True), prices={})
    assert found["max_cost"] == (True, "part of the cost is unknown, what is known is within 1.00")
    assert found["require_known_cost"][0] is False


def test_the_known_part_of_a_cost_can_already_be_too_much(world):
    """A lower bound above the limit is enough to refuse."""
    jobs = [world.job("a", engine="hosted", base_model="known"), world.job("b", engine="hosted", base_model="unknown")]
    plan = world.of(*jobs).with_spec(policy=Policy(max_cost=1), prices={"hosted": {"known": 1000}}).plan()
    assert [(one.ok, one.sentence) for one in plan.verdicts] == [(False, "at least 3.00 USD is more than 1.00")]
    assert known_part(plan.actions).high == pytest.approx(3.0)
    assert plan.cost.known is False


def test_tokens_that_nobody_knows_are_not_checked(world):
    """The verdict says so."""
    one = world.of(world.job(), datasets=(world.dataset(trained_tokens=None),)).with_spec(policy=Policy(max_tokens=1))
    assert [(v.ok, "not checked" in v.sentence) for v in one.plan().verdicts] == [(True, True)]


def limited(world, state=None, jobs=12, **limits):
    """Return the quota of a plan with this many launches on a limited engine."""
    entry = EngineEntry(name="hosted", type="hosted", scope="hosted", limits=Limits(**limits))
    one = world.of(*(world.job(f"t/seed={n}", seed=n, engine="hosted") for n in range(jobs))).with_spec(engines={"hosted": entry})
    return one.plan(state).quota


def test_a_daily_limit_makes_days(world):
    """Twelve jobs, eight a day: two days."""
    (quota,) = limited(world, per_day=8)
    assert (quota.launches, quota.per_day, quota.used_today, quota.days, quota.next_slot_at) == (12, 8, 0, 2, None)
    assert limited(world, jobs=8, per_day=8)[0].days == 1
    assert limited(world, jobs=1, max_running=3)[0].days == 1


def test_launches_of_the_last_24_hours_take_slots(world):
    """The next slot is free one day, and a little, after the launch that took it; older launches and other scopes do not count."""
    one = world.of(*(world.job(f"old/seed={n}", seed=100 + n, engine="hosted") for n in range(5)), world.job("s", seed=9))
    times = [
        "2026-11-19T11:59:54Z",
        "2026-11-19T18:00:00.000Z",
        "2026-11-20T01:00:00Z",
        "2026-11-20T02:00:00Z",
        None,
        "2026-11-20T11:00:00Z",
    ]
    state = one.applied()
    jobs = {
        key: msgspec.structs.replace(record, attempts=(msgspec.structs.replace(record.last, created_at=at),))
        for (key, record), at in zip(sorted(state.jobs.items(), key=lambda item: item[1].address), times, strict=True)
    }
    (quota,) = limited(world, State(jobs=jobs), per_day=2)
    assert (quota.used_today, quota.next_slot_at) == (3, "2026-11-21T01:00:05Z")
    assert quota.days == 7


def test_a_job_that_two_attempts_know_takes_one_slot(world):
    """One clone was refused before it adopted what another had bought: two attempts, one job; a refused one took no slot."""
    bought = Attempt(number=1, status=JobStatus.RUNNING, engine_job_id="ftjob-1", created_at="2026-11-20T11:00:00Z")
    again = Attempt(number=2, status=JobStatus.SUCCEEDED, engine_job_id="ftjob-1", created_at="2026-11-20T11:00:00Z")
    refused = Attempt(number=3, status=JobStatus.REFUSED, created_at="2026-11-20T11:30:00Z")
    record = RecordedJob(key="k", address="old", engine="hosted", scope="hosted", attempts=(bought, again, refused))
    assert purchases([record]) == [(record, again)]
    assert limited(world, State(jobs={"k": record}), per_day=2)[0].used_today == 1


def test_an_engine_without_limits_or_launches_has_no_quota(world):
    """There is nothing to say."""
    assert limited(world) == ()
    assert limited(world, jobs=0, per_day=3) == ()


def test_the_price_file_is_json_with_notes():
    """It is data that people edit."""
    data = json.loads(resources.files("ftspec.planner").joinpath("prices.json").read_text(encoding="utf-8"))
    assert data["format"] == 1
    assert data["notes"]
