"""What is not a readable dataset file gets one clear problem with a place, and nothing is lost."""

from __future__ import annotations

import gzip
import json
import os
import socket
import threading

import pytest

from ftspec.data.digest import digest, open_rows
from ftspec.data.rows import MAX_ROW, Place
from ftspec.data.source import Source
from ftspec.diagnostics import FtspecError, has_errors
from ftspec.experiment import DesiredDataset

ROW = '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}\n'

BAD_FILES = {
    "empty": (b"", "empty-file"),
    "only blank lines": (b"\n\n \n", "empty-file"),
    "gzip": (gzip.compress(ROW.encode()), "binary-file"),
    "zip": (b"PK\x03\x04rest", "binary-file"),
    "parquet": (b"PAR1\x00\x01", "binary-file"),
    "NUL bytes": (b'{"a": \x00\x01\x02\x03}\n', "binary-file"),
    "UTF-16 with mark": (ROW.encode("utf-16"), "not-utf8"),
    "UTF-32": (ROW.encode("utf-32"), "not-utf8"),
    "UTF-16 without mark": (ROW.encode("utf-16-le"), "not-utf8"),
    "latin-1": (ROW.replace("Hello", "Gr\u00fc\u00dfe").encode("latin-1"), "not-utf8"),
    "a JSON array": (f"[{ROW.strip()},\n{ROW.strip()}]".encode(), "json-array"),
    "pretty-printed": (json.dumps(json.loads(ROW), indent=2).encode(), "json-pretty"),
    "half-written": (ROW.encode() * 3 + ROW.encode()[:40], "torn-row"),
    "merge markers": (b"<<<<<<< ours\n" + ROW.encode(), "bad-json"),
}


@pytest.mark.parametrize(("content", "code"), BAD_FILES.values(), ids=list(BAD_FILES))
def test_a_file_that_is_no_dataset_is_one_error_with_its_place(folder, content, code):
    """Each kind of wrong file has its own code, at the file, and is an error."""
    folder.write("data.jsonl", content)
    _, problems = digest(DesiredDataset(name="data", path="data.jsonl"), root=folder.root)
    found = {one.code: one for one in problems}
    assert code in found
    assert has_errors(problems)
    assert found[code].at.path == "data.jsonl"
    assert all(place.excerpt is None for one in problems for place in (one.at, *one.places))


REASONS = {
    "several objects in one line": ROW.strip() + ROW.strip(),
    "a comma after the object": ROW.strip() + ",",
    "more after its end": ROW.strip() + "]",
    "a comment": "// my rows",
    "a single quote: this is how Python prints a dict": str(json.loads(ROW)),
    "invalid control character": ROW.replace("Hi", "H\ti"),
    "expecting value": "prompt,completion",
}


@pytest.mark.parametrize(("reason", "line"), REASONS.items(), ids=list(REASONS))
def test_what_people_write_for_json_is_called_by_its_name(folder, reason, line):
    """The sentence says what is wrong with the line in words for people who did not write a parser."""
    _, problems = digest(folder.dataset("data", line), root=folder.root)
    assert [one.message for one in problems if one.code == "bad-json"] == [f"the row is not JSON ({reason})"]


def test_encodings_are_told_apart(folder):
    """The name of the encoding is what `iconv` wants to know."""
    for name in ("UTF-16", "UTF-32"):
        _, [problem] = digest(folder.dataset(name.lower(), ROW.encode(name)), root=folder.root)
        assert name in problem.message
        assert "iconv" in problem.help


def test_no_file_is_a_missing_file(folder):
    """A path without a file is an error that tells what paths are relative to."""
    facts, [problem] = digest(DesiredDataset(name="data", path="nothing.jsonl"), root=folder.root)
    assert (facts, problem.code) == ({}, "file-missing")
    assert "root" in problem.help


