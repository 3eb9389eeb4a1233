"""Commands wait for hours, and meanwhile somebody tidies up: what was recorded is recorded again, or nothing more is bought."""

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from ftspec.state.disk import Disk
from ftspec.state.jsonl import JsonlState
from ftspec.testing.disk import PowerLoss, SimulatedDisk
from ftspec.testing.state import job


def numbers(folder):
    """Return which jobs a state folder holds, and what is odd about it."""
    state, problems = JsonlState(folder).read()
    return {int(key): record.status.value for key, record in state.jobs.items()}, [problem.code for problem in problems]


def remove_segments(folder):
    for segment in (folder / "log").iterdir():
        segment.unlink()


def remove_log(folder):
    shutil.rmtree(folder / "log")


@pytest.mark.parametrize("remove", [remove_segments, remove_log])
def test_what_was_removed_from_the_log_is_written_again(tmp_path, remove):
    """The next fact notices; everything that this command recorded is there, and it goes on."""
    folder = tmp_path / "state"
    with JsonlState(folder).lock("apply") as writer:
        writer.append(job(1, status="intent"))
        writer.append(job(1, at=1, status="launched", engine_job_id="a"))
        remove(folder)
        writer.append(job(2, status="intent"))
        assert numbers(folder) == ({1: "launched", 2: "intent"}, [])
        writer.append(job(2, at=1, status="launched", engine_job_id="b"))
    assert numbers(folder) == ({1: "launched", 2: "launched"}, [])


@pytest.mark.parametrize("remove", [remove_segments, remove_log])
@pytest.mark.parametrize("end", ["compact", "close"])
def test_what_is_removed_after_the_last_fact_is_written_again_at_the_end(tmp_path, remove, end):
    """Nothing more is appended, and nothing is lost all the same: neither by compaction nor without."""
    folder = tmp_path / "state"
    with JsonlState(folder).lock("apply") as writer:
        writer.append(job(1, status="intent"))
        remove(folder)
        if end == "compact":
            writer.compact()
    assert numbers(folder) == ({1: "intent"}, [])
    assert (folder / "jobs.jsonl").exists() == (end == "compact")


def renamed(folder):
    folder.rename(folder.with_name("elsewhere"))


def renamed_and_made_anew(folder):
    renamed(folder)
    with JsonlState(folder).lock("apply") as writer:
        writer.append(job(7, status="intent"))


@pytest.mark.parametrize("replace", [shutil.rmtree, renamed, renamed_and_made_anew])
def test_a_folder_that_was_replaced_gets_what_was_recorded_and_nothing_more_is_bought(tmp_path, replace):
    """Its lock is not ours, so an intent is refused; what was written before is added to what is there."""
    folder = tmp_path / "state"
    with JsonlState(folder).lock("apply") as writer:
        writer.append(job(1, status="intent"))
        replace(folder)
        with pytest.raises(OSError, match="was replaced while it was written"):
            writer.append(job(2, status="intent"))
    there = {7: "intent"} if replace is renamed_and_made_anew else {}
    assert numbers(folder) == ({1: "intent", **there}, [])


def test_without_its_lock_a_command_buys_nothing_more(tmp_path):
    """Somebody removed the lock (`git clean -x`, a hand) and another command took a new one: who had the old one stops before its next intent."""
    folder = tmp_path / "state"
    with JsonlState(folder).lock("apply") as writer:
        writer.append(job(1, status="intent"))
        (folder / ".lock").unlink()
        with JsonlState(folder).lock("apply") as other:
            assert [record.in_doubt for record in other.read().jobs.values()] == [True]
            with pytest.raises(OSError, match="the lock in it, was replaced"):
                writer.append(job(2, status="intent"))
            other.append(job(3, status="intent"))
    assert numbers(folder) == ({1: "intent", 3: "intent"}, [])


def test_a_folder_that_is_replaced_at_the_end_gets_what_was_recorded(tmp_path):
    """A command that only closes its segment loses nothing and has nothing to refuse."""
    folder = tmp_path / "state"
    with JsonlState(folder).lock("apply") as writer:
        writer.append(job(1, status="intent"))
        renamed(folder)
    assert numbers(folder) == ({1: "intent"}, [])


@pytest.mark.parametrize("more", [True, False], ids=["by the next fact", "at the end"])
@pytest.mark.parametrize("seed", range(12))
def test_what_was_written_again_survives_a_power_loss(seed, more):
    """It is as durable as what was written first, its name included."""
    disk, folder = SimulatedDisk(), Path("/project/state")
    state = JsonlState(folder, random=Random(seed), disk=disk)  # noqa: S311 a seed replays a failure
    with suppress(PowerLoss), state.lock("apply") as writer:
        writer.append(job(1, status="intent"))
        log = disk.open_folder(folder / "log")
        disk.unlink(log, *disk.names(log))
        disk.sync(log)
        if more:
            writer.append(job(2, status="intent"))
            raise PowerLoss
    disk.lose_power(Random(seed))  # noqa: S311
    found, problems = state.read()
    assert (len(found.jobs), problems) == (1 + more, [])


def test_a_segment_that_is_written_again_is_never_seen_half(tmp_path):
    """Whoever reads meanwhile, perhaps to fold it, finds all of it or nothing."""
    folder = tmp_path / "state"

    class Watched(Disk):
        def write(self, fd, data):
            super().write(fd, data[: len(data) // 2])
            seen.append(JsonlState(folder).read()[1])
            super().write(fd, data[len(data) // 2 :])

    seen = []
    with JsonlState(folder, disk=Watched()).lock("apply") as writer:
        writer.append(job(1, status="intent"))
        remove_segments(folder)
        seen.clear()
        writer.read()
        writer._rewrite_if_removed()
    assert seen == [[]]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_stash_that_took_the_log_away_can_be_brought_back(tmp_path):
    """`git stash -u` during a command, `git stash pop` after it: no conflict, and every fact once."""

    def git(*words):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    folder = tmp_path / "state"
    git("init", "-q", "-b", "main")
    git("commit", "-q", "--allow-empty", "-m", "start")
    with JsonlState(folder).lock("apply") as writer:
        writer.append(job(1, status="intent"))
        git("stash", "-u")
        assert not (folder / "log").exists()
        writer.append(job(1, at=1, status="launched", engine_job_id="a"))
    assert numbers(folder) == ({1: "launched"}, [])
    git("stash", "pop")
    assert len(list((folder / "log").glob("*.jsonl"))) == 3
    assert numbers(folder) == ({1: "launched"}, [])
