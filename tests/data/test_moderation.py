"""`data check --moderation ENGINE`: texts leave only when asked for, redacted, and only categories and lines come back."""

from __future__ import annotations

import json

import pytest

from ftspec.cli import _console, group

KEY = "not-a-real-key"


@pytest.fixture
def project(folder, moderation_server, chat, monkeypatch):
    monkeypatch.setenv("FTSPEC_OURS_KEY", KEY)
    address = f"http://127.0.0.1:{moderation_server.server_address[1]}/v1"
    spec = [
        "ftspec: 1",
        f"engines: {{ours: {{type: openai-compatible, base_url: '{address}', api_key_env: FTSPEC_OURS_KEY}}}}",
        "datasets: {tickets: {path: rows.jsonl}}",
        "experiments: {t: {engine: sandbox, base_model: sandbox-nano, train: tickets}}",
    ]
    folder.write("ftspec.yaml", "\n".join(spec))
    texts = {3: "I will hurt you, says kari@nordmann.no", 40: "an insult that will hurt", 70: "y" * 25_000 + " hurt"}
    folder.write("rows.jsonl", *[chat(user=texts.get(n, f"question {n}")) for n in range(80)])
    return folder


def run(folder, *words):
    return _console.run(group, ["data", "check", "-C", str(folder.root), "--json", *words])


def told(capsys):
    found = json.loads(capsys.readouterr().out)["diagnostics"]
    return {one["message"]: (one["count"], one["at"]["line"]) for one in found if one["code"] == "flagged-content"}


def test_flagged_rows_are_told_by_category_and_line(project, moderation_server, capsys):
    """Every text is asked about once, in batches, with a retry when told so; long ones in pieces."""
    assert run(project, "--moderation", "ours") == 0
    assert told(capsys) == {
        "the moderation of `ours` flags a text as `violence`": (3, 4),
        "the moderation of `ours` flags a text as `harassment/threatening`": (1, 41),
    }
    answered = moderation_server.asked[1:]
    assert {(path, key) for path, key, _ in answered} == {("/v1/moderations", f"Bearer {KEY}")}
    assert sorted(len(body["input"]) for _, _, body in answered) == [17, 32, 32]


def test_what_is_sent_holds_no_personal_data(project, moderation_server, capsys):
    """An e-mail address does not leave; the text around it does."""
    run(project, "--moderation", "ours")
    sent = json.dumps([body for _, _, body in moderation_server.asked])
    assert ("kari@nordmann.no" in sent, "says [e-mail address]" in sent) == (False, True)
    shown = capsys.readouterr()
    assert "hurt you" not in shown.out + shown.err


def test_nothing_is_sent_unless_asked_for(project, moderation_server):
    """Checks are offline; also those that look for secrets."""
    run(project, "--safety")
    assert moderation_server.asked == []


def test_an_engine_without_moderation_is_an_error_that_shows_no_key(project, moderation_server, capsys):
    """What the engine says is shown, without the key that it repeats."""
    moderation_server.silent = True
    assert run(project, "--moderation", "ours") == 1
    said = capsys.readouterr().err
    assert "engine `ours` does not moderate" in said
    assert KEY not in said


def test_the_engine_must_be_one_of_the_spec(project, moderation_server, capsys):
    """A name that no spec declares is refused, and so is a folder without a spec."""
    assert run(project, "--moderation", "theirs") == 1
    assert "no spec declares an engine `theirs`" in capsys.readouterr().err
    (project.root / "ftspec.yaml").unlink()
    assert run(project, "rows.jsonl", "--moderation", "ours") == 1
    assert "there is no spec here" in capsys.readouterr().err
