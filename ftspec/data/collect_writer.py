"""The thread that turns collected calls into rows, and appends them to the file of their dataset."""

from __future__ import annotations

import atexit
import os
import queue
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from ftspec.data.collect_rows import Memory, row_of

WAITING = 2_000
"""How many calls may wait for the thread; further ones are dropped and counted."""

PATIENCE = 2.0
"""Seconds to wait for another process's lock on the file; a whole row can be appended without it, too."""


@dataclass(slots=True)
class Collected:
    """What became of the calls of this process: rows written, calls that are no rows (and why), calls lost to trouble."""

    written: int = 0
    skipped: int = 0
    dropped: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be done with the calls of one client."""

    path: Path
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    redact: bool = False
    reasoning: bool = False
    keep: Callable[[dict[str, Any]], bool] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """One call: what was asked (empty: a call that cannot be a row), where, and the answer: an object, or the bytes heard."""

    asked: dict[str, Any]
    wish: Wish
    origin: str = ""
    streamed: bool = False
    answer: Any = None
    at: float = 0.0

    def with_answer(self, answer: Any) -> Noted:
        """Return the call with its answer, as of now."""
        return replace(self, answer=answer, at=time.time())


class Writer:
    """The queue and the thread of this process. The thread starts with the first call, again after a fork."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start anew: a forked process has neither the thread nor the right to its parent's calls."""
        self._lock = threading.Lock()
        self._queue: queue.Queue[Noted] = queue.Queue(maxsize=WAITING)
        self._thread: threading.Thread | None = None
        self._counts = Collected()
        self._memory = Memory()

    @property
    def is_waited_for(self) -> bool:
        """Whether a response that is made in the background was asked for."""
        return bool(self._memory.background) or bool(self._queue.unfinished_tasks)

    def counts(self) -> Collected:
        """Return the counts as they are now."""
        with self._lock:
            return replace(self._counts, reasons=self._counts.reasons.copy())

    def drop(self) -> None:
        """Count a call that is lost."""
        with self._lock:
            self._counts.dropped += 1

    def put(self, noted: Noted) -> None:
        """Hand over a call without ever waiting."""
        try:
            if self._thread is None:
                self._start()
            self._queue.put_nowait(noted)
        except Exception:  # noqa: BLE001 a full queue, or a process that ends and starts no threads any more
            self.drop()

    def wait(self, timeout: float) -> bool:
        """Wait until nothing is queued; return whether that was so in time."""
        deadline = time.monotonic() + timeout
        while self._queue.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.005)
        return not self._queue.unfinished_tasks

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, args=(self._queue,), name="ftspec-collect", daemon=True)
                thread.start()
                self._thread = thread
                if (processes := sys.modules.get("multiprocessing.util")) is not None:
                    processes.Finalize(None, self.wait, args=(5.0,), exitpriority=10)  # its processes end without `atexit`

    def _run(self, calls: queue.Queue[Noted]) -> None:
        while True:
            noted = calls.get()
            try:
                row = row_of(noted, self._memory)
                if isinstance(row, dict):
                    append(noted.wish.path, msgspec.json.encode(row) + b"\n")
                    self._count(written=1)
                elif row is not None:
                    self._count(skipped=1, reason=row.reason)
            except Exception:  # noqa: BLE001 whatever it is, it must not reach the caller
                self.drop()
            finally:
                calls.task_done()
                del noted

    def _count(self, *, written: int = 0, skipped: int = 0, reason: str | None = None) -> None:
        with self._lock:
            self._counts.written += written
            self._counts.skipped += skipped
            if reason is not None:
                self._counts.reasons[reason] += 1


def append(path: Path, line: bytes) -> None:
    """Append one line in one piece, whoever else writes to the file, and also after a line that a power loss tore."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    locked = False
    try:
        locked = _lock(descriptor)
        end = os.lseek(descriptor, 0, os.SEEK_END)
        if end:
            os.lseek(descriptor, end - 1, os.SEEK_SET)
            if os.read(descriptor, 1) != b"\n":
                line = b"\n" + line
        written = os.write(descriptor, line)
        if written != len(line):
            if locked:
                os.ftruncate(descriptor, end)  # a full disk must not leave half a row
            raise OSError("the row could not be written whole")
    finally:
        if locked:
            _unlock(descriptor)
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Lock a file; return whether that went well in time."""
    with suppress(ImportError, OSError):
        import fcntl

        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.002)
            else:
                return True
    return False


def _unlock(descriptor: int) -> None:
    """Unlock in so many words: a process forked meanwhile has the descriptor too, and closing this one would leave its lock."""
    with suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_UN)


writer = Writer()
atexit.register(lambda: writer.wait(5.0))
