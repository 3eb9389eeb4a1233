"""Recorded jobs as tables: what is shown of each, and how often its record is looked into for it."""

from __future__ import annotations

import pytest

from ftspec.record import Attempt, JobStatus, RecordedJob
from ftspec.render.jobs import JobLine, jobs_text
from ftspec.state.pace import Pace


class Counted(RecordedJob, frozen=True, kw_only=True, eq=False):
    """A record whose attempts are made whenever they are asked for, as those of a loaded one."""

    asked = 0

    @property
    def attempts(self):
        """One attempt, after one that was refused."""
        Counted.asked += 1
        number = int(self.key)
        status = [JobStatus.SUCCEEDED, JobStatus.RUNNING, JobStatus.INTENT][number % 3]
        done = status is JobStatus.SUCCEEDED
        last = Attempt(number=2, status=status, model=f"ft:m:{number}" if done else None, metrics={"train_loss": 0.25} if done else {})
        return (Attempt(number=1, status=JobStatus.REFUSED, metrics={"train_loss": 9.0}), last)


@pytest.fixture
def records():
    """Return six such records."""
    Counted.asked = 0
    return [Counted(key=str(n), address=f"t/seed={n}", engine="e", scope="s", attempts=()) for n in range(6)]


def test_each_job_has_its_status_loss_and_model(records):
    """Those of its newest attempt; a launch that nobody knows about is in doubt, and a job may be wanted only."""
    lines = [JobLine(address=one.address, axes={"seed": int(one.key)}, record=one) for one in records]
    assert jobs_text([*lines, JobLine(address="t/seed=6", axes={"seed": 6})]) == (
        "t: 7 jobs, 2 succeeded, 2 running, 2 in doubt, 1 not launched\n"
        "  seed  status        loss    model\n"
        "     0  succeeded     0.2500  ft:m:0\n"
        "     1  running\n"
        "     2  in doubt\n"
        "     3  succeeded     0.2500  ft:m:3\n"
        "     4  running\n"
        "     5  in doubt\n"
        "     6  not launched"
    )


def test_a_table_looks_into_each_record_once(records):
    """Ten thousand records are decoded once, not once for each column."""
    jobs_text([JobLine(address=one.address, record=one) for one in records])
    assert Counted.asked == len(records)


def test_how_long_jobs_took_is_looked_up_when_it_is_asked_for(records):
    """Where all jobs have ended nobody asks."""
    pace = Pace(records)
    assert Counted.asked == 0
    assert pace.seconds(engine="e", preimage={}, tokens=None) is None
    assert Counted.asked == 0
    assert pace.seconds(engine="e", preimage={}, tokens=5) is None
    assert Counted.asked == len(records)
