"""The folder of one job: everything that a trainer knows about it, and the only truth about its course.

```
runs/ftjob-.../  status.json   how far the attempt under way is (replaced, not synced)
                 events.jsonl  append only
                 checkpoints/step-25/{checkpoint.json, weights...}   complete once it has this name
                 step_metrics.csv   written before the end
                 result.json   the end: exists exactly when the job is terminal; the first writer wins
                 PAUSED        somebody wants it to wait
                 lock          held, by the operating system's word, by whoever trains
```

Readers need no lock. Whoever holds the lock may die at any moment: what it leaves is either
complete or ignored, and the next holder starts over or goes on, as its trainer sees fit.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from ftspec.server.durable import create_durably, exclusive, sync_folder, write_durably
from ftspec.server.trainers.base import JobFailure, JobProgress, Status, TrainingCheckpoint, TrainingEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

Level = Literal["info", "warn", "error"]
METRICS_FILE = "step_metrics.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a job ended. `step` is the checkpoint that is its model; `hyperparameters` the resolved ones.

    `events` are the last words about it: they are part of the end, so that nobody sees one
    without the other.
    """

    status: Literal["succeeded", "failed", "cancelled"]
    finished_at: int
    trained_tokens: int | None = None
    hyperparameters: Mapping[str, Any] | None = None
    step: int | None = None
    error: JobFailure | None = None
    events: tuple[TrainingEvent, ...] = ()


def event(message: str, *, now: float, level: Level = "info", **data: Any) -> TrainingEvent:
    """Return an event; one about a `step` is a metrics event."""
    return TrainingEvent(
        id=f"ftevent-{secrets.token_hex(12)}",
        created_at=int(now),
        level=level,
        message=message,
        type="metrics" if "step" in data else "message",
        data=data,
    )


def failed(cause: JobFailure, *, now: float, hyperparameters: Mapping[str, Any] | None = None) -> Result:
    """Return the end of a job that failed, with the words about it."""
    said = event(f"The job failed: {cause.message}", now=now, level="error", error_code=cause.code, error_param=cause.param)
    return Result(status="failed", finished_at=int(now), hyperparameters=hyperparameters, error=cause, events=(said,))


