"""What a plan with nothing to do costs, as a whole process, against a bare start of Python.

    python benchmarks/plan.py [--jobs 10 1000 10000] [--runs 5] [--check] [--written-out]

Writes a project with one grid (`--written-out`: with as many experiments, in files of 2,500) whose
jobs are all recorded, then runs `ftspec plan` on it.
Ratios are firm where seconds are not: both sides are measured in one run, by turns.
`--check` exits 1 when 10,000 jobs take more than 0.5 s or 100 MB.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ftspec.actions import LaunchJob
from ftspec.pipeline.planning import make_plan, state_of
from ftspec.pipeline.project import open_project
from ftspec.state.base import FileFact, JobFact

TARGET_SECONDS, TARGET_BYTES, TARGET_JOBS = 0.5, 100e6, 10_000
SPEC = """\
ftspec: 1
project: benchmark
datasets:
  tickets: {{path: tickets.jsonl, split: {{train: 0.8, validation: 0.2}}}}
defaults: {{engine: sandbox, validation: tickets.validation}}
experiments:
  grid:
    train: tickets.train
    tags: {{owner: search}}
    suffix: "g-e{{epochs}}-s{{seed}}"
    learning_rate_multiplier: 1e-5
    matrix:
      base_model: [sandbox-mini, sandbox-small]
      epochs: [1, 2, 3, 4, 5]
      seed: {seeds}
"""
JOB = """\
  job{n:05d}:
    train: tickets.train
    base_model: sandbox-mini
    epochs: 3
    seed: {n}
    suffix: "run-{n}"
    tags: {{owner: search, index: "{n}"}}
"""
A_FILE = 2_500
ROW = '{{"messages": [{{"role": "user", "content": "ticket {n}"}}, {{"role": "assistant", "content": "answer {n}"}}]}}\n'


def write_spec(folder: Path, jobs: int, *, written_out: bool) -> None:
    """Write a grid, or as many experiments of one job."""
    grid = SPEC.format(seeds=list(range(max(1, jobs // 10))))
    if not written_out:
        (folder / "ftspec.yaml").write_text(grid)
        return
    parts = {f"part{start}.yaml": range(start, min(start + A_FILE, jobs)) for start in range(0, jobs, A_FILE)}
    for name, numbers in parts.items():
        (folder / name).write_text("experiments:\n" + "".join(JOB.format(n=n) for n in numbers))
    (folder / "ftspec.yaml").write_text(f"{grid.partition('experiments:')[0]}include: [{', '.join(parts)}]\n")


def write_project(folder: Path, jobs: int, *, written_out: bool = False) -> int:
    """Write a spec, its data and the records of all its jobs; return how many there are."""
    write_spec(folder, jobs, written_out=written_out)
    (folder / "tickets.jsonl").write_text("".join(ROW.format(n=n) for n in range(200)))
    planned = make_plan(open_project(directory=folder))
    launches = [action for action in planned.plan.actions if isinstance(action, LaunchJob)]
    at = "2026-11-20T12:00:00.000Z"
    facts: list[JobFact | FileFact] = [record(launch, at) for launch in launches]
    keys = {launch.train_key for launch in launches} | {launch.validation_key or "" for launch in launches}
    facts += [
        FileFact(scope="sandbox", digest=key, at=at, values={"dataset_key": key, "file_id": f"file-{key[:8]}", "status": "uploaded"})
        for key in sorted(keys)
    ]
    with state_of(planned.project, planned.spec).lock("benchmark") as writer:
        writer.append(*facts)
        writer.compact()
    return len(launches)


def record(launch: LaunchJob, at: str) -> JobFact:
    """Return what an apply records of a job that succeeded, in its usual size."""
    job = launch.job
    return JobFact(
        key=launch.key,
        at=at,
        attempt=1,
        job={
            "address": job.address,
            "engine": job.engine,
            "scope": job.scope,
            "suffix": job.suffix,
            "tags": dict(job.tags),
            "preimage": dict(launch.preimage),
        },
        values={
            "status": "succeeded",
            "raw_status": "succeeded",
            "engine_job_id": f"ftjob-{launch.key[:24]}",
            "intent_at": at,
            "created_at": at,
            "finished_at": at,
            "requested": {"model": job.base_model, "training_file": "file-1", "seed": job.seed, "metadata": {"ftspec_key": launch.key}},
            "hyperparameters": {"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 1.0},
            "model": f"ft:{job.base_model}:acme:{job.suffix}:{launch.key[:8]}",
            "metrics": {"train_loss": 0.123, "valid_loss": 0.234},
            "trained_tokens": 12345,
            "result_files": ["file-result"],
        },
    )


def run(command: list[str], folder: Path) -> tuple[float, int]:
    """Return the seconds and the peak memory in bytes of one process, which keeps its byte code in the folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["PYTHONPYCACHEPREFIX"] = str(folder / ".pycache")
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    output = process.stdout.read() if process.stdout else b""
    said = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"{command} exited with {process.returncode}:\n{output.decode()}{said.decode()}")
    return seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(jobs: int, runs: int, *, written_out: bool) -> tuple[float, int]:
    """Print one line of the table; return the median seconds and the peak memory of a plan."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # In a process of its own: what this one has once held would count as the peak of its children.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            count = pool.apply(write_project, (folder, jobs), {"written_out": written_out})
        plan = [sys.executable, "-m", "ftspec", "plan"]
        run(plan, folder)  # the digest cache and the byte code are warm, as they are in real life
        bare, plans = [], []
        for _ in range(runs):
            bare.append(run([sys.executable, "-c", "pass"], folder))
            plans.append(run(plan, folder))
    start = statistics.median(seconds for seconds, _ in bare)
    seconds = statistics.median(seconds for seconds, _ in plans)
    peak = max(memory for _, memory in plans)
    print(f"{count:>8,} {seconds:>8.3f} s {seconds / start:>7.1f} x {peak / 1e6:>8.0f} MB   (bare start {start * 1000:.0f} ms)")
    return seconds, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, nargs="+", default=[10, 1000, TARGET_JOBS])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--written-out", action="store_true")
    options = parser.parse_args()
    print("    jobs       plan  bare starts   peak")
    missed = False
    for jobs in options.jobs:
        seconds, peak = measure(jobs, options.runs, written_out=options.written_out)
        missed = missed or (jobs <= TARGET_JOBS and (seconds > TARGET_SECONDS or peak > TARGET_BYTES))
    if options.check and missed:
        raise SystemExit(f"more than {TARGET_SECONDS} s or {TARGET_BYTES / 1e6:.0f} MB for {TARGET_JOBS:,} jobs or fewer")


if __name__ == "__main__":
    main()
