"""What servers, state and file names say reaches terminals, CI logs, CSV and shells as text that commands nothing."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import time

import pytest

from ftspec.testing.faulty import FaultyServer
from ftspec.testing.tinyapi import Answer, TinyApi

EVIL = "\x1b]8;;http://evil\x07\x1b[2J\x9b31m\u202e\r\n::set-output name=x::y\n::error::no ##[group]x"
POISONED = {"fine_tuned_model", "fine_tuned_model_checkpoint", "message", "code", "param", "type", "level", "organization_id", "model"}
RAW = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]")
CI = re.compile(r"^\s*::|##\[", re.MULTILINE)


def poisoned(value, name=None):
    """Return a reply with the evil text behind every string that is free."""
    if isinstance(value, dict):
        whole = {inner: poisoned(one, inner) for inner, one in value.items()}
        if whole.get("object") == "fine_tuning.job" and whole.get("seed") == 2 and whole.get("status") == "succeeded":
            whole |= {"status": "failed", "fine_tuned_model": None, "error": dict.fromkeys(("code", "message", "param"), EVIL)}
        return whole
    if isinstance(value, list):
        return [poisoned(one, name) for one in value]
    return value + EVIL if isinstance(value, str) and name in POISONED else value


class EvilApi(TinyApi):
    """The smallest server, with a bad character."""

    def handle(self, request):
        answer = super().handle(request)
        return answer if answer.content is not None else Answer(status=answer.status, value=poisoned(answer.value), headers=answer.headers)


@pytest.fixture
def evil(project, ftspec, monkeypatch):
    """Return the runner in a project whose jobs were bought from such a server, in a CI job."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    with FaultyServer(api=EvilApi(now=time.time)) as server:
        (project / "ftspec.yaml").write_text(
            f'ftspec: 1\nproject: evil\nengines: {{mine: {{type: openai-compatible, base_url: "{server.base_url}"}}}}\n'
            "datasets: {rows: {path: rows.jsonl, format: chat}}\ndefaults: {engine: mine}\n"
            'experiments: {e: {train: rows, base_model: base-small, suffix: "s{seed}", matrix: {seed: [1, 2]}}}\n'
        )
        yield ftspec
        assert server.surprises == []


COMMANDS = [
    *(["status"], ["status", "--json"], ["events", "e/seed=1"], ["doctor"], ["models"], ["models", "--raw"], ["models", "--csv"]),
    *(
        ["models", "--env"],
        ["models", "--json"],
        ["chat", "e/seed=1", "hello"],
        ["state", "list"],
        ["state", "show", "*"],
        ["plan", "--full"],
    ),
    *(["plan", "--refresh"], ["plan", "--format", "markdown"], ["plan", "--format", "json"], ["lock"], ["import", "--list"]),
]


def test_a_server_cannot_speak_to_terminals_or_ci(evil):
    """No command passes on a control character or a log command; JSON stays JSON."""
    assert evil("apply", "-y").code == 4
    for words in COMMANDS:
        ran = evil(*words)
        assert RAW.findall(ran.said) == [], words
        assert CI.findall(ran.said) == [], words
        assert "bug in ftspec" not in ran.said, words
        if "json" in words[-1]:
            json.loads(ran.out)


def test_a_spec_of_foreign_jobs_holds_text():
    """What `import --generate` writes down of jobs that others made can be looked at, and read back."""
    from ftspec.pipeline.importing.stub import yaml
    from ftspec.spec.source import parse

    written = yaml({"suffix": EVIL, EVIL: [EVIL]})
    assert RAW.findall(written) == []
    assert CI.findall(written) == []
    assert "\n" not in written
    document, _, problems = parse(f"a: {written}\n".encode(), "x.yaml")
    assert (document is not None, problems) == (True, [])


def test_apply_shows_names_of_models_as_text(evil):
    """Progress shows the model that a server names as soon as it is there."""
    ran = evil("apply", "-y")
    assert "ft:base-small" in ran.said
    assert r"\x1b]8" in ran.said
    assert RAW.findall(ran.said) == []
    assert CI.findall(ran.said) == []


