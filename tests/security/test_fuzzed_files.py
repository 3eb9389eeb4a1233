"""Whole commands on mutated files of a project: a refusal or a result, soon, and never a bug of ours.

The parsers themselves are in tests/fuzz; here is what a person sees: exit codes, and a clean screen.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path
from random import Random

import pytest

from ftspec.testing.fuzz.mutate import mutated

SECONDS = 5.0
FORMS = {".yaml": "yaml", ".jsonl": "jsonl", ".json": "json", ".lock": "json"}

TARGETS = {
    "spec": ("ftspec.yaml", ["plan", "--full"]),
    "spec to format": ("ftspec.yaml", ["fmt", "--check"]),
    "rows": ("rows.jsonl", ["plan"]),
    "checked rows": ("rows.jsonl", ["data", "check"]),
    "jobs": ("state/jobs.jsonl", ["plan"]),
    "listed jobs": ("state/jobs.jsonl", ["state", "list"]),
    "shown jobs": ("state/jobs.jsonl", ["status", "--json"]),
    "jobs to mend": ("state/jobs.jsonl", ["state", "repair"]),
    "files": ("state/files.jsonl", ["plan"]),
    "segment": ("state/log/1.jsonl", ["plan"]),
    "lockfile": ("ftspec.lock", ["plan", "--locked"]),
    "lockfile of models": ("ftspec.lock", ["models", "--json"]),
    "saved plan": ("plan.json", ["apply", "plan.json"]),
}


ROUNDS = int(os.environ.get("FTSPEC_FUZZ_ROUNDS", "30"))
"""Mutations of each file in the slow campaign; a night's worth is 5,000."""


@pytest.fixture
def bought(project, ftspec):
    """Return a project with everything: state as base files and as a segment, a lockfile, a saved plan."""
    assert ftspec("plan", "-o", "plan.json").code == 0
    assert ftspec("apply", "-y").code == 0
    return project


def campaign(root: Path, ftspec, no_bug, target: str, rounds: int, seed: int) -> None:
    """Mutate one file again and again."""
    name, words = TARGETS[target]
    path = root / name
    if name.startswith("state/log"):
        shutil.rmtree(root / "state")
        spec = (root / "ftspec.yaml").read_text()
        (root / "ftspec.yaml").write_text(spec.replace("[1, 2]", "[1]"))
        (root / ".git" / "refs" / "heads").mkdir(parents=True)
        for branch in ("main", "topic"):
            (root / ".git" / "refs" / "heads" / branch).touch()
        (root / ".git" / "HEAD").write_text("ref: refs/heads/topic\n")
        assert ftspec("apply", "-y").code == 0
        path = next((root / "state" / "log").glob("*.jsonl"))
    content, choose = path.read_bytes(), Random(seed)  # noqa: S311 mutations, not secrets
    for number in range(rounds):
        path.write_bytes(mutated(choose, content, FORMS[path.suffix]))
        start = time.process_time()
        ran = ftspec(*words)
        assert time.process_time() - start < SECONDS, (target, number)
        try:
            no_bug(ran, [0, 1, 3, 4, 5, 7])
        except AssertionError as failed:
            failed.add_note(f"{target}, round {number}, seed {seed}: {path.read_bytes()!r:.3000}")
            raise


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_many_mutations_of_every_file_are_survived(target, bought, ftspec, no_bug):
    """The campaign."""
    campaign(bought, ftspec, no_bug, target, ROUNDS, 1)


def test_a_base_record_whose_attempts_are_wrong_is_named(bought, ftspec):
    """Plans decode attempts late; what they find then is a problem of the file, with the way to mend it."""
    jobs = bought / "state" / "jobs.jsonl"
    jobs.write_text(jobs.read_text().replace('"status":"succeeded"', '"status":1.5', 1))
    for words in (["plan"], ["status"], ["state", "list"]):
        ran = ftspec(*words)
        assert ran.code == 1, words
        assert re.search(r"the record of `small/epochs=[12]` in `jobs.jsonl` cannot be read", ran.err), ran.err
        assert "ftspec state repair" in ran.err
    assert "state/jobs.jsonl:1" in ftspec("state", "repair", "-y").said
    assert "in doubt" in ftspec("plan").out  # its status is gone, so the engine will be asked
    assert ftspec("apply", "-y").code == 0
    assert ftspec("plan", "--detailed-exitcode").code == 0
