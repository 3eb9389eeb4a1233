"""A local job's folder: what every trainer keeps (`RunFolder`), and what lets workers on other machines work on it.

```
runs/ftjob-.../  job.json       what to train, from what, with what; never changed
                 handle.json    the executor's word for the newest submission, and how many workers vanished
                 submissions/0001  who answers for a submission (`claims`)
                 attempts/0001  a worker took the job up: created once, by it; the highest one owns the job
                 attempts/0001.ended   ... and put it down in order
                 micro_batch    how many rows fit, after memory ran out
                 steps.jsonl    figures of each step, for the result file
                 resume/step-50 everything that training goes on from; only the newest is kept
                 work-0001/     what the attempt is writing; nobody else looks at it
                 worker.log     what workers printed
```

A worker that sees a higher attempt than its own stops without a word: two workers of one job,
whatever revived the first, never both write.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
from typing import TYPE_CHECKING, Any

from ftspec.server.durable import create_durably, sync_folder, write_durably
from ftspec.server.trainers.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


class LocalRun(RunFolder):
    """One local job's folder."""

    def describe(self, content: Mapping[str, Any]) -> None:
        """Say what the job is, once."""
        create_durably(self.path / "job.json", json.dumps(content).encode())

    @property
    def described(self) -> bool:
        """Whether the job was submitted to this folder."""
        return (self.path / "job.json").exists()

    def description(self) -> dict[str, Any]:
        """Return what the job is."""
        return self._json("job.json") or {}

    def handle(self) -> dict[str, Any]:
        """Return the newest submission; empty before the first."""
        return self._json("handle.json") or {}

    def set_handle(self, content: Mapping[str, Any]) -> None:
        """Remember a submission."""
        write_durably(self.path / "handle.json", json.dumps(content).encode())

    # Attempts

    def begin_attempt(self, *, now: float) -> int:
        """Take the job up: every worker that had it before loses it."""
        folder = self.path / "attempts"
        folder.mkdir(exist_ok=True)
        while True:
            number = self.newest_attempt() + 1
            card = {"pid": os.getpid(), "host": socket.gethostname(), "started_at": int(now)}
            if create_durably(folder / f"{number:04d}", json.dumps(card).encode()):
                return number

    def newest_attempt(self) -> int:
        """Return the number of the attempt that owns the job; 0 before the first."""
        with contextlib.suppress(FileNotFoundError):
            return max((int(path.name) for path in (self.path / "attempts").iterdir() if path.name.isdigit()), default=0)
        return 0

    def end_attempt(self, number: int, how: str) -> None:
        """Put the job down in order."""
        write_durably(self.path / "attempts" / f"{number:04d}.ended", how.encode())
        shutil.rmtree(self.work_folder(number), ignore_errors=True)

    def decline(self, submission: int) -> None:
        """Put the job down in order before any attempt: it is paused."""
        (self.path / "attempts").mkdir(exist_ok=True)
        write_durably(self.path / "attempts" / f"submission-{submission:04d}.ended", b"paused")

    def ended_attempts(self) -> int:
        """Return how often a worker put the job down in order."""
        return len(list((self.path / "attempts").glob("*.ended")))

    def work_folder(self, number: int) -> Path:
        """Return where an attempt writes."""
        return self.path / f"work-{number:04d}"

    def hold_at_most(self, rows: int) -> None:
        """Remember how many rows fit into memory."""
        write_durably(self.path / "micro_batch", str(rows).encode())

    def rows_held(self) -> int | None:
        """Return how many rows fit into memory, where that was found out."""
        with contextlib.suppress(FileNotFoundError):
            return int((self.path / "micro_batch").read_text())
        return None

    # Going on

    def keep_resume(self, step: int, folder: Path) -> None:
        """Make a complete folder what training goes on from, instead of any earlier one."""
        parent = self.path / "resume"
        parent.mkdir(exist_ok=True)
        sync_tree(folder)
        target = parent / f"step-{step}"
        if not target.exists():
            folder.rename(target)
            sync_folder(parent)
        for other in parent.iterdir():
            if other != target:
                shutil.rmtree(other, ignore_errors=True)

    def resume_folder(self) -> tuple[int, Path] | None:
        """Return the last complete step and its folder."""
        found = sorted((int(folder.name[5:]), folder) for folder in (self.path / "resume").glob("step-*"))
        return found[-1] if found else None

    def add_figures(self, figures: Mapping[str, float]) -> None:
        """Remember the figures of a step."""
        with (self.path / "steps.jsonl").open("a") as file:
            file.write(json.dumps(dict(figures)) + "\n")

    def figures(self, *, before: int | None = None) -> list[dict[str, float]]:
        """Return the figures by step, the newest word on each; with `before`, forget later steps."""
        found: dict[int, dict[str, float]] = {}
        for line in self._lines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                figures = json.loads(line)
                found.setdefault(int(figures["step"]), {}).update(figures)
        if before is not None:
            found = {step: figures for step, figures in found.items() if step <= before}
            write_durably(self.path / "steps.jsonl", "".join(json.dumps(one) + "\n" for one in found.values()).encode())
        return [found[step] for step in sorted(found)]

    def _lines(self) -> Iterator[str]:
        with contextlib.suppress(FileNotFoundError), (self.path / "steps.jsonl").open() as file:
            yield from file

    def tidy(self) -> None:
        """Remove what nobody needs once the job has ended."""
        shutil.rmtree(self.path / "resume", ignore_errors=True)
        for folder in self.path.glob("work-*"):
            shutil.rmtree(folder, ignore_errors=True)


def sync_tree(folder: Path) -> None:
    """Make all files below a folder durable."""
    for path in [*folder.rglob("*"), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
