"""What commands import: on a small project that is most of what they cost (docs/decisions/0003-structs-for-jobs-and-records.md)."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from ftspec.actions import LaunchJob
from ftspec.pipeline.planning import make_plan, state_of
from ftspec.pipeline.project import open_project
from ftspec.state.base import JobFact

HEAVY = {
    "asyncio", "deepdiff", "httpx2", "importlib.metadata", "jinja2", "numpy", "openai", "pydantic", "rich", "shutil", "socket", "sqlite3",
    "ssl", "starlette", "subprocess", "tempfile", "torch",
}  # fmt: skip
SPEC = """\
ftspec: 1
datasets: {tickets: tickets.jsonl}
experiments:
  grid:
    engine: sandbox
    base_model: sandbox-mini
    train: tickets
    matrix: {seed: [1, 2, 3]}
"""
ASKED = """
import json, sys
before = set(sys.modules)
from ftspec.__main__ import main
try:
    main()
except SystemExit as stop:
    code = stop.code
named = {(name, one) for name, module in sys.modules.items() for one, thing in vars(module).items()
         if name.startswith("ftspec") and isinstance(thing, type) and thing.__module__ == name and "__dataclass_fields__" in vars(thing)}
print(json.dumps([code, sorted(sys.modules.keys() - before), sorted(one for _, one in named)]))
"""


@pytest.fixture
def project(tmp_path):
    """Return a project all of whose jobs are recorded, and whose spec and dataset were looked at before."""
    rows = [{"messages": [{"role": "user", "content": f"ticket {n}"}, {"role": "assistant", "content": f"answer {n}"}]} for n in range(60)]
    (tmp_path / "tickets.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    os.utime(tmp_path / "tickets.jsonl", (1_000_000_000, 1_000_000_000))  # a file that was just written is not taken from the cache
    (tmp_path / "ftspec.yaml").write_text(SPEC)
    planned = make_plan(open_project(directory=tmp_path))
    with state_of(planned.project, planned.spec).lock("test") as writer:
        for action in planned.plan.actions:
            if isinstance(action, LaunchJob):
                about = {"address": action.job.address, "engine": "sandbox", "scope": "sandbox", "preimage": dict(action.preimage)}
                values = {"status": "succeeded", "engine_job_id": action.key[:9], "model": "ft:m"}
                writer.append(JobFact(key=action.key, attempt=1, at="2026-11-20T12:00:00.000Z", job=about, values=values))
        writer.compact()
    return tmp_path


def imported(project, *words: str) -> tuple[str, set[str], list[str]]:
    """Return what a command prints, the modules it imports, and the dataclasses of ftspec among them."""
    done = subprocess.run([sys.executable, "-c", ASKED, *words], cwd=project, capture_output=True, text=True, check=False)
    *printed, told = done.stdout.splitlines()
    code, modules, dataclasses = json.loads(told)
    assert not code, done.stderr
    return "\n".join(printed), set(modules), dataclasses


def test_a_plan_with_nothing_to_do_imports_nothing_heavy(project):
    """No SDK, no schema library, no event loop; and no dataclass but the two that need to be ones."""
    printed, modules, dataclasses = imported(project, "plan")
    assert "nothing to do, 3 reused" in printed
    assert sorted(HEAVY & modules) == []
    assert dataclasses == ["Diagnostic", "Place"]


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["plan", "--help"]], ids=" ".join)
def test_help_reads_neither_specs_nor_state(words, tmp_path):
    """The command line is all that it needs: no YAML, no records."""
    printed, modules, _ = imported(tmp_path, *words)
    assert "ftspec" in printed
    assert HEAVY & modules <= {"shutil"}  # click asks it how wide the terminal is
    assert not {"yaml", "ftspec.spec.load", "ftspec.state.jsonl"} & modules


def test_a_command_collects_garbage_rarely(project):
    """Python's own threshold would search all imports again and again."""
    code = ASKED + "import gc; assert gc.get_threshold()[0] >= 100_000 and gc.isenabled()"
    assert subprocess.run([sys.executable, "-c", code, "plan"], cwd=project, capture_output=True, check=False).returncode == 0
