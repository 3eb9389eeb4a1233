"""`import ftspec` in a notebook: errors tell what the command line would, and state is where the spec says."""

from __future__ import annotations

import json
import traceback
from pathlib import Path

import pytest

import ftspec
from ftspec.pipeline.planning import state_of
from ftspec.pipeline.project import open_project
from ftspec.state.base import JobFact

AT = "2026-11-20T10:00:00.000Z"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project whose spec keeps its state in `records`, with one model there."""
    job = {"engine": "sandbox", "base_model": "sandbox-nano", "train": "d", "seed": 1}
    spec = {"ftspec": 1, "state": "records", "datasets": {"d": "d.jsonl"}, "experiments": {"tone": job}}
    (tmp_path / "ftspec.yaml").write_text(json.dumps(spec))
    (tmp_path / "d.jsonl").write_text('{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n' * 12)
    loaded = ftspec.load(root=tmp_path)
    about = {"address": "tone", "engine": "sandbox", "scope": "sandbox", "preimage": {"base_model": "sandbox-nano", "method": "supervised"}}
    values = {"status": "succeeded", "engine_job_id": "ftjob-1", "model": "ft:m", "created_at": AT}
    with state_of(open_project(directory=tmp_path), loaded.spec).lock("test") as writer:
        writer.append(JobFact(key="a" * 64, attempt=1, at=AT, job=about, values=values))
    return tmp_path


def test_models_are_read_where_the_spec_keeps_state(root: Path) -> None:
    """As `ftspec models` does."""
    assert ftspec.model_list(root=root) == ["ft:m"]
    assert ftspec.model("tone", root=root) == "ft:m"


def test_a_traceback_shows_problems_and_the_way_out(root: Path) -> None:
    """Who works in a notebook sees no command line."""
    with pytest.raises(ftspec.FtspecError) as wrong:
        ftspec.model("tune", root=root)
    assert "did you mean `tone`?" in "".join(traceback.format_exception(wrong.value))
    (root / "ftspec.yaml").write_text((root / "ftspec.yaml").read_text().replace('"seed"', '"sed"'))
    with pytest.raises(ftspec.FtspecError) as wrong:
        ftspec.plan(root=root)
    shown = "".join(traceback.format_exception(wrong.value))
    assert "error[unknown-key]: `sed` is not a setting of an experiment" in shown
    assert "did you mean `seed`?" in shown


def test_a_plan_looks_like_itself(root: Path) -> None:
    """At a prompt, not like the values that it was made from."""
    assert repr(ftspec.plan(root=root)).endswith("Cost: free")
