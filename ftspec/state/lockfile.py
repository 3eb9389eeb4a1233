"""The lockfile: which model each line of the spec became.

It is derived, from specs and state, and nothing else depends on it being there; it is for people
who review a change and for code that asks for a model. JSON, so that every language reads it;
one block per address, one member per line, sorted, no times, so that it diffs and merges well:

    {
    "@generated": "by ftspec from specs and state; `ftspec lock` makes it again",
    "format": 1,
    "datasets": {
      "tickets.train": {"digest": "6f1c...", "rows": 240}
    },
    "jobs": {
      "triage/seed=1": {
        "key": "0a91...",
        "engine": "sandbox",
        ...

`build` makes the value, `render` its bytes (the same bytes for the same value), `parse` reads them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ftspec.diagnostics import Diagnostic, Place, error
from ftspec.fingerprint import canonical_json
from ftspec.printable import printable
from ftspec.record import Attempt, RecordedJob, State
from ftspec.regular import read_regular, write_beside

if TYPE_CHECKING:
    from ftspec.actions import DatasetFacts
    from ftspec.planner.identify import Identified

FORMAT: Final = 1
GENERATED: Final = "by ftspec from specs and state; `ftspec lock` makes it again"
_AGAIN: Final = "run `ftspec lock`: it makes the file again from specs and state"
_CONFLICT: Final = re.compile(rb"^(?:<{7} |>{7} |={7}\r?$)", re.MULTILINE)


class LockedDataset(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The rows that a dataset reference stood for: their digest (the dataset key) and number."""

    dataset: str | None = None
    """The reference, where a job names it."""
    digest: str
    rows: int


class LockedCheckpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A model saved during training."""

    model: str
    step: int


class LockedJob(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What an address became. `job`, `model` and what follows are absent until it is trained."""

    key: str
    engine: str
    scope: str
    base_model: str
    """The model that was asked for, or the address of the job whose model is the base."""
    train: LockedDataset
    validation: LockedDataset | None = None
    job: str | None = None
    model: str | None = None
    checkpoints: tuple[LockedCheckpoint, ...] = ()
    hyperparameters: dict[str, Any] = {}
    """As the engine resolved them."""
    seed: int | None = None


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """A whole lockfile."""

    datasets: dict[str, LockedDataset]
    jobs: dict[str, LockedJob]


class _File(msgspec.Struct):
    format: int
    datasets: dict[str, LockedDataset] = {}
    jobs: dict[str, LockedJob] = {}


class _Version(msgspec.Struct):
    format: int


def build(jobs: Sequence[Identified], datasets: Mapping[str, DatasetFacts], state: State) -> Lock:
    """Return what the lockfile must say of these jobs."""
    used = {ref for one in jobs for ref in (one.job.train, one.job.validation) if ref is not None}
    return Lock(
        datasets={ref: LockedDataset(digest=datasets[ref].key, rows=datasets[ref].rows) for ref in used & datasets.keys()},
        jobs={one.job.address: _job(one, datasets, state.jobs.get(one.key)) for one in jobs},
    )


def _job(one: Identified, datasets: Mapping[str, DatasetFacts], record: RecordedJob | None) -> LockedJob:
    job = one.job
    seen = _bought(record)
    return LockedJob(
        key=one.key,
        engine=job.engine,
        scope=job.scope,
        base_model=job.base_model or job.parent or "",
        train=_dataset(job.train, one.train_key, datasets),
        validation=_dataset(job.validation, one.validation_key, datasets) if job.validation and one.validation_key else None,
        job=seen.engine_job_id if seen else None,
        model=seen.model if seen else None,
        checkpoints=tuple(LockedCheckpoint(model=c.model, step=c.step) for c in seen.checkpoints) if seen else (),
        hyperparameters=seen.hyperparameters if seen else {},
        seed=(seen.seed if seen else None) if job.seed is None else job.seed,
    )


def _bought(record: RecordedJob | None) -> Attempt | None:
    """Return the newest attempt that became a job."""
    if record is None or record.forgotten:
        return None
    return next((attempt for attempt in reversed(record.attempts) if attempt.status.bought), None)


def _dataset(ref: str, key: str, datasets: Mapping[str, DatasetFacts]) -> LockedDataset:
    facts = datasets.get(ref)
    return LockedDataset(dataset=ref, digest=key, rows=facts.rows if facts else 0)


