"""Power loss and failing system calls at every step of writing state."""

# ruff: noqa: S311 a seed replays a failure

from __future__ import annotations

import errno
import itertools
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from ftspec.diagnostics import FtspecError, has_errors
from ftspec.state.base import Holder
from ftspec.state.disk import Disk
from ftspec.state.jsonl import JsonlState
from ftspec.testing.disk import PowerLoss, SimulatedDisk, StoppingDisk
from ftspec.testing.state import job

FOLDER = Path("/project/state")
ME = Holder(user="u", host="h", pid=1, command="", since="")


def state_on(disk, seed=0, folder=FOLDER):
    return JsonlState(folder, clock=itertools.count(1_790_000_000).__next__, random=Random(seed), disk=disk, me=ME)


def three_jobs(backend, acknowledged):
    """Launch three jobs as `apply` does: an intent before, an outcome after; then compact. Twice, as two commands."""
    for command in (0, 1):
        with backend.lock("apply") as writer:
            for number in (1 + 3 * command, 2 + 3 * command, 3 + 3 * command):
                writer.append(job(number, at=2 * number, status="intent", requested={"model": "m"}))
                acknowledged[number] = "intent"
                writer.append(job(number, at=2 * number + 1, status="launched", engine_job_id=f"job-{number}"))
                acknowledged[number] = "launched"
            writer.compact()


def recorded(state):
    return {int(key[-1]): record.status.value for key, record in state.jobs.items()}


def steps():
    counting = StoppingDisk(SimulatedDisk())
    three_jobs(state_on(counting), {})
    return range(len(counting.calls))


def check(disk, acknowledged, seed=1):
    """What was promised is there, nothing is unreadable, and the next command goes on."""
    state, problems = state_on(disk, seed).read()
    assert not has_errors(problems), problems
    found = recorded(state)
    for number, status in acknowledged.items():
        assert found[number] == status or (status, found[number]) == ("intent", "launched")
    with state_on(disk, seed).lock("apply") as writer:
        assert recorded(writer.read()) == found
        writer.append(job(9, at=30, status="intent"))
    with state_on(disk, seed + 1).lock("state compact") as writer:
        writer.compact()
    after, problems = state_on(disk, seed).read()
    assert problems == []
    assert recorded(after) == {**found, 9: "intent"}


@pytest.mark.parametrize("step", steps())
def test_a_power_loss_at_any_step_loses_nothing_that_was_acknowledged(step):
    """Whatever of the unsynced writes survives, every appended fact is there and state goes on."""
    for seed in range(6):
        disk, acknowledged = SimulatedDisk(), {}
        with pytest.raises(PowerLoss):
            three_jobs(state_on(StoppingDisk(disk, at=step, after=bool(seed % 2))), acknowledged)
        disk.lose_power(Random(seed))
        check(disk, acknowledged)


class Lying(StoppingDisk):
    """A disk that says that it has synced."""

    def __init__(self, disk, *, at, lies):
        super().__init__(disk, at=at)
        self.lies, self.syncs = lies, 0

    def __getattr__(self, name):
        method = super().__getattr__(name)
        if name == "sync":
            self.syncs += 1
            return method if self.syncs - 1 not in self.lies else lambda fd: self.calls.append("lie")
        return method


@pytest.mark.parametrize("sync", [3, 4, 9, 10, 12], ids=["segment name", "first fact", "last fact", "base file", "base file name"])
def test_this_test_notices_a_missing_sync(sync):
    """Each sync that a promise rests on is missed by at least one power loss when it is left out."""
    missed = 0
    for step, seed in itertools.product(range(40), range(6)):
        disk, acknowledged = SimulatedDisk(), {}
        with suppress(PowerLoss):
            three_jobs(state_on(Lying(disk, at=step, lies={sync})), acknowledged)
        disk.lose_power(Random(seed))
        try:
            check(disk, acknowledged)
        except (AssertionError, KeyError, FtspecError):
            missed += 1
    assert missed


@pytest.mark.slow
def test_two_power_losses_at_any_pair_of_steps_lose_nothing():
    """The second one strikes while the first one is being recovered from."""
    tried = 0
    for step in steps():
        for second in range(14):
            disk, acknowledged = SimulatedDisk(), {}
            with pytest.raises(PowerLoss):
                three_jobs(state_on(StoppingDisk(disk, at=step)), acknowledged)
            disk.lose_power(Random(step))
            try:
                with state_on(StoppingDisk(disk, at=second), seed=5).lock("state compact") as writer:
                    writer.compact()
            except PowerLoss:
                disk.lose_power(Random(second))
            check(disk, acknowledged)
            tried += 1
    assert tried > 500


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS], ids=["full", "io", "read-only"])
@pytest.mark.parametrize("step", steps())
def test_a_failing_system_call_is_an_error_and_loses_nothing(step, error):
    """Every call that changes the disk may fail once: the command stops, what was acknowledged stays."""
    disk, acknowledged = SimulatedDisk(), {}
    failing = StoppingDisk(disk, at=step, error=error)
    try:
        three_jobs(state_on(failing), acknowledged)
    except (FtspecError, OSError):
        stopped = True
    else:
        stopped = False
    # Only clearing the name of the holder may fail without anybody knowing: the lock itself is free.
    assert stopped or failing.calls[step] == "replace"
    state, problems = state_on(disk, 3).read()
    assert not has_errors(problems)
    found = recorded(state)
    assert all(found[number] in (status, "launched") for number, status in acknowledged.items())
    with state_on(disk, 4).lock("apply") as writer:
        assert recorded(writer.read()) == found


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_disk_that_cannot_be_written_is_refused_before_anything_is_bought(error):
    """The lock is not given to a command whose outcomes could not be recorded."""
    for step in range(8):
        failing = StoppingDisk(SimulatedDisk(), at=step, error=error)
        with pytest.raises(FtspecError) as refused, state_on(failing).lock("apply"):
            pytest.fail("the lock was given")
        assert "nothing was bought" in (refused.value.help or "")


def test_a_failed_append_leaves_the_writer_able_to_record_the_next_outcome(tmp_path):
    """After an error the next facts go to a new segment, and what failed is not taken for recorded."""
    disk = StoppingDisk(Disk())
    backend = state_on(disk, folder=tmp_path / "state")
    with backend.lock("apply") as writer:
        writer.append(job(1, status="intent"))
        disk._at, disk._error = len(disk.calls), errno.EIO
        with pytest.raises(OSError, match="injected"):
            writer.append(job(2, status="intent"))
        assert recorded(writer.read()) == {1: "intent"}
        writer.append(job(3, status="intent"))
        assert recorded(writer.read()) == {1: "intent", 3: "intent"}
    assert len(list((tmp_path / "state" / "log").iterdir())) == 2
    assert recorded(backend.read()[0]) == {1: "intent", 3: "intent"}
