"""How long a job takes, by jobs like it."""

from __future__ import annotations

import pytest

from ftspec.record import Attempt, JobStatus, RecordedJob
from ftspec.state.pace import Pace


def job(status="succeeded", *, tokens=1000, finished=None, model="m", engine="e", created="2026-11-20T10:00:00Z"):
    attempt = Attempt(
        number=1, status=JobStatus(status), created_at=created, finished_at=finished, estimated_tokens=tokens, base_model=model
    )
    preimage = {"base_model": model, "method": "supervised"}
    return RecordedJob(key=f"{status}{finished}{tokens}", address="t", engine=engine, scope="s", attempts=(attempt,), preimage=preimage)


HISTORY = [job(finished=f"2026-11-20T10:0{minutes}:00Z") for minutes in (1, 2, 9)]


def test_the_median_of_jobs_like_it_decides():
    """Two minutes for a thousand tokens: four for two thousand."""
    assert Pace(HISTORY).finish(job("running", tokens=2000)) == "2026-11-20T10:04:00Z"


@pytest.mark.parametrize(
    "asked",
    [job("running", model="other"), job("running", engine="other"), job("running", tokens=None), job("running", created=None), HISTORY[0]],
    ids=["model", "engine", "tokens", "not created", "finished"],
)
def test_what_nothing_is_known_about_is_not_guessed(asked):
    """Another model or engine, unknown tokens, no begin, or an end already: no time."""
    assert Pace(HISTORY).finish(asked) is None


def test_jobs_that_failed_say_nothing():
    """Only jobs that succeeded are a measure."""
    assert Pace([job("failed", finished="2026-11-20T10:01:00Z")]).finish(job("running")) is None


@pytest.mark.parametrize("time", ["", "yesterday", "2026-11-20T10:00:00", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00"])
def test_times_that_are_none_count_for_nothing(time):
    """A record may hold anything; an estimate is made of what can be one."""
    assert Pace([job(created=time, finished="2026-11-20T10:01:00Z"), *HISTORY]).finish(job("running")) == "2026-11-20T10:02:00Z"
    assert Pace(HISTORY).finish(job("running", created=time)) is None
    assert Pace(HISTORY).finish(job("running", tokens=10**18)) == "2027-11-21T10:00:00Z"
