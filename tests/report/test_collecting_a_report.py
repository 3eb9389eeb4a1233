"""From state, samples and engines to a report: what is asked, what is kept, what is said to be missing."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

import ftspec
from ftspec.engines.base import EngineError, JobEvent, Listing
from ftspec.pipeline.measuring import Results, _ask
from ftspec.pipeline.planning import load, state_of, want
from ftspec.pipeline.project import open_project
from ftspec.pipeline.reporting import collect
from ftspec.planner.selectors import UnknownSelector
from ftspec.record import Attempt, JobStatus, RecordedEval, RecordedJob, State
from ftspec.render.report.html import to_html

DATA = Path(__file__).parents[2] / "examples" / "specs" / "data"
SPEC = """\
ftspec: 1
project: triage
engines:
  openai: {type: openai}
datasets:
  tickets: {path: tickets.jsonl, split: {train: 0.7, validation: 0.1, test: 0.2}}
defaults: {validation: tickets.validation}
experiments:
  triage:
    engine: sandbox
    base_model: sandbox-nano
    train: tickets.train
    tags: {owner: search}
    matrix: {epochs: [1, 2], seed: [1]}
    evals: [holdout]
evals:
  holdout:
    dataset: tickets.test
    sampling: {temperature: 0, max_tokens: 8}
    graders:
      exact: {type: string_check, operation: eq, input: "{{sample.output_text}}", reference: "{{item.reference}}"}
"""
HOSTED = """\
  hosted:
    engine: openai
    base_model: gpt-4.1-mini-2025-04-14
    train: tickets.train
    epochs: 2
    seed: 1
"""


@pytest.fixture(scope="module")
def applied(tmp_path_factory):
    """A project whose two jobs have run and were evaluated."""
    root = tmp_path_factory.mktemp("project")
    rows = (DATA / "tickets.jsonl").read_text().splitlines(keepends=True)[:150]
    (root / "tickets.jsonl").write_text("".join(rows))
    (root / "ftspec.yaml").write_text(SPEC)
    ftspec.apply(root=root, approve=True)
    return root


@pytest.fixture
def root(applied, tmp_path):
    """A copy of that project."""
    return Path(shutil.copytree(applied, tmp_path / "project"))


def opened(root):
    wanted = want(load(open_project(directory=root)))
    return wanted, state_of(wanted.project, wanted.spec).read()[0]


def tree(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_report_holds_jobs_curves_evals_costs_and_provenance(root):
    """Everything that state, samples and the engine know of the jobs."""
    report = collect(*opened(root))
    assert [one.address for one in report.jobs] == ["triage/epochs=1,seed=1", "triage/epochs=2,seed=1"]
    one = report.jobs[1]
    assert (one.status, one.simulated, one.train.ref, one.preimage["epochs"]) == ("succeeded", True, "tickets.train", 2)
    assert one.curves.train[0][0] == 1.0
    assert len(one.curves.train) == one.checkpoints[-1].step
    assert one.curves.valid
    assert [step for step, _ in one.curves.full][-1] == one.checkpoints[-1].step
    table = report.evals[0]
    assert [row.label for row in table.rows] == ["sandbox-nano", "triage/epochs=1", "triage/epochs=2"]
    assert table.simulated
    assert table.flipped is not None
    assert [(one.engine, one.what, one.count, one.actual) for one in report.spent] == [
        ("sandbox", "training", 2, 0.0),
        ("sandbox", "evals", 3, 0.0),
    ]
    assert {"one-seed", "few-items"} <= {flag.kind for flag in report.flags}
    assert report.lock == "`ftspec.lock` agrees with specs and state"
    assert {data.ref for data in report.datasets} >= {"tickets.train", "tickets.validation", "tickets.test"}
    assert report.notes == ()


def test_curves_are_asked_once_and_never_become_state(root):
    """They are kept below `.ftspec/results`; afterwards the engine can be gone."""
    before = tree(root / "state")
    first = to_html(collect(*opened(root)))
    assert len(list((root / ".ftspec" / "results").iterdir())) == 2
    assert tree(root / "state") == before
    shutil.rmtree(root / ".ftspec" / "sandbox")
    assert to_html(collect(*opened(root))) == first
    assert to_html(collect(*opened(root), offline=True)) == first


def test_a_report_made_offline_says_what_is_missing(root):
    """No engine is asked; checkpoints in state still give points."""
    report = collect(*opened(root), offline=True)
    assert report.notes == ("the curves of 2 of 2 jobs are not on this machine, and no engine was asked",)
    assert not report.jobs[0].curves.train
    assert report.jobs[0].curves.full
    assert not (root / ".ftspec" / "results").exists()


def test_a_kept_file_that_is_broken_is_asked_for_again(root):
    """Whatever stands in it."""
    first = to_html(collect(*opened(root)))
    for path, text in zip((root / ".ftspec" / "results").iterdir(), ("{", '{"format": 1, "steps": 7}'), strict=True):
        path.write_text(text)
    assert to_html(collect(*opened(root))) == first


def test_kept_measurements_belong_to_one_account(tmp_path):
    """The same id in another account is another job."""
    results = Results(tmp_path / "results")
    results.keep("a", "ftjob-1", {1.0: {"train_loss": 2.0}})
    assert results.read("a", "ftjob-1") == {1.0: {"train_loss": 2.0}}
    assert results.read("b", "ftjob-1") is None
    results.path("b", "ftjob-1").write_bytes(results.path("a", "ftjob-1").read_bytes())
    assert results.read("b", "ftjob-1") is None


def test_only_selected_jobs_are_in_the_report(root):
    """Addresses, globs, tags; one that names nothing is an error."""
    report = collect(*opened(root), select=["triage/epochs=2*"])
    assert [one.address for one in report.jobs] == ["triage/epochs=2,seed=1"]
    assert [row.label for row in report.evals[0].rows] == ["sandbox-nano", "triage/epochs=2"]
    assert len(collect(*opened(root), select=["tag:owner=search"]).jobs) == 2
    with pytest.raises(UnknownSelector):
        collect(*opened(root), select=["nobody"])


def test_examples_can_be_left_out(root):
    """Rows of the eval's dataset are in the report only where they are wished for."""
    assert collect(*opened(root), examples=0).evals[0].flipped is None


