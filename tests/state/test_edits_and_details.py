"""What people change by hand, and smaller promises of the local backend."""

from __future__ import annotations

import gc
import os
from itertools import count
from random import Random

import msgspec
import pytest

from ftspec.diagnostics import FtspecError
from ftspec.record import Attempt, JobStatus, RecordedJob, State
from ftspec.state.base import EvalFact, FileFact, Holder, JobFact, StateLocked
from ftspec.state.disk import Disk
from ftspec.state.edits import forget, move, protect, restore
from ftspec.state.folder import history
from ftspec.state.jsonl import JsonlState
from ftspec.state.ledger import fold
from ftspec.state.memory import MemoryState, Store
from ftspec.state.process import age, just_after, this_process, timestamp
from ftspec.testing.state import job

NOW = "2026-11-20T12:00:00.000Z"


def record(address, status="succeeded", **members):
    attempt = Attempt(number=1, status=JobStatus(status))
    return RecordedJob(key=address, address=address, engine="sandbox", scope="sandbox", attempts=(attempt,), **members)


def state(*records):
    return State(jobs={one.key: one for one in records})


def changed(facts):
    return {fact.key: fact.job for fact in facts}


def test_a_job_or_a_whole_experiment_gets_a_new_address():
    """An exact address comes first; an experiment takes all its cells along."""
    found = state(record("triage/seed=1"), record("triage/seed=2"), record("triages/seed=1"))
    assert changed(move(found, "triage/seed=1", "best", at=NOW)) == {"triage/seed=1": {"address": "best"}}
    assert changed(move(found, "triage", "tickets", at=NOW)) == {
        "triage/seed=1": {"address": "tickets/seed=1"},
        "triage/seed=2": {"address": "tickets/seed=2"},
    }


def test_an_address_is_not_taken_from_another_job():
    """Two jobs with one address could not be told apart."""
    with pytest.raises(FtspecError, match="another recorded job"):
        move(state(record("a"), record("b")), "a", "b", at=NOW)
    with pytest.raises(FtspecError, match="no job and no experiment"):
        move(state(record("a", forgotten=True)), "a", "b", at=NOW)
    assert changed(move(state(record("a"), record("b", forgotten=True)), "a", "b", at=NOW)) == {"a": {"address": "b"}}


def test_protection_guards_against_forgetting():
    """A protected job must be unprotected first."""
    guarded, other = record("a", protected=True), record("b")
    assert changed(protect([guarded, other], on=True, at=NOW)) == {"b": {"protected": True}}
    assert changed(protect([guarded, other], on=False, at=NOW)) == {"a": {"protected": False}}
    with pytest.raises(FtspecError, match="protected"):
        forget([other, guarded], at=NOW)


@pytest.mark.parametrize(("status", "over"), [("succeeded", True), ("refused", True), ("running", False), ("intent", False)])
def test_a_job_that_is_not_over_is_forgotten_only_on_request(status, over):
    """It would go on and cost money that nobody sees."""
    one = record("a", status)
    if not over:
        with pytest.raises(FtspecError, match="not over"):
            forget([one], at=NOW)
    assert changed(forget([one], at=NOW, running=not over)) == {"a": {"forgotten": True}}
    assert forget([record("a", forgotten=True)], at=NOW) == []


def test_forgotten_jobs_can_be_restored():
    """Nothing is ever deleted."""
    assert changed(restore([record("a", forgotten=True), record("b")], at=NOW)) == {"a": {"forgotten": False}}


def test_a_file_uploaded_again_after_it_was_gone_is_found_by_its_new_id():
    """The newest usable upload counts; while one is under way there is no id to use."""
    facts = [
        FileFact(scope="s", digest="d", at="2026-11-20T10:00:00.000Z", values={"dataset_key": "k", "status": "intent", "name": "x"}),
        FileFact(scope="s", digest="d", at="2026-11-20T10:00:01.000Z", values={"status": "uploaded", "file_id": "f1", "created_at": "1"}),
        FileFact(scope="s", digest="d", at="2026-11-20T10:00:02.000Z", values={"status": "gone", "file_id": "f1"}),
        FileFact(scope="s", digest="d", at="2026-11-20T10:00:03.000Z", values={"status": "intent"}),
        FileFact(scope="s", digest="d", at="2026-11-20T10:00:04.000Z", values={"status": "uploaded", "file_id": "f2", "created_at": "2"}),
    ]
    seen = [fold(facts[:n]).files["s", "k"] for n in range(1, 6)]
    assert [(one.status, one.file_id) for one in seen] == [
        ("intent", None),
        ("uploaded", "f1"),
        ("gone", "f1"),
        ("intent", None),
        ("uploaded", "f2"),
    ]


def test_the_newest_usable_bytes_of_a_dataset_are_found():
    """Two files with the same rows in other words are one dataset."""
    facts = [
        FileFact(scope="s", digest=d, at=NOW, values={"dataset_key": "k", "status": status, "file_id": d, "created_at": d})
        for d, status in (("1", "confirmed"), ("2", "uploaded"), ("3", "gone"))
    ]
    assert fold(facts).files["s", "k"].file_id == "2"


