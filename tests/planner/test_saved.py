"""Saved plans: what they hold, which changes make them stale, and which do not."""

from __future__ import annotations

import json

import msgspec
import pytest
from msgspec.structs import replace

from ftspec.actions import KeepJob, LaunchJob, RunEval, UploadFile
from ftspec.experiment import DesiredEval, Policy
from ftspec.planner.request import Observed
from ftspec.planner.saved import NotAPlan, check, load, restricted, save
from ftspec.record import State

HOLDOUT = DesiredEval(name="holdout", dataset="test", graders={"exact": {"type": "string_check"}})


def request_of(launch):
    """Render a request as the engines do, with references where file ids will be."""
    job = launch.job
    body = {"model": job.base_model, "training_file": job.train, "suffix": job.suffix, "metadata": {"ftspec_key": launch.key}}
    return body | {"integrations": [dict(one) for one in job.integrations]}


def two(world, **settings):
    """Return two jobs that differ in their seed."""
    return world.of(*(world.job(f"t/seed={n}", seed=n, evals=("holdout",), **settings) for n in (1, 2))).with_evals(HOLDOUT)


def saved(one, state=None, **options):
    """Return the saved plan of a world."""
    state = state or State()
    return load(save(one.plan(state, **options), state, request_of=request_of))


def broken(one, now, state=None, before=None, **options):
    """Return what a plan of `one`, saved with `before`, says when it meets the world `now` and `state`."""
    state = state or State()
    return check(saved(one, before, **options), now.plan(state, **options), state, request_of=request_of)


def test_a_plan_file_is_stable_and_holds_no_secrets_or_absolute_paths(world):
    """Equal plans have equal bytes; keys in foreign settings are redacted."""
    one = two(world, integrations=({"type": "wandb", "wandb": {"api_key": "abc", "project": "sk-1234567890"}},))
    content = save(one.plan(), State(), request_of=request_of)
    assert content == save(one.plan(), State(), request_of=request_of)
    assert content.endswith(b"\n")
    text = content.decode()
    assert '"abc"' not in text
    assert "sk-1234567890" not in text
    held = json.loads(text)
    assert held["jobs"][0]["request"]["integrations"][0]["wandb"] == {"api_key": "[redacted]", "project": "[redacted]"}
    assert held["jobs"][0]["request"]["metadata"]["ftspec_key"] == one.key("t/seed=1")
    assert held["spec_files"] == ["ftspec.yaml"]
    checked = saved(two(world, validation="check"))
    assert checked.jobs[0].datasets == {"tone": world.dataset().key, "check": world.dataset("check").key}


def test_a_plan_that_still_holds_has_nothing_to_say(world):
    """Nothing changed: nothing is broken, and everything of it is done."""
    one = two(world)
    assert broken(one, one) == []
    plan = one.plan()
    assert restricted(saved(one), plan, one.request()).actions == plan.actions


def test_unrelated_progress_changes_nothing(world):
    """Other jobs may be bought, finish or fail; the plan does what it promised and nothing else."""
    one = two(world)
    promise = saved(one, targets=("t/seed=1",))
    state = one.applied(targets=("t/seed=2",))
    fresh = one.plan(state)
    assert check(promise, fresh, state, request_of=request_of) == []
    done = restricted(promise, fresh, one.request(state))
    assert [a.job.address for a in done.actions if isinstance(a, LaunchJob)] == ["t/seed=1"]
    more = world.of(*one.jobs, world.job("other", seed=77)).with_evals(HOLDOUT)
    done = restricted(saved(one), more.plan(), more.request())
    assert [a.job.address for a in done.actions if isinstance(a, LaunchJob)] == ["t/seed=1", "t/seed=2"]
    assert [a.dataset for a in done.actions if isinstance(a, UploadFile)] == ["tone"]
    assert len([a for a in done.actions if isinstance(a, RunEval)]) == 3


@pytest.mark.parametrize("status", ["succeeded", "running", "failed", "intent"])
def test_a_job_that_somebody_bought_meanwhile_makes_it_stale(world, status):
    """Its key was not recorded and is now."""
    one = two(world)
    (problem,) = broken(one, one, state=one.record("t/seed=1", status))
    assert problem.startswith(f"`t/seed=1` was not recorded and is {status}")


def test_changed_data_makes_it_stale_once(world):
    """The dataset is named with both digests, not every job that uses it."""
    one = two(world)
    now = replace(one, facts=one.facts | {"tone": world.dataset(version=2)})
    problems = broken(one, now)
    assert problems == [f"dataset `tone` changed: {world.dataset().key[:12]} -> {world.dataset(version=2).key[:12]}"]


def test_changed_settings_and_removed_jobs_make_it_stale(world):
    """A key that the spec does not give any more cannot be bought."""
    one = two(world)
    assert broken(one, two(world, hyperparameters={"n_epochs": 9}))[:2] == [
        "`t/seed=1` is not the same job any more: its settings changed",
        "`t/seed=2` is not the same job any more: its settings changed",
    ]
    assert broken(one, replace(one, jobs=one.jobs[:1]))[0] == "`t/seed=2` is no longer in the spec"


