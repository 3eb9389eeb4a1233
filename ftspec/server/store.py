"""What clients of the server said, durable before they are answered.

Files (content-addressed bytes and a row each), jobs as they were bought, idempotency keys
and deleted models, in one root folder that several processes may open. How far a job is, the
store does not know: that is the trainer's truth. `settled` only marks jobs that nobody has to
look after any more, and `settle` takes their result files over.

A job is unique by (project, `ftspec_key`, `ftspec_attempt`) of its metadata, and its id is
derived from them, so that the same spec gives the same names in a fresh root.
"""

from __future__ import annotations

import hashlib
import json
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftspec.server.blobs import Blobs, Incoming
from ftspec.server.database import Database
from ftspec.server.trainers.base import ModelSource, TrainingJob
from ftspec.server.uploads import Uploads

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ftspec.server.uploads import StoredUpload

_ALPHABET = string.digits + string.ascii_letters


class IdempotencyConflict(Exception):
    """An `Idempotency-Key` came back with another request."""


class UnknownFile(Exception):
    """A job names a file that its project does not have. `param` is the member that names it."""

    def __init__(self, param: str, file_id: str) -> None:
        super().__init__(file_id)
        self.param = param
        self.file_id = file_id


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file of a project."""

    id: str
    project: str
    filename: str
    purpose: str
    bytes: int
    sha256: str
    created_at: int
    expires_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Idempotency:
    """A client's promise: requests with this key are the same request, and `digest` says which."""

    key: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDraft:
    """A job that is about to be bought."""

    id: str
    project: str
    model_name: str
    training_file: str
    validation_file: str | None
    metadata: Mapping[str, str] | None
    request: Mapping[str, Any]
    """`model`, `source`, `method`, `hyperparameters`, `grader`, `seed`, `suffix`, `integrations`."""


def derived_id(prefix: str, *parts: str) -> str:
    """Return the identifier that these parts always give: `prefix` and 24 letters or digits."""
    number = int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest(), "big")
    digits = []
    for _ in range(24):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return prefix + "".join(digits)