def test_an_eval_that_is_run_again_after_it_failed_succeeds():
    """Its error is taken back by the fact that says so."""
    facts = [
        EvalFact(key="e", at="2026-11-20T10:00:00.000Z", values={"name": "n", "model": "m", "status": "failed", "error": {"code": "x"}}),
        EvalFact(key="e", at="2026-11-20T10:00:01.000Z", values={"status": "running"}),
        EvalFact(key="e", at="2026-11-20T10:00:02.000Z", values={"status": "succeeded", "error": None, "scores": {"exact": 1.0}}),
    ]
    assert fold(facts[:2]).evals["e"].status == "failed"
    assert (fold(facts).evals["e"].status, fold(facts).evals["e"].error) == ("succeeded", None)


def test_a_record_of_which_only_labels_are_known_is_kept_for_later(tmp_path):
    """A branch may protect a job whose purchase has not been merged yet."""
    backend = JsonlState(tmp_path / "state")
    with backend.lock("protect") as writer:
        writer.append(JobFact(key="k", at=NOW, job={"protected": True}))
        writer.compact()
    assert backend.read() == (State(generation=backend.read()[0].generation), [])
    with backend.lock("apply") as writer:
        writer.append(JobFact(key="k", at=NOW, attempt=1, values={"status": "intent"}))
        found = writer.read().jobs["k"]
    assert (found.protected, found.address, found.engine) == (True, "k", "")


@pytest.fixture
def backend(tmp_path):
    made = JsonlState(tmp_path / "state", clock=count(1_790_000_000, 60).__next__)
    with made.lock("apply") as writer:
        writer.append(*(job(n, at=n, status="succeeded", engine_job_id=f"j{n}", model="ft:ü", requested={"a": n}) for n in range(1, 4)))
        writer.compact()
    return made


def test_a_loaded_record_behaves_like_any_other(backend):
    """Members that are still JSON are equal, replaceable, hashable and serialisable."""
    loaded = backend.read()[0].jobs["0" * 63 + "1"]
    plain = msgspec.convert(loaded.plain(), RecordedJob)
    assert type(loaded) is not type(plain)
    assert (loaded == plain, plain == loaded, loaded != plain, plain != loaded) == (True, True, False, False)
    assert loaded != msgspec.structs.replace(plain, suffix="x")
    assert loaded != "something else"
    assert hash(loaded) == hash(loaded)
    assert msgspec.structs.replace(loaded, tags={"a": "b"}).tags == {"a": "b"}
    assert msgspec.structs.replace(loaded, attempts=()).attempts == ()
    assert (loaded.status, loaded.in_doubt, loaded.model) == (JobStatus.SUCCEEDED, False, "ft:ü")


def test_members_that_only_an_attempt_has_are_kept_in_its_extra(backend):
    """Reading fast does not mean to forget."""
    with backend.lock("apply") as writer:
        writer.append(job(1, at=9, status="succeeded", engine_job_id="j1", colour="blue", about={}))
        writer.compact()
    assert backend.read()[0].jobs["0" * 63 + "1"].last.extra == {"colour": "blue"}


def test_files_and_evals_with_statuses_that_are_none_are_refused(backend):
    """What was wrongly written once would be wrong for ever."""
    with backend.lock("apply") as writer:
        for fact in (
            FileFact(scope="s", digest="d", at=NOW, values={"status": "lost"}),
            EvalFact(key="e", at=NOW, values={"status": "done"}),
        ):
            with pytest.raises(ValueError, match="`status` is none of"):
                writer.append(fact)


def test_a_fact_with_extra_members_in_a_drawer_of_their_own_is_understood(backend):
    """`extra` is how records show unknown members; facts may say them the same way."""
    with backend.lock("apply") as writer:
        writer.append(FileFact(scope="s", digest="d", at=NOW, values={"dataset_key": "k", "extra": {"orphan": "changed"}}))
        assert writer.read().files["s", "k"].extra == {"orphan": "changed"}


def test_memory_can_begin_with_records():
    """Tests and simulations start where a state is."""
    begun = fold([job(1, status="intent"), FileFact(scope="s", digest="d", at=NOW, values={"dataset_key": "k"})])
    seen, problems = MemoryState(Store(base=begun)).read()
    assert (seen.jobs, seen.files, problems) == (begun.jobs, begun.files, [])


def test_there_is_no_holder_where_nothing_can_be_asked(tmp_path):
    """Asking who writes never fails."""
    assert JsonlState(tmp_path / "nowhere").holder() is None
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / ".lock").mkdir()
    assert JsonlState(tmp_path / "state").holder() is None


def test_a_user_without_a_name_is_shown_by_number(monkeypatch):
    """Containers run users that nobody has named."""
    import getpass

    def unnamed():
        raise KeyError

    monkeypatch.setattr(getpass, "getuser", unnamed)
    assert this_process().user == str(os.getuid())


def test_a_segment_that_vanishes_while_it_is_read_is_in_the_base_files(backend):
    """A reader that listed it before a compaction ended misses nothing."""

    class Late(Disk):
        def names(self, folder):
            return [*super().names(folder), "20260101T000000000Z-00000000.jsonl"]

    assert len(JsonlState(backend.folder, disk=Late()).read()[0].jobs) == 3


