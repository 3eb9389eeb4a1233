"""Who this process is, and when things happen, as state writes them."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import msgspec

from ftspec.state.base import Holder


def this_process(command: str = "") -> Holder:
    """Return this process as others should see it. A user without a name is shown by number."""
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return Holder(user=user, host=socket.gethostname(), pid=os.getpid(), command=command, since="")


def holder_of(content: bytes) -> Holder | None:
    """Return what a lock file says, if it says anything."""
    try:
        return msgspec.json.decode(content, type=Holder)
    except (ValueError, RecursionError):
        return None


def timestamp(seconds: float) -> str:
    """Return Unix seconds as state writes times: UTC, milliseconds, `Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def age(since: str, *, now: float) -> str | None:
    """Return how long ago a time is, for people; clocks may disagree, but nothing is older than now."""
    try:
        seconds = max(0.0, now - datetime.fromisoformat(since).timestamp())
    except ValueError:
        return None
    for length, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {name}{'s' if count > 1 else ''}"
    return f"{int(seconds)} s"


def just_after(at: str) -> str:
    """Return the next millisecond, as a text that sorts after `at`."""
    try:
        seconds = datetime.fromisoformat(at).timestamp()
    except ValueError:
        return at + "0"
    return next(text for text in (timestamp(seconds + 0.001), timestamp(seconds + 1), at + "0") if text > at)


@contextmanager
def without_collection() -> Iterator[None]:
    """Make many objects that live on, without the garbage collector looking at them again and again."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
