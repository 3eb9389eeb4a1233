"""The lockfile: stable bytes, small diffs, and code that asks it for models."""

from __future__ import annotations

import json
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftspec.actions import DatasetFacts
from ftspec.experiment import DesiredJob
from ftspec.planner.identify import identify
from ftspec.record import Attempt, Checkpoint, JobStatus, RecordedJob, State
from ftspec.state.lockfile import (
    Lock,
    LockedCheckpoint,
    LockedDataset,
    LockedJob,
    build,
    differences,
    parse,
    read,
    render,
    write_if_changed,
)

DATASETS = {
    ref: DatasetFacts(ref=ref, key=letter * 64, rows=rows, bytes=100, format="chat")
    for ref, letter, rows in (("tickets.train", "a", 240), ("tickets.validation", "b", 30), ("unused", "c", 1))
}


def jobs(*seeds):
    desired = [
        DesiredJob(
            address=f"triage/seed={seed}",
            experiment="triage",
            engine="sandbox",
            scope="sandbox",
            base_model="sandbox-mini",
            train="tickets.train",
            validation="tickets.validation",
            seed=seed,
        )
        for seed in seeds
    ]
    found, problems = identify(desired, DATASETS)
    assert problems == []
    return found


def trained(one, **values):
    members = {
        "number": 1,
        "status": JobStatus.SUCCEEDED,
        "engine_job_id": f"ftjob-{one.job.seed}",
        "model": f"ft:sandbox-mini:{one.job.seed}",
        "hyperparameters": {"n_epochs": 3, "learning_rate": 1e-05, "batch_size": 8.0},
        "seed": one.job.seed,
        "checkpoints": (Checkpoint(model="ft:step", step=10, metrics={"loss": 0.1}),),
        "created_at": "2026-11-20T10:00:00Z",
    }
    attempt = Attempt(**(members | values))
    return RecordedJob(key=one.key, address=one.job.address, engine="sandbox", scope="sandbox", attempts=(attempt,))


def state_of(*records):
    return State(jobs={record.key: record for record in records})


def test_a_lockfile_says_what_each_address_became():
    """One block per address, one member per line; datasets with digests and rows; no times."""
    one, two = jobs(1, 2)
    content = render(build([one, two], DATASETS, state_of(trained(one)))).decode()
    assert content == (
        "{\n"
        '"@generated": "by ftspec from specs and state; `ftspec lock` makes it again",\n'
        '"format": 1,\n'
        '"datasets": {\n'
        f'  "tickets.train": {{"digest":"{"a" * 64}","rows":240}},\n'
        f'  "tickets.validation": {{"digest":"{"b" * 64}","rows":30}}\n'
        "},\n"
        '"jobs": {\n'
        '  "triage/seed=1": {\n'
        f'    "key": "{one.key}",\n'
        '    "engine": "sandbox",\n'
        '    "scope": "sandbox",\n'
        '    "base_model": "sandbox-mini",\n'
        f'    "train": {{"dataset":"tickets.train","digest":"{"a" * 64}","rows":240}},\n'
        f'    "validation": {{"dataset":"tickets.validation","digest":"{"b" * 64}","rows":30}},\n'
        '    "job": "ftjob-1",\n'
        '    "model": "ft:sandbox-mini:1",\n'
        '    "checkpoints": [\n'
        '      {"model":"ft:step","step":10}\n'
        "    ],\n"
        '    "hyperparameters": {"batch_size":8,"learning_rate":0.00001,"n_epochs":3},\n'
        '    "seed": 1\n'
        "  },\n"
        '  "triage/seed=2": {\n'
        f'    "key": "{two.key}",\n'
        '    "engine": "sandbox",\n'
        '    "scope": "sandbox",\n'
        '    "base_model": "sandbox-mini",\n'
        f'    "train": {{"dataset":"tickets.train","digest":"{"a" * 64}","rows":240}},\n'
        f'    "validation": {{"dataset":"tickets.validation","digest":"{"b" * 64}","rows":30}},\n'
        '    "seed": 2\n'
        "  }\n"
        "}\n"
        "}\n"
    )
    assert json.loads(content)["jobs"]["triage/seed=1"]["model"] == "ft:sandbox-mini:1"


def test_the_order_of_jobs_and_the_clock_do_not_matter():
    """Equal specs and state give equal bytes."""
    one, two = jobs(1, 2)
    first = render(build([one, two], DATASETS, state_of(trained(one), trained(two))))
    later = trained(two, created_at="2027-01-01T00:00:00Z", hyperparameters={"batch_size": 8, "n_epochs": 3, "learning_rate": 0.00001})
    assert render(build([two, one], DATASETS, state_of(later, trained(one)))) == first