@pytest.mark.parametrize("kind", ["folder", "the project", "pipe", "socket", "device"])
def test_only_regular_files_are_read_and_nothing_blocks(folder, kind, monkeypatch):
    """A folder, pipe, socket or device is refused at once; a pipe without a writer would wait for ever."""
    monkeypatch.chdir(folder.root)
    target = folder.root / "odd"
    place = {}
    path = "odd"
    match kind:
        case "folder":
            target.mkdir()
        case "the project":
            path = "."
        case "pipe":
            os.mkfifo(target)
        case "socket":
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind("odd")
        case "device":
            path, place = "null", {"data_roots": ["/dev"]}
            target.symlink_to("/dev/null")
            path = "odd"
    from pathlib import Path

    roots = [Path(one) for one in place.get("data_roots", [])]
    _, [problem] = digest(DesiredDataset(name="data", path=path), root=folder.root, data_roots=roots)
    assert problem.code == "not-a-file"


@pytest.mark.parametrize("path", ["../outside.jsonl", "link.jsonl", "linked/outside.jsonl", "/etc/hostname", "a/../../outside.jsonl"])
def test_nothing_outside_the_project_is_read(folder, path):
    """Neither `..`, nor an absolute path, nor a symbolic link leads out of the project."""
    project = folder.root / "project"
    (project / "a").mkdir(parents=True)
    (folder.root / "outside.jsonl").write_text(ROW)
    (project / "link.jsonl").symlink_to(folder.root / "outside.jsonl")
    (project / "linked").symlink_to(folder.root)
    facts, [problem] = digest(DesiredDataset(name="data", path=path), root=project)
    assert (facts, problem.code) == ({}, "outside-project")
    facts, problems = digest(DesiredDataset(name="data", path=path), root=project, data_roots=[folder.root])
    assert ("data" in facts and not problems) or path == "/etc/hostname"


def test_a_link_inside_the_project_is_followed(folder):
    """Links between files of the project are fine."""
    folder.write("data/real.jsonl", ROW)
    (folder.root / "link.jsonl").symlink_to("data/real.jsonl")
    facts, problems = digest(DesiredDataset(name="data", path="link.jsonl"), root=folder.root)
    assert (facts["data"].rows, problems) == (1, [])


def test_a_loop_of_links_ends(folder):
    """A link that leads to itself is a problem, not an endless walk."""
    (folder.root / "loop.jsonl").symlink_to("loop.jsonl")
    _, [problem] = digest(DesiredDataset(name="data", path="loop.jsonl"), root=folder.root)
    assert problem.code in {"file-unreadable", "file-missing"}


def test_a_link_that_is_swapped_in_after_the_check_is_not_followed(folder, monkeypatch):
    """Between the check of a path and its opening nobody can put a link in place."""
    from ftspec.data import rows

    secret = folder.root / "secret.jsonl"
    secret.write_text(ROW)
    project = folder.root / "project"
    (project / "data").mkdir(parents=True)
    (project / "data" / "rows.jsonl").write_text(ROW)
    walk = rows._walk

    def swap(base, parts):
        (project / "data" / "rows.jsonl").unlink()
        (project / "data" / "rows.jsonl").symlink_to(secret)
        return walk(base, parts)

    monkeypatch.setattr(rows, "_walk", swap)
    facts, [problem] = digest(DesiredDataset(name="data", path="data/rows.jsonl"), root=project)
    assert (facts, problem.code) == ({}, "file-missing")


def test_a_row_of_ten_megabytes_is_a_row(folder, chat):
    """Long rows are read; only the absurd is refused."""
    dataset = folder.dataset("data", chat(user="word " * 2_000_000), chat())
    facts, problems = digest(dataset, root=folder.root, tokenizer=None)
    assert facts["data"].rows == 2
    assert not has_errors(problems)


