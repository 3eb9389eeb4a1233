"""`ftspec models` for shells, spreadsheets and programs: nothing in a name is ever run or misread."""

import csv
import io
import json
import subprocess

import pytest

from ftspec.cli import _console, group
from ftspec.fingerprint import digest
from ftspec.pipeline.planning import state_of
from ftspec.pipeline.project import open_project
from ftspec.printable import printable
from ftspec.state.base import JobFact

HOSTILE = [
    "$(touch pwned)",
    "`touch pwned`",
    "'; touch pwned; '",
    '"; touch pwned; "',
    "a\ntouch pwned",
    '=HYPERLINK("http://evil.test")',
    "+1+cmd|' /C calc'!A0",
    "@SUM(1)",
    "-2+3",
    "\t=1",
    'a,b;c"d',
    "\x1b]0;owned\x07",
    "\u202egnp.exe",
    "::set-output name=x::y",
]  # fmt: skip


@pytest.fixture
def root(tmp_path):
    """Return a folder whose state has a model for each hostile text: as suffix, tag, address and model name."""
    with state_of(open_project(directory=tmp_path, need_spec=False)).lock("test") as writer:
        for number, text in enumerate(HOSTILE):
            values = {"status": "succeeded", "engine_job_id": f"ftjob-{number}", "model": text, "hyperparameters": {"n_epochs": 1}}
            about = {
                "address": f"job/{text}",
                "engine": "e",
                "scope": "e",
                "suffix": text,
                "tags": {"owner": text},
                "preimage": {"base_model": text},
            }
            writer.append(JobFact(key=digest(number), attempt=1, at="2026-11-20T12:00:00.000Z", values=values, job=about))
    return tmp_path


def models(root, capsys, *options):
    """Return what `ftspec models` prints."""
    assert _console.run(group, ["models", "-C", str(root), *options]) == 0
    return capsys.readouterr().out


def test_assignments_are_safe_to_eval(root, capsys):
    """Each variable holds the name as it is; no part of it is run, and no variable is lost."""
    text = models(root, capsys, "--env")
    script = text + 'for name in $(compgen -v JOB); do printf "%s\\0" "${!name}"; done'
    done = subprocess.run(["bash", "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split("\0")[:-1]) == sorted(HOSTILE)
    assert done.stderr == ""
    assert not (root / "pwned").exists()


def test_no_cell_of_the_csv_is_a_formula(root, capsys):
    """Every text that a spreadsheet would compute is quoted; rows and columns stay what they are."""
    rows = list(csv.DictReader(io.StringIO(models(root, capsys, "--csv"), newline="")))
    assert len(rows) == len(HOSTILE)
    assert not [cell for row in rows for cell in row.values() if cell[:1] in tuple("=+-@\t\r\n")]
    quoted = [f"'{text}" if text[0] in "=+-@\t\r\n" else text for text in HOSTILE]
    assert {printable(row["suffix"]) for row in rows} == {printable(text) for text in quoted}


def test_json_has_the_names_as_they_are(root, capsys):
    """Programs get the exact text."""
    found = json.loads(models(root, capsys, "--json"))["models"]
    assert {one["model"] for one in found} == set(HOSTILE)


def test_a_terminal_and_a_ci_log_obey_no_name(root, capsys, monkeypatch):
    """Escapes, direction marks and log commands are shown, not sent."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    text = models(root, capsys)
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert not [line for line in text.splitlines() if line.strip().startswith("::")]
