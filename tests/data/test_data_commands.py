"""What the data commands do beyond their scenarios: stored completions of an engine, files outside the project, exit codes."""

from __future__ import annotations

import json
import os
from urllib.parse import parse_qs, urlsplit

import pytest

from ftspec.cli import _console, group
from ftspec.testing.tiny_http import JsonHandler, serving, url_of

STORED = [
    {
        "id": f"chatcmpl-{n}",
        "object": "chat.completion",
        "created": 1760000000 + n,
        "model": "gpt-x",
        "metadata": {"team": "search"},
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": f"answer {n}"}}],
    }
    for n in range(5)
]


class Stored(JsonHandler):
    """An engine that stored five completions and lists them two at a time."""

    asked: list[str] = []  # noqa: RUF012 one list for all requests

    def answer(self):
        self.asked.append(self.path)
        where, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        if where.endswith("/messages"):
            number = where.split("/")[-2].removeprefix("chatcmpl-")
            rows, more = [{"id": f"m-{number}", "role": "user", "content": f"question {number}"}], False
        else:
            after = query.get("after", ["chatcmpl--1"])[0]
            start = int(after.removeprefix("chatcmpl-")) + 1
            rows, more = STORED[start : start + 2], start + 2 < len(STORED)
        self.reply(200, {"object": "list", "data": rows, "has_more": more, "first_id": rows[0]["id"], "last_id": rows[-1]["id"]})


@pytest.fixture
def engine_url():
    with serving(Stored) as server:
        yield url_of(server)


def run(folder, *words):
    return _console.run(group, ["data", words[0], "-C", str(folder.root), *map(str, words[1:])])


def test_completions_that_an_engine_stored_become_a_dataset(folder, engine_url, monkeypatch, capsys):
    """The engine of the spec is asked page by page, and each completion for its input."""
    monkeypatch.setenv("FTSPEC_OURS_KEY", "not-a-real-key")
    spec = ["ftspec: 1", "engines:", f"  ours: {{type: openai-compatible, base_url: '{engine_url}', api_key_env: FTSPEC_OURS_KEY}}"]
    folder.write("ftspec.yaml", "\n".join(spec))
    assert run(folder, "import", "--from", "openai-stored", "--engine", "ours", "--model", "gpt-x", "-o", "stored.jsonl") == 0
    rows = [json.loads(line)["messages"] for line in (folder.root / "stored.jsonl").read_text().splitlines()]
    assert [[one["content"] for one in row] for row in rows] == [[f"question {n}", f"answer {n}"] for n in range(5)]
    assert any("model=gpt-x" in path for path in Stored.asked)
    said = json.loads((folder.root / "stored.provenance.json").read_text())
    assert (said["engine"], said["teacher_models"], said["calls_from"]) == ("ours", {"gpt-x": 5}, "2025-10-09T08:53:20Z")
    assert "terms" in capsys.readouterr().err


def test_a_file_named_on_the_command_line_may_lie_anywhere(folder, chat, tmp_path_factory, capsys):
    """Who types a path means it: the project's border is for paths in specs."""
    other = tmp_path_factory.mktemp("other") / "rows.jsonl"
    other.write_text(json.dumps(chat()) + "\n")
    assert run(folder, "check", other, "--engine", "sandbox") == 0
    assert "rows: 1 row, chat" in capsys.readouterr().out


@pytest.mark.parametrize(("row", "strict", "code"), [({}, False, 0), ({}, True, 1), ({"assistant": ""}, False, 1)])
def test_errors_and_with_strict_warnings_end_with_one(folder, chat, row, strict, code, capsys):
    """Warnings alone are exit 0 unless `--strict`; errors are exit 1."""
    folder.write("rows.jsonl", chat(**row))
    assert run(folder, "check", "rows.jsonl", *(["--strict"] if strict else [])) == code
    assert "few-rows" in capsys.readouterr().out


def test_a_dataset_is_named_as_the_spec_names_it(folder, chat, capsys):
    """Names of the spec's datasets can be given; others are refused with the names there are."""
    folder.write("rows.jsonl", *[chat(user=f"q{n}", score=1) for n in range(60)])
    spec = [
        "ftspec: 1",
        "datasets: {tickets: {path: rows.jsonl}}",
        "evals: {e: {dataset: tickets, graders: {g: {type: string_check, operation: eq, input: '{{item.score}}', reference: '1'}}}}",
        "experiments: {t: {engine: sandbox, base_model: sandbox-nano, train: tickets, evals: [e]}}",
    ]
    folder.write("ftspec.yaml", "\n".join(spec))
    assert run(folder, "check", "tickets", "--no-leakage") == 0
    assert "unknown-key" not in capsys.readouterr().out
    assert run(folder, "stats", "nothing") == 1
    assert "the spec has: tickets" in capsys.readouterr().err


def test_it_is_said_which_data_leaves_the_house(folder, chat, capsys):
    """A dataset for a hosted engine is named with the host; for the sandbox nothing is said."""
    folder.write("rows.jsonl", *[chat(user=f"q{n}") for n in range(60)])
    spec = "ftspec: 1\nengines: {{openai: {{type: openai}}}}\ndatasets: {{tickets: {{path: rows.jsonl}}}}\nexperiments: {{t: {{engine: {}, base_model: {}, train: tickets}}}}"
    folder.write("ftspec.yaml", spec.format("openai", "gpt-4.1-mini"))
    assert run(folder, "check") == 0
    assert "info[data-leaves]: dataset `tickets` will be sent to https://api.openai.com/v1" in capsys.readouterr().out
    folder.write("ftspec.yaml", spec.format("sandbox", "sandbox-nano"))
    assert run(folder, "check") == 0
    assert "data-leaves" not in capsys.readouterr().out


