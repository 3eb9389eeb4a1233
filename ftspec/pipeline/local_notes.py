"""What a plan says about its local jobs on the side: what they take, and what this machine lacks or leaves to the trainer.

Other machines say other things, so none of it is part of the plan itself.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ftspec.actions import LaunchJob
from ftspec.engines.trust import TrustError, TrustStore
from ftspec.pipeline.base_files import folder_of
from ftspec.pipeline.interpreters import foreign_interpreter, missing_packages, to_trust
from ftspec.pipeline.local_bases import local_entries
from ftspec.pipeline.local_estimates import local_estimates
from ftspec.printable import printable
from ftspec.server.trainers.local.settings import settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ftspec.experiment import EngineEntry
    from ftspec.pipeline.planning import Planned
    from ftspec.pipeline.project import Project
    from ftspec.server.trainers.local.settings import Base


def local_notes(planned: Planned, *, environ: Mapping[str, str] | None = None) -> list[str]:
    """Return a line for each thing to know before local jobs of the plan are launched; none where there are no such jobs."""
    launches = [action.job for action in planned.plan.actions if isinstance(action, LaunchJob)]
    used = {job.engine: {one.base_model for one in launches if one.engine == job.engine} for job in launches}
    entries = {name: entry for name, entry in local_entries(planned.spec).items() if name in used}
    notes = local_estimates(planned) if entries else []
    for name, entry in entries.items():
        notes += _interpreter(entry, planned.project, os.environ if environ is None else environ)
        models = settings(entry.options, folder=planned.project.root, entry=name).models
        notes += [note for base in sorted(used[name]) if base in models for note in _base(entry, models[base], planned.project)]
    return notes


def _interpreter(entry: EngineEntry, project: Project, environ: Mapping[str, str]) -> Iterator[str]:
    if missing := missing_packages(entry, root=project.root):
        yield f"{entry.name}: this Python lacks {', '.join(missing)}: `pip install 'ftspec[local]'`, or name another one with `python:`"
    path = foreign_interpreter(entry, root=project.root)
    if path is None:
        return
    try:
        trusted = TrustStore.load(environ, project_root=project.root).trusts_command([path], root=project.root)
    except TrustError:
        trusted = False
    if not trusted:
        shown = printable(str(entry.options["python"]))
        yield f"{entry.name}: `apply` starts `{shown}`, which this machine does not trust yet; if you made it: {to_trust(path)}"


def _base(entry: EngineEntry, base: Base, project: Project) -> Iterator[str]:
    """Yield what planning could not see of a base."""
    if folder_of(base, project) is not None:
        return
    if base.path is not None and _here(base.path, project):
        yield f"{entry.name}: there is no base in `{printable(project.relative(base.path))}`: its jobs are refused on this machine"
        return
    where = f"{base.repo}@{base.revision[:7]}" if base.repo and base.revision else os.path.normpath(str(base.path))
    yield f"{entry.name}: `{base.name}` ({printable(where)}) and its chat template are looked at when a job is created, not by plans"


def _here(path: Path, project: Project) -> bool:
    try:
        return any(path.resolve().is_relative_to(root) for root in (project.root, *project.data_roots))
    except (OSError, RuntimeError, ValueError):
        return False
