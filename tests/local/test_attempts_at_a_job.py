"""What a worker does with what the trainer tells it: without torch, which is loaded only to train."""

import json
import math
import subprocess
import sys

import pytest

from ftspec.server.trainers.local.run import LocalRun
from ftspec.server.trainers.local.worker import Attempt, Failed, LostJob


@pytest.fixture
def attempt(tmp_path):
    """An attempt at a job, at a time that the test says: `attempt.clock[0] = 7`."""
    run = LocalRun(tmp_path / "runs" / "ftjob-1")
    run.create()
    run.describe({"id": "ftjob-1", "settings": {"micro_batch": 8, "checkpoint_seconds": 300}})
    clock = [0.0]
    made = Attempt(run, now=lambda: clock[0])
    made.clock = clock
    return made


@pytest.mark.parametrize("figures", [{"train_loss": math.nan}, {"train_loss": math.inf}, {"train_loss": 2.0, "grad_norm": math.nan}])
def test_a_loss_that_is_no_number_ends_the_job(attempt, figures):
    """Nothing is written down that no JSON can hold, and the cause is said."""
    attempt.figures(1, 10, {"train_loss": 2.0, "grad_norm": 0.5})
    with pytest.raises(Failed, match="Training diverged") as stop:
        attempt.figures(2, 10, figures)
    assert stop.value.failure.code == "training_diverged"
    assert [one["step"] for one in attempt._run.figures()] == [1]


def test_what_training_goes_on_from_is_saved_in_time(attempt):
    """As soon as `checkpoint_seconds` have gone by since the last time."""
    attempt.clock[0] = 299.0
    assert not attempt.wants_checkpoint()
    attempt.clock[0] = 300.0
    assert attempt.wants_checkpoint()


def test_a_step_of_a_job_that_is_another_workers_is_none(attempt):
    """A later attempt owns the job from the moment it began; a pause stops training at a step."""
    assert attempt.step(1, 10) is False
    attempt._run.pause()
    assert attempt.step(2, 10) is True
    attempt._run.begin_attempt(now=1.0)
    with pytest.raises(LostJob):
        attempt.step(3, 10)


def test_a_long_job_tells_about_a_hundred_of_its_steps(attempt):
    """Every step has its figures in the result file; events would bury what else was said."""
    for step in range(1, 951):
        attempt.figures(step, 950, {"train_loss": 1.0})
    metrics = [one for one in attempt._run.events() if one.type == "metrics"]
    assert len(attempt._run.figures()) == 950
    assert (len(metrics), metrics[-1].data["step"]) == (95, 950)


def test_a_worker_loads_nothing_heavy_before_it_has_a_job_and_sends_nothing_to_anybody(tmp_path):
    """TRL tells its makers who trains unless it is told not to: that is done before it is loaded."""
    code = (
        "import os, sys, json\n"
        "from ftspec.server.trainers.local import worker\n"
        "worker.main([sys.argv[1], '1'])\n"
        "heavy = {'torch', 'transformers', 'trl', 'peft', 'datasets', 'openai'} & set(sys.modules)\n"
        "print(json.dumps([sorted(heavy), os.environ['HF_HUB_DISABLE_TELEMETRY']]))\n"
    )
    run = LocalRun(tmp_path / "ftjob-1")
    run.create()
    run.pause()
    done = subprocess.run([sys.executable, "-c", code, str(run.path)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[], "1"]
    assert run.ended_attempts() == 1
