"""The real system call of durability is made: the fakes of the campaigns stand for it, so it is counted here."""

from __future__ import annotations

import os
import sys

import pytest


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names open files through /proc")
def test_an_apply_syncs_segments_base_files_folders_and_the_lockfile(project, ftspec, monkeypatch):
    """Every intent and outcome, the compaction and the lockfile reach the disk, not only the system's memory."""
    synced = []
    real = os.fsync

    def counted(handle):
        synced.append(os.readlink(f"/proc/self/fd/{handle}").removeprefix(str(project)))  # noqa: PTH115 not a file of ours
        real(handle)

    monkeypatch.setattr(os, "fsync", counted)
    assert ftspec("apply", "-y").code == 0
    assert sum(name.startswith("/state/log/") for name in synced) >= 8  # two jobs and two files: intent and outcome of each
    assert any(name.startswith("/state/") and ".tmp" in name for name in synced)  # a base file, before it gets its name
    assert "/state" in synced
    assert any(name.startswith("/.ftspec.lock") for name in synced)
