"""Laws that every plan obeys, over generated grids, chains, evals and states."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ftspec.actions import KeepJob, LaunchJob, Reason, UploadFile, WaitJob
from ftspec.experiment import DesiredEval
from ftspec.record import JobStatus, State
from ftspec.render.json import to_json
from ftspec.render.markdown import to_markdown
from ftspec.render.text import to_text

STATUSES = [JobStatus.INTENT, JobStatus.REFUSED, JobStatus.RUNNING, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.SUCCEEDED]
EVAL = DesiredEval(name="holdout", dataset="test", graders={"exact": {"type": "string_check"}})


@st.composite
def projects(draw):
    """Draw the settings of a grid, of jobs on top of it, and of the versions of its data."""
    return {
        "seeds": draw(st.lists(st.integers(1, 9), min_size=1, max_size=4, unique=True)),
        "epochs": draw(st.lists(st.sampled_from([1, 3, "auto"]), min_size=1, max_size=2, unique=True)),
        "chained": draw(st.booleans()),
        "deep": draw(st.booleans()),
        "evals": draw(st.sampled_from([(), ("holdout",)])),
        "version": draw(st.integers(1, 2)),
        "suffix": draw(st.sampled_from([None, "a", "b"])),
        "validation": draw(st.sampled_from([None, "check"])),
    }


def build(world, project):
    """Return the world of a drawn project."""
    common = {"evals": project["evals"], "suffix": project["suffix"], "validation": project["validation"]}
    jobs = [
        world.job(f"grid/epochs={epochs},seed={seed}", seed=seed, hyperparameters={"n_epochs": epochs}, **common)
        for epochs in project["epochs"]
        for seed in project["seeds"]
    ]
    if project["chained"]:
        jobs += [world.job(f"polish/base={n}", parent=job.address, base_model="", **common) for n, job in enumerate(jobs[:2])]
    if project["chained"] and project["deep"]:
        jobs.append(world.job("last", parent=jobs[-1].address, base_model="", engine="sandbox", depends_on=(jobs[0].address,)))
    return world.of(*jobs, datasets=(world.dataset(version=project["version"]),)).with_evals(EVAL)


def with_statuses(state, statuses, chance):
    """Return the state with the statuses of some records replaced."""
    jobs = dict(state.jobs)
    for key, status in zip(sorted(jobs), statuses, strict=False):
        if chance.random() < 0.5:
            last = msgspec.structs.replace(jobs[key].last, status=status, model=None if status != JobStatus.SUCCEEDED else "ft:x")
            jobs[key] = msgspec.structs.replace(jobs[key], attempts=(last,))
    return replace(state, jobs=jobs)


@settings(max_examples=60, deadline=None)
@given(
    before=projects(), after=projects(), statuses=st.lists(st.sampled_from(STATUSES), max_size=12), chance=st.randoms(use_true_random=False)
)
def test_an_applied_plan_plans_nothing(world, before, after, statuses, chance):
    """After a perfect apply of any change on top of any history, the next plan buys nothing."""
    state = with_statuses(build(world, before).applied(), statuses, chance)
    wanted = build(world, after)
    state = wanted.applied(state, retry_failed=("*",))
    plan = wanted.plan(state)
    bought = [action for action in plan.actions if isinstance(action, (LaunchJob, UploadFile))]
    assert bought == []
    doubtful = [action for action in plan.actions if isinstance(action, WaitJob)]
    assert plan.empty or doubtful
    assert "launches" not in to_text(plan).replace("0 launches", "")


@settings(max_examples=60, deadline=None)
@given(
    before=projects(), after=projects(), statuses=st.lists(st.sampled_from(STATUSES), max_size=12), chance=st.randoms(use_true_random=False)
)
def test_the_order_of_jobs_and_records_is_irrelevant(world, before, after, statuses, chance):
    """Shuffled specs and states give equal plans, and equal plans have equal bytes in every rendering."""
    state = with_statuses(build(world, before).applied(), statuses, chance)
    wanted = build(world, after)
    shuffled_jobs = list(wanted.jobs)
    chance.shuffle(shuffled_jobs)
    records = list(state.jobs.items())
    chance.shuffle(records)
    shuffled = State(jobs=dict(records), files=dict(reversed(state.files.items())), evals=dict(reversed(state.evals.items())))
    first = wanted.plan(state)
    second = replace(wanted, jobs=tuple(shuffled_jobs)).plan(shuffled)
    assert first.actions == second.actions
    for rendered in (to_text, to_json, to_markdown):
        assert rendered(first) == rendered(second)
    assert to_text(first, full=True) == to_text(second, full=True)


@settings(max_examples=60, deadline=None)
@given(
    before=projects(), after=projects(), statuses=st.lists(st.sampled_from(STATUSES), max_size=12), chance=st.randoms(use_true_random=False)
)
def test_nothing_is_bought_twice_or_without_its_parents(world, before, after, statuses, chance):
    """No key is launched that is recorded, running or in doubt; parents come first; each job has one action."""
    state = with_statuses(build(world, before).applied(), statuses, chance)
    wanted = build(world, after)
    plan = wanted.plan(state)
    seen: dict[str, object] = {}
    for action in plan.actions:
        if isinstance(action, LaunchJob):
            record = state.jobs.get(action.key)
            assert record is None or record.status is JobStatus.REFUSED
            for parent in action.after:
                assert isinstance(seen[parent], LaunchJob) or (
                    isinstance(seen[parent], KeepJob) and seen[parent].reason in {Reason.RECORDED, Reason.RUNNING}
                )
        if hasattr(action, "job"):
            assert action.job.address not in seen
            seen[action.job.address] = action
    assert set(seen) == {job.address for job in wanted.jobs}


@settings(max_examples=40, deadline=None)
@given(project=projects(), lines=st.integers(1, 500))
def test_renaming_and_moving_buys_nothing(world, project, lines):
    """Other experiment names, addresses, files and lines: every job is reused."""
    wanted = build(world, project)
    state = wanted.applied()
    names = {job.address: f"moved/{n}" for n, job in enumerate(wanted.jobs)}
    moved = tuple(
        msgspec.structs.replace(
            job,
            address=names[job.address],
            experiment="moved",
            parent=names[job.parent] if job.parent else None,
            depends_on=tuple(names[one] for one in job.depends_on),
            origin=type(job.origin)(lines, "elsewhere.yaml"),
        )
        for job in wanted.jobs
    )
    plan = replace(wanted, jobs=moved).plan(state)
    assert {type(action) for action in plan.actions if hasattr(action, "job")} == {KeepJob}
    assert not [action for action in plan.actions if isinstance(action, (LaunchJob, UploadFile))]
    assert plan.cost.high == 0
