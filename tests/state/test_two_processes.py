"""Two processes on one state folder, killed processes, writes that are cut short."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ftspec.state.base import StateLocked
from ftspec.state.jsonl import JsonlState
from ftspec.testing.state import job

WRITER = """
import sys, time
from pathlib import Path
from ftspec.state.base import JobFact
from ftspec.state.jsonl import JsonlState

def job(number, *, at=0, **values):
    return JobFact(key=f"{number:064}", at=f"2026-11-20T10:00:0{at}.000Z", attempt=1, values=values)

with JsonlState(Path(sys.argv[1])).lock("apply --from-another-process") as writer:
    writer.append(job(int(sys.argv[2]), status="intent"))
    print("ready", flush=True)
    sys.stdin.readline()
    writer.append(job(int(sys.argv[2]), at=1, status="launched", engine_job_id="job"))
"""


def start(folder, number):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def finish(process, *, kill=False):
    if kill:
        process.send_signal(signal.SIGKILL)
    process.communicate("\n", timeout=30)
    return process.returncode


def test_the_loser_of_two_processes_learns_who_the_winner_is(tmp_path):
    """The message names user, host, process, command and how long; nothing is written meanwhile."""
    winner = start(tmp_path / "state", 1)
    try:
        holder = JsonlState(tmp_path / "state").holder()
        assert holder is not None
        assert holder.pid == winner.pid
        with pytest.raises(StateLocked) as lost, JsonlState(tmp_path / "state").lock("apply"):
            pytest.fail("two writers")
        assert f"`apply --from-another-process` (pid {winner.pid})" in lost.value.message
        assert JsonlState(tmp_path / "state").read()[0].jobs.keys() == {"0" * 63 + "1"}
    finally:
        assert finish(winner) == 0
    assert [record.status.value for record in JsonlState(tmp_path / "state").read()[0].jobs.values()] == ["launched"]


def test_a_killed_process_holds_no_lock(tmp_path):
    """The system frees the lock at once; what was appended is there."""
    assert finish(start(tmp_path / "state", 1), kill=True) == -signal.SIGKILL
    state = JsonlState(tmp_path / "state")
    assert state.holder() is None
    with state.lock("apply") as writer:
        assert [record.in_doubt for record in writer.read().jobs.values()] == [True]


def test_readers_are_not_disturbed_by_a_writer_that_compacts(tmp_path):
    """Without a lock, a reader sees every acknowledged fact at any moment of a compaction."""
    state = JsonlState(tmp_path / "state")
    seen = []

    class Watching:
        """Reads state at every step of another process."""

        def __init__(self, disk):
            self.disk = disk

        def __getattr__(self, name):
            if name in {"rename", "unlink", "create", "sync"} and acknowledged:
                found, problems = state.read()
                assert problems == []
                assert found.jobs.keys() >= acknowledged
                seen.append(name)
            return getattr(self.disk, name)

    acknowledged: set[str] = set()
    for number in (1, 2, 3):
        writing = JsonlState(tmp_path / "state", disk=Watching(state.disk))
        with writing.lock("apply") as writer:
            writer.append(job(number, status="intent"))
            acknowledged.add("0" * 63 + str(number))
            writer.compact()
    assert set(seen) == {"rename", "unlink", "create", "sync"}


LIMITED = """
import signal, sys
from pathlib import Path
from ftspec.diagnostics import FtspecError
from ftspec.state.base import JobFact
from ftspec.state.jsonl import JsonlState

def job(number, **values):
    return JobFact(key=f"{number:064}", at="2026-11-20T10:00:00.000Z", attempt=1, values=values)

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
state = JsonlState(Path(sys.argv[1]))
try:
    with state.lock("apply") as writer:
        for number in range(1, 400):
            writer.append(job(number, status="intent", requested={"model": "m" * 500}))
            print(number, flush=True)
except (OSError, FtspecError) as error:
    print(type(error).__name__)
