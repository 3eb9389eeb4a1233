"""Real applies on disks that are read-only or full from the start, or fill up on the way: real file systems, real processes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ftspec.state.jsonl import JsonlState
from ftspec.testing.faulty import FaultyServer

SPEC = """\
ftspec: 1
project: disks
engines:
  here: {{type: openai-compatible, base_url: "{url}"}}
datasets: {{rows: rows.jsonl}}
defaults: {{engine: here, train: rows, base_model: base-small, epochs: 1}}
experiments:
  grid: {{matrix: {{seed: {seeds}}}}}
"""
APPLY = [sys.executable, "-m", "ftspec", "apply", "-y", "--no-wait", "--settle-window", "0"]
TMPFS = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
ROOTLESS = ["setpriv", "--bounding-set", "-dac_override"]


def can(*command: str) -> bool:
    """Whether a command works here."""
    return shutil.which(command[0]) is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0


small_disks = pytest.mark.skipif(not can(*TMPFS, "mount -t tmpfs -o size=64k none /mnt"), reason="no file system can be mounted here")


@pytest.fixture
def server():
    """Return a server that sells jobs."""
    with FaultyServer() as server:
        yield server


def project(folder: Path, server: FaultyServer, jobs: int) -> Path:
    """Return a project that wants so many jobs, and its empty folder for state."""
    (folder / "ftspec.yaml").write_text(SPEC.format(url=server.base_url, seeds=list(range(jobs))))
    (folder / "rows.jsonl").write_text('{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n' * 10)
    (folder / "state").mkdir()
    return folder / "state"


def applied(folder: Path, *before: str) -> tuple[int, str]:
    """Apply; return the exit code and what was said."""
    done = subprocess.run([*before, *APPLY], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def applied_on_a_disk_of(kibibytes: int, folder: Path) -> tuple[int, str]:
    """Apply with state on a file system of this size; what it holds in the end replaces the folder."""
    script = f'mount -t tmpfs -o size={kibibytes}k none state && "$@"; code=$?; cp -r state copy; exit $code'
    outcome = applied(folder, *TMPFS, script, "sh")
    (folder / "state").rmdir()
    (folder / "copy").rename(folder / "state")
    return outcome


@pytest.mark.skipif(os.geteuid() == 0 and not can(*ROOTLESS, "true"), reason="root writes to read-only folders, and can be nobody else")
def test_a_read_only_folder_is_refused_before_anything_is_bought(tmp_path, server):
    """A command that could not record what it buys does not begin; what was recorded can be read."""
    state = project(tmp_path, server, 1)
    state.chmod(0o555)
    code, said = applied(tmp_path, *(ROOTLESS if os.geteuid() == 0 else []))
    assert code == 1
    assert "error: state cannot be written to `state`: Permission denied" in said
    assert server.requests == []
    assert JsonlState(state).read()[0].jobs == {}


def newest_ids(state):
    return {record.last.engine_job_id for record in JsonlState(state).read()[0].jobs.values()}


@small_disks
def test_a_full_disk_is_refused_before_anything_is_bought(tmp_path, server):
    """There must be room for what some hundred launches would have to record."""
    project(tmp_path, server, 1)
    code, said = applied_on_a_disk_of(60, tmp_path)
    assert code == 1
    assert "error: state cannot be written to `state`: No space left on device" in said
    assert server.requests == []


@small_disks
def test_a_disk_that_fills_up_among_purchases_loses_none(tmp_path, server):
    """What could not be recorded is named with its id and has its intent; with room again, apply finds it and buys the rest."""
    state = project(tmp_path, server, 40)
    code, said = applied_on_a_disk_of(72, tmp_path)
    assert code == 1
    assert "error: state could not be written: No space left on device; nothing was bought after that" in said
    bought = set(server.jobs)
    assert 0 < len(bought) < 40
    recorded = {attempt.engine_job_id for record in JsonlState(state).read()[0].jobs.values() for attempt in record.attempts}
    for lost in bought - recorded:
        assert f"bought but not recorded; once state can be written again, `ftspec apply` finds it {lost}" in said
    assert applied(tmp_path)[0] == 0
    assert server.posts == len(server.jobs) == 40
    assert newest_ids(state) == set(server.jobs)


@small_disks
def test_a_disk_without_room_to_compact_is_a_note_beside_what_happened(tmp_path, server):
    """Everything is recorded, so the summary and the exit code are those of the apply, and the lockfile is written."""
    state = project(tmp_path, server, 40)
    code, said = applied_on_a_disk_of(120, tmp_path)
    assert code == 0
    assert "warning: state could not be compacted: No space left on device; nothing of it is missing" in said
    assert "Apply: 1 uploaded, 40 launched, 40 running." in said
    assert (tmp_path / "ftspec.lock").exists()
    assert newest_ids(state) == set(server.jobs)
