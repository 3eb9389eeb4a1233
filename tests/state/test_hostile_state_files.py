"""State files as merges, editors, crashes and strangers leave them: read, refused by line, mended."""

from __future__ import annotations

import json
import os
from itertools import count

import pytest

from ftspec.diagnostics import FtspecError, Severity, has_errors
from ftspec.state.jsonl import JsonlState, StateUnreadable
from ftspec.state.lines import decode, encode
from ftspec.state.repair import ACCEPT_EDIT, examine, mend
from ftspec.testing.state import job


@pytest.fixture
def state(tmp_path):
    return JsonlState(tmp_path / "state", clock=count(1_790_000_000).__next__)


@pytest.fixture
def log(state):
    """The only segment, which holds an intent and an outcome of two jobs."""
    with state.lock("apply") as writer:
        for number in (1, 2):
            writer.append(job(number, at=number, status="intent", requested={"model": "läuft\u2028\x85"}))
            writer.append(job(number, at=number + 1, status="launched", engine_job_id=f"job-{number}"))
    return next((state.folder / "log").iterdir())


@pytest.fixture
def base(state, log):
    """`jobs.jsonl`, with two records."""
    with state.lock("compact") as writer:
        writer.compact()
    return state.folder / "jobs.jsonl"


def statuses(state):
    found, problems = state.read()
    assert not has_errors(problems), problems
    return [record.status.value for _, record in sorted(found.jobs.items())]


def codes(state):
    return [(problem.code, problem.at.line if problem.at else None) for problem in state.read()[1] if problem.severity is Severity.ERROR]


def refuse(state):
    """Nothing is written, and so nothing bought, while a line cannot be read."""
    with pytest.raises(StateUnreadable) as refused, state.lock("apply"):
        pytest.fail("the lock was given")
    return refused.value


def test_a_last_line_cut_at_any_byte_is_left_out_and_set_aside(state, log):
    """A torn line was never acknowledged: everything before it counts, and the next command goes on."""
    content = log.read_bytes()
    last = content.rstrip(b"\n").rfind(b"\n") + 1
    for cut in range(last + 1, len(content) - 1):
        log.write_bytes(content[:cut])
        assert statuses(state) == ["launched", "intent"]
        assert [problem.code for problem in state.read()[1]] == ["torn-line"]
    with state.lock("apply") as writer:
        writer.append(job(3, status="intent"))
    assert state.read()[1] == []
    assert statuses(state) == ["launched", "intent", "intent"]
    aside = next((state.folder / "log").glob("*.torn"))
    assert aside.read_bytes() == content[last : len(content) - 2]


def test_a_last_line_without_a_line_end_that_is_whole_counts(state, log):
    """Editors take the last line feed away; the checksum shows that nothing else is missing."""
    log.write_bytes(log.read_bytes()[:-1])
    assert statuses(state) == ["launched", "launched"]
    with state.lock("apply") as writer:
        writer.append(job(3, status="intent"))
    assert statuses(state) == ["launched", "launched", "intent"]


def test_blocks_of_nul_after_a_power_loss_are_a_torn_line(state, log):
    """A file that grew without its data being written ends in NULs; they are no fact."""
    log.write_bytes(log.read_bytes() + bytes(4096))
    assert statuses(state) == ["launched", "launched"]


def test_an_empty_segment_says_nothing(state, log):
    """A command that was killed before its first fact leaves an empty file."""
    (log.parent / "20260101T000000Z-00000000.jsonl").touch()
    assert statuses(state) == ["launched", "launched"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: b"\xef\xbb\xbf" + content,
        lambda content: content.replace(b"\n", b"\r\n"),
        lambda content: content + content,
        lambda content: b"\n".join(reversed(content.strip().split(b"\n"))) + b"\n",
        lambda content: content.replace(b"\n", b"\n\n"),
    ],
    ids=["byte order mark", "CRLF", "twice", "reversed", "blank lines"],
)
@pytest.mark.parametrize("where", ["log", "base"])
def test_harmless_changes_are_forgiven(state, request, spoil, where):
    """Marks of editors, line ends, repetition and order do not matter, and compaction cleans them up."""
    path = request.getfixturevalue(where)
    clean = path.read_bytes()
    path.write_bytes(spoil(clean))
    assert statuses(state) == ["launched", "launched"]
    with state.lock("compact") as writer:
        writer.compact()
    assert statuses(state) == ["launched", "launched"]
    base = (state.folder / "jobs.jsonl").read_bytes()
    assert len(base.splitlines()) == 2
    assert b"\r" not in base
    assert examine(state) == {}


