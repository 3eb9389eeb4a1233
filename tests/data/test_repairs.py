"""`--fix` writes a better file, keeps the old one, and loses nothing."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftspec.data.digest import digest
from ftspec.data.repair import repair
from ftspec.diagnostics import FtspecError
from ftspec.experiment import DesiredDataset


def fixed(folder, *rows, **more):
    folder.write("data.jsonl", *rows)
    out = folder.root / "fixed.jsonl"
    with folder.place().open("data.jsonl") as file:
        return repair(file, out, **more), out


def test_what_can_be_put_right_is(folder, chat):
    """Marks, line ends, blank lines, repeated rows and padded answers go; bad lines are kept beside."""
    good = json.dumps(chat(user="b"), indent=None).encode()
    done, out = fixed(folder, b"\xef\xbb\xbf" + good + b"\r\n", b"\r\n\n", chat(assistant=" Fine.\n"), chat(), b"{broken\n", good + b"\n")
    assert done.changes == {
        "byte order mark removed": 1,
        "CR removed": 2,
        "blank line removed": 2,
        "answer trimmed": 1,
        "repeated row removed": 2,
    }
    assert (done.rows, done.rejected) == (2, 1)
    assert out.read_bytes().startswith(good + b"\n")
    assert (folder.root / "fixed.jsonl.rejected").read_bytes() == b"{broken\n"
    assert digest(DesiredDataset(name="fixed", path="fixed.jsonl"), root=folder.root)[1] == []


LINES = st.sampled_from(
    [
        b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}',
        b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": " b "}]}',
        b'{"messages":[{"content":"c","role":"user"},{"content":"b","role":"assistant"}]}\r',
        b"",
        b" \t",
        b"{broken",
        b'{"a": 1, "a": 2}',
        b"\xff\xfe",
        b"7",
        b'{"text": "\\ud800"}',
    ]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(lines=st.lists(LINES, max_size=12), ended=st.booleans())
def test_every_line_is_kept_kept_beside_or_counted(folder, chat, lines, ended):
    """Rows written, lines set aside, blank ones and repeats add up to the file; what is set aside keeps its bytes and its order."""
    first = json.dumps(chat(user="first")).encode()
    content = b"\n".join([first, *lines]) + (b"\n" if ended else b"")
    for path in folder.root.iterdir():
        path.unlink()
    done, out = fixed(folder, content)
    aside = folder.root / "fixed.jsonl.rejected"
    in_file = content.removesuffix(b"\n").split(b"\n")
    gone = done.changes.get("blank line removed", 0) + done.changes.get("repeated row removed", 0)
    assert done.rows + done.rejected + gone == len(in_file)
    assert len(out.read_bytes().splitlines()) == done.rows
    unreadable = [line + b"\n" for line in in_file if line in (b"{broken", b'{"a": 1, "a": 2}', b"\xff\xfe", b"7", b'{"text": "\\ud800"}')]
    assert (aside.read_bytes() if aside.exists() else b"") == b"".join(unreadable)
    assert (folder.root / "data.jsonl").read_bytes() == content


def test_a_row_that_needs_no_change_keeps_its_bytes(folder):
    """Key order, spacing and escapes of good rows are left as they are."""
    line = '{ "messages" : [ {"role":"user","content":"\\u00e9"}, {"role":"assistant","content":"x"} ] }'
    _, out = fixed(folder, line)
    assert out.read_text() == line + "\n"


def test_older_names_of_outputs_are_renamed_in_place(folder):
    """Preference rows of the older schema get today's names, in the same order."""
    row = {"input": {"messages": [{"role": "user", "content": "q"}]}, "preferred_completion": [], "non_preferred_completion": []}
    done, out = fixed(folder, row)
    assert list(json.loads(out.read_text())) == ["input", "preferred_output", "non_preferred_output"]
    assert sum(done.changes.values()) == 2


def test_members_that_hold_nothing_go(folder, chat):
    """What SDKs write for "none" is refused by engines or means nothing; a `content` of `null` and other members stay."""
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    dumped = {"role": "assistant", "content": None, "refusal": None, "annotations": [], "function_call": None, "tool_calls": [call]}
    wanted = {"role": "assistant", "content": None, "tool_calls": [call]}
    asked = {"role": "user", "content": "a", "name": None}
    plain = {"role": "user", "content": "a"}
    rows = [
        {"messages": [asked, dumped, "odd"], "extra": None},
        {"input": {"messages": [asked], "tools": []}, "preferred_output": [dumped], "non_preferred_output": [dumped, asked]},
    ]
    done, out = fixed(folder, *rows)
    assert [json.loads(line) for line in out.read_text().splitlines()] == [
        {"messages": [plain, wanted, "odd"], "extra": None},
        {"input": {"messages": [plain], "tools": []}, "preferred_output": [wanted], "non_preferred_output": [wanted, plain]},
    ]
    assert done.changes == {"empty member of a message removed": 4 + 8}


def test_redaction_is_asked_for(folder, chat):
    """Personal data is replaced only with `redact`, everywhere in the row."""
    row = chat(user="I am kari@nordmann.no", tools=[{"type": "function", "function": {"name": "f", "description": "ask kari@nordmann.no"}}])
    _, out = fixed(folder, row)
    assert "kari@nordmann.no" in out.read_text()
    out.unlink()
    done, out = fixed(folder, row, redact=True)
    assert "kari@nordmann.no" not in out.read_text()
    assert done.changes == {"secret or personal data replaced": 2}


@pytest.mark.parametrize("name", ["fixed.jsonl", "fixed.jsonl.rejected"])
def test_no_file_is_overwritten(folder, chat, name):
    """A file in the way stops the repair before anything is written."""
    (folder.root / name).write_text("mine")
    with pytest.raises(FtspecError, match="exists already"):
        fixed(folder, chat())
    assert (folder.root / name).read_text() == "mine"
    assert sorted(path.name for path in folder.root.iterdir()) == sorted(["data.jsonl", name])