def test_labels_that_came_before_their_job_are_read_from_the_base_file_too(tmp_path):
    """A record without attempts shows nothing, and is not lost."""
    backend = JsonlState(tmp_path / "state")
    about = {"address": "a", "engine": "e", "scope": "s", "protected": True}
    for fact in (JobFact(key="k", at=NOW, job=about), JobFact(key="k", at=NOW, attempt=1, values={"status": "intent"})):
        with backend.lock("apply") as writer:
            writer.append(fact)
            writer.compact()
    assert backend.read()[0].jobs["k"].protected


def test_two_segments_of_one_moment_have_different_names(tmp_path):
    """Even where chance and clock repeat themselves."""

    class Constant(Random):
        draws = iter([7, 7, 7, 7, 7, 8, 9, 10])

        def getrandbits(self, k, /):
            return next(self.draws)

    for number in (1, 2):
        with JsonlState(tmp_path / "state", clock=lambda: 1_790_000_000, random=Constant()).lock("apply") as writer:
            writer.append(job(number, status="intent"))
    assert len(list((tmp_path / "state" / "log").iterdir())) == 2


def test_records_that_nothing_touched_are_written_back_byte_for_byte(backend):
    """Compaction rewrites only what changed, so that diffs show only that."""
    before = (backend.folder / "jobs.jsonl").read_bytes().splitlines()
    with backend.lock("apply") as writer:
        writer.append(job(2, at=9, attempt=0, about={"tags": {"x": "y"}}))
        writer.compact()
    after = (backend.folder / "jobs.jsonl").read_bytes().splitlines()
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, True]


def test_compaction_with_nothing_to_fold_changes_no_file(backend):
    """Applied twice, state has the same bytes."""
    before = {path: path.stat().st_mtime_ns for path in backend.folder.glob("*.jsonl")}
    with backend.lock("apply") as writer:
        writer.compact()
    assert {path: path.stat().st_mtime_ns for path in backend.folder.glob("*.jsonl")} == before


def test_the_log_says_who_did_what_also_after_compaction(backend):
    """A segment's first line outlives it in `history.jsonl`."""
    with backend.lock("state protect") as writer:
        writer.append(job(1, at=9, attempt=0, about={"protected": True}))
    entries = history(backend.load())
    assert [(entry["command"], entry["facts"], entry["compacted"]) for entry in entries] == [
        ("apply", 3, True),
        ("state protect", 1, False),
    ]


def test_a_command_that_writes_nothing_leaves_no_trace(backend):
    """Taking the lock makes no segment."""
    with backend.lock("apply"):
        pass
    assert list((backend.folder / "log").iterdir()) == []


def test_what_a_writer_showed_does_not_change_under_its_reader(backend):
    """States are values."""
    with backend.lock("apply") as writer:
        before = writer.read()
        assert writer.read() is before
        writer.append(job(7, status="intent"))
        assert len(before.jobs) == 3
        assert len(writer.read().jobs) == 4


def test_the_garbage_collector_is_left_as_it_was(backend):
    """Reading turns it off for speed, and on again."""
    assert gc.isenabled()
    backend.read()
    assert gc.isenabled()


def test_unfinished_files_of_a_killed_command_are_removed(backend):
    """Temporary files have no meaning once their writer is gone."""
    (backend.folder / ".jobs.jsonl-1.tmp").write_text("half")
    (backend.folder / "log" / ".x.tmp").write_text("half")
    with backend.lock("apply"):
        pass
    assert list(backend.folder.rglob("*.tmp")) == []


def test_a_lock_whose_holder_has_not_said_who_it_is_is_a_lock_all_the_same(tmp_path):
    """Another tool may hold the file."""
    import fcntl

    folder = tmp_path / "state"
    folder.mkdir()
    fd = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        with pytest.raises(StateLocked, match="not said who"), JsonlState(folder).lock("apply"):
            pytest.fail("two writers")
    finally:
        os.close(fd)


def test_who_holds_the_lock_is_shown_safely():
    """A command line or host name may hold escapes."""
    shown = StateLocked(Holder(user="u\x1b[31m", host="h", pid=1, command="apply \u202e", since=NOW)).message
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert f"since {NOW}" in shown


@pytest.mark.parametrize(("seconds", "text"), [(-5, "0 s"), (59, "59 s"), (60, "1 minute"), (7300, "2 hours"), (200_000, "2 days")])
def test_ages_are_for_people_and_never_negative(seconds, text):
    """Clocks of two machines may disagree."""
    assert age(timestamp(1_790_000_000), now=1_790_000_000 + seconds) == text
    assert age("yesterday", now=0) is None


@pytest.mark.parametrize("at", ["2026-11-20T10:00:00.999Z", "2026-11-20T10:00:00Z", "2026-12-31T23:59:59.999Z", "", "zebra"])
def test_the_next_moment_sorts_after_the_last(at):
    """Also after times that others wrote in other forms."""
    assert just_after(at) > at
