"""Facts for state tests: few keys, times and values, so that they meet and contradict each other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st

from ftspec.record import JobStatus
from ftspec.state.base import EvalFact, Fact, FileFact, JobFact

TIMES = st.sampled_from([f"2026-11-20T10:00:0{n}.000Z" for n in range(4)])


def maybe(members: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Any of these members, each with a value or taken back."""
    return st.fixed_dictionaries({}, optional={name: st.none() | values for name, values in members.items()})


ATTEMPT = maybe(
    {
        "status": st.sampled_from([status.value for status in JobStatus]),
        "engine_job_id": st.sampled_from(["ftjob-a", "ftjob-b", "ftjob-c"]),
        "created_at": TIMES,
        "launch": st.sampled_from(["run-x", "run-y"]),
        "raw_status": st.sampled_from(["queued", "läuft"]),
        "seed": st.integers(0, 1),
        "cost": st.sampled_from([1, 1.0, 2.5]),
        "hyperparameters": st.sampled_from([{}, {"n_epochs": 1}, {"n_epochs": True}]),
        "unsettled_since": TIMES,
        "error": st.sampled_from([{"code": "x"}, {"message": "y"}]),
        "from_the_future": st.sampled_from([[1], {"b": 1, "a": 2}]),
    }
)
ABOUT = maybe(
    {
        "address": st.sampled_from(["triage/seed=1", "triage/seed=2"]),
        "engine": st.just("sandbox"),
        "scope": st.just("sandbox"),
        "protected": st.booleans(),
        "forgotten": st.booleans(),
        "tags": st.sampled_from([{}, {"owner": "search"}]),
        "from_the_future": st.sampled_from(["a", 1]),
    }
)
FILE = maybe(
    {
        "status": st.sampled_from(["intent", "uploaded", "confirmed", "gone"]),
        "file_id": st.sampled_from(["file-a", "file-b"]),
        "dataset_key": st.just("d"),
        "created_at": TIMES,
        "rows": st.integers(0, 2),
        "from_the_future": st.just(1),
    }
)
EVAL = maybe(
    {
        "status": st.sampled_from(["intent", "running", "failed", "succeeded"]),
        "name": st.just("holdout"),
        "model": st.sampled_from(["m", "n"]),
        "samples": st.integers(0, 2),
        "scores": st.sampled_from([{}, {"exact": {"mean": 0.5}}]),
    }
)
FACTS: st.SearchStrategy[list[Fact]] = st.lists(
    st.builds(JobFact, key=st.sampled_from(["k1", "k2"]), at=TIMES, attempt=st.integers(0, 2), values=ATTEMPT, job=ABOUT)
    | st.builds(FileFact, scope=st.just("s"), digest=st.sampled_from(["x", "y"]), at=TIMES, values=FILE)
    | st.builds(EvalFact, key=st.just("e"), at=TIMES, values=EVAL),
    max_size=12,
)


@pytest.fixture
def times() -> list[str]:
    return [f"2026-11-20T10:00:0{n}.000Z" for n in range(10)]
