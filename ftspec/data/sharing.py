"""Sharing the pass over a large file between processes.

The file is cut into ranges, dealt round to worker processes that write reports to their
standard output; a thread for each reads them, and reports come out in the order of the file, so
that the result is the same as that of one process. Workers are started as
`python -P -m ftspec.data.worker` (never by forking, never importing the caller's main module or
anything from the current folder) and inherit the open file, so that they read what was checked.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from queue import Queue
from typing import TYPE_CHECKING, cast

import msgspec

from ftspec.data.rows import BadFile
from ftspec.data.scan import Order
from ftspec.data.tally import Report

if TYPE_CHECKING:
    from typing import IO

    from ftspec.data.rows import RowFile

RANGE = 2 << 20
WORTH = 64 << 20
"""Below this size starting workers takes longer than it saves."""
WORTH_TOKENS = 16 << 20
"""The same where tokens are counted, which is ten times slower."""
_AHEAD = 2
_SEED = str(int.from_bytes(os.urandom(4), "big"))
"""What the hashes of all workers start from; nobody who writes a dataset can know it."""


class WorkerLost(Exception):
    """A worker ended before its work was done; one process can still do it all."""


class Job(msgspec.Struct, kw_only=True):
    """What a worker is told."""

    order: Order
    descriptor: int
    ranges: list[tuple[int, int]]


class Answer(msgspec.Struct, kw_only=True):
    """What a worker says about one range: a report, or why the file is bad."""

    report: Report | None = None
    code: str = ""
    message: str = ""


def workers_for(size: int, *, tokens: bool) -> int:
    """Return how many processes a file of this size is worth; 1 means this one alone."""
    if size < (WORTH_TOKENS if tokens else WORTH) or not hasattr(os, "pread") or not sys.executable:
        return 1
    given = os.environ.get("FTSPEC_DATA_WORKERS", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(int(given) if given.isdigit() else cores, 8, size // RANGE))


def shared_reports(file: RowFile, order: Order, *, workers: int, size: int) -> Iterator[Report]:
    """Yield the reports of all ranges of a file, in order (`BadFile` as a single process would, `WorkerLost`)."""
    ranges = [(start, min(start + RANGE, size)) for start in range(0, size, RANGE)]
    started: list[_Worker] = []
    try:
        started += [_Worker(Job(order=order, descriptor=file.descriptor, ranges=ranges[number::workers])) for number in range(workers)]
        for position in range(len(ranges)):
            answer = started[position % workers].next()
            if answer is None:
                raise WorkerLost
            if answer.report is None:
                raise BadFile(answer.code, answer.message)
            yield answer.report
    finally:
        for worker in started:
            worker.stop()


class _Worker:
    """One process, and the thread that reads it."""

    def __init__(self, job: Job) -> None:
        command = [sys.executable, "-P", "-m", "ftspec.data.worker"]
        self._process = subprocess.Popen(  # noqa: S603 our own interpreter and module
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(job.descriptor,),
            env=_environment(),
        )
        self._stdout: IO[bytes] = cast("IO[bytes]", self._process.stdout)
        with contextlib.suppress(BrokenPipeError), cast("IO[bytes]", self._process.stdin) as given:
            given.write(msgspec.msgpack.encode(job))
        self._answers: Queue[Answer | None] = Queue(maxsize=_AHEAD)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def next(self) -> Answer | None:
        return self._answers.get()

    def stop(self) -> None:
        self._stopped.set()
        self._process.kill()
        while self._thread.is_alive():
            with contextlib.suppress(Exception):
                self._answers.get(timeout=0.01)
        self._process.wait()
        self._stdout.close()

    def _read(self) -> None:
        decode = msgspec.msgpack.Decoder(Answer).decode
        with contextlib.suppress(OSError, ValueError, msgspec.MsgspecError):
            while not self._stopped.is_set():
                head = _exactly(self._stdout, 8)
                if head is None:
                    break
                data = _exactly(self._stdout, int.from_bytes(head, "big"))
                if data is None:
                    break
                self._answers.put(decode(data))
        if not self._stopped.is_set():
            self._answers.put(None)


def _exactly(stream: IO[bytes], size: int) -> bytes | None:
    data = stream.read(size)
    return data if len(data) == size else None


def _environment() -> dict[str, str]:
    """Return the environment of a worker: its own ftspec is the one that runs here, and all hash alike."""
    from pathlib import Path

    import ftspec

    home = str(Path(ftspec.__file__).parent.parent)
    paths = [home, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONHASHSEED": _SEED}