def test_a_changed_label_is_a_changed_request(world):
    """A suffix is free to change, but not without being shown."""
    assert broken(two(world), two(world, suffix="new")) == [
        "the request of `t/seed=1` changed: `suffix`",
        "the request of `t/seed=2` changed: `suffix`",
    ]


def test_a_parent_that_failed_meanwhile_makes_it_stale(world):
    """The child would not be launched now."""
    chain = world.of(world.job("a"), world.job("b", parent="a", base_model=""))
    before = chain.record("a", "running")
    (problem,) = broken(chain, chain, state=chain.record("a", "failed"), before=before)
    assert problem == "`b` would not be launched now: parent failed"
    assert broken(chain, chain, state=chain.record("a", "succeeded"), before=before) == []


def test_a_higher_or_unknown_price_makes_it_stale(world):
    """The question that was answered with yes named the money."""
    one = world.of(world.job(engine="hosted")).with_spec(prices={"hosted": {"*": 10}})
    for prices in ({"hosted": {"*": 11}}, {}):
        assert broken(one, one.with_spec(prices=prices)) == ["`tone/seed=1` costs more than planned"]
    assert broken(one, one.with_spec(prices={"hosted": {"*": 9}})) == []


def test_a_retry_holds_only_for_the_attempt_that_failed(world):
    """Another attempt made meanwhile is progress of this very key."""
    one = world.of(world.job())
    failed = one.record("tone/seed=1", "failed")
    key, record = next(iter(failed.jobs.items()))
    second = msgspec.structs.replace(record.last, number=2)
    again = replace(failed, jobs={key: msgspec.structs.replace(record, attempts=(record.last, second))})
    assert broken(one, one, state=failed, before=failed, retry_failed=("*",)) == []
    assert len(broken(one, one, state=again, before=failed, retry_failed=("*",))) == 1


def test_relabelling_and_adoption_have_preconditions_too(world):
    """A label is changed on the record that was seen; a job is adopted under the id that was found."""
    one = world.of(world.job(suffix="new"))
    before = world.of(world.job(suffix="old")).applied()
    assert broken(one, one, state=before, before=before) == []
    assert len(broken(one, one, state=one.record("tone/seed=1", "failed", suffix="old"), before=before)) == 1
    key = one.key("tone/seed=1")
    promise = saved(one, observed=Observed(found={key: "ftjob-1"}))
    for found, problems in (({key: "ftjob-1"}, 0), ({key: "ftjob-2"}, 1), ({}, 1)):
        fresh = one.plan(observed=Observed(found=found))
        assert len(check(promise, fresh, State(), request_of=request_of)) == problems


def test_a_changed_eval_makes_it_stale_and_a_finished_one_does_not(world):
    """Somebody else's run of the same eval is only less to do."""
    one = two(world)
    assert set(broken(one, one.with_evals(replace(HOLDOUT, repeat=2)))) == {"eval `holdout` changed"}
    bought = one.applied()
    without = replace(bought, evals={})
    assert broken(one, one, state=bought, before=without) == []
    failed = one.record("t/seed=1", "failed", suffix=None)
    running = replace(bought, jobs=dict(bought.jobs) | dict(one.record("t/seed=1", "running").jobs), evals={})
    assert broken(one, one, state=replace(running, jobs=dict(running.jobs) | dict(failed.jobs)), before=running) == []


def test_labels_that_were_not_saved_are_not_changed(world):
    """What is done is what was shown."""
    one = two(world)
    state = one.applied(targets=("t/seed=2",))
    renamed = world.of(one.jobs[0], msgspec.structs.replace(one.jobs[1], tags={"new": "tag"})).with_evals(HOLDOUT)
    done = restricted(saved(one, targets=("t/seed=1",)), renamed.plan(state), renamed.request(state))
    assert [a.relabelled for a in done.actions if isinstance(a, KeepJob)] == [()]


def test_policy_judges_what_was_saved_by_what_the_spec_says_now(world):
    """A limit that came after the plan holds; what else would be launched now counts for nothing."""
    one = world.of(world.job("t/seed=1", seed=1))
    more = world.of(world.job("t/seed=1", seed=1), world.job("t/seed=2", seed=2))
    for limit, ok in ((0, False), (1, True)):
        now = more.with_spec(policy=Policy(max_jobs=limit))
        done = restricted(saved(one), now.plan(), now.request())
        assert [(verdict.rule, verdict.ok) for verdict in done.verdicts] == [("max_jobs", ok)]


def test_another_project_is_another_plan(world):
    """The file of one project is not applied in another."""
    one = two(world)
    assert broken(one, one.with_spec(project="x")) == ["the plan is of project `demo`, not `x`"]


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b'{"format_version": 1}'])
def test_other_files_are_not_plans(content):
    """The message says how to make one."""
    with pytest.raises(NotAPlan, match="not a saved plan"):
        load(content)


def test_plans_of_a_later_format_are_refused_and_later_members_ignored(world):
    """Minor versions may add members."""
    content = save(two(world).plan(), State(), request_of=request_of)
    value = json.loads(content)
    assert load(json.dumps(value | {"format_version": "1.7", "more": [1]}).encode()).project == "demo"
    with pytest.raises(NotAPlan, match="cannot read"):
        load(json.dumps(value | {"format_version": "2.0"}).encode())
