"""Uploads in parts: bytes that become one file when the client says that all of them are there.

Parts are blobs, too. An upload that is not completed within an hour of its creation expires.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from ftspec.server.blobs import Blobs, Incoming
    from ftspec.server.database import Database

LIFETIME_SECONDS = 3600
_BLOCK = 1 << 20

UploadStatus = Literal["pending", "completed", "cancelled", "expired"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredUpload:
    """An upload of a project; `file_id` once it is completed."""

    id: str
    project: str
    filename: str
    purpose: str
    bytes: int
    created_at: int
    expires_at: int
    expires_after: int | None = None
    status: UploadStatus = "pending"
    file_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPart:
    """A piece of an upload."""

    id: str
    upload_id: str
    sha256: str
    bytes: int
    created_at: int


class Uploads:
    """The uploads of one store."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._db = database
        self._blobs = blobs

    def create(self, upload: StoredUpload) -> None:
        """Begin an upload."""
        self._db.run(
            "INSERT INTO uploads (id, project, filename, purpose, bytes, created_at, expires_at, expires_after, status)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                upload.id,
                upload.project,
                upload.filename,
                upload.purpose,
                upload.bytes,
                upload.created_at,
                upload.expires_at,
                upload.expires_after,
                upload.status,
            ),
        )

    def get(self, project: str, upload_id: str, *, now: int) -> StoredUpload | None:
        """Return an upload of the project; a pending one is `expired` after its hour."""
        row = self._db.one("SELECT * FROM uploads WHERE id = ? AND project = ?", (upload_id, project))
        if row is None:
            return None
        fields = dict(zip(row.keys(), row, strict=True))
        if fields["status"] == "pending" and fields["expires_at"] <= now:
            fields["status"] = "expired"
        return StoredUpload(**fields)

    def add_part(self, part: StoredPart, incoming: Incoming) -> bool:
        """Keep a piece; `False` where the upload takes no more."""
        with self._db.writing():
            row = self._db.one("SELECT status FROM uploads WHERE id = ?", (part.upload_id,))
            if row is None or row["status"] != "pending":
                return False
            self._blobs.place(incoming)
            self._db.run(
                "INSERT INTO parts (id, upload_id, sha256, bytes, created_at) VALUES (?, ?, ?, ?, ?)",
                (part.id, part.upload_id, part.sha256, part.bytes, part.created_at),
            )
        return True

    def parts(self, upload_id: str) -> dict[str, StoredPart]:
        """Return the pieces of an upload by id."""
        return {row["id"]: _part(row) for row in self._db.all("SELECT * FROM parts WHERE upload_id = ?", (upload_id,))}

    def join(self, parts: Sequence[StoredPart], incoming: Incoming) -> None:
        """Write the pieces, in this order, into `incoming` and finish it."""
        for part in parts:
            with self._blobs.path(part.sha256).open("rb") as file:
                while block := file.read(_BLOCK):
                    incoming.write(block, md5=True)
        incoming.finish()

    def end(self, upload: StoredUpload, status: UploadStatus, *, file_id: str | None = None) -> bool:
        """Complete or cancel a pending upload; `False` where somebody else ended it. `sweep` follows."""
        return bool(
            self._db.run("UPDATE uploads SET status = ?, file_id = ? WHERE id = ? AND status = 'pending'", (status, file_id, upload.id))
        )

    def sweep(self, upload: StoredUpload) -> None:
        """Forget the pieces of an upload that has ended."""
        hashes = {part.sha256 for part in self.parts(upload.id).values()}
        self._db.run("DELETE FROM parts WHERE upload_id = ?", (upload.id,))
        self._blobs.sweep(hashes)


def _part(row: sqlite3.Row) -> StoredPart:
    return StoredPart(**dict(zip(row.keys(), row, strict=True)))
