"""The SQLite file: one connection per process, short transactions, durable before the answer.

WAL with `synchronous=FULL` syncs every commit; several processes may have it open. The
schema only grows: a file of a newer version is refused rather than misread.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

from ftspec.diagnostics import FtspecError
from ftspec.server.durable import exclusive, sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION = 1
_BUSY_SECONDS = 60.0

_SCHEMA = """
CREATE TABLE files (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, project TEXT NOT NULL, filename TEXT NOT NULL,
    purpose TEXT NOT NULL, bytes INTEGER NOT NULL, sha256 TEXT NOT NULL, created_at INTEGER NOT NULL, expires_at INTEGER
) STRICT;
CREATE INDEX files_by_project ON files (project, seq);
CREATE INDEX files_by_hash ON files (sha256);
CREATE TABLE uploads (
    id TEXT PRIMARY KEY, project TEXT NOT NULL, filename TEXT NOT NULL, purpose TEXT NOT NULL, bytes INTEGER NOT NULL,
    created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, expires_after INTEGER, status TEXT NOT NULL, file_id TEXT
) STRICT;
CREATE TABLE parts (id TEXT PRIMARY KEY, upload_id TEXT NOT NULL, sha256 TEXT NOT NULL, bytes INTEGER NOT NULL, created_at INTEGER NOT NULL) STRICT;
CREATE INDEX parts_by_upload ON parts (upload_id);
CREATE INDEX parts_by_hash ON parts (sha256);
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, project TEXT NOT NULL, created_at INTEGER NOT NULL,
    model_name TEXT NOT NULL, ftspec_key TEXT, ftspec_attempt TEXT, training_sha256 TEXT NOT NULL, validation_sha256 TEXT,
    metadata TEXT, request TEXT NOT NULL, settled INTEGER NOT NULL DEFAULT 0, result_files TEXT NOT NULL DEFAULT '[]'
) STRICT;
CREATE INDEX jobs_by_project ON jobs (project, seq);
CREATE UNIQUE INDEX jobs_by_model ON jobs (project, model_name);
CREATE UNIQUE INDEX jobs_by_key ON jobs (project, ftspec_key, ftspec_attempt) WHERE ftspec_key IS NOT NULL;
CREATE INDEX jobs_unsettled ON jobs (seq) WHERE settled = 0;
CREATE TABLE idempotency (
    project TEXT NOT NULL, key TEXT NOT NULL, digest TEXT NOT NULL, object_id TEXT NOT NULL, created_at INTEGER NOT NULL,
    PRIMARY KEY (project, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE deleted_models (project TEXT NOT NULL, name TEXT NOT NULL, deleted_at INTEGER NOT NULL, PRIMARY KEY (project, name)) STRICT, WITHOUT ROWID;
"""


class Database:
    """The rows of one root folder."""

    def __init__(self, root: Path) -> None:
        self._lock = threading.RLock()
        with exclusive(root / "opening.lock"):
            self._connection = sqlite3.connect(
                root / "server.sqlite3", isolation_level=None, check_same_thread=False, timeout=_BUSY_SECONDS
            )
            try:
                self._prepare(root)
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self, root: Path) -> None:
        self._connection.row_factory = sqlite3.Row
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            msg = f"`{root.name}` was written by a newer ftspec (format {version}, this one reads {VERSION})"
            raise FtspecError(msg, help="upgrade ftspec")
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        if version == 0:
            self._connection.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA user_version = {VERSION};COMMIT;")
            sync_folder(root)

    def close(self) -> None:
        """Close the connection; what was committed is safe without it."""
        with self._lock:
            self._connection.close()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Run the block as one transaction: all of it durable at its end, or none of it."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def run(self, statement: str, values: tuple[Any, ...] = ()) -> int:
        """Run one statement and return how many rows it changed."""
        with self._lock:
            return self._connection.execute(statement, values).rowcount

    def one(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Row | None:
        """Return the first row."""
        with self._lock:
            row: sqlite3.Row | None = self._connection.execute(statement, values).fetchone()
            return row

    def all(self, statement: str, values: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        """Return all rows."""
        with self._lock:
            return self._connection.execute(statement, values).fetchall()

    def speaks_of(self, sha256: str) -> bool:
        """Whether a file, a part or an unfinished job needs the bytes of this hash."""
        return bool(
            self.one(
                "SELECT 1 FROM files WHERE sha256 = ?1 UNION ALL SELECT 1 FROM parts WHERE sha256 = ?1 UNION ALL "
                "SELECT 1 FROM jobs WHERE settled = 0 AND (training_sha256 = ?1 OR validation_sha256 = ?1) LIMIT 1",
                (sha256,),
            )
        )
