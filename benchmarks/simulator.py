"""How fast the simulated world plays, and how the walk grows with the number of jobs.

    python benchmarks/simulator.py [--seeds N] [--jobs N]

Prints seeds a second (one core, all cores) and, for a walk of whole applies on an engine that
answers at once, with state on a real disk: jobs a second, how much of that the disk took to make
facts durable, and the peak of memory; then the same with 32 requests in flight that take 50 ms
each. The figure to hold is the ratio: a job costs the same in a grid of 10,000 as in one of 1,000. The disk's
part is the disk's: a fact is synced before the next step, whatever that takes.
"""

# ruff: noqa: D102, ARG002, S101, S311 a stub with the protocol's names, and chance that is no secret

from __future__ import annotations

import argparse
import asyncio
import os
import random
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ftspec.engines.base import Listing, ObservedFile, ObservedJob
from ftspec.engines.clock import SystemClock
from ftspec.engines.request import job_body
from ftspec.executor.apply import execute
from ftspec.executor.result import ApplyOptions
from ftspec.planner import plan
from ftspec.planner.prices import PriceTable
from ftspec.planner.request import PlanRequest
from ftspec.record import JobStatus
from ftspec.state.disk import Disk
from ftspec.state.jsonl import JsonlState
from ftspec.testing.account import Account, Rules
from ftspec.testing.storm import Wish, wanted
from ftspec.testing.virtual import World
from ftspec.testing.world import campaign, many


class TimedDisk(Disk):
    """A real disk that counts the seconds it takes to sync."""

    def __init__(self) -> None:
        self.syncs, self.seconds = 0, 0.0

    def sync(self, fd: int) -> None:
        began = time.perf_counter()
        super().sync(fd)
        self.syncs, self.seconds = self.syncs + 1, self.seconds + time.perf_counter() - began


class InstantEngine:
    """Answers from memory, after `latency` seconds where jobs are bought; jobs have succeeded when they are first asked about."""

    scope = "sim"

    def __init__(self, latency: float) -> None:
        self.latency = latency
        self.profile = Account(world=World(0.0), dice=random.Random(0), rules=Rules(unique_keys=True, in_process=True)).profile()
        self.jobs: dict[str, ObservedJob] = {}

    async def server_time(self) -> int | None:
        return None

    async def find_files(self, **_: Any) -> Listing[ObservedFile]:
        return Listing(items=())

    async def upload(self, *, name: str, content: Any, **_: Any) -> ObservedFile:
        return ObservedFile(id="file-1", name=name, bytes=len(content.read()), status="processed", purpose="fine-tune")

    async def create_job(self, request: Any) -> ObservedJob:
        await asyncio.sleep(self.latency)
        job = {"id": f"job-{len(self.jobs)}", "base_model": "base", "created_at": int(time.time())}
        self.jobs[job["id"]] = ObservedJob(
            status=JobStatus.SUCCEEDED, raw_status="succeeded", model="m", metadata=request.body["metadata"], trained_tokens=9, **job
        )
        return ObservedJob(status=JobStatus.QUEUED, raw_status="queued", **job)

    async def find_jobs(self, **_: Any) -> Listing[ObservedJob]:
        return Listing(items=list(self.jobs.values()))

    async def events(self, job_id: str) -> Listing[Any]:
        return Listing(items=())

    async def checkpoints(self, job_id: str) -> list[Any]:
        return []


async def walk(jobs: int, folder: Path, *, latency: float = 0.0, concurrency: int = 8) -> float:
    """Apply a grid of that many jobs and print how fast it was; return jobs a second."""
    want = wanted(Wish(seeds=jobs))
    engine, disk = InstantEngine(latency), TimedDisk()

    async def materialise(ref: str, key: str) -> Any:
        return want.blobs[ref], key, 3, want.datasets[ref].bytes

    with JsonlState(folder, disk=disk).lock("benchmark") as writer:
        request = PlanRequest(
            spec=want.spec,
            jobs=want.jobs,
            datasets=want.datasets,
            state=writer.read(),
            profiles={"simulated": engine.profile},
            prices=PriceTable(date="2026-01-01"),
            now="2026-11-20T12:00:00Z",
            version="0",
        )
        planned = plan(request)
        disk.syncs, disk.seconds = 0, 0.0
        began = time.perf_counter()
        result = await execute(
            planned,
            spec=want.spec,
            writer=writer,
            engines={"sim": engine},
            request_body=job_body,
            materialise=materialise,
            clock=SystemClock(),
            random=random.Random(0),
            options=ApplyOptions(concurrency=concurrency),
        )
        took = time.perf_counter() - began
    assert len(result.succeeded) == jobs, result
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"apply of {jobs:,} jobs, {concurrency} in flight, {latency * 1e3:.0f} ms each: {took:.2f} s, {jobs / took:.0f} jobs/s; "
        f"{disk.syncs / jobs:.1f} syncs of {disk.seconds / disk.syncs * 1e3:.2f} ms a job, without them {jobs / (took - disk.seconds):.0f} jobs/s; "
        f"peak {peak:.0f} MiB"
    )
    return jobs / took


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=10_000)
    given = parser.parse_args()
    began = time.perf_counter()
    broken = campaign(range(given.seeds))
    one = given.seeds / (time.perf_counter() - began)
    began = time.perf_counter()
    broken += many(range(given.seeds, 3 * given.seeds))
    cores = 2 * given.seeds / (time.perf_counter() - began)
    print(f"{3 * given.seeds} seeds, {len(broken)} broke a promise")
    print(f"seeds a second: {one:.0f} on one core, {cores:.0f} on {os.cpu_count()}")
    rates = []
    for jobs in (given.jobs // 10, given.jobs):
        with tempfile.TemporaryDirectory() as folder:
            rates.append(asyncio.run(walk(jobs, Path(folder) / "state")))
    print(f"a job among {given.jobs:,} against one among {given.jobs // 10:,}: {rates[0] / rates[1]:.2f} times the time")
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(walk(given.jobs // 10, Path(folder) / "state", latency=0.05, concurrency=32))
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
