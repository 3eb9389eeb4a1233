"""Workers as processes of this machine: one a slot, each with its own GPU and its share of the cores.

A worker is a session of its own, so it outlives whoever started it. Whether it lives, its claim says
(`claims`); until it has one, its process id and start time do.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftspec.server.trainers.local.claims import claim, held, started
from ftspec.server.trainers.local.executors import Handle, Placement, Submission

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftspec.server.trainers.local.settings import Settings

_CHILDREN: dict[int, subprocess.Popen[bytes]] = {}
"""The workers that this process started: it must collect them when they end."""


class LocalExecutor:
    """Processes of this machine."""

    def __init__(self, settings: Settings) -> None:
        self._gpus = _gpus(settings)
        self.slots: int | None = settings.slots or max(1, len(self._gpus))
        self.cpus = settings.cpus or max(1, (os.cpu_count() or 1) // self.slots)

    def problem(self) -> str | None:
        """Nothing is needed."""
        return None

    def submit(self, submission: Submission, *, slot: int) -> Handle:
        """Start a process, unless a worker has taken this submission up."""
        here = {"run": str(submission.run), "number": submission.number}
        if (known := claim(submission.run, submission.number)) is not None:
            return {"pid": known.pid, "started": known.started, "host": known.host, **here}
        devices = str(self._gpus[slot % len(self._gpus)]) if self._gpus else ""
        environment = {
            **inherited(os.environ),
            **submission.environment,
            "OMP_NUM_THREADS": str(self.cpus),
            "CUDA_VISIBLE_DEVICES": devices,
        }
        with (submission.run / "worker.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 the interpreter that the user configured
                submission.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=submission.run,
                start_new_session=True,
            )
        _CHILDREN[process.pid] = process
        return {"pid": process.pid, "started": started(process.pid), "host": os.uname().nodename, **here}

    def poll(self, handle: Handle) -> Placement:
        """Return whether the process lives."""
        child = _CHILDREN.get(handle["pid"])
        if child is not None and child.poll() is not None:
            del _CHILDREN[handle["pid"]]
        return "running" if _lives(handle) or held(Path(handle["run"]), handle["number"]) else "gone"

    def cancel(self, handle: Handle, *, force: bool = False) -> None:
        """Ask the process and its children to end (`force`: end them)."""
        known = claim(Path(handle["run"]), handle["number"])
        worker = asdict(known) if known is not None else handle
        if _lives(worker):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(worker["pid"], signal.SIGKILL if force else signal.SIGTERM)


def _lives(worker: Mapping[str, Any]) -> bool:
    """Whether a process of this machine is still the one that was meant."""
    known = worker["pid"] is not None and worker["started"] is not None and worker["host"] == os.uname().nodename
    return known and started(worker["pid"]) == worker["started"]


def executor(settings: Settings) -> LocalExecutor:
    """Return the executor."""
    return LocalExecutor(settings)


def inherited(environ: os._Environ[str] | dict[str, str]) -> dict[str, str]:
    """Return the environment that a worker gets: no secrets of engines, which it has no use for."""
    return {
        name: value
        for name, value in environ.items()
        if name == "HF_TOKEN" or not name.upper().endswith(("_KEY", "_TOKEN", "_SECRET", "_PASSWORD", "_CREDENTIALS"))
    }


def _gpus(settings: Settings) -> tuple[int | str, ...]:
    """Return the GPUs to hand out: those of the settings, of `CUDA_VISIBLE_DEVICES`, or all."""
    if isinstance(settings.gpus, tuple):
        return settings.gpus
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        found: tuple[int | str, ...] = tuple(word for word in visible.split(",") if word.strip() and word.strip() != "-1")
    elif shutil.which("nvidia-smi"):
        found = tuple(range(len([path for path in Path("/dev").glob("nvidia[0-9]*") if path.name[6:].isdigit()])))
    else:
        found = ()
    return found if settings.gpus is None else found[: settings.gpus]
