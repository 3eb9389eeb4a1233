"""Workers as processes of this machine: one a slot, each with its own GPU and its share of the cores.

A worker is a session of its own, so it outlives whoever started it; the next process finds it
again by process id and start time.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from ftspec.server.trainers.local.executors import Handle, Placement, Submission

if TYPE_CHECKING:
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
        """Start a process."""
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
        return {"pid": process.pid, "started": started(process.pid), "host": os.uname().nodename}

    def poll(self, handle: Handle) -> Placement:
        """Return whether the process lives."""
        pid = handle["pid"]
        child = _CHILDREN.get(pid)
        if child is not None and child.poll() is not None:
            del _CHILDREN[pid]
        return "running" if handle["started"] is not None and started(pid) == handle["started"] else "gone"

    def cancel(self, handle: Handle, *, force: bool = False) -> None:
        """Ask the process and its children to end (`force`: end them)."""
        if self.poll(handle) == "running":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(handle["pid"], signal.SIGKILL if force else signal.SIGTERM)


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


def started(pid: int) -> str | None:
    """Return when a living process began, in whatever unit the system has; `None`: there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None if Path("/proc/self/stat").exists() else _started_by_ps(pid)
    return None if fields[0] in {"Z", "X"} else fields[19]


def _started_by_ps(pid: int) -> str | None:
    done = subprocess.run(  # noqa: S603
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    state, _, began = done.stdout.strip().partition(" ")
    return began.strip() if done.returncode == 0 and state and "Z" not in state else None


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
