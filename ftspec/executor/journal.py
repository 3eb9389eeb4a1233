"""State while it is written: after one failed write nothing more is written, so nothing more is bought.

A write or sync that failed is not tried again: the operating system may have dropped the bytes
and report success the second time. What was sent before has a durable intent; the next run reads
state again and settles it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftspec.diagnostics import FtspecError

if TYPE_CHECKING:
    from ftspec.state.base import Fact, StateWriter


class StateNotWritten(FtspecError):
    """A fact could not be made durable. `cause` is the first failure."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(
            f"state could not be written: {cause.strerror or cause}",
            help="nothing more was bought; make room for state, then run the same command again: it finds out what happened",
        )
        self.cause = cause


class Journal:
    """Appends facts through a `StateWriter` until one append fails."""

    def __init__(self, writer: StateWriter) -> None:
        self._writer = writer
        self.failed: StateNotWritten | None = None

    def append(self, *facts: Fact) -> None:
        """Make facts durable (`StateNotWritten`)."""
        if not facts:
            return
        if self.failed is not None:
            raise StateNotWritten(self.failed.cause)
        try:
            self._writer.append(*facts)
        except OSError as error:
            self.failed = StateNotWritten(error)
            raise self.failed from error
