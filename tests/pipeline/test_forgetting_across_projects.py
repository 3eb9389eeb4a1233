"""What `state rm` and a changed spec mean for records that several projects share."""

from pathlib import Path

import pytest

import ftspec
from ftspec.actions import ForgetJob, KeepJob
from ftspec.pipeline.planning import state_of
from ftspec.pipeline.project import open_project
from ftspec.state.edits import forget

SPEC = """\
ftspec: 1
project: {project}
datasets: {{rows: {{path: rows.jsonl}}}}
experiments:
  {experiment}:
    {{engine: sandbox, base_model: sandbox-nano, train: rows, epochs: 1, seed: {seed}}}
"""
ROW = '{"messages": [{"role": "user", "content": "where is my parcel %d"}, {"role": "assistant", "content": "shipping"}]}\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder with a dataset and the specs of two projects that share its state."""
    (tmp_path / "rows.jsonl").write_text("".join(ROW % i for i in range(12)))
    (tmp_path / "one.yaml").write_text(SPEC.format(project="one", experiment="tone", seed=1))
    (tmp_path / "two.yaml").write_text(SPEC.format(project="two", experiment="voice", seed=2))
    return tmp_path


def forgotten(root, files):
    """Return the addresses that a plan says are in no spec any more."""
    return [action.record.address for action in ftspec.plan(files, root=root).plan.actions if isinstance(action, ForgetJob)]


def test_a_plan_lists_only_what_its_own_project_bought(root):
    """Two specs share state; each asks for its own jobs, also after state was compacted."""
    for name in ("one.yaml", "two.yaml"):
        ftspec.apply(name, root=root, approve=True)
    state, _ = state_of(open_project(directory=root, files=["one.yaml"])).read()
    assert sorted((record.address, record.project) for record in state.jobs.values()) == [("tone", "one"), ("voice", "two")]
    assert forgotten(root, "one.yaml") == []
    (root / "one.yaml").write_text(SPEC.format(project="one", experiment="tone", seed=3))
    (root / "two.yaml").write_text(SPEC.format(project="two", experiment="renamed", seed=4))
    assert forgotten(root, "two.yaml") == ["voice"]


def test_a_forgotten_job_that_was_bought_again_is_reused(root):
    """`state rm` asks for one more job, not for one more with every apply."""
    ftspec.apply("one.yaml", root=root, approve=True)
    backend = state_of(open_project(directory=root, files=["one.yaml"]))
    with backend.lock("state rm") as writer:
        writer.append(*forget(list(writer.read().jobs.values()), at="2026-11-20T12:00:00.000Z", running=False))
    ftspec.apply("one.yaml", root=root, approve=True)
    planned = ftspec.plan("one.yaml", root=root)
    assert [type(action) for action in planned.plan.actions] == [KeepJob]
    assert len(ftspec.models("one.yaml", root=root)) == 1
