"""The proof of a state backend: what `apply` relies on, asked of a real one.

    class TestMine(StateConformance):
        @pytest.fixture
        def connect(self, tmp_path) -> Callable[[], StateBackend]:
            return lambda: MyState(tmp_path)

Every call of `connect` returns another backend on the same records, as another process has it.
The records are empty when a test begins.
"""

# ruff: noqa: S101 a conformance suite is made of assertions

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ftspec.record import JobStatus, State
from ftspec.state.base import EvalFact, FileFact, JobFact, StateLocked

if TYPE_CHECKING:
    from collections.abc import Callable

    from ftspec.state.base import Fact, StateBackend

    Connect = Callable[[], StateBackend]

KEY = "0" * 63


def time(seconds: int) -> str:
    """Return a time of the day on which all of this happens."""
    return f"2026-11-20T10:{seconds // 60:02}:{seconds % 60:02}.000Z"


def job(number: int = 1, *, at: int = 0, attempt: int = 1, about: dict[str, Any] | None = None, **values: Any) -> JobFact:
    """Return a fact about job `number`."""
    members = {"address": f"triage/seed={number}", "engine": "sandbox", "scope": "sandbox"} if about is None else about
    return JobFact(key=f"{KEY}{number}", at=time(at), attempt=attempt, values=values, job=members)


