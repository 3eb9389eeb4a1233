"""Puts a dataset file on an engine, once, and knows that it is there.

A file is named after its bytes (`<dataset>.<12 hex>.jsonl`), so one that was uploaded and never
recorded is found again by name and size. What state knows is reused only after the engine
confirmed that it still has it. The bytes are hashed again on their way out: if they are not
those of the plan, no job is bought with them and the file is recorded as an orphan.

Uploading twice costs nothing and buys nothing, so an upload whose outcome is unknown is looked for
and then sent again, unlike a job.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from ftspec.diagnostics import FtspecError
from ftspec.engines.base import EngineError, NotSent, Refused
from ftspec.executor.clock import rfc3339
from ftspec.executor.facts import error_of
from ftspec.executor.journal import StateNotWritten
from ftspec.executor.progress import Uploaded, Uploading
from ftspec.record import JobError, RecordedFile
from ftspec.state.base import FileFact

if TYPE_CHECKING:
    from ftspec.engines.base import Clock, Engine, ObservedFile
    from ftspec.executor.effects import Effects, Openable

TRIES = 3
"""How often an upload is sent before its jobs are given up."""

READY = frozenset({"processed", None})
"""File statuses with which a job may be created; some engines have none at all."""

BAD = frozenset({"error", "failed", "deleted", "expired"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FileWish:
    """A dataset part that jobs need on an engine; `recorded` is what state says of it."""

    ref: str
    dataset_key: str
    engine: str
    scope: str
    purpose: str = "fine-tune"
    recorded: RecordedFile | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReady:
    """The file is on the engine. `sent` when this run sent it."""

    file_id: str
    digest: str
    sent: bool
    status: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoFile:
    """It could not be put there; its jobs are not bought."""

    error: JobError


class HashingReader(io.RawIOBase, BinaryIO):
    """A file that is hashed as it is read from its beginning to its end."""

    def __init__(self, source: BinaryIO, told: Callable[[int], None]) -> None:
        super().__init__()
        self._source = source
        self._told = told
        self._hash = hashlib.sha256()
        self._hashed = 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be read again."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to another position."""
        return self._source.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._source.tell()

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes."""
        at = self._source.tell()
        piece = self._source.read(-1 if size is None else size)
        if at == 0:
            self._hash, self._hashed = hashlib.sha256(), 0
        if at == self._hashed:
            self._hash.update(piece)
            self._hashed += len(piece)
            self._told(self._hashed)
        return piece

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` with the next bytes."""
        piece = self.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    @property
    def digest(self) -> str:
        """SHA-256 of what was read since the last time it began at the beginning."""
        return self._hash.hexdigest()


async def ensure_file(wish: FileWish, *, engine: Engine, effects: Effects) -> FileReady | NoFile:
    """Return the file on the engine, sent there if it must be (`StateNotWritten`)."""
    try:
        if (there := await _confirm(wish, engine=engine, effects=effects)) is not None:
            return there
        file, digest, rows, size = await effects.materialise(wish.ref, wish.dataset_key)
        sending = _Sending(wish=wish, file=file, digest=digest, rows=rows, size=size, engine=engine, effects=effects)
        return await sending.run()
    except NotSent as error:
        return NoFile(error=JobError(code="not_sent", message=error.message))
    except EngineError as error:
        return NoFile(error=error_of(error))
    except StateNotWritten:
        raise
    except FtspecError as error:
        return NoFile(error=JobError(code="dataset", message=error.message))


