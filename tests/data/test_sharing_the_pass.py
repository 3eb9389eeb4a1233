"""Several processes read a large file as one would: same digest, same problems, same lines."""

from __future__ import annotations

import json
import os

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftspec.data import sharing
from ftspec.data.audit import audit
from ftspec.data.digest import digest
from ftspec.data.rows import BadFile, RowFile
from ftspec.data.source import Source
from ftspec.experiment import DesiredDataset


@pytest.fixture
def small_ranges(monkeypatch):
    """Make files of a few kilobytes worth sharing between two processes."""
    monkeypatch.setattr(sharing, "RANGE", 20_000)
    monkeypatch.setattr(sharing, "WORTH", 50_000)
    monkeypatch.setattr(sharing, "WORTH_TOKENS", 50_000)
    monkeypatch.setenv("FTSPEC_DATA_WORKERS", "2")


def rows(chat, number=1200):
    for n in range(number):
        if n % 211 == 17:
            yield "{broken"
        elif n % 97 == 5:
            yield chat(user=f"question {n}", assistant=f" padded {n} ")
        elif n % 301 == 7:
            yield chat(user="long " * 9000, assistant=f"answer {n}")
        else:
            yield chat(user=f"question {n} is {'very ' * (n % 13)}long", assistant=f"answer {n % 5}", customer=n % 9)


def test_two_processes_give_what_one_gives(folder, chat, small_ranges, monkeypatch):
    """Keys, counts, problems and their lines are the same, also with a split and with tokens."""
    settings = {"split": {"shares": {"train": 0.7, "test": 0.3}, "group_by": "customer"}}
    dataset = folder.dataset("data", b"\xef\xbb\xbf", *rows(chat), **settings)
    started = []
    monkeypatch.setattr(
        sharing._Worker, "__init__", lambda self, job, start=sharing._Worker.__init__: started.append(job) or start(self, job)
    )
    shared = digest(dataset, root=folder.root, tokenizer="words")
    assert len(started) == 2
    monkeypatch.setenv("FTSPEC_DATA_WORKERS", "1")
    assert digest(dataset, root=folder.root, tokenizer="words") == shared
    assert len(started) == 2
    assert {one.code for one in shared[1]} == {"byte-order-mark", "bad-json", "outer-space", "group-missing", "blank-line"} - {"blank-line"}


def test_the_rules_about_the_whole_are_the_same(folder, chat, small_ranges, monkeypatch):
    """Repeated rows are found across ranges, at the right lines."""
    listed = [chat(user=f"question {n} {'x' * 60}") for n in range(900)]
    dataset = folder.dataset("data", *listed, *listed[:3])
    problems = audit(dataset, folder.place())[1]
    monkeypatch.setenv("FTSPEC_DATA_WORKERS", "1")
    assert audit(dataset, folder.place())[1] == problems
    [doubled] = [one for one in problems if one.code == "duplicate-row"]
    assert (doubled.count, [place.line for place in doubled.places]) == (3, [901, 902, 903])


def test_a_bad_file_is_as_bad_for_several_processes(folder, chat, small_ranges, monkeypatch):
    """What stops one process stops several in the same way."""
    from ftspec.data import rows as module

    dataset = folder.dataset("data", *[chat(user=f"q {n} {'x' * 80}") for n in range(900)])
    real = sharing.shared_reports

    def change_then_share(file, order, **more):
        reports = real(file, order, **more)
        yield next(reports)
        with (folder.root / dataset.path).open("a") as out:
            out.write(json.dumps(chat()) + "\n")
        yield from reports

    monkeypatch.setattr("ftspec.data.onepass.shared_reports", change_then_share)
    facts, [problem] = digest(dataset, root=folder.root)
    assert (facts, problem.code) == ({}, "changed-while-read")
    assert module.MAX_ROW


def test_lost_workers_are_done_without(folder, chat, small_ranges, monkeypatch):
    """Where no process can be started, or one dies, this one reads the file alone."""
    dataset = folder.dataset("data", *rows(chat))
    expected = digest(dataset, root=folder.root, tokenizer="words")
    monkeypatch.setattr(sharing, "_environment", lambda: {"PATH": os.environ["PATH"], "PYTHONPATH": "/nowhere", "PYTHONHOME": "/nowhere"})
    assert digest(dataset, root=folder.root, tokenizer="words") == expected


def test_workers_run_nothing_from_the_current_folder(folder, chat, small_ranges, monkeypatch):
    """A module of the project that looks like ours, or like the standard library's, is never imported."""
    for name in ("ftspec.py", "json.py", "msgspec.py", "sitecustomize.py", "ftspec/__init__.py", "ftspec/data/worker.py"):
        path = folder.root / "evil" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("import pathlib; pathlib.Path(__file__).with_suffix('.ran').write_text('x')")
    dataset = folder.dataset("data", *rows(chat))
    monkeypatch.chdir(folder.root / "evil")
    assert digest(dataset, root=folder.root, tokenizer="words")[0]["data"].rows
    assert list(folder.root.rglob("*.ran")) == []


def test_small_files_are_not_worth_a_process(folder, chat):
    """Starting processes for a small file would take longer than reading it."""
    assert sharing.workers_for(1_000_000, tokens=True) == 1


@given(lengths=st.lists(st.integers(0, 40), max_size=30), size=st.integers(1, 60), ended=st.booleans())
def test_ranges_cut_a_file_into_whole_rows(tmp_path_factory, lengths, size, ended):
    """A law: however a file is cut, every line is read exactly once, in the range in which it starts."""
    lines = [b"%d:" % number + b"x" * length for number, length in enumerate(lengths)]
    content = b"\n".join(lines) + (b"\n" if ended and lines else b"")
    path = tmp_path_factory.mktemp("ranges") / "data.jsonl"
    path.write_bytes(content)
    starts = [0, *(place + 1 for place, byte in enumerate(content) if byte == 10 and place + 1 < len(content))]
    with RowFile.open("data.jsonl", root=path.parent) as file:
        for start in range(0, len(content), size):
            end = min(start + size, len(content))
            inside = [place for place in starts if start <= place < end]
            after = next((place for place in starts if place >= end), len(content))
            assert b"".join(file.blocks(start, end)) == (content[inside[0] : after] if inside else b"")


def test_an_order_survives_the_way_to_another_process(folder, chat):
    """What a worker is told is what was meant."""
    dataset = folder.dataset(
        "data", chat(), split={"shares": {"train": 1.0}, "group_by": "a.b"}, transforms=({"type": "drop", "fields": ["x"]},)
    )
    order = msgspec.structs.replace(Source(dataset, folder.place()).order, tokenizer="words", keep=True)
    job = sharing.Job(order=order, descriptor=3, ranges=[(0, 5)])
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(job), type=sharing.Job) == job


def test_a_file_that_is_another_by_now_is_not_read(folder, chat):
    """Between looking at a file and reading it nobody can swap it."""
    dataset = folder.dataset("data", chat())
    source = Source(dataset, folder.place())
    folder.write("data.jsonl", chat(), chat())
    with pytest.raises(BadFile, match="changed"):
        list(source.rows(source.order))
    assert DesiredDataset(name="data", path="data.jsonl") == dataset
