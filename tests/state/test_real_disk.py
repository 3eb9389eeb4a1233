"""The real disk does what the simulated one, on which power losses are tried, promises for it."""

import os
from pathlib import Path

import pytest

from ftspec.state.disk import Disk
from ftspec.state.jsonl import JsonlState
from ftspec.testing.state import job


@pytest.fixture
def synced(monkeypatch):
    """Return a list that names what was synced, in order."""
    real, names = os.fsync, []

    def note(fd):
        names.append((os.fstat(fd).st_dev, os.fstat(fd).st_ino))
        real(fd)

    monkeypatch.setattr(os, "fsync", note)
    return names


def identity(path: Path) -> tuple[int, int]:
    """Return what is noted when this is synced."""
    return path.stat().st_dev, path.stat().st_ino


def test_a_fact_and_the_name_of_its_segment_are_synced_before_append_returns(tmp_path, synced):
    """The system was told to make them durable: not only the simulated disk."""
    with JsonlState(tmp_path / "state").lock("apply") as writer:
        synced.clear()
        writer.append(job(1, status="intent"))
        (segment,) = (tmp_path / "state" / "log").iterdir()
        assert synced == [identity(tmp_path / "state" / "log"), identity(segment)]
        writer.append(job(1, at=1, status="launched", engine_job_id="a"))
        assert synced[2:] == [identity(segment)]


def test_base_files_and_their_names_are_synced_before_segments_go(tmp_path, synced):
    """Each file before its name, and the folder last."""
    folder = tmp_path / "state"
    with JsonlState(folder).lock("apply") as writer:
        writer.append(job(1, status="intent"))
        synced.clear()
        writer.compact()
    assert synced == [identity(folder / "jobs.jsonl"), identity(folder / "history.jsonl"), identity(folder)]


def test_a_folder_that_is_made_is_synced_into_its_parent(tmp_path, synced):
    """By path, and inside of an open folder; one that is there already is left alone."""
    disk = Disk()
    disk.make_folder(tmp_path / "state")
    assert synced == [identity(tmp_path)]
    folder = disk.open_folder(tmp_path / "state")
    disk.make_folder(Path("log"), inside=folder)
    assert synced[1:] == [identity(tmp_path / "state")]
    disk.make_folder(Path("log"), inside=folder)
    assert len(synced) == 2
    disk.close(folder)


def test_a_new_file_is_new(tmp_path):
    """A name that is taken, by a file or by a link to nowhere, is an error: nobody else's bytes are written on."""
    disk = Disk()
    (tmp_path / "taken").write_bytes(b"theirs")
    (tmp_path / "link").symlink_to("nowhere")
    folder = disk.open_folder(tmp_path)
    for name in ("taken", "link"):
        with pytest.raises(FileExistsError):
            disk.create(folder, name)
    disk.close(folder)
    assert not (tmp_path / "nowhere").exists()
