"""What a plan decides, one rule a test."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from ftspec.actions import AdoptJob, ForgetJob, KeepJob, LaunchJob, Reason, UploadFile, WaitJob
from ftspec.experiment import Policy
from ftspec.planner.request import Observed
from ftspec.planner.selectors import UnknownSelector
from ftspec.record import Attempt, JobStatus, State


def only(plan, kind):
    """Return the one action of a kind."""
    found = [action for action in plan.actions if isinstance(action, kind)]
    assert len(found) == 1, plan.actions
    return found[0]


def reasons(plan):
    """Return address to reason of every job."""
    return {action.job.address: action.reason for action in plan.actions if hasattr(action, "job")}


def test_a_job_that_nobody_bought_is_launched_after_its_file_is_sent(world):
    """An empty state launches everything and uploads each file once."""
    plan = world.of(world.job("tone/seed=1", seed=1), world.job("tone/seed=2", seed=2)).plan()
    assert [type(action) for action in plan.actions] == [UploadFile, LaunchJob, LaunchJob]
    launch = plan.actions[1]
    assert (launch.attempt, launch.reason, launch.replaces) == (1, Reason.NOT_RECORDED, None)
    assert launch.preimage["train"] == launch.train_key
    assert not plan.empty


def test_a_recorded_job_is_kept_whatever_its_address(world):
    """A renamed experiment buys nothing; its new address is shown as a label."""
    state = world.of(world.job("tone/seed=1", seed=1)).applied()
    plan = world.of(world.job("voice/seed=1", seed=1)).plan(state)
    kept = only(plan, KeepJob)
    assert kept.reason is Reason.RECORDED
    assert [(one.field, one.old, one.new) for one in kept.relabelled] == [("address", "tone/seed=1", "voice/seed=1")]
    assert not [action for action in plan.actions if isinstance(action, ForgetJob)]


def test_a_changed_setting_launches_a_new_job_beside_the_old_one(world):
    """The change is shown as old and new with the line that says the new value."""
    before = world.of(world.job(hyperparameters={"n_epochs": 1}))
    plan = world.of(world.job(hyperparameters={"n_epochs": 3})).plan(before.applied())
    launch = only(plan, LaunchJob)
    assert launch.reason is Reason.CHANGED
    assert launch.replaces is not None
    assert launch.replaces.key == before.key("tone/seed=1")
    (change,) = launch.changes
    assert (change.field, change.old, change.new, str(change.at)) == ("epochs", 1, 3, "specs/tone.yaml:8:5")


def test_a_changed_dataset_is_told_by_digest_and_rows(world):
    """Rows are never part of a plan; digests and counts are."""
    state = world.of(world.job()).applied()
    changed = world.of(world.job(), datasets=(world.dataset(version=2, rows=302),))
    plan = changed.plan(state)
    launch = only(plan, LaunchJob)
    assert launch.reason is Reason.DATASET_CHANGED
    assert launch.changes[0].old == {"dataset": None, "digest": world.dataset().key, "rows": 300}
    assert launch.changes[0].new == {"dataset": "tone", "digest": world.dataset(version=2).key, "rows": 302}


def test_reverting_a_change_reuses_what_was_bought(world):
    """Both records stay, so going back costs nothing, and neither is reported as forgotten."""
    old = world.of(world.job(hyperparameters={"n_epochs": 1}))
    new = world.of(world.job(hyperparameters={"n_epochs": 3}))
    state = new.applied(old.applied())
    assert len(state.jobs) == 2
    plan = old.plan(state)
    assert plan.empty
    assert [type(action) for action in plan.actions] == [KeepJob]


def test_a_child_of_a_changed_parent_is_a_changed_job(world):
    """The key of a child holds its parent's key, so a chain changes as a whole, before anything ran."""

    def chain(epochs):
        base = world.job("base", hyperparameters={"n_epochs": epochs})
        return world.of(base, world.job("polish", parent="base", base_model="", method="dpo"))

    plan = chain(3).plan(chain(1).applied())
    assert reasons(plan) == {"base": Reason.CHANGED, "polish": Reason.PARENT_CHANGED}
    polish = [action for action in plan.actions if isinstance(action, LaunchJob)][1]
    assert polish.after == ("base",)
    assert polish.changes[0].old == {"job": chain(1).key("base"), "address": "base"}
    assert polish.changes[0].new == {"job": chain(3).key("base"), "address": "base"}


