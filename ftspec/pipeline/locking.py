"""The lockfile of a project's spec files: written by `apply` and `lock`, checked by `plan --locked`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftspec.pipeline.planning import PlanStale

if TYPE_CHECKING:
    from pathlib import Path

    from ftspec.pipeline.planning import Planned, Wanted
    from ftspec.record import State


def write_lockfile(wanted: Wanted, state: State) -> Path | None:
    """Write the lockfile that specs and state give. Returns its path if it changed. Raises `OSError`."""
    from ftspec.state.lockfile import build, write_if_changed

    path = wanted.project.lockfile
    return path if write_if_changed(path, build(wanted.jobs, wanted.datasets, state)) else None


def check_lockfile(planned: Planned) -> None:
    """Raise `PlanStale` (exit 3) unless the lockfile is what specs and state give."""
    from ftspec.pipeline.planning import InvalidSpec
    from ftspec.state.lockfile import build, differences, read

    old, problems = read(planned.project.lockfile)
    if problems:
        raise InvalidSpec(problems)
    name = planned.project.relative(planned.project.lockfile)
    changed = differences(old, build(planned.jobs, planned.datasets, planned.state))
    if changed:
        raise PlanStale(
            [f"`{name}`: {line}" for line in changed],
            what="the lockfile is not what specs and state give",
            help="run `ftspec lock`, or `ftspec apply` to buy what is missing",
        )
