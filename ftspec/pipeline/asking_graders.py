"""Graders of reinforcement jobs shown to the engines that will run them: `data check --online`.

What a grader's form must be is checked offline already; an engine may have more to say. Only
the definition is sent, no row, and nothing is graded or bought.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ftspec.diagnostics import Diagnostic, FtspecError
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.experiment import DesiredJob, Spec
    from ftspec.pipeline.project import Project
    from ftspec.pipeline.session import Session

_NOT_THERE = frozenset({404, 405, 501})


def ask_about_graders(project: Project, spec: Spec, jobs: Iterable[DesiredJob]) -> tuple[list[Diagnostic], list[str]]:
    """Return which graders engines refuse, and a sentence for each one that an engine takes or says nothing of.

    `FtspecError`: an engine could not be asked.
    """
    from ftspec.pipeline.session import Session

    distinct: dict[tuple[str, str], DesiredJob] = {}
    for job in jobs:
        if job.grader:
            distinct.setdefault((job.engine, repr(job.grader)), job)

    async def ask() -> list[Diagnostic | str]:
        async with Session(project, spec) as session:
            return [await _asked(session, job) for job in distinct.values()]

    said = asyncio.run(ask())
    return [one for one in said if isinstance(one, Diagnostic)], [one for one in said if isinstance(one, str)]


async def _asked(session: Session, job: DesiredJob) -> Diagnostic | str:
    from ftspec.data.checks.reinforcement import GraderRefused
    from ftspec.engines.base import EngineError, Refused
    from ftspec.planner.identify import place_of

    engine, name = session.wire(job.engine), printable(job.engine)
    try:
        await engine.check_grader(job.grader or {})
    except Refused as problem:
        if problem.status in _NOT_THERE:
            return f"`{name}` does not say whether it takes a grader"
        if problem.quota is not None or problem.status in (401, 403):
            raise FtspecError(f"engine `{name}` cannot be asked about a grader: {problem.message}") from problem
        message = f"`{name}` refuses the grader: {problem.message}"
        at = place_of(job, "method.grader")
        return Diagnostic(code=GraderRefused.code, severity=GraderRefused.severity, message=message, help=GraderRefused.help, at=at)
    except EngineError as problem:
        raise FtspecError(f"engine `{name}` cannot be asked about a grader: {problem.message}") from problem
    return f"`{name}` takes the grader of `{printable(job.experiment)}`"
