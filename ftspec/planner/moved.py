"""Which record a new cell came from, when an axis value was edited: `epochs: [1, 3]` to `[1, 4]`.

The address of a cell holds its axis values, so an edited value makes a new address and leaves an
old one without a job. Where the two differ in exactly one axis, a person sees one change of one
setting, and so should the plan. Pairs are one to one and do not depend on the order of anything:
in the order of addresses, each new cell takes the first record that is left.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from ftspec.address import axis_text, experiment_of, natural

if TYPE_CHECKING:
    from ftspec.experiment import DesiredJob
    from ftspec.record import RecordedJob

_Rest: TypeAlias = tuple[str, str, tuple[str, ...]]


def moved(jobs: Iterable[DesiredJob], left: Mapping[str, RecordedJob]) -> dict[str, RecordedJob]:
    """Return, by the address of a new job, the record that it was edited from.

    `jobs` are to be launched at addresses that were never used, `left` are records whose
    addresses no spec asks for any more.
    """
    by_experiment: dict[str, list[str]] = {}
    for address in sorted(left, key=natural):
        by_experiment.setdefault(experiment_of(address), []).append(address)
    index: dict[_Rest, list[str]] = {}
    indexed: set[tuple[str, tuple[str, ...]]] = set()
    found: dict[str, RecordedJob] = {}
    taken: set[str] = set()
    for job in sorted(jobs, key=lambda job: natural(job.address)):
        names = tuple(job.axes)
        if not names or job.experiment not in by_experiment:
            continue
        if (job.experiment, names) not in indexed:
            indexed.add((job.experiment, names))
            for address in by_experiment[job.experiment]:
                for rest in _rests(job.experiment, _values(address, names), names):
                    index.setdefault(rest, []).append(address)
        values = tuple(axis_text(value) for value in job.axes.values())
        for rest in _rests(job.experiment, values, names):
            came_from = next((one for one in index.get(rest, ()) if one not in taken), None)
            if came_from is not None:
                taken.add(came_from)
                found[job.address] = left[came_from]
                break
    return found


def _values(address: str, names: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the axis values of an address that has exactly these axes."""
    pattern = ",".join(f"{re.escape(name)}=(.*?)" for name in names)
    match = re.fullmatch(pattern, address.partition("/")[2])
    return match.groups() if match else None


def _rests(experiment: str, values: tuple[str, ...] | None, names: tuple[str, ...]) -> Iterable[_Rest]:
    """Yield what stays equal when one axis differs: for each axis, everything but its value."""
    if values is None:
        return
    for i, name in enumerate(names):
        yield experiment, name, (*values[:i], *values[i + 1 :])