BAD_LINES = {
    "NUL": b'{"key":"\x00"}',
    "not UTF-8": b'{"key":"\xff","address":"a","engine":"e","scope":"s","attempts":[]}',
    "cut": b'{"key":"a","addr',
    "NaN": b'{"key":"a","attempts":[{"number":1,"status":"intent","cost":NaN}]}',
    "a number": b"12",
    "a list": b"[]",
    "no key": b'{"address":"a"}',
    "a lone surrogate": b'{"key":"\\ud800","attempts":[]}',
    "twice the same member": b'{"key":"a","address":"x","address":"y","attempts":[]}',
    "a wrong type": b'{"key":"a","address":"x","attempts":[{"number":1,"status":"intent","seed":"one"}]}',
    "an unknown status": b'{"key":"a","address":"x","attempts":[{"number":1,"status":"finished"}]}',
    "attempt 0": b'{"key":"a","address":"x","attempts":[{"number":0,"status":"intent"}]}',
    "one attempt twice": b'{"key":"a","attempts":[{"number":1,"status":"intent"},{"number":1,"status":"failed"}]}',
    "stamps that are none": b'{"key":"a","attempts":[],"stamps":{"0":"x"}}',
    "deep nesting": b'{"key":"a","attempts":[],"x":' + b"[" * 5000 + b"]" * 5000 + b"}",
}


@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_of_a_base_file_stops_apply_with_its_number(state, base, line):
    """A record that cannot be right is never skipped: file and line are named, and nothing is bought."""
    records = base.read_bytes().splitlines(keepends=True)
    base.write_bytes(records[0] + line + b"\n" + records[1])
    error = refuse(state)
    assert [(d.code, d.at.path, d.at.line) for d in error.diagnostics if d.at] == [("bad-state-line", "state/jobs.jsonl", 2)]
    assert examine(state)["jobs.jsonl"][0].at.line == 2
    mend(state, examine(state))
    assert examine(state) == {}
    with state.lock("apply") as writer:
        assert {"0" * 63 + "1", "0" * 63 + "2"} <= writer.read().jobs.keys()
    assert line in next(state.folder.glob("jobs.jsonl-*.bad")).read_bytes()


def test_a_record_that_only_a_look_at_all_of_it_shows_to_be_wrong_stops_apply(state, base):
    """A plan reads what it needs of a line; whoever buys has read all of it."""
    one, two = (json.dumps(json.loads(line)) + "\n" for line in base.read_bytes().splitlines())
    base.write_text(one.replace("{", '{"project":"a","project":"b",', 1) + two)
    assert len(state.read()[0].jobs) == 2
    assert state.read()[1] == []
    error = refuse(state)
    assert [(d.code, d.at.line) for d in error.diagnostics if d.at] == [("bad-state-line", 1)]


@pytest.mark.parametrize(
    "line", [b'{"seq":1}', b"garbage", b'{"seq":9,"fact":"job","key":"a","at":"x","crc":"00000000"}', b"\x00\x00"], ids=range(4)
)
def test_a_bad_line_inside_a_segment_stops_apply_with_its_number(state, log, line):
    """Only the last line can be torn; anything else that cannot be read stops every command that writes."""
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*lines[:2], line + b"\n", *lines[2:]]))
    assert codes(state) == [("bad-state-line", 3)]
    refuse(state)
    mend(state, examine(state), accepted=[ACCEPT_EDIT])
    assert statuses(state)[-2:] == ["launched", "launched"]