class Store:
    """One root folder. Every method that changes something is durable when it returns."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.root = root
        self._db = Database(root)
        self._blobs = Blobs(root, self._db)
        self.uploads = Uploads(self._db, self._blobs)

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def incoming(self) -> Incoming:
        """Return a place for bytes that arrive; `add_file` keeps them."""
        return self._blobs.incoming()

    def add_file(self, file: StoredFile, incoming: Incoming, *, idempotency: Idempotency | None = None) -> StoredFile:
        """Keep finished bytes as a file, or return the file that the same request made before."""
        with self._db.writing():
            if idempotency and (known := self._repeated(file.project, idempotency)):
                earlier = self._file(file.project, known)
                if earlier:
                    return earlier
            self._keep(file, incoming)
            if idempotency:
                self._remember(file.project, idempotency, file.id, file.created_at)
        return file

    def complete_upload(self, upload: StoredUpload, file: StoredFile, incoming: Incoming) -> bool:
        """Turn a pending upload into a file; `False` where somebody else ended it first."""
        with self._db.writing():
            if not self.uploads.end(upload, "completed", file_id=file.id):
                return False
            self._keep(file, incoming)
        self.uploads.sweep(upload)
        return True

    def _keep(self, file: StoredFile, incoming: Incoming) -> None:
        self._blobs.place(incoming)
        self._insert_file(file)

    def _insert_file(self, file: StoredFile) -> None:
        self._db.run(
            "INSERT INTO files (id, project, filename, purpose, bytes, sha256, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (file.id, file.project, file.filename, file.purpose, file.bytes, file.sha256, file.created_at, file.expires_at),
        )

    def _file(self, project: str, file_id: str) -> StoredFile | None:
        row = self._db.one("SELECT * FROM files WHERE id = ? AND project = ?", (file_id, project))
        return _stored_file(row) if row else None

    def file(self, project: str, file_id: str, *, now: int) -> StoredFile | None:
        """Return a file of the project that has not expired."""
        found = self._file(project, file_id)
        return found if found and (found.expires_at is None or found.expires_at > now) else None

    def files(
        self, project: str, *, purpose: str | None, descending: bool, after: str | None, limit: int, now: int
    ) -> list[StoredFile] | None:
        """Return up to `limit` files that follow `after` in order of creation, or `None` where `after` is no file."""
        clauses, values = ["project = ?", "(expires_at IS NULL OR expires_at > ?)"], [project, now]
        if purpose is not None:
            clauses.append("purpose = ?")
            values.append(purpose)
        if after is not None:
            place = self._db.one("SELECT seq FROM files WHERE id = ? AND project = ?", (after, project))
            if place is None:
                return None
            clauses.append("seq < ?" if descending else "seq > ?")
            values.append(place["seq"])
        rows = self._db.all(
            f"SELECT * FROM files WHERE {' AND '.join(clauses)} ORDER BY seq {'DESC' if descending else 'ASC'} LIMIT ?",  # noqa: S608 the clauses are constants
            (*values, limit),
        )
        return [_stored_file(row) for row in rows]

    def delete_file(self, project: str, file_id: str) -> bool:
        """Forget a file, and its bytes where nothing else needs them."""
        found = self._file(project, file_id)
        if found is None or not self._db.run("DELETE FROM files WHERE id = ?", (file_id,)):
            return False
        self._blobs.sweep([found.sha256])
        return True

    def content(self, file: StoredFile) -> Path:
        """Return where the bytes of a file are."""
        return self._blobs.path(file.sha256)

    @staticmethod
    def key_of(metadata: Mapping[str, str] | None) -> tuple[str, str] | None:
        """Return the ftspec key and attempt in a job's metadata, which make it unique in its project."""
        key = (metadata or {}).get("ftspec_key")
        return (key, (metadata or {}).get("ftspec_attempt", "1")) if key else None

    def existing_job(self, project: str, metadata: Mapping[str, str] | None, idempotency: Idempotency | None) -> TrainingJob | None:
        """Return the job that this request bought before (`IdempotencyConflict`: the key was another request's)."""
        if idempotency and (known := self._repeated(project, idempotency)):
            return self.job(project, known)
        if key := self.key_of(metadata):
            row = self._db.one("SELECT * FROM jobs WHERE project = ? AND ftspec_key = ? AND ftspec_attempt = ?", (project, *key))
            return self._job(row) if row else None
        return None

    def remember(self, project: str, idempotency: Idempotency, job: TrainingJob, *, now: int) -> None:
        """Let requests with this key mean this job, unless the key is another request's already."""
        self._db.run(
            "INSERT OR IGNORE INTO idempotency (project, key, digest, object_id, created_at) VALUES (?, ?, ?, ?, ?)",
            (project, idempotency.key, idempotency.digest, job.id, now),
        )

    def create_job(self, draft: JobDraft, *, idempotency: Idempotency | None, now: int) -> tuple[TrainingJob, bool]:
        """Buy a job once: return it and whether it is new.

        Raises `IdempotencyConflict` and `UnknownFile`; nothing was bought then.
        """
        with self._db.writing():
            existing = self.existing_job(draft.project, draft.metadata, idempotency)
            if existing is None:
                self._insert_job(draft, now)
            job = existing or self._job(self._db.all("SELECT * FROM jobs WHERE id = ?", (draft.id,))[0])
            if idempotency:
                self._remember(draft.project, idempotency, job.id, now)
        return job, existing is None

    def _hash_of(self, draft: JobDraft, param: str, file_id: str, now: int) -> str:
        found = self.file(draft.project, file_id, now=now)
        if found is None:
            raise UnknownFile(param, file_id)
        return found.sha256

    def _insert_job(self, draft: JobDraft, now: int) -> None:
        training = self._hash_of(draft, "training_file", draft.training_file, now)
        validation = self._hash_of(draft, "validation_file", draft.validation_file, now) if draft.validation_file else None
        key, attempt = self.key_of(draft.metadata) or (None, None)
        request = {**draft.request, "training_file": draft.training_file, "validation_file": draft.validation_file}
        self._db.run(
            "INSERT INTO jobs (id, project, created_at, model_name, ftspec_key, ftspec_attempt, training_sha256, validation_sha256, metadata,"
            " request) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                draft.id,
                draft.project,
                now,
                draft.model_name,
                key,
                attempt,
                training,
                validation,
                None if draft.metadata is None else json.dumps(dict(draft.metadata)),
                json.dumps(request),
            ),
        )

    def _repeated(self, project: str, idempotency: Idempotency) -> str | None:
        row = self._db.one("SELECT * FROM idempotency WHERE project = ? AND key = ?", (project, idempotency.key))
        if row is None:
            return None
        if row["digest"] != idempotency.digest:
            raise IdempotencyConflict(idempotency.key)
        object_id: str = row["object_id"]
        return object_id

    def _remember(self, project: str, idempotency: Idempotency, object_id: str, now: int) -> None:
        self._db.run(
            "INSERT OR REPLACE INTO idempotency (project, key, digest, object_id, created_at) VALUES (?, ?, ?, ?, ?)",
            (project, idempotency.key, idempotency.digest, object_id, now),
        )

    def job(self, project: str, job_id: str) -> TrainingJob | None:
        """Return a job of the project."""
        row = self._db.one("SELECT * FROM jobs WHERE id = ? AND project = ?", (job_id, project))
        return self._job(row) if row else None

    def jobs(
        self, project: str, *, metadata: Mapping[str, str] | None, without_metadata: bool, after: str | None, limit: int
    ) -> list[TrainingJob] | None:
        """Return up to `limit` jobs that follow `after`, newest first, or `None` where `after` is no job."""
        clauses, values = ["project = ?"], [project]
        for name, value in (metadata or {}).items():
            if name == "ftspec_key":  # the filter that everybody uses has an index
                clauses.append("ftspec_key = ?")
                values.append(value)
            else:
                clauses.append("EXISTS (SELECT 1 FROM json_each(jobs.metadata) WHERE key = ? AND value = ?)")
                values.extend((name, value))
        if without_metadata:
            clauses.append("metadata IS NULL")
        place = None
        if after is not None:
            place = self._db.one("SELECT seq FROM jobs WHERE id = ? AND project = ?", (after, project))
            if place is None:
                return None
            clauses.append("seq < ?")
        rows = self._db.all(
            f"SELECT * FROM jobs WHERE {' AND '.join(clauses)} ORDER BY seq DESC LIMIT ?",  # noqa: S608 the clauses are constants
            (*values, *((place["seq"],) if place else ()), limit),
        )
        return [self._job(row) for row in rows]

    def unsettled(self) -> list[TrainingJob]:
        """Return the jobs of all projects that somebody has to look after, oldest first."""
        return [self._job(row) for row in self._db.all("SELECT * FROM jobs WHERE settled = 0 ORDER BY seq")]

    def job_of_model(self, project: str, name: str) -> TrainingJob | None:
        """Return the job whose result is called `name`, unless the model was deleted."""
        row = self._db.one(
            "SELECT * FROM jobs WHERE project = ?1 AND model_name = ?2 AND NOT EXISTS"
            " (SELECT 1 FROM deleted_models WHERE project = ?1 AND name = ?2)",
            (project, name),
        )
        return self._job(row) if row else None

    def jobs_with_models(self, project: str) -> list[TrainingJob]:
        """Return the jobs, newest first, whose models were not deleted."""
        rows = self._db.all(
            "SELECT * FROM jobs WHERE project = ?1 AND model_name NOT IN (SELECT name FROM deleted_models WHERE project = ?1) ORDER BY seq DESC",
            (project,),
        )
        return [self._job(row) for row in rows]

    def delete_model(self, project: str, name: str, *, now: int) -> None:
        """Answer from now on as if the model did not exist."""
        self._db.run("INSERT OR IGNORE INTO deleted_models (project, name, deleted_at) VALUES (?, ?, ?)", (project, name, now))

    def settle(self, job: TrainingJob, results: Sequence[Path], *, now: int) -> TrainingJob:
        """Take over the result files of a job that has ended; nobody has to look after it any more."""
        if job.settled:
            return job
        ids = []
        for number, path in enumerate(results):
            with self.incoming() as incoming:
                incoming.write(path.read_bytes())
                incoming.finish()
                file = StoredFile(
                    id=derived_id("file-", job.id, str(number)),
                    project=job.project,
                    filename=path.name,
                    purpose="fine-tune-results",
                    bytes=incoming.size,
                    sha256=incoming.sha256,
                    created_at=now,
                )
                with self._db.writing():
                    if self._file(job.project, file.id) is None:
                        self._keep(file, incoming)
            ids.append(file.id)
        self._db.run("UPDATE jobs SET settled = 1, result_files = ? WHERE id = ? AND settled = 0", (json.dumps(ids), job.id))
        return self.job(job.project, job.id) or job

    def _job(self, row: sqlite3.Row) -> TrainingJob:
        request = json.loads(row["request"])
        request["source"] = ModelSource(**request["source"])
        validation = row["validation_sha256"]
        return TrainingJob(
            **request,
            id=row["id"],
            project=row["project"],
            created_at=row["created_at"],
            model_name=row["model_name"],
            metadata=json.loads(row["metadata"]) if row["metadata"] is not None else None,
            training_path=self._blobs.path(row["training_sha256"]),
            validation_path=self._blobs.path(validation) if validation else None,
            settled=bool(row["settled"]),
            result_files=tuple(json.loads(row["result_files"])),
        )


def _stored_file(row: sqlite3.Row) -> StoredFile:
    return StoredFile(**{name: row[name] for name in row.keys() if name != "seq"})  # noqa: SIM118 a Row iterates over values