def test_jobs_that_were_not_launched_have_their_place(root):
    """A spec with more jobs than state."""
    (root / "ftspec.yaml").write_text(SPEC.replace("[1, 2]", "[1, 2, 3]"))
    report = collect(*opened(root), offline=True)
    assert [one.status for one in report.jobs] == ["succeeded", "succeeded", "not launched"]
    assert "does not agree with specs and state" in report.lock


def hosted(root, **attempt):
    """A project with a job on an engine that costs money, recorded by hand."""
    (root / "ftspec.yaml").write_text(SPEC.replace("evals:\n  holdout", HOSTED + "    evals: [holdout]\nevals:\n  holdout"))
    wanted, state = opened(root)
    one = next(one for one in wanted.jobs if one.job.engine == "openai")
    last = Attempt(number=1, status=JobStatus.SUCCEEDED, engine_job_id="ftjob-1", model="ft:gpt:1", currency="USD", **attempt)
    record = RecordedJob(key=one.key, address="hosted", engine="openai", scope=one.job.scope, attempts=(last,))
    return wanted, State(jobs={**state.jobs, one.key: record}, files=state.files, evals=state.evals), one


def test_an_engine_that_cannot_be_asked_is_no_reason_to_stop(root):
    """The report says whose curves are missing, and why; there is no key here."""
    wanted, state, _ = hosted(root, result_files=("file-1",))
    report = collect(wanted, state)
    assert len(report.notes) == 1
    assert report.notes[0].startswith("the curves of `hosted` could not be had: ")
    assert "OPENAI_API_KEY" in report.notes[0]
    assert [bool(one.curves.train) for one in report.jobs] == [True, True, False]


def test_money_is_estimated_paid_or_unknown(root):
    """Costs of a hosted job stand beside its estimate; without a price they are unknown."""
    wanted, state, _ = hosted(root, cost=1.5, estimated_cost=(1.0, 2.0))
    paid = [one for one in collect(wanted, state, offline=True).spent if one.engine == "openai" and one.what == "training"]
    assert [(one.low, one.high, one.actual, one.unknown, one.simulated) for one in paid] == [(1.0, 2.0, 1.5, 0, False)]
    wanted, state, _ = hosted(root)
    unknown = [one for one in collect(wanted, state, offline=True).spent if one.engine == "openai" and one.what == "training"]
    assert [(one.low, one.high, one.actual, one.unknown) for one in unknown] == [(None, None, None, 1)]


def test_every_attempt_costs_what_it_cost(root):
    """A failed attempt that was paid is part of the sum; one that the engine refused is not."""
    wanted, state, one = hosted(root, cost=1.5, estimated_cost=(1.0, 2.0))
    record = state.jobs[one.key]
    earlier = [Attempt(number=i, status=status, cost=cost, estimated_cost=(1.0, 2.0)) for i, status, cost in (
        (1, JobStatus.REFUSED, None), (2, JobStatus.FAILED, 0.25), (3, JobStatus.FAILED, None))]  # fmt: skip
    record = RecordedJob(key=one.key, address="hosted", engine="openai", scope=record.scope, attempts=(*earlier, record.last))
    spent = collect(wanted, State(jobs={one.key: record}), offline=True).spent
    assert [(each.count, each.low, each.high, each.actual, each.unknown) for each in spent] == [(3, 3.0, 6.0, 1.75, 1)]


