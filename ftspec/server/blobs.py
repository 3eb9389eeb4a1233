"""Bytes under their SHA-256: files are kept once, whoever uploaded them.

`Incoming` takes bytes as they arrive, hashes them while writing, and makes them durable;
`Blobs.place` renames them to their address, inside the transaction that adds the row that
speaks of them. `Blobs.sweep` removes bytes that no row speaks of, holding the write lock, so
that nobody can begin to need them meanwhile. A crash in between leaves bytes too many, never
too few.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from typing import IO, TYPE_CHECKING, Self

from ftspec.server.durable import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ftspec.server.database import Database

_LEFTOVER_SECONDS = 24 * 3600


class Incoming:
    """Bytes on their way in. Leaving the `with` block discards what was not placed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self.sha256 = ""
        self.md5 = ""
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._file: IO[bytes] = path.open("xb")

    def __enter__(self) -> Self:
        """Nothing to do: it is open."""
        return self

    def write(self, chunk: bytes, *, md5: bool = False) -> None:
        """Take the next bytes."""
        self._file.write(chunk)
        self._sha256.update(chunk)
        if md5:
            self._md5.update(chunk)
        self.size += len(chunk)

    def finish(self) -> None:
        """Make the bytes durable and know their hashes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self.sha256 = self._sha256.hexdigest()
        self.md5 = self._md5.hexdigest()

    def __exit__(self, *_: object) -> None:
        """Close and discard the temporary file."""
        self._file.close()
        self.path.unlink(missing_ok=True)


class Blobs:
    """The folder of the bytes: `files/ab/ab12...` by hash, `incoming/` beside it."""

    def __init__(self, root: Path, database: Database) -> None:
        self._db = database
        self._files = root / "files"
        self._incoming = root / "incoming"
        for folder in (self._files, self._incoming):
            folder.mkdir(parents=True, exist_ok=True)
        for leftover in self._incoming.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process may tidy up, too
                if time.time() - leftover.stat().st_mtime > _LEFTOVER_SECONDS:
                    leftover.unlink()

    def incoming(self) -> Incoming:
        """Return a place for bytes that arrive."""
        return Incoming(self._incoming / secrets.token_hex(12))

    def path(self, sha256: str) -> Path:
        """Return where the bytes of this hash are, or will be."""
        return self._files / sha256[:2] / sha256

    def place(self, incoming: Incoming) -> None:
        """Give finished bytes their address."""
        target = self.path(incoming.sha256)
        if target.exists():
            return
        if not target.parent.exists():
            target.parent.mkdir(exist_ok=True)
            sync_folder(self._files)
        incoming.path.replace(target)
        sync_folder(target.parent)

    def sweep(self, hashes: Iterable[str]) -> None:
        """Remove those of these bytes that no row speaks of any more."""
        for sha256 in hashes:
            with self._db.writing():
                if not self._db.speaks_of(sha256):
                    self.path(sha256).unlink(missing_ok=True)
