"""What the exit code of `apply` says of what was done."""

from __future__ import annotations

import pytest

from ftspec.executor.result import ApplyResult, DuplicateJob, Trouble
from ftspec.record import JobError

FAILED = Trouble(address="a", error=JobError(code="server_error"))
TWINS = DuplicateJob(key="k", address="a", engine="e", kept="ftjob-1")


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (ApplyResult(), 0),
        (ApplyResult(launched=("a",), succeeded=("a",)), 0),
        (ApplyResult(launched=("a",), running=("a",), queued=("b",)), 0),
        (ApplyResult(blocked={"b": "a"}), 0),
        (ApplyResult(failed=(FAILED,)), 1),
        (ApplyResult(launched=("a",), failed=(FAILED,), skipped={"b": "a"}), 1),
        (ApplyResult(skipped={"a": "state has changed since the plan was made"}), 1),
        (ApplyResult(running=("b",), skipped={"a": "state has changed since the plan was made"}), 4),
        (ApplyResult(launched=("a", "b"), succeeded=("b",), failed=(FAILED,)), 4),
        (ApplyResult(launched=("a", "b"), running=("b",), failed=(FAILED,)), 4),
        (ApplyResult(succeeded=("a",), failed=(FAILED,)), 4),
        (ApplyResult(in_doubt=(FAILED,)), 4),
        (ApplyResult(launched=("b",), succeeded=("b",), in_doubt=(FAILED,)), 4),
        (ApplyResult(unblocked=("b",)), 4),
        (ApplyResult(duplicates=(TWINS,)), 0),
        (ApplyResult(duplicates=(DuplicateJob(key="k", address="a", engine="e", kept="ftjob-1", extra=("ftjob-2",)),)), 4),
        (ApplyResult(succeeded=("b",), state_error="No space left on device"), 1),
        (ApplyResult(succeeded=("b",), failed=(FAILED,), signal=15), 143),
    ],
)
def test_nothing_that_went_wrong_ends_in_zero(result: ApplyResult, code: int) -> None:
    """0: done, or it goes on by itself; 1: nothing came of it; 4: some of it, or nobody knows; 128 and the signal."""
    assert result.exit_code == code
