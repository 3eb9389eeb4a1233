"""Which evals are planned: one run for each eval and model, and none twice."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from ftspec.actions import KeepEval, Reason, RunEval
from ftspec.experiment import DesiredEval
from ftspec.planner.request import Observed
from ftspec.record import JobStatus, RecordedEval

HOLDOUT = DesiredEval(name="holdout", dataset="test", graders={"exact": {"type": "string_check"}})


def runs(plan):
    """Return the eval runs of a plan."""
    return [action for action in plan.actions if isinstance(action, RunEval)]


def test_base_models_are_asked_once_for_each_scope(world):
    """Four jobs on two base models in one account are six runs."""
    jobs = [
        world.job(f"tone/m={model},seed={seed}", base_model=model, seed=seed, evals=("holdout",)) for model in ("a", "b") for seed in (1, 2)
    ]
    found = runs(world.of(*jobs).with_evals(HOLDOUT).plan())
    assert sorted(run.address or run.model for run in found) == ["a", "b", *sorted(job.address for job in jobs)]
    assert {run.samples for run in found} == {10}


def test_the_model_of_a_job_is_known_after_apply(world):
    """Before the job has run its model has no name; afterwards it has."""
    one = world.of(world.job(evals=("holdout",))).with_evals(HOLDOUT)
    assert [run.model for run in runs(one.plan()) if run.address] == [None]
    state = replace(one.applied(), evals={})
    assert [run.model for run in runs(one.plan(state)) if run.address] == [state.jobs[one.key("tone/seed=1")].model]


def test_the_base_of_a_chained_job_is_its_parents_model(world):
    """Comparing with the base then asks the parent's model, which is the run that the parent wants as well."""
    chain = world.of(world.job("a", evals=("holdout",)), world.job("b", parent="a", base_model="", evals=("holdout",))).with_evals(HOLDOUT)
    assert [(run.address, run.preimage["model"].get("name")) for run in runs(chain.plan())] == [
        (None, "sandbox-small"),
        ("a", None),
        ("b", None),
    ]


def test_comparing_with_the_base_asks_it_although_it_is_not_listed(world):
    """`models: [job]` with `compare_to: base` needs both; without a comparison only the job is asked."""
    job = world.job(evals=("holdout",))
    assert len(runs(world.of(job).with_evals(replace(HOLDOUT, models=("job",))).plan())) == 2
    assert len(runs(world.of(job).with_evals(replace(HOLDOUT, models=("job",), compare_to=None)).plan())) == 1


def test_checkpoints_are_asked_once_they_exist(world, checkpoint):
    """The last checkpoint is the model itself and is not asked twice."""
    listed = replace(HOLDOUT, models=("job", "job@checkpoints"), compare_to=None)
    one = world.of(world.job(evals=("holdout",))).with_evals(listed)
    assert [run.step for run in runs(one.plan())] == [None]
    final = msgspec.structs.replace(checkpoint, model="ft:final", step=20)
    state = one.record("tone/seed=1", model="ft:final", checkpoints=(checkpoint, final))
    assert sorted((run.step or 0, run.model) for run in runs(one.plan(state))) == [(0, "ft:final"), (10, checkpoint.model)]


def test_other_models_are_asked_by_name(world):
    """Any model of the same account can be compared with."""
    one = world.of(world.job(evals=("holdout",))).with_evals(replace(HOLDOUT, models=("gpt-x",), compare_to="gpt-x"))
    (run,) = runs(one.plan())
    assert (run.model, run.preimage["model"]) == ("gpt-x", {"scope": "sandbox", "name": "gpt-x"})
    assert len(runs(one.with_evals(replace(HOLDOUT, models=("job",), compare_to="gpt-x")).plan())) == 2


def test_a_recorded_run_is_kept_and_a_changed_eval_runs_again(world):
    """The key of a run holds graders and sampling, not the name of the job."""
    one = world.of(world.job(evals=("holdout",))).with_evals(HOLDOUT)
    state = one.applied()
    assert runs(one.plan(state)) == []
    changed = one.with_evals(replace(HOLDOUT, sampling={"temperature": 1}))
    assert {run.reason for run in runs(changed.plan(state))} == {Reason.EVAL_CHANGED}
    renamed = world.of(world.job("voice/seed=1", evals=("holdout",))).with_evals(HOLDOUT)
    assert runs(renamed.plan(state)) == []