def test_a_line_that_was_edited_by_hand_is_noticed_and_accepted_only_on_request(state, log):
    """The checksum shows the edit; `--accept-edit` takes it as it stands."""
    log.write_bytes(log.read_bytes().replace(b"job-2", b"job-3"))
    assert codes(state) == [("bad-state-line", 5)]
    fixes = examine(state)
    assert [fix.needs for fix in fixes[f"log/{log.name}"]] == [ACCEPT_EDIT]
    assert mend(state, fixes) == 0
    assert mend(state, examine(state), accepted=[ACCEPT_EDIT]) == 1
    assert state.read()[0].jobs["0" * 63 + "2"].last.engine_job_id == "job-3"
    assert examine(state) == {}


def test_a_missing_line_is_reported(state, log):
    """Facts are numbered, so a line that somebody took out is missed."""
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:2] + lines[3:]))
    assert [problem.code for problem in state.read()[1]] == ["missing-facts"]


def test_a_line_with_a_number_beyond_reason_costs_no_memory(state, log):
    """A number that somebody wrote by hand is subtracted, not counted up to: `seq` two thousand million once took 23 GB."""
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-1]) + encode(decode(lines[-1][:-1])[1], 2**53))
    [problem] = state.read()[1]
    assert (problem.code, f"lacks {2**53 - len(lines) + 1:,} of its lines" in problem.message) == ("missing-facts", True)


CONFLICT = b"<<<<<<< HEAD\n%s||||||| base\n%s=======\n%s>>>>>>> branch\n"


def test_conflict_markers_are_refused_and_both_sides_are_kept(state, base):
    """`state repair` takes out the markers; the join needs nobody to choose a side."""
    old = base.read_bytes()
    with state.lock("apply") as writer:
        writer.append(job(1, at=5, status="succeeded", engine_job_id="job-1", model="ft:m"))
        writer.compact()
    ours = base.read_bytes()
    theirs = old.replace(b'"launched"', b'"running"', 1)
    base.write_bytes(CONFLICT % (ours, old, theirs))
    assert {code for code, _ in codes(state)} == {"conflict-markers"}
    refuse(state)
    assert len(examine(state)["jobs.jsonl"]) == 4
    assert mend(state, examine(state)) == 4
    assert statuses(state) == ["succeeded", "launched"]


@pytest.mark.parametrize("line", [b"<<<<<<< HEAD", b"garbage", b"\xff", b"{}", b"\x00"])
def test_a_bad_line_of_the_history_is_refused_and_mended(state, base, line):
    """Who ran which command is no purchase; but a merge that was left half done must not be folded on."""
    history = base.with_name("history.jsonl")
    clean = history.read_bytes()
    history.write_bytes(clean + line + b"\n")
    assert [at for _, at in codes(state)] == [2]
    refuse(state)
    assert mend(state, examine(state)) == 1
    assert history.read_bytes() == clean
    assert state.read()[1] == []


def test_state_of_a_newer_version_is_read_but_not_written(state, base):
    """A plan may be made; whoever buys must understand everything."""
    record = json.loads(base.read_bytes().splitlines()[0])
    record |= {"v": 2, "key": "newer", "hologram": {}}
    record["attempts"][0]["status"] = "paused"
    base.write_bytes(base.read_bytes() + json.dumps(record).encode() + b"\n")
    found, problems = state.read()
    assert [problem.code for problem in problems] == ["newer-state"]
    assert found.jobs["newer"].status.value == "running"
    assert found.jobs["newer"].last.extra == {"status": "paused"}
    with pytest.raises(FtspecError, match="newer ftspec"), state.lock("apply"):
        pytest.fail("the lock was given")
    with pytest.raises(FtspecError, match="newer ftspec"):
        examine(state)


