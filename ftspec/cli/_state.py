"""What the commands about state share: the backend of a project, and its records by selector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftspec.cli import _console
from ftspec.cli._options import project_options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ftspec.pipeline.project import Project
    from ftspec.record import RecordedJob, State
    from ftspec.state.jsonl import JsonlState


def state_options(command: Callable[..., Any]) -> Any:
    """Add the options that name a project; it needs no spec."""
    return project_options(command=None, need_spec=False)(command)


def backend(project: Project) -> JsonlState:
    """Return the project's state; the spec is read only where it could say where that is."""
    from ftspec.pipeline.planning import recorded_in

    return recorded_in(project)


def read(state: JsonlState) -> State:
    """Return what is recorded; what is odd about it goes to stderr, and errors stop the command."""
    found, problems = state.read()
    _console.show(problems)
    return found


def chosen(select: Sequence[str], state: State, *, forgotten: bool = False) -> list[RecordedJob]:
    """Return the selected records (all, without selectors), sorted by address."""
    from ftspec.planner.selectors import select_records

    keys = select_records(select, state, forgotten=forgotten) if select else set(state.jobs)
    records = [record for key, record in state.jobs.items() if key in keys and (forgotten or not record.forgotten)]
    return sorted(records, key=lambda record: (record.address, record.last.created_at or "", record.key))


def now() -> str:
    """Return the time as facts have it."""
    import time

    from ftspec.state.process import timestamp

    return timestamp(time.time())
