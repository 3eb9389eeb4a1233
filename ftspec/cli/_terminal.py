"""Terminals that may be closed while a command is at work.

Somebody closes the window, or the connection breaks: the process is told by SIGHUP, and from then
on every write to the terminal fails with EIO. What a command is doing matters more than who reads of
it: calls in flight are recorded, and the exit code is that of the signal. So such a write is no error.
Files and pipes are written to as ever: what cannot be written there is an error.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO


class Terminal:
    """A text stream to a terminal that need not be there any more."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, if anybody is there."""
        with self._may_be_gone():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, if anybody is there."""
        with self._may_be_gone():
            self._stream.flush()

    @contextmanager
    def _may_be_gone(self) -> Iterator[None]:
        """Let the rest go nowhere once the terminal is gone, also what Python flushes as it ends (else it exits with 120)."""
        try:
            yield
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def outlived() -> Iterator[None]:
    """Let stdout and stderr be terminals that may be closed, where they are terminals."""
    before = sys.stdout, sys.stderr
    for name, stream in zip(("stdout", "stderr"), before, strict=True):
        if stream is not None and stream.isatty():
            setattr(sys, name, Terminal(stream))
    try:
        yield
    finally:
        for written in (sys.stdout, sys.stderr):
            if isinstance(written, Terminal):
                written.flush()
        sys.stdout, sys.stderr = before