@pytest.mark.parametrize(
    "line", [b'{"seq":9,"fact":"hologram","key":"a"', b'{"seq":9,"fact":"segment","at":"","command":"x","by":"y","v":2']
)
def test_facts_of_an_unknown_kind_are_read_over_but_stop_writing(state, log, line):
    """What a newer version says in a segment is not forgotten by an older one."""
    import zlib

    log.write_bytes(log.read_bytes() + line + b',"crc":"%08x"}\n' % zlib.crc32(line))
    assert statuses(state) == ["launched", "launched"]
    assert [problem.code for problem in state.read()[1]] == ["newer-state"]
    with pytest.raises(FtspecError, match="newer ftspec"), state.lock("apply"):
        pytest.fail("the lock was given")


def test_a_segment_of_a_newer_version_is_read_as_far_as_it_can_be(state, log):
    """Lines that only that version understands are no errors here."""
    import zlib

    lines = [
        b'{"seq":0,"fact":"segment","at":"","command":"x","by":"y","v":2',
        b'{"seq":1,"fact":"job","key":{"hash":"a"}',
        b'{"seq":2,"fact":"job","key":"b","at":"x","attempt":1,"values":{"status":"running"}',
    ]
    content = b"".join(line + b',"crc":"%08x"}\n' % zlib.crc32(line) for line in lines)
    (log.parent / "20990101T000000000Z-00000000.jsonl").write_bytes(content)
    found, problems = state.read()
    assert [problem.code for problem in problems] == ["newer-state"]
    assert found.jobs["b"].status == "running"


def test_a_fact_that_a_buggy_version_wrote_is_named_and_can_be_mended(state, log):
    """A checksum that fits does not make a value right."""
    import zlib

    line = b'{"seq":5,"at":"2026-11-20T10:00:09.000Z","attempt":1,"fact":"job","key":"%s1","values":{"seed":"x","cost":2}' % (b"0" * 63)
    log.write_bytes(log.read_bytes() + line + b',"crc":"%08x"}\n' % zlib.crc32(line))
    assert codes(state) == [("bad-record", None)]
    refuse(state)
    assert mend(state, examine(state)) == 1
    assert state.read()[0].jobs["0" * 63 + "1"].last.cost == 2


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("files.jsonl", b'{"scope":"s","digest":"d","dataset_key":"k","rows":"many","status":"uploaded","file_id":"f"}'),
        ("evals.jsonl", b'{"key":"e","name":"n","model":"m","samples":"many","status":"succeeded"}'),
    ],
)
def test_files_and_evals_are_mended_like_jobs(state, base, name, line):
    """The member that cannot be right is taken out, the rest stays."""
    (state.folder / name).write_bytes(line + b"\n")
    refuse(state)
    assert mend(state, examine(state)) == 1
    found, problems = state.read()
    assert problems == []
    assert [one.file_id for one in found.files.values()] + [one.model for one in found.evals.values()] in (["f"], ["m"])


def test_a_newer_record_whose_members_have_new_types_is_shown_as_far_as_it_can_be(state, base):
    """What cannot be understood is in `extra`."""
    base.write_bytes(base.read_bytes() + b'{"v":2,"key":"n","suffix":{"new":1},"attempts":[{"number":1,"status":"failed","seed":"x"}]}\n')
    newer = state.read()[0].jobs["n"]
    assert (newer.suffix, newer.extra, newer.last.extra, newer.last.status) == (None, {"suffix": {"new": 1}}, {"seed": "x"}, "failed")


def test_a_torn_line_can_be_set_aside_by_repair_too(state, log):
    """So that a reader without the right to write can be told to."""
    log.write_bytes(log.read_bytes() + b'{"seq":5')
    fixes = examine(state)
    assert [fix.wrong for fix in fixes[f"log/{log.name}"]] == ["the last line was never finished"]
    assert mend(state, fixes) == 1
    assert state.read()[1] == []


def test_a_file_fact_that_cannot_be_right_is_mended(state, log):
    """Facts about files and evals have no members of their record."""
    import zlib

    line = b'{"seq":5,"at":"x","digest":"d","fact":"file","scope":"s","values":{"rows":"x","dataset_key":"k"}'
    log.write_bytes(log.read_bytes() + line + b',"crc":"%08x"}\n' % zlib.crc32(line))
    refuse(state)
    assert mend(state, examine(state)) == 1
    assert state.read()[0].files["s", "k"].rows is None


