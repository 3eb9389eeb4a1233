"""Who took a submission up: at most one worker, whatever was started twice.

```
runs/ftjob-.../  submissions/0001   who answers for the first submission; created once, never changed
```

A submission has its number before anything is started for it (`handle.json`). Whatever is started
claims it first: a file that is created once and stays locked, by the operating system's word, while
its worker lives. A worker that comes second leaves. Whoever looks after the job claims a submission
himself before he makes the next one: what was started and has not begun by then (a process that is
still loading, a job that a cluster revives) never will.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from ftspec.server.durable import create_durably, sync_folder

_HELD: list[int] = []
"""Locks that this process holds until it ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The worker that took a submission up: process, when that began, machine. No process: the submission was given up."""

    pid: int | None
    started: str | None
    host: str


def take(run: Path, number: int) -> bool:
    """Take a submission up, for as long as this process lives; `False`: it is somebody else's, or was given up."""
    place, mine = _place(run, number), Claim(pid=os.getpid(), started=started(os.getpid()), host=os.uname().nodename)
    known = claim(run, number)
    if known is not None:
        return known == mine  # a worker that replaced itself
    place.parent.mkdir(exist_ok=True)
    temporary = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        os.write(handle, json.dumps(asdict(mine)).encode())
        os.fsync(handle)
        place.hardlink_to(temporary)
    except FileExistsError:
        os.close(handle)
        return False
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(place.parent)
    os.set_inheritable(handle, True)  # noqa: FBT003 a worker that replaces itself keeps it
    _HELD.append(handle)
    return True


def give_up(run: Path, number: int) -> bool:
    """See to it that no worker takes a submission up any more; `False`: one has."""
    place = _place(run, number)
    place.parent.mkdir(exist_ok=True)
    nobody = Claim(pid=None, started=None, host=os.uname().nodename)
    if create_durably(place, json.dumps(asdict(nobody)).encode()):
        return True
    known = claim(run, number)
    return known is not None and known.pid is None


def claim(run: Path, number: int) -> Claim | None:
    """Return who answers for a submission; `None`: nobody yet."""
    try:
        return Claim(**json.loads(_place(run, number).read_bytes()))
    except FileNotFoundError:
        return None


def held(run: Path, number: int) -> bool:
    """Whether the worker that took a submission up lives, on whatever machine."""
    try:
        handle = os.open(_place(run, number), os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


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


def _place(run: Path, number: int) -> Path:
    return run / "submissions" / f"{number:04d}"