@pytest.mark.parametrize("status", ["launched", "queued", "running"])
def test_a_running_job_is_waited_for(world, status):
    """What was bought and is not finished is not bought again."""
    one = world.of(world.job())
    plan = one.plan(one.record("tone/seed=1", status))
    assert reasons(plan) == {"tone/seed=1": Reason.RUNNING}
    assert plan.empty


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_failed_job_is_tried_again_only_on_request(world, status):
    """Without `--retry-failed` it is shown, with it the next attempt is launched."""
    one = world.of(world.job())
    state = one.record("tone/seed=1", status)
    assert reasons(one.plan(state)) == {"tone/seed=1": Reason(status)}
    launch = only(one.plan(state, retry_failed=("*",)), LaunchJob)
    assert (launch.reason, launch.attempt, launch.replaces) == (Reason(f"retry_{status}"), 2, None)


def test_a_job_in_doubt_buys_nothing(world):
    """Neither `--replace` nor `--retry-failed` buys what may have been bought."""
    one = world.of(world.job())
    state = one.record("tone/seed=1", "intent")
    for options in ({}, {"replace": ("tone/*",)}, {"retry_failed": ("*",)}):
        plan = one.plan(state, **options)
        assert only(plan, WaitJob).reason is Reason.IN_DOUBT
        assert not plan.empty


@pytest.mark.parametrize("status", ["refused", "absent"])
def test_what_was_never_bought_is_launched_as_the_next_attempt(world, status):
    """A refused or lost request cost nothing, so running again goes on."""
    one = world.of(world.job())
    launch = only(one.plan(one.record("tone/seed=1", status)), LaunchJob)
    assert (launch.reason, launch.attempt) == (Reason.REFUSED_BEFORE, 2)


def test_a_refused_replacement_leaves_the_old_model_in_use(world):
    """The newest attempt that became a job counts, not the one that was refused."""
    one = world.of(world.job())
    state = one.applied()
    key, record = next(iter(state.jobs.items()))
    refused = Attempt(number=2, status=JobStatus.REFUSED)
    state = replace(state, jobs={key: msgspec.structs.replace(record, attempts=(*record.attempts, refused))})
    assert reasons(one.plan(state)) == {"tone/seed=1": Reason.RECORDED}
    assert only(one.plan(state, replace=("tone/seed=1",)), LaunchJob).attempt == 3


def test_a_job_found_on_the_engine_is_adopted(world):
    """What carries our key was bought by us: it is recorded, not bought again."""
    one = world.of(world.job())
    found = Observed(found={one.key("tone/seed=1"): "ftjob-1"})
    for state in (State(), one.record("tone/seed=1", "intent")):
        adopt = only(one.plan(state, observed=found), AdoptJob)
        assert adopt.engine_job_id == "ftjob-1"


def test_a_retired_model_is_not_trained_again_by_itself(world):
    """Its record stays, its children cannot be trained, and the plan says why."""
    base = world.of(world.job("base"))
    both = world.of(world.job("base"), world.job("polish", parent="base", base_model=""))
    plan = both.plan(base.applied(), observed=Observed(retired=frozenset({both.key("base")})))
    assert reasons(plan) == {"base": Reason.RETIRED, "polish": Reason.PARENT_RETIRED}


@pytest.mark.parametrize(
    ("status", "reason"),
    [("failed", Reason.PARENT_FAILED), ("cancelled", Reason.PARENT_FAILED), ("intent", Reason.PARENT_IN_DOUBT)],
)
def test_children_wait_for_parents_that_cannot_give_a_model(world, status, reason):
    """The grandchild names its own parent, and nothing of the chain is bought."""
    chain = world.of(world.job("a"), world.job("b", parent="a", base_model=""), world.job("c", depends_on=("b",), seed=3))
    plan = chain.plan(chain.record("a", status))
    waits = {action.job.address: action for action in plan.actions if isinstance(action, WaitJob)}
    assert (waits["b"].reason, waits["b"].because) == (reason, "a")
    assert (waits["c"].reason, waits["c"].because) == (reason, "b")


def test_a_recorded_child_is_kept_although_its_parent_failed_later(world):
    """What is bought is bought."""
    chain = world.of(world.job("a"), world.job("b", parent="a", base_model=""))
    state = chain.applied()
    failed = chain.record("a", "failed")
    plan = chain.plan(replace(state, jobs=dict(state.jobs) | dict(failed.jobs)))
    assert reasons(plan) == {"a": Reason.FAILED, "b": Reason.RECORDED}


def test_replace_buys_a_recorded_job_again(world):
    """The old record stays beside the new attempt; other jobs are left alone."""
    one = world.of(world.job("tone/seed=1", seed=1), world.job("tone/seed=2", seed=2))
    plan = one.plan(one.applied(), replace=("tone/seed=2",))
    launch = only(plan, LaunchJob)
    assert (launch.job.address, launch.attempt, launch.reason) == ("tone/seed=2", 2, Reason.REPLACE_REQUESTED)
    assert only(plan, KeepJob).job.address == "tone/seed=1"