def test_a_file_without_line_ends_is_refused_before_it_fills_the_memory(folder):
    """A single line beyond the limit stops the reading."""
    path = folder.root / "data.jsonl"
    with path.open("wb") as file:
        file.write(b'{"a": "')
        for _ in range(MAX_ROW // (1 << 20) + 2):
            file.write(b"x" * (1 << 20))
    facts, [problem] = digest(DesiredDataset(name="data", path="data.jsonl"), root=folder.root, tokenizer=None)
    assert (facts, problem.code) == ({}, "row-too-long")


def test_a_file_that_changes_while_it_is_read_has_no_digest(folder):
    """A digest of a state that never existed would be a lie, so there is none."""
    dataset = folder.dataset("data", *[ROW] * 20_000)
    source = Source(dataset, Place(root=folder.root))
    batches = source.rows(source.order)
    next(batches)
    with (folder.root / dataset.path).open("a") as file:
        file.write(ROW)
    from ftspec.data.rows import BadFile

    with pytest.raises(BadFile) as problem:
        for _ in batches:
            pass
    assert problem.value.code == "changed-while-read"


def test_a_writer_at_work_never_gives_a_wrong_digest(folder):
    """Against a thread that rewrites the file, a digest is that of one of the two states, or none."""
    path = folder.root / "data.jsonl"
    states = [ROW.encode() * 6000, ROW.replace("Hello", "Howdy").encode() * 6000]
    path.write_bytes(states[0])
    dataset = DesiredDataset(name="data", path="data.jsonl")
    honest = set()
    for state in states:
        path.write_bytes(state)
        honest.add(digest(dataset, root=folder.root, tokenizer=None)[0]["data"].key)
    stop = threading.Event()

    def rewrite():
        turn = 0
        while not stop.is_set():
            turn += 1
            with path.open("r+b") as file:
                file.write(states[turn % 2])

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        for _ in range(12):
            facts, problems = digest(dataset, root=folder.root, tokenizer=None)
            assert {one.key for one in facts.values()} <= honest
            assert facts or {one.code for one in problems} <= {"changed-while-read", "torn-row", "bad-json", "empty-file"}
    finally:
        stop.set()
        writer.join()


def test_line_separators_of_unicode_do_not_cut_rows(folder, chat):
    """Lines end at LF only, whatever `splitlines` thinks."""
    odd = "one\u2028two\u0085three\x0bfour\x0cfive\x1csix"
    path = folder.root / "data.jsonl"
    path.write_text(json.dumps(chat(user=odd), ensure_ascii=False) + "\n", encoding="utf-8")
    [row] = open_rows(DesiredDataset(name="data", path="data.jsonl"), "data", root=folder.root)
    assert json.loads(row)["messages"][0]["content"] == odd


def test_marks_and_line_ends_are_warnings_that_change_nothing(folder):
    """A byte order mark, CR LF and blank lines are told, and are not part of the dataset's key."""
    plain = folder.dataset("plain", ROW, ROW.replace("Hi", "Ho"))
    odd = folder.dataset(
        "odd", b"\xef\xbb\xbf" + ROW.encode().replace(b"\n", b"\r\n") + b"\r\n\n" + ROW.replace("Hi", "Ho").encode().rstrip(b"\n")
    )
    facts, problems = digest(odd, root=folder.root)
    assert {one.code for one in problems} == {"byte-order-mark", "crlf", "blank-line"}
    assert not has_errors(problems)
    assert facts["odd"].key == digest(plain, root=folder.root)[0]["plain"].key


def test_reading_rows_for_an_upload_stops_at_bad_ones(folder):
    """Rows that cannot be read are never left out of an upload quietly."""
    dataset = folder.dataset("data", ROW, "{broken\n", ROW)
    with pytest.raises(FtspecError) as stop:
        list(open_rows(dataset, "data", root=folder.root))
    assert [one.code for one in stop.value.diagnostics] == ["bad-json"]
    assert str(stop.value.diagnostics[0].at) == "data.jsonl:2:2"


def test_problems_are_folded_with_the_first_five_places(folder):
    """A thousand bad lines are one problem with a count and five places."""
    dataset = folder.dataset("data", *["nonsense\n"] * 1000)
    _, problems = digest(dataset, root=folder.root)
    [bad] = [one for one in problems if one.code == "bad-json"]
    assert bad.count == 1000
    assert [place.line for place in bad.places] == [1, 2, 3, 4, 5]