def test_a_job_that_two_clones_recorded_as_two_attempts_costs_once(root):
    """One clone was refused before it adopted what the other bought: two attempts, one job, one price."""
    wanted, state, one = hosted(root, cost=1.5, estimated_cost=(1.0, 2.0))
    record = state.jobs[one.key]
    twice = Attempt(number=2, status=record.last.status, engine_job_id=record.last.engine_job_id, cost=1.5, estimated_cost=(1.0, 2.0))
    record = RecordedJob(key=one.key, address="hosted", engine="openai", scope=record.scope, attempts=(record.last, twice))
    assert record.last.engine_job_id is not None
    spent = collect(wanted, State(jobs={one.key: record}), offline=True).spent
    assert [(each.count, each.low, each.high, each.actual, each.unknown) for each in spent] == [(1, 1.0, 2.0, 1.5, 0)]


def test_models_of_simulated_engines_are_compared_among_themselves(root):
    """A hosted model's run is in a table of its own, and the sandbox's tables stay what they were."""
    from ftspec.pipeline.evaluating import eval_keys

    before = collect(*opened(root)).evals
    wanted, state, one = hosted(root)
    keys = eval_keys(wanted, wanted.spec.evals["holdout"])
    model = {"job": one.key}
    score = {"exact": {"mean": 0.9, "low": 0.8, "high": 0.95, "n": 30}}
    run = RecordedEval(key=keys.key(model), name="holdout", address="hosted", model="ft:gpt:1", job_key=one.key, status="succeeded",
                       preimage=keys.preimage(model), scores=score, samples=30, cost=0.25, currency="USD")  # fmt: skip
    report = collect(wanted, State(jobs=state.jobs, files=state.files, evals={**state.evals, run.key: run}), offline=True)
    assert [(table.simulated, [row.label for row in table.rows]) for table in report.evals] == [
        (False, ["hosted"]),
        (True, ["sandbox-nano", "triage/epochs=1", "triage/epochs=2"]),
    ]
    assert report.evals[1] == before[0]
    answers = [(one.engine, one.count, one.actual) for one in report.spent if one.what == "evals"]
    assert answers == [("sandbox", 3, 0.0), ("openai", 1, 0.25)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "said"), [("noisy.yaml", "overfits: validation loss was lowest at step"), ("overfit.yaml", "(p < 0.001): it overfits")]
)
def test_the_examples_that_overfit_are_called_by_name(tmp_path, spec, said):
    """Validation loss says it of the one, an eval of the other."""
    shutil.copytree(DATA, tmp_path / "data")
    shutil.copy(DATA.parent / spec, tmp_path / "ftspec.yaml")
    ftspec.apply(root=tmp_path, approve=True)
    report = collect(*opened(tmp_path))
    overfitting = [flag for flag in report.flags if flag.kind == "overfitting"]
    assert overfitting
    assert all(said in flag.sentence for flag in overfitting)
    assert all("epochs=20" in address for flag in overfitting for address in flag.jobs)
    assert to_html(report) == to_html(collect(*opened(tmp_path)))


class Halting:
    """An engine of which some parts do not answer."""

    def __init__(self, *, files=True, events=True):
        self.files, self.has_events = files, events

    async def content(self, file_id):
        if not self.files:
            raise EngineError("the file is gone", status=404)
        return b"step,train_loss\n1,2.0\n"

    async def events(self, job_id):
        if not self.has_events:
            raise EngineError("no events here", status=404)
        data = {"step": 2, "total_steps": 9, "train_loss": 1.5, "full_valid_loss": 1.7, "odd": "text", "flag": True}
        return Listing(items=[JobEvent(id="1", time=0, level="info", message="", type="metrics", data=data)])


@pytest.mark.parametrize(
    ("engine", "measured", "complete"),
    [
        (Halting(), {1.0: {"train_loss": 2.0}, 2.0: {"train_loss": 1.5, "full_valid_loss": 1.7}}, True),
        (Halting(files=False), {2.0: {"train_loss": 1.5, "full_valid_loss": 1.7}}, False),
        (Halting(events=False), {1.0: {"train_loss": 2.0}}, False),
    ],
    ids=["everything", "no files", "no events"],
)
def test_files_and_events_complete_each_other(engine, measured, complete):
    """Where one of them is missing the other is used, and asked for again next time."""
    assert asyncio.run(_ask(engine, Attempt(number=1, status=JobStatus.SUCCEEDED, engine_job_id="j", result_files=("f",)))) == (
        measured,
        complete,
    )


def test_an_engine_that_says_nothing_is_an_error():
    """Its own message is shown."""
    with pytest.raises(EngineError, match="the file is gone"):
        asyncio.run(
            _ask(Halting(files=False, events=False), Attempt(number=1, status=JobStatus.SUCCEEDED, engine_job_id="j", result_files=("f",)))
        )