def test_a_running_job_cannot_be_replaced(world):
    """Replacing it would pay twice for one result; the error says how to stop it."""
    one = world.of(world.job())
    plan = one.plan(one.record("tone/seed=1", "running"), replace=("tone/seed=1",))
    assert only(plan, KeepJob).reason is Reason.RUNNING
    assert [(one.code, one.severity.value) for one in plan.diagnostics] == [("replace-running", "error")]


@pytest.mark.parametrize("by", ["record", "spec"])
@pytest.mark.parametrize("how", ["changed", "replaced"])
def test_a_protected_job_is_never_replaced(world, by, how):
    """A change of it is an error that names the setting, and nothing is bought."""
    old = world.of(world.job())
    state = old.record("tone/seed=1", protected=by == "record")
    new = old if how == "replaced" else world.of(world.job(seed=7))
    new = new.with_spec(protect=("tone/*", "gone/*")) if by == "spec" else new
    plan = new.plan(state, replace=("tone/seed=1",) if how == "replaced" else ())
    assert only(plan, WaitJob).reason is Reason.PROTECTED
    (problem,) = plan.diagnostics
    assert problem.code == "protected-job"
    assert ("`seed`" in problem.message) is (how == "changed")


def test_records_in_no_spec_are_shown_and_left_alone(world):
    """Only an unused key at an unused address is forgotten; protected and forgotten records are not mentioned."""
    both = world.of(world.job("a", seed=1), world.job("b", seed=2))
    state = both.applied()
    plan = world.of(world.job("a", seed=1)).plan(state)
    forget = only(plan, ForgetJob)
    assert forget.record.address == "b"
    assert plan.empty
    for hidden in ({"protected": True}, {"forgotten": True}):
        record = msgspec.structs.replace(state.jobs[both.key("b")], **hidden)
        quiet = replace(state, jobs=dict(state.jobs) | {record.key: record})
        assert not [one for one in world.of(world.job("a", seed=1)).plan(quiet).actions if isinstance(one, ForgetJob)]


def test_a_forgotten_record_is_not_reused(world):
    """`state rm` means that the job is wanted anew; attempts go on counting."""
    one = world.of(world.job())
    launch = only(one.plan(one.record("tone/seed=1", forgotten=True)), LaunchJob)
    assert (launch.attempt, launch.reason, launch.replaces) == (2, Reason.NOT_RECORDED, None)


def test_records_of_other_projects_are_none_of_this_plan(world):
    """Two specs share state: neither lists, explains or protects with what the other one bought."""
    theirs = world.of(world.job("tone/seed=1"), world.job("tone/seed=2", seed=2))
    state = theirs.applied()
    jobs = {key: msgspec.structs.replace(record, project="other", protected=True) for key, record in state.jobs.items()}
    mine = world.of(world.job("tone/seed=1", seed=1), world.job("tone/seed=2", seed=2))
    plan = mine.plan(replace(state, jobs=jobs))
    assert reasons(plan) == {"tone/seed=1": Reason.NOT_RECORDED, "tone/seed=2": Reason.RECORDED}
    assert plan.diagnostics == ()
    renamed = world.of(world.job("voice", seed=2)).plan(replace(state, jobs=jobs))
    assert only(renamed, KeepJob).relabelled == ()


def test_records_without_a_project_are_this_project_s(world):
    """Records that an earlier ftspec wrote go on being listed when no spec asks for them."""
    state = world.of(world.job("tone/seed=1")).applied()
    assert only(world.of(world.job("other", seed=7)).plan(state), ForgetJob).record.address == "tone/seed=1"


def test_labels_change_for_free(world):
    """Suffix and tags are shown and cost nothing."""
    state = world.of(world.job(suffix="a", tags={"owner": "x"})).applied()
    plan = world.of(world.job(suffix="b", tags={"owner": "y"})).plan(state)
    assert [change.field for change in only(plan, KeepJob).relabelled] == ["suffix", "tags"]
    assert plan.cost.high == 0
    assert not plan.empty


def test_a_target_brings_its_parents_and_nothing_else(world):
    """Other jobs and forgotten records are not part of the plan."""
    chain = world.of(world.job("a"), world.job("b", parent="a", base_model=""), world.job("c", seed=9))
    assert reasons(chain.plan(targets=("b",))) == {"a": Reason.NOT_RECORDED, "b": Reason.NOT_RECORDED}


