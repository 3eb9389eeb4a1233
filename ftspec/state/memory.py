"""State in memory, for tests and simulations: the same join, no disk.

Several `MemoryState` values can share one `Store`; that is what several processes on one
folder are. Facts pass through their JSON form, so that what cannot be written fails here too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec

from ftspec.diagnostics import Diagnostic
from ftspec.record import State
from ftspec.state.base import EvalFact, Fact, FileFact, Holder, JobFact, StateLocked
from ftspec.state.ledger import Ledger, line_of


@dataclass(slots=True)
class Store:
    """What outlives a process: durable facts, and who holds the lock."""

    base: State = field(default_factory=State)
    lines: list[bytes] = field(default_factory=list)
    holder: Holder | None = None

    def ledger(self) -> Ledger:
        """Return everything in it, joined."""
        ledger = Ledger()
        for records in (self.base.jobs, self.base.files, self.base.evals):
            for record in records.values():
                ledger.add_line(*line_of(record))
        for line in self.lines:
            ledger.add_fact(_DECODER.decode(line))
            ledger.count(line)
        return ledger


class MemoryState:
    """A `StateBackend` without a disk. `holder` describes this process to others."""

    def __init__(self, store: Store | None = None, *, holder: Holder | None = None) -> None:
        self.store = store or Store()
        self._me = holder or Holder(user="someone", host="here", pid=1, command="", since="")

    def read(self) -> tuple[State, list[Diagnostic]]:
        """Return everything recorded, and what is odd about it."""
        ledger = self.store.ledger()
        return ledger.state(), ledger.diagnostics()

    @contextmanager
    def lock(self, command: str) -> Iterator[MemoryWriter]:
        """Become the writer, or raise `StateLocked`."""
        if self.store.holder is not None:
            raise StateLocked(self.store.holder)
        self.store.holder = msgspec.structs.replace(self._me, command=command)
        try:
            yield MemoryWriter(self.store)
        finally:
            self.store.holder = None

    def holder(self) -> Holder | None:
        """Return who writes now."""
        return self.store.holder


class MemoryWriter:
    """The right to write to a `Store`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ledger = store.ledger()

    def append(self, *facts: Fact) -> None:
        """Add facts to the store: all, or none if one of them cannot be right."""
        lines = []
        try:
            for fact in facts:
                lines.append(msgspec.json.encode(self._ledger.settled(fact)))
                self._ledger.add_fact(_DECODER.decode(lines[-1]))
                self._ledger.count(lines[-1])
        except (ValueError, TypeError):
            self._ledger = self._store.ledger()
            raise
        self._store.lines += lines

    def read(self) -> State:
        """Return the state with everything appended so far."""
        return self._ledger.state()

    def compact(self) -> None:
        """Do nothing: there are no segments."""


_DECODER = msgspec.json.Decoder(JobFact | FileFact | EvalFact)
