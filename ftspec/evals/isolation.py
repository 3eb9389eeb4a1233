"""User code in its own process, with walls around it.

Every process has an empty environment, an empty folder to stand in, limits on memory, file size
and open files, a wall clock for each call, and no network. The walls, strongest first:

- `bubblewrap`: own namespaces of everything (no network, no other processes), and a read-only
  view of the Python installation alone: neither the project nor the home folder exist.
- `namespace`: own user and network namespaces (`unshare`): no network, but files can be read.
- `process`: limits only; sockets and other programs are refused inside the interpreter, which
  stops honest code and mistakes, not an attacker.

The strongest wall that works on this machine is used and named. `isolation: bubblewrap`
demands that wall: without it the eval is refused, not weakened.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from ftspec.evals.base import GraderStopped
from ftspec.evals.code import WALLS, Code, CodeError, Wall

LIMITS: Final = {"RLIMIT_AS": 2 << 30, "RLIMIT_FSIZE": 0, "RLIMIT_NOFILE": 64, "RLIMIT_CORE": 0}
ENVIRONMENT: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
SECONDS: Final = 20.0
"""How long one call, and loading the code, may take."""
_LONGEST_ANSWER: Final = 1 << 16


def choose_wall(demanded: str | None = None) -> Wall:
    """Return the wall to use. `GraderStopped` where the demanded one does not work here."""
    if demanded is None:
        return next(wall for wall in WALLS if _works(wall))
    wall = next((wall for wall in WALLS if wall == demanded), None)
    if wall is None:
        raise GraderStopped(f"`{demanded}` is not an isolation; there are {', '.join(f'`{one}`' for one in WALLS)}")
    if not _works(wall):
        raise GraderStopped(
            f"the eval demands `isolation: {wall}`, which does not work on this machine",
            help="install bubblewrap (`bwrap`), or change the demand" if wall == "bubblewrap" else "change the demand",
        )
    return wall


@cache
def _works(wall: Wall) -> bool:
    """Whether a process starts behind the wall (a probe: containers often forbid namespaces)."""
    if wall == "process":
        return True
    if shutil.which({"bubblewrap": "bwrap", "namespace": "unshare"}[wall]) is None:
        return False
    try:
        probe = subprocess.run(_command(wall, ["-c", ""]), env={}, cwd="/", capture_output=True, timeout=20, check=False)  # noqa: S603 our own words
    except (OSError, subprocess.TimeoutExpired):
        return False
    return probe.returncode == 0


def _command(wall: Wall, arguments: Sequence[str]) -> list[str]:
    python = [sys.executable, "-I", "-B", *arguments]
    match wall:
        case "process":
            return python
        case "namespace":
            return [_program("unshare"), "--user", "--map-root-user", "--net", "--", *python]
        case "bubblewrap":
            walls = ["--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]
            walls += [word for name, value in ENVIRONMENT.items() for word in ("--setenv", name, value)]
            views = ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--chdir", "/tmp"]  # noqa: S108 a private one
            for folder in _python_folders():
                views += ["--ro-bind", folder, folder]
            for name in ("/lib", "/lib64"):
                path = Path(name)
                if path.is_symlink():
                    views += ["--symlink", str(path.readlink()), name]
                elif path.is_dir():
                    views += ["--ro-bind", name, name]
            return [_program("bwrap"), *walls, *views, "--", *python]


def _program(name: str) -> str:
    return shutil.which(name) or name


def _python_folders() -> list[str]:
    """Return the folders that Python and its packages live in, without those inside another."""
    wanted = {sys.prefix, sys.base_prefix, sys.exec_prefix, "/usr", *sysconfig.get_paths().values()}
    found = sorted({str(Path(folder).resolve()) for folder in wanted} | {folder for folder in wanted if Path(folder).is_dir()}, key=len)
    kept: list[str] = []
    for folder in found:
        if Path(folder).is_dir() and folder != "/" and not any(Path(folder).is_relative_to(other) for other in kept):
            kept.append(folder)
    return kept


class CodeProcess:
    """A process that holds one piece of code and answers calls, one at a time, from any thread.

    It starts with the first call, and again after a call that killed it or took too long.
    """

    def __init__(self, code: Code, *, wall: Wall, seconds: float = SECONDS) -> None:
        self._code, self._wall, self._seconds = code, wall, seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._buffer = b""

    def call(self, *arguments: Any) -> Any:
        """Return what the function returns: a number or a bool (`CodeError`)."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start()
            return self._exchange(arguments)["value"]

    def load(self) -> None:
        """Start the process now, to learn whether the code loads (`CodeError`)."""
        with self._lock:
            self._start()

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _start(self) -> None:
        self._end()
        self._folder = tempfile.TemporaryDirectory(prefix="ftspec-grader-")
        worker = Path(__file__).with_name("code_worker.py").read_text(encoding="utf-8")
        self._process = subprocess.Popen(  # noqa: S603 our own words; the code itself is behind the wall
            _command(self._wall, ["-c", worker]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=dict(ENVIRONMENT), cwd=self._folder.name, start_new_session=True,
        )  # fmt: skip
        self._exchange({"source": self._code.source, "function": self._code.function, "limits": LIMITS})

    def _exchange(self, message: Any) -> dict[str, Any]:
        """Send a line, return the answer to it; end the process where that fails."""
        try:
            line = self._answer_to(json.dumps(message).encode() + b"\n")
            answer = json.loads(line)
        except (CodeError, OSError, ValueError, RecursionError) as error:
            self._end()
            if isinstance(error, CodeError):
                raise
            msg = "the code ended its process"
            raise CodeError(msg) from None
        if not isinstance(answer, dict) or not answer.keys() & {"ready", "value"}:
            text = answer.get("error") if isinstance(answer, dict) else None
            raise CodeError(str(text or "the code wrote into its answer"))
        return answer

    def _answer_to(self, line: bytes) -> bytes:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 `_start` made it
        deadline = time.monotonic() + self._seconds
        process.stdin.write(line)
        process.stdin.flush()
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                msg = f"the code took longer than {self._seconds:g} s"
                raise CodeError(msg)
            chunk = os.read(process.stdout.fileno(), _LONGEST_ANSWER)
            self._buffer += chunk
            if not chunk or len(self._buffer) > _LONGEST_ANSWER:
                msg = "the code ended its process" if not chunk else "the code answered too much"
                raise CodeError(msg)
        answer, _, self._buffer = self._buffer.partition(b"\n")
        return answer

    def _end(self) -> None:
        process, self._process, self._buffer = self._process, None, b""
        if process is not None:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                process.kill()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
            process.wait()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
