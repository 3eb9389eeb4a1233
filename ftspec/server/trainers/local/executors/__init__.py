"""Where workers run: one file for each kind, found by name.

An executor has three verbs. It never says that a job succeeded: only the run folder does. Logs,
events and results are files of the run folder, which every machine that trains must see.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from ftspec.server.trainers.local.settings import Settings

Placement = Literal["queued", "running", "gone"]
Handle = Mapping[str, Any]
"""What an executor needs to find a submission again: JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A worker to start: `command` with `environment` on top of the machine's own, for the job in `run`.

    A submission may be made twice: where whoever made it died before he knew that he had. Of the
    workers that are started for it one takes it up (`claims`), the others leave.
    """

    run: Path
    number: int
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    cpus: int = 1
    gpus: int = 0

    @property
    def name(self) -> str:
        """What backends call it: where one refuses a name twice, a repeated submit starts nothing."""
        return f"{self.run.name}-{self.number}"


class Executor(Protocol):
    """Starts workers somewhere."""

    slots: int | None
    """How many it takes at once; `None`: it has a queue of its own."""

    def problem(self) -> str | None:
        """Return what keeps it from being used here."""
        ...

    def submit(self, submission: Submission, *, slot: int) -> Handle:
        """Start a worker; asked again with the same number, return the first one's handle where that can be known."""
        ...

    def poll(self, handle: Handle) -> Placement:
        """Return whether a worker waits, runs, or is gone (for whatever reason)."""
        ...

    def cancel(self, handle: Handle, *, force: bool = False) -> None:
        """Ask a worker to end (`force`: end it); one that is gone is fine."""
        ...


def executor(settings: Settings) -> Executor:
    """Return the executor that the settings name."""
    module = importlib.import_module(f"{__name__}.{settings.executor}")
    made: Executor = module.executor(settings)
    return made