def test_the_cost_of_a_file_is_shown_for_a_named_engine(folder, chat, capsys):
    """`--engine` and `--model` give a file its price range, without a spec."""
    folder.write("rows.jsonl", *[chat(user=f"question {n} " * 30) for n in range(60)])
    assert run(folder, "stats", "rows.jsonl", "--engine", "openai", "--model", "gpt-4.1-mini", "--epochs", "3", "--json") == 0
    [shown] = json.loads(capsys.readouterr().out)["datasets"]
    [cost] = shown["costs"]
    assert (cost["engine"], cost["base_model"], cost["epochs"], cost["tokens"]) == ("openai", "gpt-4.1-mini", 3, 3 * shown["tokens"])
    assert (cost["low"] is None) == (cost["high"] is None)
    assert run(folder, "stats", "rows.jsonl", "--engine", "openai") == 64
    for engine, model, said in (("openai", "no-such-model", True), ("sandbox", "sandbox-nano", False)):
        assert run(folder, "stats", "rows.jsonl", "--engine", engine, "--model", model) == 0
        assert ("`prices:` of a spec can give one" in capsys.readouterr().out) == said


ROW = b'{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}\n'
ODD = {
    "empty": (b"", "has no rows"),
    "zip": (b"PK\x03\x04rest", "is a zip archive"),
    "binary": (b"ab\x00cdefg" * 100, "NUL bytes"),
    "wrong encoding": (ROW.replace(b"Hi", b"H\xe9"), "not UTF-8"),
    "half-written": (ROW + ROW[:40], "was written only in part"),
}


@pytest.mark.parametrize("words", [("check",), ("stats",), ("split", "-o", "parts"), ("check", "--fix")], ids=" ".join)
@pytest.mark.parametrize("kind", ODD)
def test_odd_files_are_told_and_nothing_is_half_done(folder, capsys, kind, words):
    """Each command names what is wrong; rows that can be read are not held back from a reader, and no part, copy or rest lies around."""
    content, sentence = ODD[kind]
    (folder.root / "odd.jsonl").write_bytes(content)
    code = run(folder, words[0], "odd.jsonl", *words[1:])
    shown = capsys.readouterr()
    left = {path.name for path in folder.root.rglob("*") if path.is_file()}
    if kind == "half-written" and words in {("stats",), ("check", "--fix")}:
        assert code == 0
        assert "rows that cannot be read are not counted" in shown.err or left == {
            "odd.jsonl",
            "odd.fixed.jsonl",
            "odd.fixed.jsonl.rejected",
        }
    else:
        assert (code, left) == (1, {"odd.jsonl"})
        assert sentence in shown.out + shown.err or "no line of `odd.jsonl` is a row" in shown.err
    assert (folder.root / "odd.jsonl").read_bytes() == content


@pytest.mark.parametrize(
    "words", [("check",), ("stats",), ("split",), ("check", "--fix"), ("import", "--from", "chat", "-o", "x.jsonl")], ids=" ".join
)
@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_regular_file_is_refused_at_once(folder, capsys, kind, words):
    """Nobody waits for a pipe that nobody writes to."""
    (folder.root / "odd").mkdir() if kind == "folder" else os.mkfifo(folder.root / "odd")
    assert run(folder, words[0], *words[1:], "odd") == 1
    shown = capsys.readouterr()
    assert any(word in shown.out + shown.err for word in ("is a folder", "is a named pipe", "is no regular file"))
    assert [path.name for path in folder.root.iterdir()] == ["odd"]


def test_a_file_without_a_good_row_is_summed_up_as_that(folder, capsys):
    """No format, size or tokens of nothing."""
    (folder.root / "rows.jsonl").write_bytes(b"prompt,completion\n")
    assert run(folder, "check", "rows.jsonl") == 1
    assert "rows: no rows that can be read\n1 error\n" in capsys.readouterr().out


def test_statistics_of_bad_rows_lead_to_what_is_wrong(folder, chat, capsys):
    """Rows that break rules are counted; only what is no row is not."""
    folder.write("rows.jsonl", chat(assistant=""), chat(), b"{\n")
    assert run(folder, "stats", "rows.jsonl", "--json") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["datasets"][0]["rows"] == 2
    assert "2 errors in `rows.jsonl`, which `ftspec data check` shows; rows that cannot be read are not counted" in shown.err


@pytest.mark.parametrize(("row", "said"), [({}, True), ({"assistant": " Fine."}, False)])
def test_a_repair_says_when_there_was_nothing_to_repair(folder, chat, capsys, row, said):
    """A copy that is no better is called that, and what is left is one command away."""
    folder.write("my rows.jsonl", chat(**row))
    assert run(folder, "check", "my rows.jsonl", "--fix") == 0
    shown = capsys.readouterr()
    assert ("nothing that can be put right by itself" in shown.out) == said
    assert shown.err.endswith("See what is left:\n  ftspec data check 'my rows.fixed.jsonl'\n")


def test_a_part_that_is_named_twice_is_a_slip(folder, capsys):
    """Nobody means half of the shares that were typed."""
    (folder.root / "rows.jsonl").write_bytes(ROW)
    assert run(folder, "split", "rows.jsonl", "train=0.5", "train=0.5") == 64
    assert "`train` is given twice" in capsys.readouterr().err


def test_a_part_that_got_no_row_is_told(folder, capsys):
    """A small file can leave a small share empty; nobody should learn that from a job."""
    (folder.root / "rows.jsonl").write_bytes(ROW)
    assert run(folder, "split", "rows.jsonl", "train=0.5", "test=0.5") == 0
    assert "no row fell to `" in capsys.readouterr().err
