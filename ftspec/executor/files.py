"""The dataset files that jobs wait for: each is put on its engine once, and its jobs go on when it is there.

A file that was confirmed long ago is confirmed again before another job is bought with it: a
child may be launched days after its parents.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from ftspec.actions import LaunchJob
from ftspec.executor.clock import rfc3339
from ftspec.executor.graph import Phase
from ftspec.executor.upload import FileReady, FileWish, NoFile, ensure_file, wait_until_processed
from ftspec.record import JobError, RecordedFile
from ftspec.state.base import FileFact

if TYPE_CHECKING:
    from ftspec.engines.base import Engine
    from ftspec.executor.crew import Crew
    from ftspec.executor.effects import Effects
    from ftspec.executor.graph import Node
    from ftspec.executor.lane import Hands
    from ftspec.record import State

FRESH = 600.0
"""Seconds for which a file that was there is taken to be there still."""


@dataclass(slots=True, kw_only=True)
class _File:
    """A dataset part in a scope: on its way, there, or not to be had."""

    engine: str
    wish: FileWish
    ready: FileReady | None = None
    error: JobError | None = None
    working: bool = False
    at: float = 0.0
    waiting: list[Node] = field(default_factory=list)


class Files:
    """All dataset files of a walk. `go` hears of jobs whose files are there, `fail` of those that will never have them."""

    def __init__(
        self,
        *,
        state: State,
        effects: Effects,
        crew: Crew,
        hands: Hands,
        engine: Callable[[str], Engine],
        go: Callable[[Node], None],
        fail: Callable[[Node, JobError], None],
    ) -> None:
        self._state, self._effects, self._crew, self._hands = state, effects, crew, hands
        self._engine, self._go, self._fail = engine, go, fail
        self._files: dict[tuple[str, str], _File] = {}
        self._to_do: deque[_File] = deque()
        self.sent: list[str] = []
        """References of the datasets that this walk sent."""

    def want(self, node: Node) -> None:
        """Have `go` or `fail` called for a job that is ready but for its files."""
        node.files = 0
        for ref, key in needed(node):
            file = self._file(node, ref, key)
            if file.error is not None:
                self._fail(node, file.error)
                return
            if file.working or file.ready is None or self._effects.clock.monotonic() - file.at > FRESH:
                node.files += 1
                file.waiting.append(node)
                if not file.working:
                    file.working = True
                    self._to_do.append(file)
        if node.files == 0:
            self._go(node)

    def step(self) -> None:
        """Send what can be sent now."""
        while self._to_do and self._hands.free:
            file = self._to_do.popleft()
            self._hands.free -= 1
            work = ensure_file(file.wish, engine=self._engine(file.engine), effects=self._effects)
            self._crew.start(partial(self._placed, file), work, keep=True)

    def ids(self, node: Node) -> tuple[str, str | None]:
        """Return the file ids of a job whose files are there: training, validation."""
        there = [self._files[node.job.scope, key].ready for _, key in needed(node)]
        train, validation = [*(file.file_id if file is not None else "" for file in there), None][:2]
        return train or "", validation

    def forget(self, node: Node) -> None:
        """Have the files of a refused job confirmed or sent again by the next run: the engine says that one is not there."""
        for _, key in needed(node):
            ready = self._files[node.job.scope, key].ready
            assert ready is not None  # noqa: S101 the job was asked for with it
            at = rfc3339(self._effects.clock.now())
            values = {"file_id": ready.file_id, "status": "gone", "dataset_key": key}
            self._effects.journal.append(FileFact(scope=node.job.scope, digest=ready.digest, at=at, values=values))

    def _file(self, node: Node, ref: str, key: str) -> _File:
        job = node.job
        file = self._files.get((job.scope, key))
        if file is None:
            recorded = self._state.files.get((job.scope, key))
            wish = FileWish(ref=ref, dataset_key=key, engine=job.engine, scope=job.scope, recorded=recorded)
            file = self._files[job.scope, key] = _File(engine=job.engine, wish=wish)
        return file

    def _placed(self, file: _File, outcome: FileReady | NoFile) -> None:
        self._hands.free += 1
        if isinstance(outcome, NoFile):
            self._done(file, outcome.error)
            return
        wish = file.wish
        known = RecordedFile(
            scope=wish.scope, digest=outcome.digest, dataset_key=wish.dataset_key, file_id=outcome.file_id, status="uploaded"
        )
        file.ready = outcome
        file.wish = FileWish(ref=wish.ref, dataset_key=wish.dataset_key, engine=wish.engine, scope=wish.scope, recorded=known)
        if outcome.sent:
            self.sent.append(wish.ref)
        window = self._effects.options.file_window
        work = wait_until_processed(outcome, engine=self._engine(file.engine), clock=self._effects.clock, window=window)
        self._crew.start(partial(self._done, file), work)

    def _done(self, file: _File, error: JobError | None) -> None:
        file.working, file.error, file.at = False, error, self._effects.clock.monotonic()
        waiting, file.waiting = file.waiting, []
        for node in waiting:
            node.files -= 1
            if node.phase is not Phase.READY:
                continue  # another file of it could not be had
            if error is not None:
                self._fail(node, error)
            elif node.files == 0:
                self._go(node)


def needed(node: Node) -> list[tuple[str, str]]:
    """Return the dataset parts that a job needs: (reference, dataset key), training first."""
    launch = node.action
    assert isinstance(launch, LaunchJob)  # noqa: S101 nothing else is bought
    files = [(launch.job.train, launch.train_key)]
    if launch.job.validation is not None and launch.validation_key is not None:
        files.append((launch.job.validation, launch.validation_key))
    return files
