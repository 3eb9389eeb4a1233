"""Give every desired job its key.

Keys are computed parents first, because the key of a job that trains on top of another
holds its parent's key: a whole chain is identified before any of it has run. Two jobs with
one key would buy the same thing twice, so they are an error that names both places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ftspec.diagnostics import Diagnostic, Place, Severity
from ftspec.experiment import DesiredJob
from ftspec.fingerprint import Memo, job_key
from ftspec.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ftspec.actions import DatasetFacts


class Identified(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A desired job with its key, the keys of its datasets and of the job whose model is its base."""

    job: DesiredJob
    key: str
    train_key: str
    validation_key: str | None = None
    parent_key: str | None = None


def identify(jobs: Sequence[DesiredJob], datasets: Mapping[str, DatasetFacts]) -> tuple[list[Identified], list[Diagnostic]]:
    """Return the jobs with their keys, parents before children, and what is wrong with them.

    A job is left out where a dataset of it has no facts (it could not be read, which
    whoever read it has reported), or where its parent is missing or left out.
    """
    found: dict[str, Identified] = {}
    keys: dict[str, Identified] = {}
    doubled: set[str] = set()
    problems: list[Diagnostic] = []
    memo: Memo = {}
    facts_key = {ref: facts.key for ref, facts in datasets.items()}
    for job in parents_first(jobs):
        train_key = facts_key.get(job.train)
        validation_key = facts_key.get(job.validation) if job.validation is not None else None
        if train_key is None or (job.validation is not None and validation_key is None):
            continue
        parent_key = None
        if job.parent is not None:
            parent = found.get(job.parent)
            if parent is None:
                continue
            parent_key = parent.key
        key = job_key(job, train=train_key, validation=validation_key, parent=parent_key, memo=memo)
        one = Identified(job=job, key=key, train_key=train_key, validation_key=validation_key, parent_key=parent_key)
        found[job.address] = one
        twin = keys.setdefault(key, one)
        if twin is not one:
            doubled.add(job.address)
            if job.parent not in doubled:  # the children of twins are twins too: say it once
                problems.append(_same_key(twin.job, job))
    return list(found.values()), problems


def parents_first(jobs: Sequence[DesiredJob]) -> list[DesiredJob]:
    """Return the jobs in declared order, but each after the jobs it depends on; those in a circle are left out."""
    if not any(job.parent is not None or job.depends_on for job in jobs):
        return list(jobs)
    by_address = {job.address: job for job in jobs}
    ordered: dict[str, DesiredJob] = {}
    path: set[str] = set()
    circular: set[str] = set()
    for first in jobs:
        stack = [first]
        while stack:
            job = stack[-1]
            missing = [p for p in job.parents if p in by_address and p not in ordered]
            if job.address in ordered or job.address in circular or job.address in path:
                stack.pop()
                if job.address in path:
                    path.discard(job.address)
                    if missing:
                        circular.add(job.address)
                    else:
                        ordered[job.address] = job
            else:
                path.add(job.address)
                stack.extend(by_address[parent] for parent in missing if parent not in path)
    return list(ordered.values())


def place_of(job: DesiredJob, path: str = "") -> Place | None:
    """Return where a setting of a job is written (the job itself without one), as near as known."""
    while job.origin is not None:
        place: Place | None = job.origin.place(path, job.axes)
        if place is not None or not path:
            return place
        path = path.rpartition(".")[0]
    return None


def _same_key(first: DesiredJob, second: DesiredJob) -> Diagnostic:
    at = place_of(first)
    return Diagnostic(
        code="identical-jobs",
        severity=Severity.ERROR,
        message=f"`{printable(second.address)}` would train the same model as `{printable(first.address)}`",
        at=place_of(second),
        help="remove one of them, or give one `replicate: 2` to train it again on purpose",
        also=(("the other one", at),) if at else (),
    )
