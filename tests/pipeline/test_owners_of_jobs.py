"""`api_key_env: FTSPEC_TEAM_*`: which key owns which job is recorded, shown, and used for later requests."""

import json
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import ftspec
from ftspec.cli import _console, group
from ftspec.executor.result import ApplyOptions
from ftspec.pipeline.applying import ApplyRequest
from ftspec.pipeline.planning import state_of
from ftspec.pipeline.project import open_project
from ftspec.testing.faulty import FaultyServer
from ftspec.testing.tinyapi import TinyApi, refusal

KEYS = {"key-of-search": "org-search", "key-of-ads": "org-ads"}
ROW = '{"messages": [{"role": "user", "content": "where is my parcel %d"}, {"role": "assistant", "content": "shipping"}]}\n'


class Organization(TinyApi):
    """One organization's files, jobs and models; its ids are its own."""

    name = ""

    def make_job(self, asked):
        job = super().make_job(asked)
        job["organization_id"] = self.name
        return job

    def _new(self, kind):
        return f"{super()._new(kind)}-{self.name}"


class TwoAccounts(TinyApi):
    """Two organizations behind one address: each key sees its own only."""

    def __init__(self):
        super().__init__(now=time.time)
        self.accounts = {key: Organization(now=time.time, statuses=("running", "succeeded")) for key in KEYS}
        for key, name in KEYS.items():
            self.accounts[key].name = name
        self.asked = []

    def handle(self, request):
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        if key not in self.accounts:
            return refusal(401, "invalid_api_key", "Incorrect API key provided")
        self.asked.append((key, request.name))
        return self.accounts[key].handle(request)


@contextmanager
def two_accounts():
    """Serve both accounts at one address."""
    with FaultyServer(api=TwoAccounts()) as server:
        yield server


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder with a dataset."""
    (tmp_path / "rows.jsonl").write_text("".join(ROW % i for i in range(12)))
    return tmp_path


def spec(root, server, *, seeds=(1,)):
    """Write a spec whose only engine is at `server` and has a key for each variable `FTSPEC_TEAM_*`."""
    members = {
        "ftspec": 1,
        "engines": {"team": {"type": "openai-compatible", "base_url": server.base_url, "api_key_env": "FTSPEC_TEAM_*"}},
        "datasets": {"rows": "rows.jsonl"},
        "experiments": {
            "tone": {"engine": "team", "base_model": "m", "train": "rows", "epochs": 1, "matrix": {"seed": list(seeds)}},
        },
    }
    (root / "ftspec.yaml").write_text(json.dumps(members))


def apply(root):
    """Launch what is missing, without waiting for its end."""
    ftspec.apply(root=root, approve=True, request=ApplyRequest(execution=ApplyOptions(wait=False)))


def records(root):
    """Return what state says of each address."""
    return {record.address: record.last for record in state_of(open_project(directory=root)).read()[0].jobs.values()}


def test_the_owner_of_a_job_is_recorded_and_shown(root, monkeypatch, capsys):
    """The variable's name, never its value, stands in state and in `status ADDRESS`."""
    monkeypatch.setenv("FTSPEC_TEAM_ADS", "key-of-ads")
    with two_accounts() as server:
        spec(root, server)
        apply(root)
        assert _console.run(group, ["status", "tone/seed=1", "-C", str(root)]) == 0
    assert (records(root)["tone/seed=1"].owner, records(root)["tone/seed=1"].organization) == ("FTSPEC_TEAM_ADS", "org-ads")
    shown = capsys.readouterr().out
    assert "key of          $FTSPEC_TEAM_ADS" in shown
    assert "organization    org-ads" in shown
    assert not any("key-of-ads" in file.read_text() for file in (root / "state").rglob("*") if file.is_file())


def test_later_requests_for_a_job_go_to_its_owner_first(root, monkeypatch):
    """A job that the second key bought is asked about with the second key alone."""
    monkeypatch.setenv("FTSPEC_TEAM_SEARCH", "key-of-search")
    with two_accounts() as server:
        spec(root, server)
        apply(root)
        monkeypatch.setenv("FTSPEC_TEAM_ADS", "key-of-ads")
        server.api.asked.clear()
        assert _console.run(group, ["status", "tone/seed=1", "--all", "-C", str(root)]) == 0
        by_key = [key for key, name in server.api.asked if name.startswith("GET /fine_tuning/jobs/")]
    assert by_key
    assert set(by_key) == {"key-of-search"}


@pytest.mark.parametrize("words", [["events", "tone/seed=1"], ["chat", "tone/seed=1", "where is it"]], ids=["events", "chat"])
def test_events_and_chat_use_the_key_that_owns_the_job(root, monkeypatch, words):
    """They ask nobody else, and need no list of models to know."""
    monkeypatch.setenv("FTSPEC_TEAM_SEARCH", "key-of-search")
    with two_accounts() as server:
        spec(root, server)
        ftspec.apply(root=root, approve=True)
        monkeypatch.setenv("FTSPEC_TEAM_ADS", "key-of-ads")
        server.api.asked.clear()
        assert _console.run(group, [*words, "-C", str(root)]) == 0
    assert {key for key, _ in server.api.asked} == {"key-of-search"}


def test_jobs_of_several_organizations_live_in_one_state(root, monkeypatch):
    """A job is bought with the key that owns its file; the other organization's jobs stay what they are."""
    monkeypatch.setenv("FTSPEC_TEAM_SEARCH", "key-of-search")
    with two_accounts() as server:
        spec(root, server)
        apply(root)
        monkeypatch.delenv("FTSPEC_TEAM_SEARCH")
        monkeypatch.setenv("FTSPEC_TEAM_ADS", "key-of-ads")
        spec(root, server, seeds=(1, 2))
        apply(root)
        found = records(root)
    assert {address: last.owner for address, last in found.items()} == {
        "tone/seed=1": "FTSPEC_TEAM_SEARCH",
        "tone/seed=2": "FTSPEC_TEAM_ADS",
    }
    assert [len(account.jobs) for account in server.api.accounts.values()] == [1, 1]