def render(lock: Lock) -> bytes:
    """Return the bytes of a lockfile."""
    lines = ["{", f'"@generated": {_json(GENERATED)},', f'"format": {FORMAT},', '"datasets": {']
    lines += _separated(f"  {_json(ref)}: {_json(dataset)}" for ref, dataset in sorted(lock.datasets.items()))
    lines += ["},", '"jobs": {']
    lines += _separated(_block(address, job) for address, job in sorted(lock.jobs.items()))
    lines += ["}", "}", ""]
    return "\n".join(lines).encode()


def _block(address: str, job: LockedJob) -> str:
    members = []
    for name in LockedJob.__struct_fields__:
        value = getattr(job, name)
        if name == "checkpoints" and value:
            members.append("\n".join([f"    {_json(name)}: [", *_separated(f"      {_json(one)}" for one in value), "    ]"]))
        elif value is not None and value not in ({}, ()):
            members.append(f"    {_json(name)}: {_json(value)}")
    return "\n".join([f"  {_json(address)}: {{", *_separated(members), "  }"])


def _separated(items: Iterator[str] | list[str]) -> list[str]:
    items = list(items)
    return [f"{item}," for item in items[:-1]] + items[-1:]


def _json(value: Any) -> str:
    # Engines write 1 and 1.0 for one hyperparameter, and canonical JSON tells no difference.
    plain = canonical_json(value) if isinstance(value, dict) else _ENCODER.encode(value)
    # Text from specs may hold what a terminal or a reviewer would misread: ASCII cannot.
    return plain.decode() if plain.isascii() else json.dumps(msgspec.json.decode(plain))


_ENCODER: Final = msgspec.json.Encoder(order="deterministic")


def parse(content: bytes, *, path: str = "ftspec.lock") -> tuple[Lock | None, list[Diagnostic]]:
    """Read a lockfile, or say why it cannot be read."""
    if b"<<<<<<< " in content and (marker := _CONFLICT.search(content)):
        at = Place(path=path, line=content.count(b"\n", 0, marker.start()) + 1)
        return None, [error("lock-conflict", f"`{printable(path)}` holds the conflict markers of a merge", at=at, help=_AGAIN)]
    try:
        if msgspec.json.decode(content, type=_Version).format > FORMAT:
            problem = f"`{printable(path)}` was written by a newer ftspec"
            return None, [error("newer-lock", problem, at=Place(path=path), help="upgrade ftspec, or " + _AGAIN)]
        file = msgspec.json.decode(content, type=_File)
    except (ValueError, RecursionError) as wrong:
        problem = f"`{printable(path)}` is not a lockfile: {printable(str(wrong))}"
        return None, [error("bad-lock", problem, at=Place(path=path), help=_AGAIN)]
    return Lock(datasets=file.datasets, jobs=file.jobs), []


def read(path: Path) -> tuple[Lock | None, list[Diagnostic]]:
    """Read a lockfile from disk; a missing one is `None` without a diagnostic."""
    try:
        content = read_regular(path)
    except FileNotFoundError:
        return None, []
    except OSError as wrong:
        problem = f"`{printable(path.name)}` cannot be read: {wrong.strerror}"
        return None, [error("bad-lock", problem, at=Place(path=path.name), help="remove it, and " + _AGAIN)]
    return parse(content, path=path.name)


def differences(old: Lock | None, new: Lock) -> list[str]:
    """Return one line for each address and dataset that differs: `+ added`, `- gone`, `~ changed: members`."""
    lines = []
    for before, after in ((old.datasets if old else {}, new.datasets), (old.jobs if old else {}, new.jobs)):
        for name in sorted(before.keys() | after.keys()):
            if name not in before or name not in after:
                lines.append(f"{'+' if name in after else '-'} {printable(name)}")
            elif changed := _changed(before[name], after[name]):
                lines.append(f"~ {printable(name)}: {', '.join(changed)}")
    return lines


def _changed(old: Any, new: Any) -> list[str]:
    return [name for name in new.__struct_fields__ if _json(getattr(old, name)) != _json(getattr(new, name))]


def write_if_changed(path: Path, lock: Lock) -> bool:
    """Write a lockfile, in one step, unless it already says so. Raises `OSError`."""
    content = render(lock)
    with suppress(OSError):  # whatever is there instead is replaced
        if read_regular(path) == content:
            return False
    write_beside(path, content, sync=True)
    return True
