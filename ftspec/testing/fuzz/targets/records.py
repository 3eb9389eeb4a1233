"""What ftspec itself wrote, as others may change it: state, lockfiles, saved plans, trust, caches; and what git wrote."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ftspec.diagnostics import FtspecError, has_errors
from ftspec.testing.fuzz.target import Check, Target, diagnosed, refusal, shown, simple
from ftspec.testing.fuzz.targets.specs import project

if TYPE_CHECKING:
    from ftspec.pipeline.planning import Wanted
    from ftspec.pipeline.project import Project
    from ftspec.record import State

TRAIN, VALIDATION = (
    "66fe776cdeb13f6c508acd2d50be709d7e21575461e1dcd56e29099ff2be82cf",
    "c7dca3b19be7fc3b272aa3bc227de50bf462264cffc3a52afde8a41e5fcf0237",
)
KEYS: Final = (
    "d5e2234b5170d84e0bc857f782211716fe25c390fcdbc366d4faec5bb1102833",
    "2c02b8f31f0bbcbe446e568a62649c2c292001d5557446cb1b52b76a59c636d0",
)
"""The keys of the small project's jobs; keys never change."""

NOW: Final = "2026-11-20T14:11:21.150Z"

ATTEMPT: Final[Mapping[str, Any]] = {
    "number": 1, "status": "succeeded", "base_model": "sandbox-nano", "by": "me@here", "cost": 0.5, "currency": "USD",
    "checkpoints": [{"model": "ft:x:ckpt-step-5", "step": 5, "metrics": {"full_valid_loss": 1.1}}, {"model": "ft:x", "step": 10, "metrics": {}}],
    "created_at": NOW, "finished_at": NOW, "intent_at": NOW, "engine_job_id": "ftjob-1", "engine_time": 1795183881, "estimated_cost": [0.0, 1.0],
    "estimated_tokens": 200, "ftspec_version": "0.1.0", "hyperparameters": {"batch_size": 4, "learning_rate_multiplier": 1.0, "n_epochs": 1},
    "metrics": {"train_loss": 0.75}, "model": "ft:x", "organization": "org-ftspec", "origin": "launched", "raw_status": "succeeded",
    "request_digest": "98c3", "requested": {"method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1}}}, "model": "m"},
    "result_files": ["file-3"], "seed": 11, "trained_tokens": 200, "training_file": "file-1", "validation_file": "file-2",
    "error": {"code": "x", "message": "no", "param": "training_file"}, "git_commit": "a" * 40,
}  # fmt: skip
STAMPS: Final = {
    "0": [[NOW, "", "address", "engine", "preimage", "scope", "tags"]],
    "1": [[NOW, "intent", "by", "requested"]],
    "1@": [[NOW, "succeeded", "error"]],
}
JOB: Final[Mapping[str, Any]] = {
    "address": "small/epochs=1", "attempts": [ATTEMPT], "engine": "sandbox", "key": KEYS[0], "project": "small", "scope": "sandbox",
    "preimage": {
        "base_model": "sandbox-nano", "hyperparameters": {"n_epochs": 1}, "method": "supervised", "recipe": 1, "scope": "sandbox", "train": TRAIN,
        "validation": VALIDATION,
    },
    "stamps": STAMPS, "tags": {"a": "b"}, "suffix": "s", "protected": False, "forgotten": False, "updated_at": NOW,
}  # fmt: skip
OTHER: Final = {
    **JOB, "key": KEYS[1], "address": "small/epochs=2",
    "attempts": [{"number": 1, "status": "failed", "raw_status": "failed", "engine_job_id": "ftjob-2"}, {"number": 2, "status": "intent", "intent_at": NOW, "unsettled_since": NOW}],
}  # fmt: skip
FILE: Final[Mapping[str, Any]] = {
    "also": [{"at": NOW, "attempt": 1, "values": {"status": "intent"}}], "bytes": 2313, "created_at": NOW, "dataset_key": TRAIN, "digest": TRAIN,
    "file_id": "file-1", "name": "rows.train.jsonl", "purpose": "fine-tune", "rows": 20, "scope": "sandbox", "status": "uploaded", "updated_at": NOW,
    "stamps": {"1=": [[NOW, "intent", "bytes", "name"]]},
}  # fmt: skip
EVAL: Final[Mapping[str, Any]] = {
    "key": "e" * 64, "name": "holdout", "model": "ft:x", "status": "succeeded", "samples": 20, "scores": {"exact": 0.5}, "cost": 0.1,
    "finished_at": NOW, "address": "small/epochs=1", "step": 5,
}  # fmt: skip


def _lines(*records: Mapping[str, Any]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


FACTS: Final = _lines(
    {"seq": 0, "fact": "segment", "at": NOW, "command": "apply", "by": "me@here"},
    {"seq": 1, "fact": "job", "key": KEYS[0], "at": NOW, "attempt": 1, "job": {"address": "small/epochs=1", "engine": "sandbox", "scope": "sandbox", "preimage": JOB["preimage"]}, "values": {"status": "intent", "intent_at": NOW, "requested": {}}},
    {"seq": 2, "fact": "job", "key": KEYS[0], "at": NOW, "attempt": 1, "values": {name: one for name, one in ATTEMPT.items() if name != "number"}},
    {"seq": 3, "fact": "file", "scope": "sandbox", "digest": TRAIN, "at": NOW, "values": {"dataset_key": TRAIN, "file_id": "file-1", "status": "uploaded"}},
    {"seq": 4, "fact": "eval", "key": "e" * 64, "at": NOW, "values": {"name": "holdout", "model": "ft:x", "status": "succeeded", "scores": {"exact": 0.5}}},
)  # fmt: skip
"""A segment without its checksums."""


def signed(content: bytes) -> bytes:
    """Return lines of a segment with the checksums that they must have."""
    made = []
    for line in content.split(b"\n"):
        start = line.rstrip().removesuffix(b"}")
        made.append(start + b',"crc":"%08x"}' % zlib.crc32(start) if start != line.rstrip() else line)
    return b"\n".join(made)


@contextmanager
def _ready(folder: Path) -> Iterator[tuple[Project, Wanted]]:
    from ftspec.pipeline.planning import load, want
    from ftspec.pipeline.project import open_project

    with project(folder) as spec:
        opened = open_project(directory=folder, files=[spec])
        yield opened, want(load(opened))


def _state_of(name: str, sign: Callable[[bytes], bytes]) -> Callable[[Path], AbstractContextManager[Check]]:
    return partial(_state_target, name=name, sign=sign)


@contextmanager
def _state_target(folder: Path, *, name: str, sign: Callable[[bytes], bytes]) -> Iterator[Check]:
    """State is refused by line, or everything that reads it works; what `repair` mends can be read and compacted."""
    from ftspec.pipeline.planning import state_of
    from ftspec.state.repair import ACCEPT_EDIT, examine, mend

    state = folder / "state"
    with _ready(folder) as (opened, wanted):
        backend = state_of(opened)

        def check(content: bytes) -> None:
            if state.exists():
                shutil.rmtree(state)
            path = state / name
            path.parent.mkdir(parents=True)
            path.write_bytes(sign(content))
            with refusal(OSError):
                found, problems = backend.read()
                diagnosed(problems)
                if not has_errors(problems):
                    _used(found, wanted)
            with refusal(OSError):
                fixes = examine(backend)
                for fix in (one for some in fixes.values() for one in some):
                    shown(fix.wrong, fix.action, fix.at.path)
                mend(backend, fixes, accepted=[ACCEPT_EDIT])
                assert examine(backend) == {}
                _compacted(backend)

        yield check


def _compacted(backend: Any) -> None:
    """What was mended can be read by a writer, and compaction changes nothing that it says."""
    try:
        with backend.lock("compact") as writer:
            before = writer.read()
            writer.compact()
    except FtspecError as newer:
        assert "newer ftspec" in newer.message, newer.message
        return
    after, problems = backend.read()
    assert not has_errors(problems), problems
    assert (after.jobs, after.files, after.evals) == (before.jobs, before.files, before.evals)


def _used(state: State, wanted: Wanted) -> None:
    """Plan, show, list, report and lock with a state."""
    from ftspec.pipeline.planning import make_plan
    from ftspec.pipeline.reporting import collect
    from ftspec.planner.selectors import select_records
    from ftspec.render.json import dumps, to_json
    from ftspec.render.report.html import to_html
    from ftspec.render.text import to_text
    from ftspec.state import lockfile
    from ftspec.state.trained import models

    with refusal():
        planned = make_plan(wanted.project, wanted=wanted, state=state, now="2026-11-20T15:00:00.000Z")
        shown(to_text(planned.plan), to_text(planned.plan, full=True))
        json.loads(to_json(planned.plan))
    with refusal():
        dumps([record.plain() for record in state.jobs.values()])
        select_records(["status:failed", "*"], state)
        lock = lockfile.build(wanted.jobs, wanted.datasets, state)
        assert lockfile.parse(lockfile.render(lock))[0] is not None
        for row in models(state, lock, history=True):
            dumps(row.flat())
    with refusal():
        shown(to_html(collect(wanted, state, offline=True)))


def _locked(content: bytes) -> None:
    """A lockfile is refused, or means the same when it is written and read again."""
    from ftspec.state.lockfile import differences, parse, render

    lock, problems = parse(content)
    diagnosed(problems)
    if lock is None:
        assert has_errors(problems)
        return
    again, problems = parse(render(lock))
    assert again is not None, problems
    assert differences(lock, again) == []
    assert render(again) == render(lock)
    shown(*differences(None, lock), *differences(lock, _shorter(lock)))


def _shorter(lock: Any) -> Any:
    """Return the lock without its first job."""
    import msgspec

    return msgspec.structs.replace(lock, jobs=dict(list(lock.jobs.items())[1:]))


@contextmanager
def _saved(folder: Path) -> Iterator[Check]:
    """A plan file is refused, or says which of its promises do not hold, or names a part of the plan."""
    from ftspec.pipeline.applying import request_of
    from ftspec.pipeline.planning import make_plan
    from ftspec.planner import saved
    from ftspec.render.text import to_text

    with _ready(folder) as (opened, wanted):
        planned = make_plan(opened, wanted=wanted, now="2026-11-20T10:00:00.000Z")

        def check(content: bytes) -> None:
            with refusal():
                kept = saved.load(content)
                broken = saved.check(kept, planned.plan, planned.state, request_of=request_of(planned))
                shown(*broken)
                if not broken:
                    shown(to_text(saved.restricted(kept, planned.plan, planned.request)))

        yield check


@contextmanager
def _trusted(folder: Path) -> Iterator[Check]:
    """The list of trusted origins is refused, or read, and means the same when it is written again."""
    from ftspec.engines.trust import TrustStore

    path = folder / "trust.json"

    def check(content: bytes) -> None:
        path.write_bytes(content)
        path.chmod(0o600)
        with refusal():
            store = TrustStore(path)
            before = (dict(store), store.webhooks, store.commands)
            store.add("https://more.example", day="2026-11-20")
            store.remove("https://more.example")
            again = TrustStore(path)
            assert (dict(again), again.webhooks, again.commands) == before or "https://more.example" in before[0]

    yield check


@contextmanager
def _git(folder: Path) -> Iterator[Check]:
    """Whatever is in `.git`, the careful answer is given; the file changed is named in the first line."""
    from ftspec.state.worktree import head_commit, should_compact

    def check(content: bytes) -> None:
        name, _, rest = content.partition(b"\n")
        git = folder / "repo" / ".git"
        shutil.rmtree(git.parent, ignore_errors=True)
        names = ("HEAD", "packed-refs", "commondir", "refs/remotes/origin/HEAD", "refs/heads/main", "")
        chosen = names[zlib.crc32(name) % len(names)]
        if chosen:
            for part in ("refs/heads", "refs/remotes/origin"):
                (git / part).mkdir(parents=True)
            (git / "HEAD").write_bytes(b"ref: refs/heads/main\n")
            (git / chosen).write_bytes(rest)
        else:
            git.parent.mkdir()
            git.write_bytes(rest)
        assert should_compact(git.parent) in {True, False}
        commit = head_commit(git.parent)
        assert commit is None or len(commit) in {40, 64}

    yield check


@contextmanager
def _cached(folder: Path) -> Iterator[Check]:
    """A cache that somebody else wrote is a slower plan, or the same plan, and never a crash."""
    from ftspec.pipeline.planning import make_plan
    from ftspec.pipeline.project import open_project

    with project(folder) as spec:
        opened = open_project(directory=folder, files=[spec])
        make_plan(opened)

        def check(content: bytes) -> None:
            for path in (opened.private / "cache").iterdir():
                path.write_bytes(content)
            with refusal():
                make_plan(opened)

        yield check


@contextmanager
def _sampled(folder: Path) -> Iterator[Check]:
    """Samples of an eval that somebody else wrote are refused by line, or summed up and gone on with."""
    import math

    from ftspec.evals.result import summarise
    from ftspec.evals.samples import RunHeader, SampleStore

    store = SampleStore(folder)
    header = RunHeader(key="k", eval="e", model="m", identity={})

    def check(content: bytes) -> None:
        (folder / "k").mkdir(exist_ok=True)
        (folder / "k" / "run.json").write_bytes(content)
        store.header("k")
        (folder / "k" / "samples.jsonl").write_bytes(content)
        with refusal():
            summary = summarise(store.samples("k"), bounds={"exact": (0, 1), "label": None}, labelled=True)
            assert all(math.isfinite(one["mean"]) for one in summary.scores.values() if one.get("mean") is not None)
        with refusal(), store.open(header) as run:
            run.cached("r", "i")
            run.finish()

    yield check


@contextmanager
def _measured(folder: Path) -> Iterator[Check]:
    """Measurements that somebody else wrote are read, or as good as none."""
    from ftspec.pipeline.local_estimates import measured_jobs
    from ftspec.pipeline.measuring import Results
    from ftspec.server.trainers.local.resources import Work, estimate, memory_text, seconds_text

    results = Results(folder / "results")
    results.keep("s", "j", {1.0: {"train_loss": 0.5}})

    def check(content: bytes) -> None:
        results.path("s", "j").write_bytes(content)
        for step, cells in (results.read("s", "j") or {}).items():
            assert isinstance(step, float)
            assert all(isinstance(value, float) for value in cells.values())
        (folder / "measured.jsonl").write_bytes(content)
        work = Work(tokens=(100.0, 100.0), row_tokens=10.0)
        if (found := estimate(work, base="b", shape=None, measured=measured_jobs(folder / "measured.jsonl"))) is not None:
            shown(seconds_text(*found.seconds), memory_text(*found.memory))

    yield check


def _holder(content: bytes) -> None:
    """A lock file names somebody or nobody."""
    from ftspec.state.base import StateLocked
    from ftspec.state.process import age, holder_of

    holder = holder_of(content)
    locked = StateLocked(holder, age=age(holder.since, now=1.8e9) if holder is not None else None)
    shown(locked.message)


LOCK: Final = {
    "@generated": "by ftspec", "format": 1, "datasets": {"rows.train": {"digest": TRAIN, "rows": 20}},
    "jobs": {"small/epochs=1": {
        "key": KEYS[0], "engine": "sandbox", "scope": "sandbox", "base_model": "sandbox-nano", "train": {"dataset": "rows.train", "digest": TRAIN, "rows": 20},
        "job": "ftjob-1", "model": "ft:x", "checkpoints": [{"model": "ft:x", "step": 5}], "hyperparameters": {"n_epochs": 1, "learning_rate_multiplier": 1.5}, "seed": 7,
    }},
}  # fmt: skip
PLAN: Final = {
    "format_version": "1.0", "ftspec_version": "0.1.0", "project": "small", "spec_files": ["ftspec.yaml"], "now": NOW, "options": {"var": {}},
    "cost_high": 0.0, "currency": "USD",
    "jobs": [{
        "action": "launch", "address": "small/epochs=1", "key": KEYS[0], "reason": "not_recorded", "before": None, "attempt": 1, "engine_job_id": None,
        "datasets": {"rows.train": TRAIN, "rows.validation": VALIDATION}, "cost_high": 0.0,
        "request": {
            "model": "sandbox-nano", "training_file": "rows.train", "validation_file": "rows.validation",
            "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1}}},
            "metadata": {"ftspec_key": KEYS[0], "ftspec_project": "small", "ftspec_attempt": "1"},
        },
    }],
    "uploads": [], "evals": [],
}  # fmt: skip
TRUST: Final = {
    "format_version": 1, "origins": {"https://gateway.example": {"since": "2026-11-20"}}, "webhooks": {"https://hooks.example": {"since": "2026-11-20"}},
    "commands": {"a" * 64: {"since": "2026-11-20", "words": ["echo", "x"]}},
}  # fmt: skip
SAMPLE: Final = {
    "item": "i", "index": 0, "repeat": 0, "request": "r", "text": "yes", "finish_reason": "stop", "input_tokens": 1, "output_tokens": 2, "cost": 0.1,
    "grades": {"exact": {"score": 1.0, "passed": True}, "label": {"score": 0.5, "label": "a", "error": None}}, "group": "g", "reference": "yes",
}  # fmt: skip
COMMIT: Final = b"a" * 40

TARGETS: Final = (
    Target(name="state jobs", form="jsonl", prepare=_state_of("jobs.jsonl", bytes), seeds=(_lines(JOB, OTHER), _lines(JOB))),
    Target(name="state files", form="jsonl", prepare=_state_of("files.jsonl", bytes), seeds=(_lines(FILE),)),
    Target(name="state evals", form="jsonl", prepare=_state_of("evals.jsonl", bytes), seeds=(_lines(EVAL),)),
    Target(name="state segment", form="jsonl", prepare=_state_of("log/20261120T141121150Z-00000000.jsonl", bytes), seeds=(signed(FACTS),)),
    Target(name="state facts", form="jsonl", prepare=_state_of("log/20261120T141121150Z-00000000.jsonl", signed), seeds=(FACTS,)),
    Target(name="lockfile", prepare=simple(_locked), seeds=(json.dumps(LOCK, indent=1).encode(),)),
    Target(name="saved plan", prepare=_saved, seeds=(json.dumps(PLAN).encode(),)),
    Target(name="trust", prepare=_trusted, seeds=(json.dumps(TRUST).encode(),)),
    Target(
        name="git", form="text", prepare=_git,
        seeds=(
            b"a\nref: refs/heads/main\n", b"b\n" + COMMIT + b" refs/heads/main\n^" + COMMIT + b"\n", b"c\n../common\n", b"d\nref: refs/remotes/origin/trunk\n",
            b"e\n" + COMMIT + b"\n", b"f\ngitdir: ../x\n", b"g\n" + COMMIT, b"h\nref: ../../x\n",
        ),
    ),
    Target(name="cache", prepare=_cached, seeds=(b'{"read_at":1,"stamps":[["rows.jsonl",{"size":1,"mtime_ns":1,"ctime_ns":1,"inode":1}]],"value":[{},[]]}', b"a" * 64)),
    Target(name="eval samples", form="jsonl", prepare=_sampled, seeds=(_lines(SAMPLE, {**SAMPLE, "index": 1, "item": "j"}, {**SAMPLE, "repeat": 1}), _lines({"key": "k", "eval": "e", "model": "m", "identity": {"a": 1}, "graders": {"exact": "d"}}))),
    Target(name="measurements", form="jsonl", prepare=_measured, seeds=(_lines({"format": 1, "scope": "s", "job": "j", "steps": [[1, {"train_loss": 0.5}]]}), _lines({"job": "j", "base": "b", "method": "supervised", "full": False, "device": "cpu", "seconds": 1.5, "tokens": 10, "memory": 1000000}))),
    Target(name="lock holder", prepare=simple(_holder), seeds=(b'{"user":"me","host":"here","pid":1,"command":"apply","since":"2026-11-20T10:00:00.000Z"}',)),
)  # fmt: skip
