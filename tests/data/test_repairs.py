"""`--fix` writes a better file, keeps the old one, and loses nothing."""

from __future__ import annotations

import json

import pytest

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