def test_a_model_that_replaces_another_is_evaluated_itself(world):
    """The scores of the model before it are not its own: not once it is there, and not in the plan that replaces it."""
    one = world.of(world.job(evals=("holdout",))).with_evals(replace(HOLDOUT, compare_to=None, models=("job",)))
    state = one.applied()
    key = one.key("tone/seed=1")
    record, (run,) = state.jobs[key], state.evals.values()
    run = msgspec.structs.replace(run, model=record.model)
    state = replace(state, evals={run.key: run})
    assert runs(one.plan(state)) == []
    (planned,) = runs(one.plan(state, replace=("*",)))
    assert (planned.key, planned.model, planned.reason) == (run.key, None, Reason.NOT_EVALUATED)
    again = msgspec.structs.replace(record.last, number=2, model="ft:again")
    replaced = replace(state, jobs={key: msgspec.structs.replace(record, attempts=(record.last, again))})
    assert [(found.model, found.reason) for found in runs(one.plan(replaced))] == [("ft:again", Reason.NOT_EVALUATED)]
    failed = msgspec.structs.replace(again, model=None, status=JobStatus.FAILED)
    assert not replace(state, jobs={key: msgspec.structs.replace(record, attempts=(record.last, failed))}).is_outdated(run)
    renewed = replace(replaced, evals={run.key: msgspec.structs.replace(run, model="ft:again")})
    assert runs(one.plan(renewed)) == []


@pytest.mark.parametrize("status", ["failed", "cancelled", "intent"])
def test_jobs_without_a_model_are_not_evaluated(world, status):
    """Neither is their base: there is nothing to compare it with."""
    one = world.of(world.job(evals=("holdout",))).with_evals(HOLDOUT)
    assert runs(one.plan(one.record("tone/seed=1", status))) == []


def test_a_failed_run_is_tried_again_only_on_request(world):
    """An eval that fails every time would cost money every time; one that was interrupted goes on."""
    one = world.of(world.job(evals=("holdout",))).with_evals(replace(HOLDOUT, compare_to=None, models=("job",)))
    state = one.applied()
    (key,) = state.evals

    def with_status(status):
        return replace(state, evals={key: msgspec.structs.replace(state.evals[key], status=status)})

    kept = [action for action in one.plan(with_status("failed")).actions if isinstance(action, KeepEval)]
    assert [action.reason for action in kept] == [Reason.FAILED]
    assert len(runs(one.plan(with_status("failed"), retry_failed=("*",)))) == 1
    assert len(runs(one.plan(with_status("running")))) == 1


def test_a_retired_model_is_not_asked_any_more(world):
    """What was evaluated before stays; nothing new is asked of a model that no longer answers."""
    one = world.of(world.job(evals=("holdout",))).with_evals(replace(HOLDOUT, compare_to=None, models=("job",)))
    retired = Observed(retired=frozenset({one.key("tone/seed=1")}))
    state = one.applied()
    assert runs(one.plan(replace(state, evals={}), observed=retired)) == []
    assert [type(action) for action in one.plan(state, observed=retired).actions if not hasattr(action, "job")] == [KeepEval]


def test_an_eval_of_a_dataset_that_could_not_be_read_is_left_out(world):
    """Whoever read the data has reported it."""
    one = world.of(world.job(evals=("holdout",))).with_spec(evals={"holdout": HOLDOUT})
    assert runs(one.plan()) == []


def test_an_imported_run_without_a_job_still_counts_as_its_own_model(world):
    """A record of a base model is matched by key alone."""
    one = world.of(world.job(evals=("holdout",))).with_evals(HOLDOUT)
    base = next(run for run in runs(one.plan()) if run.address is None)
    state = replace(one.applied(), evals={base.key: RecordedEval(key=base.key, name="holdout", model="sandbox-small", status="succeeded")})
    assert [run.address for run in runs(one.plan(state))] == ["tone/seed=1"]
