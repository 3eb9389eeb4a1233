"""What engines measured during training: result files and events, asked once and kept below `.ftspec/results/`.

They are never part of state: state holds the last figures, this the curves. What is kept is complete
for a job that had ended; unfinished jobs are asked again each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ftspec.engines.result_csv import Metrics, number, read_result
from ftspec.regular import read_regular

if TYPE_CHECKING:
    from ftspec.engines.base import Engine, JobEvent
    from ftspec.pipeline.planning import Wanted
    from ftspec.record import Attempt, RecordedJob

FORMAT: Final = 1
_AT_ONCE: Final = 8


class Results:
    """The folder of kept measurements: one JSON file a job, named by its account and engine id."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, scope: str, job_id: str) -> Path:
        """Return where the measurements of a job are kept."""
        name = hashlib.sha256(f"{scope}\n{job_id}".encode()).hexdigest()[:32]
        return self._folder / f"{name}.json"

    def read(self, scope: str, job_id: str) -> Metrics | None:
        """Return what is kept, or `None`; a file that cannot be read is as good as none."""
        try:
            value = json.loads(read_regular(self.path(scope, job_id)))
            if value["format"] != FORMAT or (value["scope"], value["job"]) != (scope, job_id):
                return None
            return {
                float(step): {name: figure for name, cell in cells.items() if (figure := number(cell)) is not None}
                for step, cells in value["steps"]
            }
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None

    def keep(self, scope: str, job_id: str, metrics: Metrics) -> None:
        """Write a job's measurements; readers see the old file or the new one."""
        value = {"format": FORMAT, "scope": scope, "job": job_id, "steps": [[step, cells] for step, cells in metrics.items()]}
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._folder, suffix=".tmp")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(value, file, separators=(",", ":"), allow_nan=False)
            Path(temporary).replace(self.path(scope, job_id))
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise


def measured(wanted: Wanted, records: Iterable[RecordedJob], *, offline: bool) -> tuple[dict[str, Metrics], list[str]]:
    """Return the measurements of jobs by key, and sentences about those that could not be had."""
    results = Results(wanted.project.records("results"))
    found: dict[str, Metrics] = {}
    missing: list[RecordedJob] = []
    for record in records:
        job_id = record.last.engine_job_id
        if job_id is None:
            continue
        kept = results.read(record.scope, job_id)
        if kept is None or not (record.status.terminal or offline):
            missing.append(record)
        if kept is not None:
            found[record.key] = kept
    if not missing:
        return found, []
    if offline:
        return found, [f"the curves of {len(missing)} of {len(missing) + len(found)} jobs are not on this machine, and no engine was asked"]
    fetched, notes = asyncio.run(_fetch(wanted, missing, results))
    return found | fetched, notes


async def _fetch(wanted: Wanted, records: Sequence[RecordedJob], results: Results) -> tuple[dict[str, Metrics], list[str]]:
    from ftspec.diagnostics import FtspecError
    from ftspec.engines.base import EngineError
    from ftspec.pipeline.session import Session

    found: dict[str, Metrics] = {}
    trouble: dict[str, list[str]] = {}
    slots = asyncio.Semaphore(_AT_ONCE)
    engines = {one.key: one.job.engine for one in wanted.jobs}  # an entry may have another name now than when the job was bought

    async with Session(wanted.project, wanted.spec) as session:
        session.remember(records)

        async def one(record: RecordedJob) -> None:
            try:
                async with slots:
                    found[record.key], complete = await _ask(session.engine(engines.get(record.key, record.engine)), record.last)
            except (FtspecError, EngineError) as error:
                trouble.setdefault(error.message, []).append(record.address)
                return
            if record.status.terminal and complete:
                results.keep(record.scope, record.last.engine_job_id or "", found[record.key])

        await asyncio.gather(*(one(record) for record in records))
    return found, [f"the curves of {_some(addresses)} could not be had: {message}" for message, addresses in trouble.items()]


def _some(addresses: Sequence[str]) -> str:
    return f"`{addresses[0]}`" if len(addresses) == 1 else f"{len(addresses)} jobs"


async def _ask(engine: Engine, attempt: Attempt) -> tuple[Metrics, bool]:
    """Return what result files and metrics events say, and whether all of it came; raises only where nothing did."""
    from ftspec.engines.base import EngineError

    found: Metrics = {}
    errors: list[EngineError] = []
    complete = True
    for file_id in attempt.result_files:
        try:
            for step, cells in read_result(await engine.content(file_id)).items():
                found.setdefault(step, {}).update(cells)
        except EngineError as error:
            errors.append(error)
    try:
        listing = await engine.events(attempt.engine_job_id or "")
        complete = listing.complete
        for event in listing.items:
            if event.type == "metrics":
                _add(found, event)
    except EngineError as error:
        errors.append(error)
    if errors and not found:
        raise errors[0]
    return dict(sorted(found.items())), complete and not errors


def _add(found: Metrics, event: JobEvent) -> None:
    data: Mapping[str, Any] = event.data
    step = number(data.get("step"))
    if step is None:
        return
    for name, value in data.items():
        if name not in ("step", "total_steps") and (figure := number(value)) is not None:
            found.setdefault(step, {}).setdefault(name, figure)
