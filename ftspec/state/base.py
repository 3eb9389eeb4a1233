"""The interface of a state backend.

A backend reads a `State` at any time without a lock, and lets one writer at a time append
facts. A fact is durable (fsync, or the backend's equal) before `append` returns. Facts are
partial records: `JobFact(key, attempt number, what changed)`. They are joined by
`ftspec.state.fold`; a backend never decides what a fact means.

`ftspec.testing.state.StateConformance` is the proof of a backend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from ftspec.diagnostics import FtspecError
from ftspec.printable import printable

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ftspec.diagnostics import Diagnostic
    from ftspec.record import State


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds the lock: shown to those who find it taken."""

    user: str
    host: str
    pid: int
    command: str
    since: str


class StateLocked(FtspecError):
    """Another process writes. `age` is how long it has held the lock, where that is known."""

    exit_code = 6

    def __init__(self, holder: Holder | None, *, age: str | None = None) -> None:
        self.holder = holder
        if holder is None:
            sentence = "state is locked by another process, which has not said who it is"
        else:
            who = printable(f"{holder.user}@{holder.host}")
            since = f"for {age}" if age else f"since {printable(holder.since)}"
            sentence = f"state is locked by {who}: `{printable(holder.command)}` (pid {holder.pid}) has held it {since}"
        super().__init__(sentence, help="wait until it ends; the lock is free as soon as that process is gone")


class JobFact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="job", tag_field="fact"):
    """Something learned about one attempt of a job (`attempt` 0: about the job itself).

    `job` holds members of `RecordedJob` (address, engine, scope, preimage, suffix, tags,
    protected, forgotten), `values` of `Attempt` without `number`. `at` is the writer's clock,
    RFC 3339 in UTC with milliseconds and `Z`. A member that is not mentioned stays; `None`
    takes a value back. Attempts count from 1.

    A writer adds what the fact leaves open: the `status` and `engine_job_id` that the attempt
    has, and a later `at` where its record already knows a newer time. A second engine id for an
    attempt is simply a fact that names it (with `created_at` and `status`).
    """

    key: str
    at: str
    attempt: int = 0
    values: dict[str, Any] = {}
    job: dict[str, Any] = {}


class FileFact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="file", tag_field="fact"):
    """Something learned about a file: members of `RecordedFile`."""

    scope: str
    digest: str
    at: str
    values: dict[str, Any] = {}


class EvalFact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="eval", tag_field="fact"):
    """Something learned about an eval run: members of `RecordedEval`."""

    key: str
    at: str
    values: dict[str, Any] = {}


Fact = JobFact | FileFact | EvalFact


class StateWriter(Protocol):
    """The right to write, held by one process at a time."""

    def append(self, *facts: Fact) -> None:
        """Make facts durable, in order (one write, one sync). Raises `OSError` when it could not: nothing may be bought then."""
        ...

    def read(self) -> State:
        """Return the state with everything appended so far."""
        ...

    def compact(self) -> None:
        """Fold all segments into the base files (`apply` does at its end outside of git and on the default branch)."""
        ...


class StateBackend(Protocol):
    """Where one project's records are."""

    def read(self) -> tuple[State, list[Diagnostic]]:
        """Return everything recorded, and what was odd about it (torn tails, duplicates). Errors: bad lines."""
        ...

    def lock(self, command: str) -> AbstractContextManager[StateWriter]:
        """Become the writer. Raises `StateLocked` (exit 6) that names the holder; `FtspecError` where nothing can be written."""
        ...

    def holder(self) -> Holder | None:
        """Return who writes now, if anybody."""
        ...