"""


@pytest.mark.parametrize("limit", [1 << 12, 70_000, 100_123])
def test_a_write_that_is_cut_short_is_an_error_and_its_line_is_left_out(tmp_path, limit):
    """A disk that fills up in the middle of a line loses that line only (the kernel's own short write)."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "state")],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    *acknowledged, last = done.stdout.split()
    assert last == ("StateNotWritable" if limit < 1 << 16 else "OSError")
    state, problems = JsonlState(tmp_path / "state").read()
    assert len(state.jobs) == len(acknowledged)
    assert [problem.code for problem in problems] == ([] if limit < 1 << 16 else ["torn-line"])


def strace() -> str | None:
    """Return why system calls cannot be injected here, if so."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(["strace", "-o", os.devnull, "-e", "trace=none", "true"], capture_output=True, check=False)
    return None if tried.returncode == 0 else "ptrace is not allowed here"


INJECTED = """
import encodings.idna, fcntl, getpass, os, pwd, random, secrets, socket, sys
from pathlib import Path
from ftspec.diagnostics import FtspecError
from ftspec.state.base import JobFact
from ftspec.state.jsonl import JsonlState

def job(number, **values):
    return JobFact(key=f"{number:064}", at="2026-11-20T10:00:00.000Z", attempt=1, values=values)

state = JsonlState(Path(sys.argv[1]))
os.mkdir(sys.argv[2])
try:
    with state.lock("apply") as writer:
        for number in (1, 2):
            writer.append(job(number, status="intent"))
            print(number, flush=True)
        writer.compact()
        print("compacted", flush=True)
except (OSError, FtspecError) as error:
    print("refused", type(error).__name__, flush=True)
    sys.exit(9)
"""


@pytest.mark.slow
@pytest.mark.skipif(strace() is not None, reason=strace() or "")
@pytest.mark.parametrize("fault", ["signal=KILL", "error=EIO", "error=ENOSPC"])
def test_every_system_call_may_fail_or_be_the_last(tmp_path, fault):
    """KILL, EIO and ENOSPC at each openat, write, fsync, rename, unlink and close: state is old or new, never neither."""
    tried = 0
    for call in ("openat", "write", "fsync", "rename", "renameat", "unlinkat", "mkdirat", "flock", "close", "pwrite64", "ftruncate"):
        for number in range(1, 60):
            folder = tmp_path / f"{call}{number}" / "state"
            marker = tmp_path / f"{call}{number}" / "begun"
            folder.parent.mkdir()
            command = [sys.executable, "-c", INJECTED, str(folder), str(marker)]
            first = baseline(call, command, tmp_path / "trace", folder, marker)
            if number > first[1]:
                break
            when = first[0] + number
            traced = ["strace", "-f", "-o", os.devnull, "-e", f"trace={call}", "-e", f"inject={call}:{fault}:when={when}"]
            done = subprocess.run([*traced, *command], capture_output=True, text=True, check=False, timeout=60)
            acknowledged = {word for word in done.stdout.split() if word.isdigit()}
            assert "Traceback" not in done.stderr, f"{call} {number}: {done.stderr[-600:]}"
            state, problems = JsonlState(folder).read()
            assert {problem.code for problem in problems} <= {"torn-line"}
            assert {key[-1] for key in state.jobs} >= acknowledged
            with JsonlState(folder).lock("apply") as writer:
                writer.append(job(5, status="intent"))
                writer.compact()
            assert JsonlState(folder).read()[1] == []
            tried += 1
    assert tried > 30


_BASELINES: dict[str, tuple[int, int]] = {}


def baseline(call, command, trace, folder, marker):
    """Return how often a call happens before the state code begins, and from then on."""
    if call not in _BASELINES:
        done = subprocess.run(
            ["strace", "-f", "-y", "-o", str(trace), "-e", f"trace={call},mkdir", *command], check=True, capture_output=True
        )
        assert b"compacted" in done.stdout
        lines = Path(trace).read_text(errors="replace").splitlines()
        begun = next(i for i, line in enumerate(lines) if str(marker) in line)
        mine = [i for i, line in enumerate(lines) if f" {call}(" in line]
        before = sum(1 for i in mine if i <= begun)
        _BASELINES[call] = before, len(mine) - before
        shutil.rmtree(folder)
        marker.rmdir()
    return _BASELINES[call]
