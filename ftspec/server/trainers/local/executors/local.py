"""Workers as processes of this machine: one a slot, each with its own GPU and its share of the cores.

A worker is a session of its own, so it outlives whoever started it. Whether it lives, its claim says
(`claims`); until it has one, its process id and start time do.
"""

from __future__ import annotations

import contextlib
import os
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
        self._wanted = settings.gpus
        self._present = present(os.environ)
        self._gpus = handed_out(settings.gpus, self._present)
        self.slots: int | None = settings.slots or max(1, len(self._gpus))
        self.cpus = settings.cpus or max(1, (os.cpu_count() or 1) // self.slots)

    def problem(self) -> str | None:
        """Return which GPUs are missing."""
        if isinstance(self._wanted, tuple):
            missing = [str(one) for one in self._wanted if str(one) not in self._present]
            known = all(one.isdecimal() for one in self._present)
            return f"`gpus` names {', '.join(missing)}, and this machine shows {_shown(self._present)}." if missing and known else None
        if (self._wanted or 0) > len(self._present):
            return f"`gpus` asks for {self._wanted}, and this machine shows {_shown(self._present)}."
        return None

    def submit(self, submission: Submission, *, slot: int) -> Handle:
        """Start a process, unless a worker has taken this submission up."""
        here = {"run": str(submission.run), "number": submission.number}
        if (known := claim(submission.run, submission.number)) is not None:
            return {"pid": known.pid, "started": known.started, "host": known.host, **here}
        environment = {
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # numbers mean what `nvidia-smi` shows
            **inherited(os.environ),
            **submission.environment,
            "OMP_NUM_THREADS": str(self.cpus),
            "CUDA_VISIBLE_DEVICES": self._gpus[slot % len(self._gpus)] if self._gpus else "",
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


def present(environ: Mapping[str, str], *, devices: Path = Path("/dev")) -> tuple[str, ...]:
    """Return the GPUs that this process may use: those of `CUDA_VISIBLE_DEVICES`, else all of NVIDIA's."""
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(word for one in visible.split(",") if (word := one.strip()) and word != "-1")
    return tuple(str(number) for number, _ in enumerate(path for path in devices.glob("nvidia[0-9]*") if path.name[6:].isdecimal()))


def handed_out(wanted: tuple[int, ...] | int | None, found: tuple[str, ...]) -> tuple[str, ...]:
    """Return the GPUs that jobs get, one each: those named, or as many as wanted of those found."""
    return tuple(map(str, wanted)) if isinstance(wanted, tuple) else found[:wanted]


def _shown(gpus: tuple[str, ...]) -> str:
    return f"{len(gpus)} ({', '.join(gpus)})" if gpus else "none"