async def _confirm(wish: FileWish, *, engine: Engine, effects: Effects) -> FileReady | None:
    """Return the recorded file if the engine still has it; record what it says."""
    recorded = wish.recorded
    if recorded is None or recorded.file_id is None or recorded.status not in {"uploaded", "confirmed"}:
        return None
    there = await engine.file(recorded.file_id)
    usable = there is not None and there.status not in BAD
    now = rfc3339(effects.clock.now())
    values: dict[str, Any] = {"file_id": recorded.file_id}
    values |= {"status": "confirmed", "confirmed_at": now} if usable else {"status": "gone"}
    effects.journal.append(FileFact(scope=wish.scope, digest=recorded.digest, at=now, values=values))
    if there is None or not usable:
        return None
    return FileReady(file_id=there.id, digest=recorded.digest, sent=False, status=there.status)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sending:
    """One file on its way to an engine."""

    wish: FileWish
    file: Openable
    digest: str
    rows: int
    size: int
    engine: Engine
    effects: Effects

    @property
    def name(self) -> str:
        return f"{self.wish.ref}.{self.digest[:12]}.jsonl"

    async def run(self) -> FileReady | NoFile:
        """Look for the file, else send it; look again whenever an answer was lost."""
        problem: EngineError | None = None
        for tried in range(TRIES):
            if (there := await self._find()) is not None:
                self._note(file_id=there.id, status="confirmed", confirmed_at=rfc3339(self.effects.clock.now()))
                return self._ready(there, sent=False)
            if tried:
                await self.effects.clock.sleep(2.0**tried * (0.75 + self.effects.random.random() / 2))
            if self.effects.stop.requested is not None:
                break
            self._note(status="intent")
            try:
                sent, digest = await self._send()
            except Refused:
                raise
            except EngineError as error:
                problem = error
                continue
            if digest != self.digest:
                self._note(file_id=sent.id, status="gone", extra={"orphan": "the file changed while it was sent"})
                return NoFile(error=JobError(code="dataset", message=f"`{self.wish.ref}` changed while it was sent: {sent.id} is not used"))
            self._note(file_id=sent.id, status="uploaded", created_at=rfc3339(sent.created_at or self.effects.clock.now()))
            return self._ready(sent, sent=True)
        raise problem or NotSent("the upload was not begun")

    async def _send(self) -> tuple[ObservedFile, str]:
        """Send the file and return what the engine made of it, and the digest of what was really sent."""
        with self.file.open("rb") as source:
            reader = HashingReader(source, self._told)
            file = await self.engine.upload(name=self.name, content=reader, purpose=self.wish.purpose, progress=None)
        return file, reader.digest

    async def _find(self) -> ObservedFile | None:
        """Return a usable file of this name and size, the oldest one; its name holds the digest of its bytes."""
        try:
            listing = await self.engine.find_files(name=self.name, purpose=self.wish.purpose)
        except EngineError:
            return None  # a second copy is an untidiness, no loss
        usable = [file for file in listing.items if file.name == self.name and file.bytes in (self.size, None) and file.status not in BAD]
        return min(usable, key=lambda file: (file.created_at or 0, file.id), default=None)

    def _ready(self, file: ObservedFile, *, sent: bool) -> FileReady:
        self.effects.progress(Uploaded(dataset=self.wish.ref, engine=self.wish.engine, file_id=file.id, adopted=not sent))
        return FileReady(file_id=file.id, digest=self.digest, sent=sent, status=file.status)

    def _told(self, sent: int) -> None:
        event = Uploading(dataset=self.wish.ref, engine=self.wish.engine, name=self.name, sent=sent, total=self.size)
        self.effects.progress(event)

    def _note(self, **values: Any) -> None:
        wish = self.wish
        known = {"dataset_key": wish.dataset_key, "name": self.name, "bytes": self.size, "rows": self.rows, "purpose": wish.purpose}
        at = rfc3339(self.effects.clock.now())
        self.effects.journal.append(FileFact(scope=wish.scope, digest=self.digest, at=at, values={**known, **values}))


async def wait_until_processed(file: FileReady, *, engine: Engine, clock: Clock, window: float) -> JobError | None:
    """Wait until the file can be used; unknown words mean not yet. Return why it never will.

    When `window` is over the job is tried all the same: the engine knows best.
    """
    began, pause, status = clock.monotonic(), 0.2, file.status
    while status not in READY:
        if status in BAD:
            return JobError(code="file_not_usable", message=f"the engine says `{status}` of file {file.file_id}")
        if clock.monotonic() - began > window:
            return None
        await clock.sleep(pause)
        pause = min(pause * 2, 15.0)
        try:
            there = await engine.file(file.file_id)
        except EngineError:
            continue
        if there is None:
            return JobError(code="file_gone", message=f"file {file.file_id} is gone")
        status = there.status
        if status in BAD and there.status_details:
            return JobError(code="file_not_usable", message=there.status_details)
    return None
