"""What `doctor` finds, offline and by asking."""

import datetime as dt
import json

import pytest

from ftspec.pipeline.checkup import Level, examine
from ftspec.pipeline.project import open_project
from ftspec.testing.faulty import Fault, FaultyServer

NOW = dt.datetime(2026, 11, 20, 12, 0, tzinfo=dt.UTC)
ROW = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}


@pytest.fixture
def examined(tmp_path):
    """Return a function that writes a spec with one engine and yields the findings about it."""
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "tickets.jsonl").write_text(f"{json.dumps(ROW)}\n" * 10)

    def run(engine, *, online=False, now=NOW, base_model="m", **environ):
        spec = {
            "ftspec": 1,
            "project": "checked",
            "engines": {"mine": engine},
            "datasets": {"tickets": {"path": "tickets.jsonl"}},
            "experiments": {"triage": {"engine": "mine", "train": "tickets", "base_model": base_model}},
        }
        (tmp_path / "repo" / "ftspec.yaml").write_text(json.dumps(spec))
        project = open_project(directory=tmp_path / "repo")
        environ = {"HOME": str(tmp_path / "home"), **environ}
        found = list(examine(project, environ=environ, now=now, online=online))
        assert not (tmp_path / "repo" / "state").exists()
        return found

    return run


def about(findings, subject):
    return [(finding.level, finding.message) for finding in findings if finding.about.startswith(subject)]


def test_offline_nothing_is_asked(examined):
    """Origin, key and scope of an engine are said without a connection."""
    with FaultyServer() as server:
        found = examined({"type": "openai-compatible", "base_url": server.base_url, "api_key_env": "FTSPEC_MINE"}, FTSPEC_MINE="some-key-1")
        assert server.requests == []
    assert about(found, "engine mine") == [
        (Level.OK, f"OpenAI-compatible server: {server.origin}, key in `FTSPEC_MINE`, scope `openai-compatible/{server.origin}`")
    ]
    assert about(found, "trust") == [(Level.OK, "no origins beyond those of the engine types and this machine")]


def test_each_key_says_what_it_sees(examined):
    """With several keys, each account is asked; a refused one fails without hiding the others."""
    with FaultyServer(key="key-of-b", clock=NOW.timestamp) as server:
        server.api.files["file-1"] = {"id": "file-1"}
        server.api.make_job({"model": "m", "training_file": "file-1"})
        engine = {"type": "openai-compatible", "base_url": server.base_url, "api_key_env": "FTSPEC_TEAM_*"}
        found = examined(engine, online=True, FTSPEC_TEAM_A="key-of-a", FTSPEC_TEAM_B="key-of-b")
    assert about(found, "engine mine (FTSPEC_TEAM_A)") == [(Level.FAILED, "it does not answer: Incorrect API key provided: [redacted]")]
    assert about(found, "engine mine (FTSPEC_TEAM_B)") == [(Level.OK, "it answers, and shows 1 job of org-tiny, 0 of them in state")]


@pytest.mark.parametrize(("ahead", "word"), [(500, "behind"), (-500, "ahead of")])
def test_a_wrong_clock_is_noticed(examined, ahead, word):
    """Windows and limits rest on clocks that agree."""
    with FaultyServer(clock=lambda: NOW.timestamp() + ahead) as server:
        found = examined({"type": "openai-compatible", "base_url": server.base_url}, online=True)
    level, message = about(found, "engine mine")[-1]
    assert level is Level.WARNING
    assert message.endswith(f" s {word} its clock")
    assert 498 <= int(message.split()[4]) <= 502


def test_a_list_without_an_end_is_said_to_be_one(examined):
    """What cannot be counted is not counted."""
    with FaultyServer([Fault("endless pages", times=99)], clock=NOW.timestamp) as server:
        server.api.make_job({"model": "m", "training_file": "file-1"})
        found = examined({"type": "openai-compatible", "base_url": server.base_url}, online=True)
    assert about(found, "engine mine")[-1] == (Level.OK, "it answers, and shows 1 job or more of org-tiny, 0 of them in state")


def test_an_engine_that_ends_is_announced(examined):
    """OpenAI takes no jobs after 2027-01-06; before that it is a warning, after it a failure."""
    engine = {"type": "openai"}
    in_time = examined(engine, base_model="gpt-4.1-2025-04-14", OPENAI_API_KEY="sk-0123456789")
    assert about(in_time, "engine mine")[-1] == (Level.WARNING, "it takes no new jobs after 2027-01-06, 47 days from now")
    early = examined(engine, base_model="gpt-4.1-2025-04-14", now=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), OPENAI_API_KEY="sk-0123456789")
    assert len(about(early, "engine mine")) == 1


def test_the_spec_decides_which_tokenizers_matter(examined):
    """The sandbox counts words exactly; an unknown server's tokens are estimated."""
    assert about(examined({"type": "sandbox"}, base_model="sandbox-mini"), "tokenizer") == [(Level.OK, "`words`: exact counts")]
    ((level, message),) = about(examined({"type": "openai-compatible", "base_url": "http://127.0.0.1:9/v1"}), "tokenizer")
    assert level is Level.NOTE
    assert message.startswith("`estimate`: counts are estimates")


def test_a_spec_with_errors_is_one_finding(examined):
    """The rest is looked at all the same."""
    found = examined({"type": "nobody"})
    assert [level for level, _ in about(found, "spec")] == [Level.FAILED]
    assert about(found, "state")
    assert about(found, "trust")