class RunFolder:
    """One job's folder. Making the object touches nothing; `create` does."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self) -> None:
        """Make the folder durable, if it is not there."""
        if not self.path.is_dir():
            self.path.mkdir(parents=True, exist_ok=True)
            sync_folder(self.path.parent)

    @contextlib.contextmanager
    def lock(self) -> Iterator[bool]:
        """Hold the right to train; yields `False` at once where somebody else has it."""
        with exclusive(self.path / "lock", wait=False) as held:
            yield held

    def progress(self) -> JobProgress:
        """Return how far the job is, from what is in the folder."""
        result = self.result()
        if result is not None:
            metrics = self.path / METRICS_FILE
            return JobProgress(
                status=result.status,
                hyperparameters=result.hyperparameters,
                finished_at=result.finished_at,
                trained_tokens=result.trained_tokens,
                error=result.error,
                results=(metrics,) if result.status == "succeeded" and metrics.exists() else (),
            )
        status = self._json("status.json") or {}
        if self.paused:
            return JobProgress(status="queued", paused=True, hyperparameters=status.get("hyperparameters"))
        return JobProgress(
            status=status.get("status", "validating_files"),
            hyperparameters=status.get("hyperparameters"),
            estimated_finish=status.get("estimated_finish"),
        )

    def report(self, status: Status, *, hyperparameters: Mapping[str, Any] | None = None, estimated_finish: int | None = None) -> None:
        """Say how far the attempt under way is. Not synced: whoever restarts says it again."""
        content = {"status": status, "hyperparameters": hyperparameters, "estimated_finish": estimated_finish}
        temporary = self.path / f".status.{secrets.token_hex(4)}"
        temporary.write_text(json.dumps(content))
        temporary.replace(self.path / "status.json")

    def result(self) -> Result | None:
        """Return how the job ended, if it did."""
        content = self._json("result.json")
        if content is None:
            return None
        error, events = content.pop("error"), content.pop("events", ())
        return Result(**content, error=JobFailure(**error) if error else None, events=tuple(TrainingEvent(**said) for said in events))

    def finish(self, result: Result) -> bool:
        """End the job for good; `False` where somebody ended it first."""
        return create_durably(self.path / "result.json", json.dumps(asdict(result)).encode())

    @property
    def paused(self) -> bool:
        """Whether somebody wants the job to wait."""
        return (self.path / "PAUSED").exists()

    def pause(self) -> None:
        """Want the job to wait."""
        write_durably(self.path / "PAUSED", b"")

    def resume(self) -> None:
        """Want the job to go on."""
        (self.path / "PAUSED").unlink(missing_ok=True)
        sync_folder(self.path)

    def say(self, message: str, *, now: float, level: Level = "info", **data: Any) -> None:
        """Append an `event`."""
        with (self.path / "events.jsonl").open("ab") as file:
            if file.tell() and not self._ends_with_newline():
                file.write(b"\n")  # a writer died within its line: the rest of it is no event
            file.write(json.dumps(asdict(event(message, now=now, level=level, **data))).encode() + b"\n")

    def _ends_with_newline(self) -> bool:
        with (self.path / "events.jsonl").open("rb") as file:
            file.seek(-1, 2)
            return file.read(1) == b"\n"

    def events(self) -> list[TrainingEvent]:
        """Return what was said, oldest first, the last words last. A line that broke off is no event."""
        result = self.result()
        try:
            lines = (self.path / "events.jsonl").read_bytes().split(b"\n")
        except FileNotFoundError:
            lines = []
        events = []
        for line in lines:
            with contextlib.suppress(ValueError):
                events.append(TrainingEvent(**json.loads(line)))
        return [*events, *(result.events if result else ())]

    def save_checkpoint(self, step: int, metrics: Mapping[str, float | None], write: Callable[[Path], None], *, now: float) -> None:
        """Save what `write` puts into a folder as the checkpoint of a step, unless it is there already."""
        parent, target = self.path / "checkpoints", self.path / "checkpoints" / f"step-{step}"
        if target.exists():
            return
        parent.mkdir(exist_ok=True)
        temporary = parent / f".{secrets.token_hex(6)}"
        temporary.mkdir()
        try:
            write(temporary)
            card = {"id": f"ftckpt_{secrets.token_hex(12)}", "created_at": int(now), "step": step, "metrics": dict(metrics)}
            write_durably(temporary / "checkpoint.json", json.dumps(card).encode())
            temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        sync_folder(parent)
        sync_folder(self.path)

    def checkpoints(self) -> list[TrainingCheckpoint]:
        """Return the checkpoints that are kept, lowest step first."""
        result = self.result()
        final = result.step if result and result.status == "succeeded" else None
        cards = []
        for folder in self._checkpoint_folders():
            with contextlib.suppress(FileNotFoundError):  # the oldest may vanish while we look
                cards.append(json.loads((folder / "checkpoint.json").read_bytes()))
        return [TrainingCheckpoint(**card, final=card["step"] == final) for card in sorted(cards, key=lambda card: card["step"])]

    def checkpoint_folder(self, step: int | None) -> Path:
        """Return the folder of a step's weights (`None`: of the finished model)."""
        if step is None:
            result = self.result()
            step = result.step if result else None
        return self.path / "checkpoints" / f"step-{step}"

    def keep_last_checkpoints(self, count: int) -> None:
        """Remove all but the newest checkpoints."""
        folders = sorted(self._checkpoint_folders(), key=lambda folder: int(folder.name.removeprefix("step-")))
        for folder in folders[:-count]:
            self._remove(folder)

    def remove_checkpoints(self) -> None:
        """Remove all weights."""
        for folder in self._checkpoint_folders():
            self._remove(folder)

    def _remove(self, folder: Path) -> None:
        doomed = folder.with_name(f".{secrets.token_hex(6)}")
        with contextlib.suppress(FileNotFoundError):
            folder.rename(doomed)  # gone in one step, so that no reader sees half of it
            shutil.rmtree(doomed, ignore_errors=True)

    def _checkpoint_folders(self) -> Sequence[Path]:
        return list((self.path / "checkpoints").glob("step-*"))

    def write_metrics(self, text: str) -> None:
        """Write the result file."""
        write_durably(self.path / METRICS_FILE, text.encode())

    def _json(self, name: str) -> dict[str, Any] | None:
        try:
            content: dict[str, Any] = json.loads((self.path / name).read_bytes())
        except FileNotFoundError:
            return None
        return content
