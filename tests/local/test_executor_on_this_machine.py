"""Processes of this machine prove themselves, and survive whoever started them."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from ftspec.server.trainers.local.executors import Submission
from ftspec.server.trainers.local.executors.local import LocalExecutor, handed_out, inherited, present
from ftspec.server.trainers.local.run import LocalRun
from ftspec.server.trainers.local.settings import Settings
from ftspec.testing.executors import Drive, ExecutorConformance
from ftspec.testing.toy_worker import value_of


class TestProcesses(ExecutorConformance):
    """One slot of this machine."""

    pytestmark = pytest.mark.slow

    @pytest.fixture
    def settings(self):
        return Settings(slots=2, cpus=1)


_DRIVER = """
import sys, time
from pathlib import Path
from ftspec.server.trainers.local.settings import Settings
from ftspec.testing.executors import Drive
drive = Drive(Path(sys.argv[1]), Settings(slots=1, cpus=1), 60)
run = drive.job("a", steps=40)
drive.until(lambda: run.newest_attempt())
print(run.path, flush=True)
time.sleep(600)
"""


def test_a_worker_outlives_a_killed_driver_and_is_adopted(tmp_path):
    """The driver is killed; its worker goes on, and the next process neither loses nor doubles it."""
    with subprocess.Popen([sys.executable, "-c", _DRIVER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as driver:
        run = LocalRun(tmp_path / "runs" / Path(driver.stdout.readline().strip()).name)
        driver.send_signal(signal.SIGKILL)
    drive = Drive(tmp_path, Settings(slots=1, cpus=1), 60)
    drive.until(run.result)
    assert run.newest_attempt() == 1
    assert (run.path / "value").read_text() == value_of(40)


def test_a_process_id_that_was_given_away_is_not_our_worker(tmp_path):
    """A handle holds the start time, too: another process under the same number is none of ours."""
    drive = Drive(tmp_path, Settings(), 10)
    handle = {"pid": os.getpid(), "started": "1", "host": os.uname().nodename, "run": str(tmp_path), "number": 1}
    assert drive.executor.poll(handle) == "gone"
    drive.executor.cancel(handle)
    assert drive.executor.poll({**handle, "started": None}) == "gone"


def test_one_job_a_slot_in_the_order_of_purchase(tmp_path):
    """With one slot jobs run one after the other, the oldest first, whoever asks."""
    drive = Drive(tmp_path, Settings(slots=1, cpus=1), 60)
    runs = [drive.folder(f"job{age}", steps=2, created_at=age) for age in (3, 1, 2)]
    for run in runs:
        drive.reconciler.open(run.path.name)
    drive.until(lambda: not drive.open_jobs())
    began = [json.loads((run.path / "attempts" / "0001").read_text())["started_at"] for run in runs]
    ended = [(run.path / "attempts" / "0001.ended").stat().st_mtime for run in runs]
    third, first, second = began
    assert first <= second <= third
    assert ended.index(min(ended)) == 1
    assert ended.index(max(ended)) == 0


def test_workers_get_no_keys_and_their_share_of_threads(tmp_path, monkeypatch):
    """Keys of engines are not handed on; threads are always set, and GPUs are numbered as `nvidia-smi` does."""
    kept = inherited({"OPENAI_API_KEY": "x", "HF_TOKEN": "y", "PATH": "/bin", "AWS_SECRET_ACCESS_KEY": "z", "My_Token": "q"})
    assert kept == {"HF_TOKEN": "y", "PATH": "/bin"}
    drive = Drive(tmp_path, Settings(cpus=3), 30)
    show = "import os,pathlib; pathlib.Path('seen').write_text(os.environ['OMP_NUM_THREADS'] + ' ' + os.environ['CUDA_DEVICE_ORDER'])"
    handle = drive.executor.submit(Submission(run=tmp_path, number=1, command=(sys.executable, "-c", show)), slot=0)
    end = time.monotonic() + 60
    while drive.executor.poll(handle) != "gone":
        assert time.monotonic() < end
        time.sleep(0.05)
    assert (tmp_path / "seen").read_text() == "3 PCI_BUS_ID"


@pytest.mark.parametrize(
    ("gpus", "visible", "handed", "problem"),
    [
        (None, None, ("0", "1", "2"), None),
        (None, "", (), None),
        (None, "3,5", ("3", "5"), None),
        (None, "-1", (), None),
        (None, "GPU-7d, MIG-2", ("GPU-7d", "MIG-2"), None),
        (2, None, ("0", "1"), None),
        (0, None, (), None),
        (4, None, ("0", "1", "2"), "`gpus` asks for 4, and this machine shows 3 (0, 1, 2)."),
        (1, "", (), "`gpus` asks for 1, and this machine shows none."),
        ((2, 0), None, ("2", "0"), None),
        ((1, 3), None, ("1", "3"), "`gpus` names 3, and this machine shows 3 (0, 1, 2)."),
        ((5,), "3,5", ("5",), None),
        ((0,), "3,5", ("0",), "`gpus` names 0, and this machine shows 2 (3, 5)."),
        ((0,), "GPU-7d", ("0",), None),
        ((0, 1), "", ("0", "1"), "`gpus` names 0, 1, and this machine shows none."),
    ],
)
def test_gpus_are_handed_out_as_the_settings_and_the_machine_say(tmp_path, monkeypatch, gpus, visible, handed, problem):
    """One slot a GPU of those that are visible; wanting more than there is, is said before anything is bought."""
    for name in ("nvidia0", "nvidia1", "nvidia2", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = present(os.environ, devices=tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(found))
    made = LocalExecutor(Settings(gpus=gpus))
    assert handed_out(gpus, found) == handed
    assert made.slots == max(1, len(handed))
    assert made.problem() == problem


def test_two_jobs_are_never_on_one_gpu_at_once(tmp_path, monkeypatch):
    """Five jobs share two GPUs: each gets one, and the next one gets it when it is free."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    drive = Drive(tmp_path, Settings(cpus=1), 60)
    runs = [drive.folder(f"job{age}", steps=3, created_at=age) for age in range(5)]
    for run in runs:
        drive.reconciler.open(run.path.name)
    drive.until(lambda: not drive.open_jobs())
    times = {"2": [], "5": []}
    for run in runs:
        began, ended = run.path / "submissions" / "0001", run.path / "attempts" / "0001.ended"
        times[(run.path / "gpu").read_text()].append((began.stat().st_mtime, ended.stat().st_mtime))
    for one in times.values():
        assert len(one) >= 2
        ordered = sorted(one)
        assert all(ended <= began for (_, ended), (began, _) in pairwise(ordered))


def test_a_submission_that_is_refused_is_said_once_and_tried_again(tmp_path):
    """The job waits, its events say for what, and it goes on when the backend takes it."""
    python = tmp_path / "python"
    drive = Drive(tmp_path, Settings(python=str(python)), 60)
    run = drive.job("a", steps=1)
    drive.reconciler.sweep()
    (said,) = run.events()
    assert said.level == "warn"
    assert "cannot be submitted yet" in said.message
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    drive.until(run.result)
    assert run.handle()["submission"] == 1
