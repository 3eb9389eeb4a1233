"""The proof of an executor: what the local engine relies on, driven with a toy that trains in a second.

    class TestMine(ExecutorConformance):
        @pytest.fixture
        def settings(self) -> Settings: ...

The toy is `toy_worker`.
"""

# ruff: noqa: S101 a conformance suite is made of assertions

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ftspec.server.trainers.local import claims
from ftspec.server.trainers.local.executors import Submission, executor
from ftspec.server.trainers.local.reconcile import Reconciler
from ftspec.server.trainers.local.run import LocalRun
from ftspec.server.trainers.run_folder import Result
from ftspec.testing.toy_worker import TOY, value_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ftspec.server.trainers.local.settings import Settings


class ExecutorConformance:
    """Subclass it and provide the fixture `settings`."""

    patience = 120.0
    """Seconds that anything may take."""

    @pytest.fixture
    def shared(self, tmp_path: Path) -> Path:
        """Return a folder that every machine sees."""
        return tmp_path

    def test_a_job_runs_to_its_end_once(self, settings: Settings, shared: Path) -> None:
        """One attempt, one result, and nothing is left open."""
        drive = Drive(shared, settings, self.patience)
        run = drive.job("a", steps=3)
        drive.until(lambda: run.result() and not drive.open_jobs())
        assert run.newest_attempt() == 1
        assert (run.path / "value").read_text() == value_of(3)

    def test_a_killed_worker_goes_on_from_its_last_step(self, settings: Settings, shared: Path) -> None:
        """Its value is that of a job that nobody killed."""
        drive = Drive(shared, settings, self.patience)
        run = drive.job("a", steps=40)
        drive.until(lambda: _reached(run) >= 3)
        drive.kill(run)
        drive.until(run.result)
        assert run.newest_attempt() == 2
        assert (run.path / "value").read_text() == value_of(40)

    def test_another_process_takes_over_without_a_second_attempt(self, settings: Settings, shared: Path) -> None:
        """Whoever submitted may go: the next one finds the worker running."""
        first = Drive(shared, settings, self.patience)
        run = first.job("a", steps=20)
        first.until(lambda: _reached(run) >= 2)
        second = Drive(shared, settings, self.patience)
        second.until(run.result)
        assert run.newest_attempt() == 1

    def test_a_cancelled_job_stops(self, settings: Settings, shared: Path) -> None:
        """The worker ends, and nobody starts it again."""
        drive = Drive(shared, settings, self.patience)
        run = drive.job("a", steps=100_000)
        drive.until(lambda: run.newest_attempt() == 1)
        run.finish(Result(status="cancelled", finished_at=int(time.time())))
        drive.executor.cancel(run.handle()["handle"])
        drive.until(lambda: not drive.open_jobs())
        assert run.newest_attempt() == 1

    def test_a_paused_job_waits_and_goes_on(self, settings: Settings, shared: Path) -> None:
        """An attempt that was put down in order is no lost one."""
        drive = Drive(shared, settings, self.patience)
        run = drive.job("a", steps=30)
        drive.until(lambda: _reached(run) >= 2)
        run.pause()
        drive.until(lambda: run.ended_attempts() == 1 and drive.executor.poll(run.handle()["handle"]) == "gone")
        drive.reconciler.sweep()
        assert run.newest_attempt() == 1
        run.resume()
        drive.until(run.result)
        assert run.handle()["lost"] == 0
        assert (run.path / "value").read_text() == value_of(30)

    def test_a_later_attempt_takes_the_job_away(self, settings: Settings, shared: Path) -> None:
        """Of two workers the earlier one leaves without a word, and the job ends right."""
        drive = Drive(shared, settings, self.patience)
        run = drive.job("a", steps=40)
        drive.until(lambda: _reached(run) >= 2)
        run.begin_attempt(now=time.time())
        drive.until(run.result)
        assert run.newest_attempt() == 3
        assert (run.path / "value").read_text() == value_of(40)

    def test_a_job_that_fails_is_not_tried_again(self, settings: Settings, shared: Path) -> None:
        """A result is final, whatever it says."""
        drive = Drive(shared, settings, self.patience)
        run = drive.job("a", steps=2, fails=True)
        drive.until(lambda: not drive.open_jobs())
        result = run.result()
        assert result is not None
        assert result.status == "failed"
        assert run.newest_attempt() == 1

    def test_workers_that_never_begin_end_the_job(self, settings: Settings, shared: Path) -> None:
        """After as many as the settings allow, the job has failed, and says so."""
        drive = Drive(shared, settings, self.patience, worker="ftspec.no_such_worker")
        run = drive.job("a", steps=2)
        drive.until(run.result)
        result = run.result()
        assert result is not None
        assert result.error is not None
        assert result.error.code == "worker_lost"

    def test_several_jobs_all_end(self, settings: Settings, shared: Path) -> None:
        """More jobs than places wait for their turn."""
        drive = Drive(shared, settings, self.patience)
        runs = [drive.job(f"job{number}", steps=2, created_at=number) for number in range(5)]
        drive.until(lambda: all(run.result() for run in runs))
        assert [run.newest_attempt() for run in runs] == [1] * 5

    def test_a_submission_made_twice_starts_one_worker(self, settings: Settings, shared: Path) -> None:
        """A reply that was lost costs nothing: one worker takes it up, whatever was started."""
        run = Drive(shared, settings, self.patience).folder("a", steps=10)
        made = executor(settings)
        submission = Submission(run=run.path, number=1, command=(sys.executable, "-m", TOY, str(run.path), "1"))
        handles = [made.submit(submission, slot=0), made.submit(submission, slot=0)]
        end = time.monotonic() + self.patience
        while (places := {made.poll(handle) for handle in handles}) != {"gone"}:
            assert time.monotonic() < end
            assert "gone" not in places or run.result() is not None
            time.sleep(0.1)
        assert run.newest_attempt() == 1

    def test_a_submission_that_was_given_up_never_begins(self, settings: Settings, shared: Path) -> None:
        """What a cluster starts late, or once more, leaves the job to the submission after it."""
        drive = Drive(shared, settings, self.patience)
        run = drive.folder("a", steps=3)
        assert claims.give_up(run.path, 1)
        handle = drive.executor.submit(Submission(run=run.path, number=1, command=(sys.executable, "-m", TOY, str(run.path), "1")), slot=0)
        end = time.monotonic() + self.patience
        while drive.executor.poll(handle) != "gone":
            assert time.monotonic() < end
            time.sleep(0.1)
        assert run.newest_attempt() == 0