@pytest.mark.parametrize("where", ["log", "base"])
def test_a_damaged_line_about_a_job_is_kept_as_a_launch_in_doubt(state, request, where):
    """Whatever byte of its record is damaged: mended, the job is known or in doubt, and never one to be bought."""
    path = request.getfixturevalue(where)
    clean = path.read_bytes()
    lines = clean.splitlines(keepends=True)
    start = len(lines[0])
    legible = clean.index(b'"key":"', start) + len(b'"key":""') + 64
    for cut in range(start + 120, len(clean) - 2, 7):
        path.write_bytes(clean[:cut] + b"\xff\x00{" + clean[cut + 1 :])
        mend(state, examine(state), accepted=[ACCEPT_EDIT])
        assert examine(state) == {}
        with state.lock("apply") as writer:
            jobs = writer.read().jobs
        assert all(record.status.bought or record.in_doubt for record in jobs.values())
        assert where == "log" or cut < legible or len(jobs) == 2
        for aside in path.parent.glob("*.bad"):
            aside.unlink()


def test_records_that_are_gone_are_missed(state, base):
    """History names the commands that wrote them: an emptied file does not make everything be bought again."""
    base.write_bytes(b"")
    refuse(state)
    assert codes(state) == [("missing-records", 0)]
    (state.folder / "files.jsonl").write_bytes(b'{"scope":"s","digest":"d","dataset_key":"k","status":"uploaded","file_id":"f"}\n')
    assert [(problem.code, problem.severity.value) for problem in state.read()[1]] == [("missing-records", "warning")]
    base.unlink()
    base.with_name("files.jsonl").unlink()
    base.with_name("history.jsonl").unlink()
    assert state.read()[1] == []


def test_there_is_nothing_to_mend_where_there_is_no_state(state, tmp_path):
    """A project without records is no problem."""
    assert examine(state) == {}
    state.folder.mkdir()
    assert examine(state) == {}


@pytest.mark.parametrize("name", ["jobs.jsonl", "log/20260101T000000Z-00000000.jsonl", ".lock"])
def test_a_symbolic_link_is_not_followed(state, base, tmp_path, name):
    """State that points out of the project is refused, by readers and writers."""
    secret = tmp_path / "secret"
    secret.write_text("{}\n")
    path = state.folder / name
    path.unlink(missing_ok=True)
    path.symlink_to(secret)
    with pytest.raises((OSError, FtspecError)), state.lock("apply"):
        pytest.fail("the lock was given")
    assert secret.read_text() == "{}\n"


def test_a_state_folder_that_is_a_link_is_refused(state, log, tmp_path):
    """The folder itself must be where it says."""
    (tmp_path / "elsewhere").symlink_to(state.folder)
    with pytest.raises(FtspecError, match="not a state folder"):
        JsonlState(tmp_path / "elsewhere").read()
    with pytest.raises(FtspecError, match="cannot be written"), JsonlState(tmp_path / "elsewhere").lock("apply"):
        pytest.fail("the lock was given")


def test_a_pipe_does_not_block_a_reader(state, base):
    """Only regular files are read."""
    base.unlink()
    os.mkfifo(base)
    with pytest.raises(OSError, match="not a regular file"):
        state.read()


def test_a_folder_replaced_while_it_is_written_is_noticed(state, base):
    """What is renamed into a folder that is no longer there would be lost."""
    with state.lock("apply") as writer:
        writer.append(job(3, status="intent"))
        state.folder.rename(state.folder.with_name("moved"))
        state.folder.mkdir()
        with pytest.raises(FtspecError, match="replaced"):
            writer.compact()


def test_repair_of_state_that_changed_meanwhile_is_refused(state, base):
    """What was explained is what is done."""
    content = base.read_bytes()
    base.write_bytes(content + b"garbage\n")
    fixes = examine(state)
    base.write_bytes(content + b"garbage\nmore\n")
    with pytest.raises(FtspecError, match="meanwhile"):
        mend(state, fixes)
