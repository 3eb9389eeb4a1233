"""How fast state is, against doing the same with the standard library.

    python benchmarks/state.py [--jobs N]

Figures of one run on one machine: the ratios are firm, the seconds are not. Loading is measured
in processes of their own, because memory is part of it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from ftspec.state.base import Fact, JobFact
from ftspec.state.jsonl import JsonlState
from ftspec.state.lockfile import Lock, LockedCheckpoint, LockedDataset, LockedJob, parse, render


def facts(number: int) -> list[Fact]:
    """Return what `apply` records of a job with everything a hosted engine says."""
    key = hashlib.sha256(str(number).encode()).hexdigest()
    files = {"training_file": f"file-{key[:22]}", "validation_file": f"file-{key[22:44]}"}
    given = {"n_epochs": 1 + number % 7, "learning_rate_multiplier": 0.1}
    about = {
        "address": f"triage/base_model=sandbox-mini,epochs={1 + number % 7},seed={number}",
        "engine": "sandbox",
        "scope": "sandbox",
        "suffix": f"triage-e{number % 7}",
        "tags": {"owner": "search"},
        "preimage": {"recipe": 1, "scope": "sandbox", "base_model": "sandbox-mini", "method": "supervised", "train": key[::-1]}
        | {"validation": key, "hyperparameters": given, "seed": number},
    }
    method = {"type": "supervised", "supervised": {"hyperparameters": given}}
    intent = {
        "status": "intent",
        "requested": {"model": "sandbox-mini", "seed": number, "method": method, "metadata": {"ftspec_key": key}} | files,
        "request_digest": key,
        "intent_at": "2026-11-20T10:00:00.000Z",
        "estimated_tokens": 12_000,
        "estimated_cost": [0.0, 0.1],
        "currency": "USD",
        "by": "me@host",
        "git_commit": key[:40],
        "ftspec_version": "0.1.0",
    } | files
    bought = {
        "status": "succeeded",
        "raw_status": "succeeded",
        "engine_job_id": f"ftjob-{key[:24]}",
        "created_at": "2026-11-20T10:00:00Z",
        "finished_at": "2026-11-20T10:10:00Z",
        "base_model": "sandbox-mini",
        "hyperparameters": given | {"batch_size": 8},
        "seed": number,
        "model": f"ft:sandbox-mini:org:{number}",
        "checkpoints": [{"model": f"ft:m:{number}:{s}", "step": s, "metrics": {"train_loss": 0.5, "valid_loss": 0.7}} for s in (10, 20)],
        "metrics": {"train_loss": 0.1, "valid_loss": 0.2},
        "trained_tokens": 12_345,
        "result_files": [f"file-{key[:20]}"],
    } | files
    return [
        JobFact(key=key, at="2026-11-20T10:00:00.000Z", attempt=1, values=intent, job=about),
        JobFact(key=key, at="2026-11-20T10:10:00.000Z", attempt=1, values=bought),
    ]


LOAD = """
import sys, time
from pathlib import Path
{imports}
def peak(): return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024
before, start = peak(), time.perf_counter()
{load}
print(time.perf_counter() - start, peak() - before)
"""
OURS = ("from ftspec.state.jsonl import JsonlState", "state, _ = JsonlState(Path(sys.argv[1])).read()")
LOADERS = {
    "JsonlState.read": OURS,
    "and every last attempt": (OURS[0], OURS[1] + "\nfor job in state.jobs.values(): job.last"),
    "json.loads": ("import json", "jobs = [json.loads(line) for line in open(sys.argv[1] + '/jobs.jsonl', encoding='utf-8')]"),
    "msgspec, all members": (
        "import msgspec; from ftspec.record import RecordedJob",
        "decode = msgspec.json.Decoder(RecordedJob).decode\njobs = [decode(line) for line in open(sys.argv[1] + '/jobs.jsonl', 'rb')]",
    ),
}


def loading(folder: Path) -> dict[str, tuple[float, float]]:
    """Return seconds and MB of each way to load the records."""
    found = {}
    for name, (imports, load) in LOADERS.items():
        program = LOAD.format(imports=imports, load=load)
        runs = [subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=True) for _ in range(5)]
        figures = [tuple(map(float, run.stdout.split())) for run in runs]
        found[name] = median(seconds for seconds, _ in figures), median(peak for _, peak in figures)
    return found


def each(work: Callable[[int], object], count: int) -> float:
    """Return the median seconds of one call."""
    seconds = []
    for number in range(count):
        start = time.perf_counter()
        work(number)
        seconds.append(time.perf_counter() - start)
    return median(seconds)


def once(work: Callable[[], object]) -> float:
    """Return the seconds of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=10_000)
    jobs = parser.parse_args().jobs
    with tempfile.TemporaryDirectory() as folder:
        state = JsonlState(Path(folder) / "state")
        everything = [fact for number in range(jobs) for fact in facts(number)]
        with state.lock("benchmark") as writer:
            for start in range(0, len(everything), 1000):
                writer.append(*everything[start : start + 1000])
            folding = once(state.read)
            compacting = once(writer.compact)
        size = (state.folder / "jobs.jsonl").stat().st_size
        print(f"{jobs:,} recorded jobs, {size / 1e6:.1f} MB, {size / jobs:.0f} bytes a line")
        figures = loading(state.folder)
        reference = figures["json.loads"][0]
        for name, (seconds, megabytes) in figures.items():
            print(f"  load: {name:24} {seconds * 1000:7.1f} ms  {seconds / reference:5.2f}x json.loads  +{megabytes:.0f} MB")
        print(f"  load from segments only      {folding * 1000:7.1f} ms  ({folding / len(everything) * 1e6:.0f} us a fact)")
        with state.lock("benchmark") as writer:
            appending = each(lambda number: writer.append(*facts(number)[1:]), 200)
            path = Path(folder) / "plain"
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

            def plain(number: int) -> None:
                os.write(fd, json.dumps(facts(number)[1].values).encode())
                os.fsync(fd)

            floor = each(plain, 200)
            os.close(fd)
            print(f"  append and sync of a fact    {appending * 1000:7.2f} ms  {appending / floor:5.2f}x write and fsync of the same JSON")
            print(f"  compaction of all            {compacting * 1000:7.0f} ms; of 200 changed {once(writer.compact) * 1000:.0f} ms")
        print(f"  taking the lock              {once(lambda: _lock(state)) * 1000:7.0f} ms  (reads all of state strictly)")
    lock = _lockfile(jobs)
    content = render(lock)
    decoding = each(lambda _: json.loads(content), 3)
    seconds = each(lambda _: parse(content), 3)
    print(f"  lockfile of {len(content) / 1e6:.1f} MB: parse {seconds * 1000:.0f} ms ({seconds / decoding:.2f}x json.loads), ", end="")
    print(f"render {once(lambda: render(lock)) * 1000:.0f} ms")


def _lock(state: JsonlState) -> None:
    with state.lock("benchmark"):
        pass


def _lockfile(jobs: int) -> Lock:
    data = LockedDataset(dataset="tickets.train", digest="a" * 64, rows=240)
    return Lock(
        datasets={"tickets.train": data},
        jobs={
            f"triage/seed={number}": LockedJob(
                key=f"{number:064x}",
                engine="sandbox",
                scope="sandbox",
                base_model="sandbox-mini",
                train=data,
                validation=data,
                job=f"ftjob-{number}",
                model=f"ft:{number}",
                checkpoints=(LockedCheckpoint(model="ft:a", step=10), LockedCheckpoint(model="ft:b", step=20)),
                hyperparameters={"n_epochs": 3, "batch_size": 8, "learning_rate_multiplier": 0.1},
                seed=number,
            )
            for number in range(jobs)
        },
    )


if __name__ == "__main__":
    main()
