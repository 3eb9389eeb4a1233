"""The store's folder: formats of other versions, leftovers, and what a commit means."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

import pytest

from ftspec.diagnostics import FtspecError
from ftspec.server.database import VERSION
from ftspec.server.durable import create_durably, exclusive, write_durably
from ftspec.server.store import Store, StoredFile, derived_id
from ftspec.server.uploads import StoredPart, StoredUpload


def test_a_root_of_a_newer_ftspec_is_refused_not_misread(tmp_path):
    """The message says which format it is and what to do."""
    Store(tmp_path / "s").close()
    connection = sqlite3.connect(tmp_path / "s" / "server.sqlite3")
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    with pytest.raises(FtspecError, match=f"format {VERSION + 1}") as stopped:
        Store(tmp_path / "s")
    assert stopped.value.help == "upgrade ftspec"


def test_every_commit_is_synced(tmp_path):
    """The database writes ahead and syncs fully: what was answered survives a power cut."""
    store = Store(tmp_path / "s")
    pragmas = [store._db.one(f"PRAGMA {name}") for name in ("journal_mode", "synchronous")]
    assert [tuple(row) for row in pragmas if row] == [("wal",), (2,)]
    store.close()


def test_a_transaction_that_fails_leaves_nothing(tmp_path):
    """Either a file's row and its bytes are both there, or neither is listed."""
    store = Store(tmp_path / "s")
    with store.incoming() as incoming:
        incoming.write(b"x")
        incoming.finish()
        file = StoredFile(id="file-1", project="p", filename="a", purpose="batch", bytes=1, sha256=incoming.sha256, created_at=1)
        store.add_file(file, incoming)
        with pytest.raises(sqlite3.IntegrityError):
            store.add_file(file, incoming)
    assert store.files("p", purpose=None, descending=True, after=None, limit=9, now=1) == [file]
    store.close()


def test_old_leftovers_of_interrupted_uploads_are_removed_and_fresh_ones_kept(tmp_path):
    """Another process may still be writing what is younger than a day."""
    Store(tmp_path / "s").close()
    old, fresh = (tmp_path / "s" / "incoming" / name for name in ("old", "fresh"))
    for path in (old, fresh):
        path.write_bytes(b"x")
    os.utime(old, (time.time() - 100_000,) * 2)
    Store(tmp_path / "s").close()
    assert (old.exists(), fresh.exists()) == (False, True)


def test_an_upload_becomes_one_file_however_often_it_is_completed(tmp_path):
    """Who completes first makes the file; who comes later makes nothing."""
    store = Store(tmp_path / "s")
    upload = StoredUpload(id="u", project="p", filename="a", purpose="batch", bytes=1, created_at=1, expires_at=9)
    store.uploads.create(upload)
    done = []
    for number in range(2):
        with store.incoming() as incoming:
            incoming.write(b"x")
            incoming.finish()
            file = StoredFile(id=f"f{number}", project="p", filename="a", purpose="batch", bytes=1, sha256=incoming.sha256, created_at=1)
            done.append(store.complete_upload(upload, file, incoming))
            part = StoredPart(id=f"part{number}", upload_id="u", sha256=incoming.sha256, bytes=1, created_at=1)
            assert not store.uploads.add_part(part, incoming)
    assert done == [True, False]
    files = store.files("p", purpose=None, descending=True, after=None, limit=9, now=1)
    assert [file.id for file in files or ()] == ["f0"]
    store.close()


def test_the_root_is_private(tmp_path):
    """Datasets are nobody else's business."""
    Store(tmp_path / "s").close()
    assert (tmp_path / "s").stat().st_mode & 0o077 == 0


def test_derived_ids_depend_on_every_part():
    """Equal parts give equal ids, and parts do not run together."""
    assert derived_id("x-", "a", "b") == derived_id("x-", "a", "b")
    assert len({derived_id("x-", *parts) for parts in (("a", "b"), ("ab",), ("a", "b", ""), ("b", "a"))}) == 4
    assert len(derived_id("ftjob-", "a")) == 30


def test_durable_writes_replace_or_create_in_one_step(tmp_path: Path):
    """A replaced file has the new content, a created one the first content, and no temporary file stays."""
    write_durably(tmp_path / "a", b"1")
    write_durably(tmp_path / "a", b"2")
    assert create_durably(tmp_path / "b", b"1")
    assert not create_durably(tmp_path / "b", b"2")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"2", "b": b"1"}


def test_a_lock_is_free_when_its_holder_is_done(tmp_path):
    """While one holds it the other is told at once; afterwards it is free."""
    path = tmp_path / "lock"
    with exclusive(path) as first, exclusive(path, wait=False) as second:
        assert (first, second) == (True, False)
    with exclusive(path, wait=False) as third:
        assert third is True
