"""`status` while nobody knows whether a launch became a job."""

import json

from ftspec.cli import _console, group
from ftspec.pipeline.planning import state_of
from ftspec.pipeline.project import open_project
from ftspec.state.base import JobFact

AT = "2026-11-20T10:00:00.000Z"


def test_a_doubt_is_the_exit_code_and_says_how_to_end_it(tmp_path, capsys):
    """Exit 4, in the table and alone, with the three ways out; a job that is known is 0."""
    spec = {
        "ftspec": 1,
        "datasets": {"d": "d.jsonl"},
        "experiments": {"tone": {"engine": "sandbox", "base_model": "sandbox-nano", "train": "d"}},
    }
    (tmp_path / "ftspec.yaml").write_text(json.dumps(spec))
    (tmp_path / "d.jsonl").write_text('{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n' * 12)
    about = {"address": "tone", "engine": "sandbox", "scope": "sandbox", "preimage": {"base_model": "sandbox-nano", "method": "supervised"}}
    backend = state_of(open_project(directory=tmp_path))
    with backend.lock("test") as writer:
        writer.append(JobFact(key="a" * 64, attempt=1, at=AT, job=about, values={"status": "intent", "intent_at": AT}))
    for words in (["status"], ["status", "tone"]):
        assert _console.run(group, [*words, "--offline", "-C", str(tmp_path)]) == 4
    shown = capsys.readouterr().out
    assert "in doubt" in shown
    for way in ("--search", "--job-id ID", "--absent"):
        assert f"ftspec import 'tone' {way}" in shown
    with backend.lock("test") as writer:
        writer.append(JobFact(key="a" * 64, attempt=1, at=AT, values={"status": "running", "engine_job_id": "ftjob-1", "created_at": AT}))
    assert _console.run(group, ["status", "--offline", "-C", str(tmp_path)]) == 0
