"""Whoever looks after the jobs is killed at every step of submitting one: each job has one worker at a time, on one slot."""

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ftspec.server.trainers.local import claims
from ftspec.server.trainers.local.executors import Submission
from ftspec.server.trainers.local.settings import Settings
from ftspec.testing.executors import Drive
from ftspec.testing.toy_worker import TOY, value_of

SETTINGS = Settings(slots=2, cpus=1)

DRIVER = """
import os, signal, subprocess, sys, time
from pathlib import Path
from ftspec.server.trainers.local import claims, run
from ftspec.server.trainers.local.settings import Settings
from ftspec.testing.executors import Drive

fatal, steps = int(sys.argv[2]), 0

def step():
    global steps
    steps += 1
    if steps == fatal:
        os.kill(os.getpid(), signal.SIGKILL)

def stepping(effect):
    def stepped(*words, **more):
        step()
        made = effect(*words, **more)
        step()
        return made
    return stepped

run.write_durably, claims.create_durably = stepping(run.write_durably), stepping(claims.create_durably)
subprocess.Popen = stepping(subprocess.Popen)
drive = Drive(Path(sys.argv[1]), Settings(slots=2, cpus=1), 60)
drive.until(lambda: not drive.open_jobs())
print(steps)
"""


def bought(root):
    """Return a job that nobody has looked after yet, and whose first worker will die."""
    drive = Drive(root, SETTINGS, 60)
    run = drive.folder("a", steps=4, dies_at=2)
    drive.reconciler.open(run.path.name)
    return run


def driven_until(root, fatal):
    """Let another process look after the jobs until it is killed; return whether it was."""
    words = [sys.executable, "-c", DRIVER, str(root), str(fatal)]
    return subprocess.run(words, capture_output=True, check=False).returncode == -signal.SIGKILL


def survived(root, fatal):
    """Kill the driver at a step and drive to the end; return what became of the job (`None`: there is no such step)."""
    run = bought(root)
    if not driven_until(root, fatal):
        return None
    if fatal % 2:
        time.sleep(0.5)  # what was started has begun by now, or has not
    drive = Drive(root, SETTINGS, 120)
    drive.until(lambda: not drive.open_jobs())
    return run.newest_attempt(), run.handle()["lost"], (run.path / "value").read_text()


@pytest.mark.slow
def test_a_driver_that_dies_at_any_step_starts_nothing_twice(tmp_path):
    """Two attempts, one vanished worker, the right value: what a driver has that nobody killed."""
    with ThreadPoolExecutor(4) as pool:
        became = list(pool.map(lambda fatal: survived(tmp_path / str(fatal), fatal), range(1, 20)))
    assert became[:17] == [(2, 1, value_of(4))] * 17
    assert became[-1] is None


def test_a_worker_that_nobody_knows_of_keeps_its_slot(tmp_path):
    """Started by a driver that died before it could say so, it is found by its claim; its slot is no other job's meanwhile."""
    drive = Drive(tmp_path, SETTINGS, 60)
    run, other = drive.folder("a", steps=20), drive.folder("b", steps=1, created_at=-1)
    run.set_handle({"submission": 1, "lost": 0, "ended": 0, "handle": None, "slot": 0})
    subprocess.Popen([sys.executable, "-m", TOY, str(run.path), "1"], start_new_session=True).returncode = 0  # nobody waits for it
    for one in (run, other):
        drive.reconciler.open(one.path.name)
    drive.until(run.newest_attempt)
    assert (run.handle()["slot"], other.handle()["slot"]) == (0, 1)
    worker = claims.claim(run.path, 1)
    drive.until(lambda: run.handle()["handle"] and run.handle()["handle"]["pid"])
    drive.until(lambda: not drive.open_jobs())
    assert claims.claim(run.path, 1) == worker
    assert (run.newest_attempt(), run.handle()["lost"]) == (1, 0)


def test_a_job_that_is_paused_before_its_worker_begins_loses_no_attempt(tmp_path):
    """The worker puts it down at once, in order; resumed, it begins under the next submission."""
    drive = Drive(tmp_path, SETTINGS, 60)
    run = drive.folder("a", steps=2)
    run.pause()
    submission = Submission(run=run.path, number=1, command=(sys.executable, "-m", TOY, str(run.path), "1"))
    placed = drive.executor.submit(submission, slot=0)
    run.set_handle({"submission": 1, "lost": 0, "ended": 0, "handle": placed, "slot": 0})
    drive.reconciler.open(run.path.name)
    drive.until(lambda: drive.executor.poll(placed) == "gone")
    assert run.newest_attempt() == 0
    run.resume()
    drive.until(run.result)
    assert (run.handle()["submission"], run.handle()["lost"], run.newest_attempt()) == (2, 0, 1)


def test_a_claim_is_held_until_its_worker_ends_and_by_one_only(tmp_path):
    """A second worker is turned away, and so is everybody once the submission was given up; a worker that replaced itself is not."""
    take = "import sys; from pathlib import Path; from ftspec.server.trainers.local import claims\n"
    again = take + "import os\nprint(claims.take(Path('.'), 1), flush=True)\n"
    again += "os.execv(sys.executable, [sys.executable, '-c', sys.argv[1]])"
    then = take + "print(claims.take(Path('.'), 1), flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", again, then], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert [first.stdout.readline(), first.stdout.readline()] == ["True\n", "True\n"]
        assert not claims.take(tmp_path, 1)
        assert not claims.give_up(tmp_path, 1)
        assert claims.held(tmp_path, 1)
        first.stdin.close()
    assert not claims.held(tmp_path, 1)
    assert not claims.take(tmp_path, 1)
    assert claims.give_up(tmp_path, 2)
    assert claims.give_up(tmp_path, 2)
    assert not claims.take(tmp_path, 2)
    assert (claims.claim(tmp_path, 3), claims.held(tmp_path, 3)) == (None, False)
