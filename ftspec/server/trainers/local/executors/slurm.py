"""Workers as Slurm jobs, by `sbatch`, `squeue` and `scancel`: the run folders lie where every node sees them.

Slurm queues and places; trying again is ours alone (`--no-requeue`). A controller that does not
answer says nothing about a job, so its jobs count as running until it answers.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import threading
import time
from typing import TYPE_CHECKING

from ftspec.server.trainers.local.executors.local import inherited

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ftspec.server.trainers.local.executors import Handle, Placement, Submission
    from ftspec.server.trainers.local.settings import Settings

_WAITING = frozenset({"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT"})
_LIVING = frozenset({"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING", "STAGE_OUT"})
_SECONDS = 60
_FRESH = 1.0


class SlurmExecutor:
    """Jobs of the Slurm cluster that this machine submits to."""

    slots: int | None = None

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._listed: tuple[float, dict[str, str]] | None = None

    def problem(self) -> str | None:
        """Return which of Slurm's commands are missing here."""
        missing = [name for name in ("sbatch", "squeue", "scancel") if shutil.which(name) is None]
        return f"Slurm's {', '.join(f'`{name}`' for name in missing)} cannot be found on this machine." if missing else None

    def submit(self, submission: Submission, *, slot: int) -> Handle:  # noqa: ARG002 Slurm places
        """Submit a job; one of this name that Slurm still knows is not submitted again."""
        known = self._ask(["squeue", "--noheader", "--states=all", "--format=%i", f"--name={submission.name}"]).split()
        if known:
            return {"job": known[0]}
        exports = "".join(
            f"export {name}={shlex.quote(value)}\n"
            for name, value in {**submission.environment, "OMP_NUM_THREADS": str(submission.cpus)}.items()
        )
        script = f"#!/bin/sh\n{exports}exec {shlex.join(submission.command)}\n"
        answer = self._ask(["sbatch", *self._arguments(submission)], script=script)
        with self._lock:
            self._listed = None
        return {"job": answer.strip().partition(";")[0]}

    def poll(self, handle: Handle) -> Placement:
        """Return where Slurm says the job is."""
        try:
            state = self._states().get(handle["job"], "")
        except OSError:
            return "running"
        return "queued" if state in _WAITING else "running" if state in _LIVING else "gone"

    def cancel(self, handle: Handle, *, force: bool = False) -> None:
        """Cancel the job: Slurm asks it to end, and ends it after its own grace."""
        try:
            self._ask(["scancel", *(["--signal=KILL", "--full"] if force else []), handle["job"]])
        except OSError:
            return  # it has ended, or the worker sees for itself that the job is cancelled

    def _arguments(self, submission: Submission) -> list[str]:
        own, settings = self._settings.slurm, self._settings
        words = [
            "--parsable",
            "--no-requeue",
            f"--job-name={submission.name}",
            f"--chdir={submission.run}",
            f"--output={submission.run / 'worker.log'}",
            "--open-mode=append",
            f"--cpus-per-task={submission.cpus}",
        ]
        if submission.gpus:
            words.append(f"--gpus={submission.gpus}")
        if settings.memory_gb:
            words.append(f"--mem={round(settings.memory_gb * 1024)}M")
        if settings.time_limit:
            words.append(f"--time={settings.time_limit}")
        words += [f"--{name}={own[name]}" for name in ("partition", "account", "qos", "constraint") if name in own]
        return [*words, *own.get("arguments", [])]

    def _states(self) -> dict[str, str]:
        """Return the state of every job that Slurm knows, asked at most once a second."""
        with self._lock:
            if self._listed is None or time.monotonic() - self._listed[0] > _FRESH:
                lines = self._ask(["squeue", "--noheader", "--states=all", "--format=%i %T"]).splitlines()
                self._listed = (time.monotonic(), dict(line.split()[:2] for line in lines if " " in line.strip()))
            return self._listed[1]

    @staticmethod
    def _ask(words: Sequence[str], *, script: str | None = None) -> str:
        """Return what a command prints; `OSError`: it failed, or did not answer."""
        try:
            done = subprocess.run(  # noqa: S603 Slurm's own commands
                words, input=script, capture_output=True, text=True, timeout=_SECONDS, check=False, env=inherited(os.environ)
            )
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(words[0]) from error
        if done.returncode != 0:
            raise OSError(f"{words[0]}: {done.stderr.strip()[:300]}")
        return done.stdout


def executor(settings: Settings) -> SlurmExecutor:
    """Return the executor."""
    return SlurmExecutor(settings)