class StateConformance:
    """Subclass it and provide the fixture `connect`."""

    def write(self, backend: StateBackend, *facts: Fact) -> State:
        """Append facts as one command."""
        with backend.lock("test") as writer:
            writer.append(*facts)
            return writer.read()

    def test_no_records_read_as_an_empty_state(self, connect: Connect) -> None:
        """Nothing recorded is no error."""
        state, problems = connect().read()
        assert (state.jobs, state.files, state.evals, problems) == ({}, {}, {}, [])
        assert connect().holder() is None

    def test_what_was_appended_is_seen_by_others_before_the_lock_is_given_back(self, connect: Connect) -> None:
        """A fact is durable, and readable without a lock, as soon as `append` returns."""
        with connect().lock("test") as writer:
            writer.append(job(status="intent", requested={"model": "m"}))
            seen, problems = connect().read()
            assert seen.jobs[f"{KEY}1"].last.requested == {"model": "m"}
            assert seen.jobs == writer.read().jobs
            assert problems == []

    def test_files_and_evals_are_recorded(self, connect: Connect) -> None:
        """Uploads are found by scope and dataset, eval runs by key."""
        self.write(
            connect(),
            FileFact(scope="s", digest="d", at=time(0), values={"dataset_key": "k", "file_id": "file-1", "status": "uploaded", "rows": 3}),
            EvalFact(key="e", at=time(0), values={"name": "holdout", "model": "m", "status": "succeeded", "scores": {"exact": 0.5}}),
        )
        state, _ = connect().read()
        assert (state.files["s", "k"].file_id, state.files["s", "k"].rows) == ("file-1", 3)
        assert (state.evals["e"].status, state.evals["e"].scores) == ("succeeded", {"exact": 0.5})

    def test_a_second_writer_is_told_who_the_first_is(self, connect: Connect) -> None:
        """One process writes at a time; the other learns the command that holds the lock."""
        with connect().lock("apply --auto-approve"):
            holder = connect().holder()
            assert holder is not None
            assert holder.command == "apply --auto-approve"
            with pytest.raises(StateLocked) as refused, connect().lock("apply"):
                pass
        assert refused.value.exit_code == 6
        assert "apply --auto-approve" in refused.value.message
        assert connect().holder() is None

    def test_the_lock_is_free_after_a_failure(self, connect: Connect) -> None:
        """A command that stops with an error gives the lock back."""
        with pytest.raises(ZeroDivisionError), connect().lock("test"):
            raise ZeroDivisionError
        assert self.write(connect(), job(status="intent")).jobs

    def test_a_writer_sees_what_earlier_writers_wrote(self, connect: Connect) -> None:
        """State is read after the lock is taken."""
        backend = connect()
        self.write(connect(), job(1, status="intent"))
        with backend.lock("test") as writer:
            assert list(writer.read().jobs) == [f"{KEY}1"]

    def test_a_status_never_goes_back(self, connect: Connect) -> None:
        """What arrives late does not undo what is known: not the status, nor what came with it."""
        state = self.write(
            connect(),
            job(at=1, status="succeeded", engine_job_id="a", model="ft:m"),
            job(at=9, status="running", engine_job_id="a", model=None, raw_status="running"),
        )
        last = state.jobs[f"{KEY}1"].last
        assert (last.status, last.model) == (JobStatus.SUCCEEDED, "ft:m")

    def test_a_slow_clock_loses_no_fact(self, connect: Connect) -> None:
        """What is written later counts, though the writer's clock says that it is earlier."""
        self.write(connect(), job(at=50, about={"address": "triage/a", "protected": True}, status="intent"))
        state = self.write(connect(), job(at=1, attempt=0, about={"address": "triage/b", "protected": False}))
        assert (state.jobs[f"{KEY}1"].address, state.jobs[f"{KEY}1"].protected) == ("triage/b", False)

    def test_a_fact_without_a_status_is_about_the_status_that_is_known(self, connect: Connect) -> None:
        """Observations need not repeat the status and the id of the job."""
        self.write(connect(), job(at=1, status="running", engine_job_id="a", cost=1.0))
        state = self.write(connect(), job(at=2, cost=2.0, about={}))
        assert state.jobs[f"{KEY}1"].last.cost == 2.0
        assert state.jobs[f"{KEY}1"].last.status is JobStatus.RUNNING

    def test_a_value_can_be_taken_back(self, connect: Connect) -> None:
        """`None` removes a value."""
        self.write(connect(), job(status="intent", unsettled_since=time(0)))
        state = self.write(connect(), job(at=1, status="intent", unsettled_since=None))
        assert state.jobs[f"{KEY}1"].last.unsettled_since is None

    def test_two_ids_of_one_attempt_are_both_kept_and_reported(self, connect: Connect) -> None:
        """The older job counts, whole; the other one is a duplicate."""
        self.write(connect(), job(at=5, status="succeeded", engine_job_id="late", created_at=time(5), model="ft:late"))
        self.write(connect(), job(at=9, status="running", engine_job_id="early", created_at=time(1)))
        state, problems = connect().read()
        record = state.jobs[f"{KEY}1"]
        assert (record.last.engine_job_id, record.last.status, record.model) == ("early", JobStatus.RUNNING, None)
        assert record.duplicates == ("late",)
        assert [problem.code for problem in problems] == ["duplicate-job"]

    def test_a_second_attempt_stands_beside_the_first(self, connect: Connect) -> None:
        """Attempts are ordered by number; the last one counts."""
        self.write(connect(), job(at=1, status="failed", engine_job_id="a", error={"code": "x"}))
        state = self.write(connect(), job(at=2, attempt=2, status="launched", engine_job_id="b"))
        record = state.jobs[f"{KEY}1"]
        assert [attempt.status for attempt in record.attempts] == [JobStatus.FAILED, JobStatus.LAUNCHED]
        assert record.status is JobStatus.LAUNCHED

    def test_a_job_that_turns_up_after_all_wins(self, connect: Connect) -> None:
        """Proof that a job exists is stronger than the belief that it does not, and ends the doubt."""
        self.write(connect(), job(at=1, status="intent", unsettled_since=time(1), error={"message": "timeout"}))
        self.write(connect(), job(at=2, status="absent"))
        state = self.write(connect(), job(at=3, status="queued", engine_job_id="a"))
        last = state.jobs[f"{KEY}1"].last
        assert (last.status, last.error, last.unsettled_since) == (JobStatus.QUEUED, None, None)

    def test_unknown_members_are_kept(self, connect: Connect) -> None:
        """What another tool wrote is shown in `extra`, also after compaction."""
        fact = job(status="intent", colour="blue", about={"address": "a", "engine": "e", "scope": "s", "team": ["x"]})
        self.write(connect(), fact)
        with connect().lock("test") as writer:
            writer.compact()
        record = connect().read()[0].jobs[f"{KEY}1"]
        assert (record.extra, record.last.extra) == ({"team": ["x"]}, {"colour": "blue"})

    def test_compaction_changes_nothing_that_is_seen(self, connect: Connect) -> None:
        """State reads the same before and after, and can be added to."""
        facts = [job(number, at=number, status="succeeded", engine_job_id=f"job-{number}", model="ft:m") for number in range(1, 6)]
        self.write(connect(), *facts)
        before, _ = connect().read()
        with connect().lock("test") as writer:
            writer.compact()
            assert writer.read().jobs == before.jobs
            writer.append(job(6, status="intent"))
        after, problems = connect().read()
        assert {key: after.jobs[key] for key in before.jobs} == before.jobs
        assert after.jobs.keys() - before.jobs.keys() == {f"{KEY}6"}
        assert problems == []

    def test_the_generation_changes_with_the_records(self, connect: Connect) -> None:
        """Equal generations mean equal records."""
        self.write(connect(), job(1, status="intent"))
        first = connect().read()[0].generation
        assert connect().read()[0].generation == first
        self.write(connect(), job(2, status="intent"))
        assert connect().read()[0].generation != first

    @pytest.mark.parametrize(
        "wrong",
        [
            job(status="finished"),
            job(status="intent", seed="one"),
            job(about={"attempts": []}, status="intent"),
            job(about={"key": "x"}, status="intent"),
            job(status="intent", requested={"bad": object()}),
        ],
        ids=["status", "type", "computed", "identity", "not-json"],
    )
    def test_a_fact_that_cannot_be_right_is_refused(self, connect: Connect, wrong: JobFact) -> None:
        """A bug in a caller is an exception, and nothing of it is recorded."""
        with connect().lock("test") as writer:
            writer.append(job(2, status="intent"))
            with pytest.raises((ValueError, TypeError)):
                writer.append(job(1, status="intent"), wrong)
            assert list(writer.read().jobs) == [f"{KEY}2"]
        assert list(connect().read()[0].jobs) == [f"{KEY}2"]
