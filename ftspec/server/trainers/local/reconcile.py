"""What should run, made so: level-triggered, by whoever looks, under one lock for a root.

`sweep` compares every open job with its worker: one that vanished is started again (at most
`max_attempts` times), one that was put down in order goes on when it should, and waiting jobs get
free slots in the order in which they were bought. Nothing here is kept in memory.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from ftspec.server.durable import exclusive
from ftspec.server.trainers.base import JobFailure
from ftspec.server.trainers.local import claims
from ftspec.server.trainers.local.executors import Submission
from ftspec.server.trainers.local.run import LocalRun
from ftspec.server.trainers.run_folder import failed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ftspec.server.trainers.local.executors import Executor, Placement
    from ftspec.server.trainers.local.settings import Settings
    from ftspec.server.trainers.run_folder import Result

log = logging.getLogger("ftspec.server.local")

_GRACE = 60
_PAUSE = 0.3
WORKER = "ftspec.server.trainers.local.worker"


class Reconciler:
    """Keeps the jobs of one root going. `worker` is the module that works on a run folder."""

    def __init__(
        self, root: Path, settings: Settings, executor: Executor, *, worker: str = WORKER, now: Callable[[], float] = time.time
    ) -> None:
        self._root = root
        self._settings = settings
        self._executor = executor
        self._worker = worker
        self._now = now
        self._open = root / "open"

    def run(self, job_id: str) -> LocalRun:
        """Return the folder of a job."""
        return LocalRun(self._root / "runs" / job_id)

    def open(self, job_id: str) -> None:
        """Have a described job looked after."""
        self._open.mkdir(parents=True, exist_ok=True)
        (self._open / job_id).touch()

    def sweep(self) -> None:
        """Look after all open jobs, unless another process is doing so."""
        if not self._open.is_dir():
            return
        with exclusive(self._root / "sweep.lock", wait=False) as held:
            if held:
                self._sweep()

    def _sweep(self) -> None:
        waiting: list[LocalRun] = []
        taken: set[int] = set()
        for path in self._open.iterdir():
            run = self.run(path.name)
            handle = run.handle()
            placement = self._placement(run, handle)
            if placement != "gone" or (_in_doubt(handle) and not run.paused):
                taken.add(handle["slot"])
            if (result := run.result()) is not None:
                self._settle(path, run, result, alive=placement != "gone")
            elif placement == "gone" and not run.paused and run.described and not self._given_up(run):
                waiting.append(run)
        waiting.sort(key=lambda run: (run.description()["created_at"], run.path.name))
        for run in waiting:
            slot = next(number for number in range(len(taken) + 1) if number not in taken)
            if _in_doubt(handle := run.handle()):
                slot = handle["slot"]  # a worker may be there already
            elif self._executor.slots is not None and slot >= self._executor.slots:
                continue
            self._submit(run, slot)
            taken.add(slot)

    def _placement(self, run: LocalRun, handle: Mapping[str, Any]) -> Placement:
        """Return where a worker is; once it is `gone`, none will begin any more under the same submission."""
        if not handle.get("handle"):
            return "gone"
        placement = self._executor.poll(handle["handle"])
        if placement == "gone" and not claims.give_up(run.path, handle["submission"]):
            placement = self._executor.poll(handle["handle"])  # a worker may have begun after the first look
        return placement

    def _settle(self, path: Path, run: LocalRun, result: Result, *, alive: bool) -> None:
        """Forget a job that has ended, once its worker has, too."""
        if not alive:
            path.unlink(missing_ok=True)
            run.tidy()
        elif result.status == "cancelled" and not (handle := run.handle()).get("cancelled"):
            self._executor.cancel(handle["handle"])
            run.set_handle({**handle, "cancelled": True})
        elif self._now() - result.finished_at > _GRACE:
            self._executor.cancel(run.handle()["handle"], force=True)

    def _given_up(self, run: LocalRun) -> bool:
        """Count a worker that vanished; too many of them end the job."""
        handle = run.handle()
        if not handle.get("handle"):
            return False
        ended = run.ended_attempts()
        lost = handle["lost"] + (ended == handle["ended"])
        if lost > handle["lost"]:
            log.warning("a worker vanished", extra={"job": run.path.name, "lost": lost})
        run.set_handle({**handle, "handle": None, "slot": None, "lost": lost, "ended": ended, "submission": handle["submission"] + 1})
        if lost < self._settings.max_attempts:
            return False
        message = f"{lost} workers vanished without a word; `worker.log` in the job's folder may say why."
        run.finish(failed(JobFailure(code="worker_lost", message=message), now=self._now()))
        return True

    def _submit(self, run: LocalRun, slot: int) -> None:
        handle = {"submission": 1, "lost": 0, "ended": 0, **run.handle(), "handle": None, "slot": slot}
        run.set_handle(handle)  # its number and slot are known before it is made: made again after a crash, it is the same
        gpus = self._settings.gpus if isinstance(self._settings.gpus, int) else 1
        unseen = {} if gpus else {"CUDA_VISIBLE_DEVICES": ""}  # a node may show its GPUs to everybody
        # A thread that spins while it waits takes the core from those that it waits for: on a busy machine 80 times as slow.
        waiting = {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE")}
        submission = Submission(
            run=run.path,
            number=handle["submission"],
            command=(self._settings.python or sys.executable, "-P", "-m", self._worker, str(run.path), str(handle["submission"])),
            environment={"HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1", **waiting, **unseen},
            cpus=self._settings.cpus or 4,
            gpus=gpus,
        )
        try:
            placed = self._executor.submit(submission, slot=slot)
        except OSError as error:  # the backend is away: the next sweep tries again, under the same number
            log.warning("cannot submit", extra={"job": run.path.name, "error": type(error).__name__})
            words = f"The job cannot be submitted yet: {error}"[:300]
            if handle.get("refused") != words:
                run.say(words, now=self._now(), level="warn")
                run.set_handle({**handle, "refused": words})
            return
        run.set_handle({**handle, "handle": dict(placed)})
        log.info("submitted", extra={"job": run.path.name, "submission": submission.name})


def _in_doubt(handle: Mapping[str, Any]) -> bool:
    """Whether a submission was begun and nobody knows whether it was made."""
    return handle.get("slot") is not None and not handle["handle"]


class Sweeper:
    """Sweeps in a thread of its own whenever somebody pokes it: a cluster that is slow to answer delays no request."""

    def __init__(self, sweep: Callable[[], None]) -> None:
        self._sweep = sweep
        self._poked = threading.Event()
        self._stopping = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def poke(self) -> None:
        """Have everything looked at soon."""
        self._poked.set()
        with self._starting:
            if self._thread is None and not self._stopping.is_set():
                self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Look at everything once more if somebody asked, and stop."""
        self._stopping.set()
        with self._starting:
            thread = self._thread
        if thread is not None:
            self._poked.set()
            thread.join(_GRACE)

    def _run(self) -> None:
        while True:
            self._poked.wait()
            self._poked.clear()
            last = self._stopping.is_set()
            try:
                self._sweep()
            except Exception:
                log.exception("cannot look after the jobs")
            if last:
                return
            self._stopping.wait(_PAUSE)
