"""The local engine as its user meets it: plan, apply, nothing left to do, chat, calibrate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

_SPEC = """\
ftspec: 1
engines:
  here: {{type: local, python: {python}, models: {{tiny: {tiny}}}}}
datasets:
  tickets: tickets.jsonl
experiments:
  triage:
    engine: here
    train: tickets
    base_model: tiny
    epochs: 2
    matrix: {{seed: [1, 2]}}
    learning_rate: 0.01
"""


@pytest.fixture
def ftspec(tmp_path: Path, tiny: Path, warm: str, data: Callable[..., bytes]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command in a project with one grid of two local jobs."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "tickets.jsonl").write_bytes(data("tickets", 24))
    (project / "ftspec.yaml").write_text(_SPEC.format(python=warm, tiny=tiny))
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "config"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ftspec", *arguments]
        return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=400, check=False)

    return run


def test_a_grid_is_trained_once_and_its_models_answer(ftspec, warm):
    """An interpreter is trusted once; two jobs are planned, trained and recorded; then nothing is left, and a model answers."""
    planned = json.loads(ftspec("plan", "--format", "json").stdout)
    assert planned["summary"]["launches"] == 2
    refused = ftspec("apply", "-y")
    assert refused.returncode == 1
    assert "ftspec trust --command" in refused.stderr
    assert ftspec("trust", "--command", warm).returncode == 0
    applied = ftspec("apply", "-y")
    assert applied.returncode == 0, applied.stderr
    assert "2 succeeded" in applied.stdout
    assert ftspec("plan", "--detailed-exitcode").returncode == 0
    models = ftspec("models", "--raw", "triage/seed=1").stdout.split()
    assert len(models) == 1
    assert models[0].startswith("ft:tiny")
    answered = ftspec("chat", "triage/seed=1", "My card was charged twice", "--max-tokens", "4")
    assert answered.returncode == 0, answered.stderr


def test_a_machine_is_measured_for_the_estimates_of_later_plans(ftspec, warm):
    """`calibrate` trains a small job that no state records; the next plan rests on it."""
    ftspec("trust", "--command", warm)
    before = ftspec("plan").stderr
    assert "measured job" not in before
    measured = ftspec("calibrate", "tiny", "--rows", "8", "--words", "8")
    assert measured.returncode == 0, measured.stderr
    assert "tokens a second" in measured.stdout
    after = ftspec("plan")
    assert "from 1 measured job" in after.stderr
    assert "2 launches" in after.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("calibrate", "tinny"), "no local engine of the spec has a model `tinny`"),
        (("calibrate", "tiny", "--engine", "there"), "no local engine `there` of the spec has a model `tiny`"),
    ],
)
def test_calibrating_what_no_engine_has_is_an_error_that_names_what_there_is(ftspec, arguments, said):
    """A model or engine that the spec does not declare is named, and nothing trains."""
    refused = ftspec(*arguments)
    assert refused.returncode == 1
    assert said in refused.stderr