def test_a_generation_comes_after_the_one_it_needs(world):
    """All roots first, then what is trained on them, each generation by address."""
    jobs = [world.job("z/seed=2", seed=2), world.job("z/seed=1", seed=1), world.job("m", parent="a", base_model="")]
    jobs += [world.job("a", parent="z/seed=1", base_model=""), world.job("b", depends_on=("z/seed=2",), seed=3)]
    assert list(reasons(world.of(*jobs).plan())) == ["z/seed=1", "z/seed=2", "a", "b", "m"]


def test_an_exclusion_takes_its_children_along(world):
    """A child cannot be trained without its parent."""
    chain = world.of(world.job("a"), world.job("b", parent="a", base_model=""), world.job("c", seed=9))
    assert reasons(chain.plan(exclude=("a",))) == {"c": Reason.NOT_RECORDED}


def test_an_option_that_names_nothing_is_an_error(world):
    """A typing mistake never makes a smaller plan."""
    with pytest.raises(UnknownSelector, match="selects nothing"):
        world.of(world.job()).plan(targets=("tune/seed=1",))


def test_files_are_sent_once_for_each_scope_and_again_when_gone(world):
    """A recorded file is reused by content; a file that the engine lost is sent again."""
    jobs = [world.job(f"tone/seed={n}", seed=n, validation="check", engine=engine) for n, engine in ((1, "sandbox"), (2, "hosted"))]
    both = world.of(*jobs)
    uploads = [one for one in both.plan().actions if isinstance(one, UploadFile)]
    assert [(one.scope, one.dataset) for one in uploads] == [
        ("hosted", "check"),
        ("hosted", "tone"),
        ("sandbox", "check"),
        ("sandbox", "tone"),
    ]
    state = replace(both.applied(), jobs={})
    assert not [one for one in both.plan(state).actions if isinstance(one, UploadFile)]
    gone = Observed(gone=frozenset({("sandbox", both.facts["tone"].key)}))
    again = only(both.plan(state, observed=gone), UploadFile)
    assert (again.dataset, again.reason) == ("tone", Reason.FILE_GONE)


def test_nothing_is_sent_for_jobs_that_are_not_launched(world):
    """Kept and waiting jobs need no file."""
    one = world.of(world.job())
    state = replace(one.record("tone/seed=1", "failed"), files={})
    assert not [action for action in one.plan(state).actions if isinstance(action, UploadFile)]


def test_a_suffix_that_labels_other_data_already_is_a_warning(world):
    """People find models by suffix, so both jobs are named, once; the changed data of one job is not a second meaning."""
    bought = world.of(world.job("a", suffix="v1")).applied()
    changed = world.of(world.job("a", suffix="v1"), datasets=(world.dataset(version=2),))
    assert changed.plan(bought).diagnostics == ()
    later = world.of(*(world.job(f"c/seed={n}", seed=n, suffix="v1", train="other") for n in (1, 2)))
    (problem,) = later.plan(bought).diagnostics
    assert (problem.code, problem.severity.value) == ("suffix-recorded", "warning")
    assert problem.message == "suffix `v1` of `c/seed=1` already labels other data, in `a`"
    unknown = replace(bought, jobs={key: msgspec.structs.replace(one, preimage={}) for key, one in bought.jobs.items()})
    assert later.plan(unknown).diagnostics == ()
    same = world.of(world.job("c", suffix="v1", seed=9))
    assert same.plan(bought).diagnostics == ()


def test_policy_refuses_suffixes_that_label_other_data(world):
    """Then an earlier record of the same job counts too: changed data needs a new suffix; what is recorded already does not."""
    bought = world.of(world.job("a", suffix="v1")).applied()
    strict = {"policy": Policy(distinct_suffixes=True)}
    changed = world.of(world.job("a", suffix="v1"), datasets=(world.dataset(version=2),)).with_spec(**strict)
    (problem,) = changed.plan(bought).diagnostics
    assert (problem.code, problem.severity.value) == ("suffix-recorded", "error")
    assert world.of(world.job("a", suffix="v2"), datasets=(world.dataset(version=2),)).with_spec(**strict).plan(bought).diagnostics == ()
    assert world.of(world.job("a", suffix="v1")).with_spec(**strict).plan(bought).diagnostics == ()


def test_the_options_that_shaped_a_plan_are_kept_with_it(world):
    """A saved plan says how to make it again."""
    plan = world.of(world.job()).plan(targets=("tone",), retry_failed=("*",), options={"var": {"team": "x"}})
    assert plan.options == {"var": {"team": "x"}, "target": ["tone"], "retry_failed": ["*"]}