class Drive:
    """A root with its executor, swept until something holds."""

    def __init__(self, root: Path, settings: Settings, patience: float, *, worker: str = TOY) -> None:
        self.root = root
        self.patience = patience
        self.executor = executor(settings)
        self.reconciler = Reconciler(root, settings, self.executor, worker=worker)

    def folder(self, name: str, *, steps: int, fails: bool = False, dies_at: int = 0, created_at: int = 0) -> LocalRun:
        """Return the run folder of a toy job, whose first worker may die at a step. Names are unique in the world: clusters remember them."""
        run = self.reconciler.run(f"ftjob-{name}-{hashlib.sha256(str(self.root).encode()).hexdigest()[:12]}")
        run.create()
        run.describe({"created_at": created_at, "steps": steps, "fails": fails, "dies_at": dies_at})
        return run

    def job(self, name: str, **about: Any) -> LocalRun:
        """Have a toy job looked after."""
        run = self.folder(name, **about)
        self.reconciler.open(run.path.name)
        self.reconciler.sweep()
        return run

    def open_jobs(self) -> list[str]:
        """Return the jobs that are still looked after."""
        return [path.name for path in (self.root / "open").iterdir()]

    def until(self, holds: Callable[[], object]) -> None:
        """Sweep until it holds."""
        end = time.monotonic() + self.patience
        while not holds():
            assert time.monotonic() < end, self._logs()
            time.sleep(0.1)
            self.reconciler.sweep()

    @staticmethod
    def kill(run: LocalRun) -> None:
        """Kill the worker that owns a job, on this machine."""
        import json

        card = json.loads((run.path / "attempts" / f"{run.newest_attempt():04d}").read_text())
        os.kill(card["pid"], signal.SIGKILL)

    def _logs(self) -> str:
        return "\n".join(path.read_text()[-1000:] for path in self.root.rglob("worker.log"))


def _reached(run: LocalRun) -> int:
    """Return the last step that was saved."""
    resume = run.resume_folder()
    return resume[0] if resume else 0
