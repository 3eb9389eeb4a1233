"""Makes evals and graders of a loaded spec ready to be keyed: files read in, definitions checked. Runs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

if TYPE_CHECKING:
    from ftspec.diagnostics import Diagnostic
    from ftspec.experiment import DesiredJob, Spec
    from ftspec.pipeline.project import Project


def prepare_evals(spec: Spec, project: Project) -> tuple[Spec, list[Diagnostic]]:
    """Return the spec with its evals and graders ready to be keyed and run, and what is wrong with them. Runs nothing."""
    jobs, problems = _with_graders(spec.jobs, project)
    if not spec.evals:
        return replace(spec, jobs=jobs), problems
    from ftspec.evals.prepare import prepare

    prepared = {name: prepare(one, root=project.root) for name, one in spec.evals.items()}
    problems += [problem for _, found in prepared.values() for problem in found]
    return replace(spec, jobs=jobs, evals={name: one for name, (one, _) in prepared.items()}), problems


def _with_graders(jobs: Sequence[DesiredJob], project: Project) -> tuple[tuple[DesiredJob, ...], list[Diagnostic]]:
    """Return the jobs with the graders of reinforcement jobs read in and checked; cells mostly share theirs."""
    if all(job.grader is None for job in jobs):
        return tuple(jobs), []
    import msgspec

    from ftspec.evals.prepare import prepare_grader
    from ftspec.planner.identify import place_of

    known: dict[str, tuple[dict[str, Any] | None, list[Diagnostic]]] = {}
    ready = []
    for job in jobs:
        if job.grader is None:
            ready.append(job)
            continue
        shown = repr(job.grader)
        if shown not in known:
            known[shown] = prepare_grader("grader", job.grader, root=project.root, at=place_of(job, "method.grader"))
        ready.append(msgspec.structs.replace(job, grader=known[shown][0]))
    return tuple(ready), [problem for _, problems in known.values() for problem in problems]