@pytest.mark.parametrize("gone", ["forgotten", "refused"])
def test_what_was_not_bought_or_is_forgotten_is_not_locked(gone):
    """An address without a usable job has a key and no model."""
    (one,) = jobs(1)
    record = (
        RecordedJob(key=one.key, address=one.job.address, engine="sandbox", scope="sandbox", attempts=trained(one).attempts, forgotten=True)
        if gone == "forgotten"
        else trained(one, status=JobStatus.REFUSED)
    )
    locked = build([one], DATASETS, state_of(record)).jobs["triage/seed=1"]
    assert (locked.key, locked.job, locked.model, locked.hyperparameters) == (one.key, None, None, {})


TEXT = st.text(alphabet=st.characters(codec="utf-8"), max_size=12)
DATASET = st.builds(LockedDataset, dataset=st.none() | TEXT, digest=TEXT, rows=st.integers(0, 9))
NUMBERS = st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
LOCKED = st.builds(
    LockedJob,
    key=TEXT,
    engine=TEXT,
    scope=TEXT,
    base_model=TEXT,
    train=DATASET,
    validation=st.none() | DATASET,
    job=st.none() | TEXT,
    model=st.none() | TEXT,
    checkpoints=st.lists(st.builds(LockedCheckpoint, model=TEXT, step=st.integers(0, 9)), max_size=2).map(tuple),
    hyperparameters=st.dictionaries(TEXT, NUMBERS, max_size=3),
    seed=st.none() | st.integers(0, 9),
)


@given(st.builds(Lock, datasets=st.dictionaries(TEXT, DATASET, max_size=2), jobs=st.dictionaries(TEXT, LOCKED, max_size=3)))
@settings(max_examples=100)
def test_what_is_rendered_is_parsed_again(lock):
    """Every value survives, in ASCII wherever a reviewer could be misled, and renders to the same bytes."""
    content = render(lock)
    again, problems = parse(content)
    assert problems == []
    assert again is not None
    assert differences(again, lock) == []
    assert render(again) == content
    assert content.isascii()


@given(st.binary(max_size=200) | TEXT.map(str.encode))
def test_no_bytes_are_a_traceback(content):
    """Whatever the file holds, reading it gives a lockfile or a diagnostic."""
    lock, problems = parse(content)
    assert (lock is None) == bool(problems)


def test_conflict_markers_are_a_diagnostic_that_says_how_to_make_the_file_again():
    """A lockfile is never merged by hand."""
    content = render(build(jobs(1), DATASETS, State())).replace(b'"jobs"', b'<<<<<<< HEAD\n"jobs"')
    lock, problems = parse(content)
    assert lock is None
    assert [(problem.code, problem.at.line if problem.at else 0) for problem in problems] == [("lock-conflict", 8)]
    assert "`ftspec lock`" in (problems[0].help or "")


def test_a_newer_lockfile_is_not_guessed_at():
    """Its format is named instead of read wrongly."""
    lock, problems = parse(b'{"format": 2, "jobs": []}')
    assert (lock, [problem.code for problem in problems]) == (None, ["newer-lock"])


def test_a_lockfile_is_written_only_if_it_changed(tmp_path):
    """Nothing to say, nothing touched; a missing one reads as none."""
    path = tmp_path / "ftspec.lock"
    assert read(path) == (None, [])
    one, two = jobs(1, 2)
    assert write_if_changed(path, build([one], DATASETS, State()))
    before = path.stat().st_mtime_ns, path.stat().st_ino
    assert not write_if_changed(path, build([one], DATASETS, State()))
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
    assert write_if_changed(path, build([one, two], DATASETS, State()))
    assert [name.name for name in tmp_path.iterdir()] == ["ftspec.lock"]
    assert read(path) == (build([one, two], DATASETS, State()), [])


def test_differences_name_addresses_and_members():
    """`plan --locked` can say what is not as locked."""
    one, two, three = jobs(1, 2, 3)
    old = build([one, two], DATASETS, State())
    new = build([two, three], DATASETS, state_of(trained(two)))
    assert differences(old, new) == [
        "- triage/seed=1",
        "~ triage/seed=2: job, model, checkpoints, hyperparameters",
        "+ triage/seed=3",
    ]
    assert len(differences(None, new)) == 4


def test_branches_that_train_different_jobs_merge_without_conflict(tmp_path):
    """Blocks are far enough apart for git to merge changes of two of them."""
    five = jobs(1, 2, 3, 4, 5)
    for name, records in (("base", []), ("ours", [trained(five[1])]), ("theirs", [trained(five[3])])):
        (tmp_path / name).write_bytes(render(build(five, DATASETS, state_of(*records))))
    done = subprocess.run(["git", "merge-file", "-p", "ours", "base", "theirs"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0
    assert done.stdout == render(build(five, DATASETS, state_of(trained(five[1]), trained(five[3]))))
