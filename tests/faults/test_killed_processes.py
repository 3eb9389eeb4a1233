"""Real processes, really killed, raced and interrupted: one job a key on the server, all recorded."""

import json
import os
import subprocess
import sys

import pytest

CRASH = [sys.executable, "-m", "ftspec.testing.crash"]


def campaign(name, scratch, *options):
    """Run a campaign and return its report; a broken promise fails with what it was."""
    done = subprocess.run(
        [*CRASH, name, "--scratch", str(scratch), *map(str, options)], capture_output=True, text=True, timeout=3000, check=False
    )
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert "violation" not in report, report["violation"]
    assert done.returncode == 0
    return report


def test_an_apply_that_is_killed_at_some_steps_is_continued_by_the_next(tmp_path):
    """kill -9 at steps spread over an apply of three jobs, then apply again."""
    report = campaign("points", tmp_path, "--stride", 11)
    assert report["steps"] > 30
    assert report["cases"] >= 4


@pytest.mark.slow
def test_an_apply_that_is_killed_at_any_step_is_continued_by_the_next(tmp_path, figure):
    """kill -9 at every step of an apply of three jobs, then apply again."""
    report = campaign("points", tmp_path)
    figure(json.dumps(report))
    assert report["cases"] == report["steps"] > 30


@pytest.mark.slow
def test_a_recovery_that_is_killed_is_continued_by_the_next(tmp_path, figure):
    """kill -9 at pairs of steps, of an apply and of its recovery, then apply again."""
    report = campaign("pairs", tmp_path, "--stride", 4)
    figure(json.dumps(report))
    assert report["cases"] > 60


def test_two_applies_at_once_do_what_one_would(tmp_path):
    """Two processes start together on one state: one waits its turn outside (exit 6) and names the holder."""
    assert campaign("races", tmp_path, "--rounds", 2)["rounds"] == 2


@pytest.mark.slow
def test_twenty_rounds_of_two_applies(tmp_path, figure):
    """Twenty rounds of two applies: union equals the wanted set, the loser names the holder."""
    report = campaign("races", tmp_path, "--rounds", 20)
    figure(json.dumps(report))
    assert report["locked_out"] > 0


def test_an_interrupt_at_a_random_moment_is_recorded_and_recoverable(tmp_path):
    """SIGINT at a few random moments: a quick end with everything recorded, and apply goes on."""
    report = campaign("interrupts", tmp_path, "--rounds", 3)
    assert report["slowest"] < 10


@pytest.mark.slow
@pytest.mark.parametrize("name", ["interrupts", "interrupts-twice", "terminations"])
def test_interrupts_at_twenty_random_moments(tmp_path, name, figure):
    """Twenty random moments each: one SIGINT, two of them, one SIGTERM."""
    report = campaign(name, tmp_path, "--rounds", 20)
    figure(json.dumps(report))
    assert report["stopped"] > 0


def test_a_crash_can_be_replayed_by_hand(tmp_path):
    """One variable and one command: the run dies at the step that was named, and the next one goes on."""
    from ftspec.testing.crash import VARIABLE, Lab

    project = Lab(tmp_path).project("by-hand")
    environment = {**os.environ, VARIABLE: "9"}
    killed = subprocess.run([*CRASH, "run", "apply", "-y"], cwd=project, env=environment, capture_output=True, timeout=120, check=False)
    assert killed.returncode == -9
    again = subprocess.run(
        [sys.executable, "-m", "ftspec", "apply", "-y"], cwd=project, capture_output=True, text=True, timeout=120, check=False
    )
    assert again.returncode == 0, again.stderr
    Lab(tmp_path).compare(project, "by hand")
