"""Like cells of a matrix folded into one entry, so that a grid of a thousand jobs reads in five lines.

Launches are alike when they are of one experiment on one engine, are launched for one reason,
and change the same settings (in the same way, unless there are many ways). Two alike are still
shown one by one: three make a group.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ftspec.actions import LaunchJob
from ftspec.address import axis_text, natural
from ftspec.render.words import change_text, place_text

FEWEST = 3
MOST_CHANGES = 4


class Cells(msgspec.Struct, frozen=True, kw_only=True):
    """Launches that are alike. `axes` are the values that occur, `complete` whether every combination of them does."""

    launches: tuple[LaunchJob, ...]
    axes: dict[str, list[str]]
    complete: bool

    @property
    def first(self) -> LaunchJob:
        """The one that stands for all where they do not differ."""
        return self.launches[0]

    def changes(self) -> list[tuple[str, str]]:
        """Return (what changed, where) once for each setting; a setting that changes differently is only counted."""
        found: dict[str, dict[str, str]] = {}
        for launch in self.launches:
            for change in launch.changes:
                found.setdefault(change.field, {})[change_text(change)] = place_text(change)
        return [self._change(name, texts) for name, texts in sorted(found.items())]

    def _change(self, name: str, texts: dict[str, str]) -> tuple[str, str]:
        if len(texts) == 1:
            return next(iter(texts.items()))
        places = set(texts.values())
        return f"{name}: {len(texts):,} different changes", places.pop() if len(places) == 1 else ""


def fold(launches: Sequence[LaunchJob], *, full: bool = False) -> list[LaunchJob | Cells]:
    """Return the launches with like ones folded, in the order of the first of each group; `full` folds none."""
    if full:
        return [*sorted(launches, key=_naturally)]
    groups: dict[tuple[object, ...], list[LaunchJob]] = {}
    for launch in launches:
        groups.setdefault(_likeness(launch), []).append(launch)
    entries: list[LaunchJob | Cells] = []
    for alike in groups.values():
        for group in _by_change(alike):
            group.sort(key=_naturally)
            entries += [_cells(group)] if len(group) >= FEWEST else group
    return entries


def _by_change(alike: list[LaunchJob]) -> list[list[LaunchJob]]:
    """Split launches by what exactly changed, as long as that makes few groups (each child of a chain has a change of its own)."""
    groups: dict[tuple[str, ...], list[LaunchJob]] = {}
    for launch in alike:
        groups.setdefault(tuple(map(change_text, launch.changes)), []).append(launch)
    return list(groups.values()) if len(groups) <= MOST_CHANGES else [alike]


def _naturally(launch: LaunchJob) -> list[str | int]:
    return natural(launch.job.address)


def _likeness(launch: LaunchJob) -> tuple[object, ...]:
    job = launch.job
    fields = tuple(change.field for change in launch.changes)
    return (job.experiment, job.engine, launch.reason, launch.replaces is None, job.parent is None, tuple(job.axes), fields)


def _cells(group: list[LaunchJob]) -> Cells:
    axes = {axis: sorted({axis_text(launch.job.axes[axis]) for launch in group}, key=natural) for axis in group[0].job.axes}
    combinations = 1
    for values in axes.values():
        combinations *= len(values)
    return Cells(launches=tuple(group), axes=axes, complete=combinations == len(group))