def test_a_tag_with_line_breaks_stays_in_its_cell(project, ftspec):
    """The CSV of models has one line a model, whatever its tags hold."""
    spec = project / "ftspec.yaml"
    spec.write_text(spec.read_text().replace("matrix:", 'tags: {k: "=1\\r\\n::error::no\\e[2J"}, matrix:'))
    assert ftspec("apply", "-y").code == 0
    out = ftspec("models", "--csv").out
    assert RAW.findall(out) == []
    assert CI.findall(out) == []
    rows = list(csv.DictReader(io.StringIO(out)))
    assert len(rows) == out.count("\n") - 1 == 2
    assert {row["tags.k"] for row in rows} == {r"'=1\x0d\x0a::error::no\x1b[2J"}


def test_words_that_a_shell_made_of_file_names_are_quoted_as_text(project, ftspec):
    """Usage errors repeat what was typed, and a `*` may have typed anything."""
    ran = ftspec("events", "a", EVIL, "b")
    assert ran.code == 64
    assert RAW.findall(ran.said) == []
    assert CI.findall(ran.said) == []


FREE = {"model", "raw_status", "message", "code", "owner", "organization", "base_model", "suffix", "user", "host", "command", "git_commit"}
JSON_COMMANDS = [
    *(
        ["status", "--json"],
        ["models", "--json"],
        ["models", "--json", "--checkpoints"],
        ["plan", "--format", "json"],
        ["apply", "-y", "--json"],
    ),
    *(
        ["state", "list", "--json"],
        ["state", "show", "--json", "*"],
        ["state", "log", "--json"],
        ["doctor", "--json"],
        ["compare", "--json"],
    ),
    *(
        ["eval", "--json"],
        ["data", "stats", "--json"],
        ["data", "check", "--json"],
        ["validate", "--format", "json"],
        ["validate", "--format", "sarif"],
    ),
    *(
        ["events", "small/epochs=1", "--json"],
        ["chat", "--json", "small/epochs=1", "hi"],
        ["trust", "--json"],
        ["import", "--list", "--json"],
    ),
    ["cancel", "--json", "*"],
]


def hostile(value, name=None):
    """Return a record with the evil text behind every string that is free, and in every tag and metric."""
    if isinstance(value, dict):
        return {inner: hostile(one, inner if name != "tags" else "model") for inner, one in value.items()}
    if isinstance(value, list):
        return [hostile(one, name) for one in value]
    return value + EVIL + "\x7f\x85\u2028\ufeff" if isinstance(value, str) and name in FREE else value


def poisoned_line(line):
    """Return a line of state or of the lockfile, hostile where it is a record."""
    with contextlib.suppress(ValueError):
        return json.dumps(hostile(json.loads(line)), ensure_ascii=False) + "\n"
    return f"{line}\n"


@pytest.mark.parametrize("runner", ["terminal", "GITHUB_ACTIONS"])
def test_json_of_a_hostile_state_is_ascii(runner, project, ftspec, monkeypatch):
    """Whatever was committed as state: JSON of every command is ASCII without controls, and says the same."""
    if runner == "GITHUB_ACTIONS":
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
    spec = project / "ftspec.yaml"
    spec.write_text(
        spec.read_text().replace("matrix:", "tags: {k: v}, evals: [held], matrix:")
        + "evals: {held: {dataset: rows.test, graders: {g: {type: string_check, operation: eq, input: '{{sample.output_text}}', reference: x}}}}\n"
    )
    assert ftspec("apply", "-y").code == 0
    for path in [*(project / "state").rglob("*.jsonl"), project / "ftspec.lock"]:
        path.write_text("".join(poisoned_line(line) for line in path.read_text().split("\n")))
    shown = 0
    for words in JSON_COMMANDS:
        ran = ftspec(*words)
        assert "bug in ftspec" not in ran.said, words
        assert "No such option" not in ran.said, words
        assert RAW.findall(ran.said) == [], words
        assert ran.out.isascii(), words
        assert CI.findall(ran.out) == [], words
        for text in [ran.out] if ran.out.startswith(("{\n", "[")) else ran.out.splitlines():
            assert json.loads(text), words
        shown += "\\u202e" in ran.out
    assert shown >= 5
