"""Does a plan with every effect injected: the public face of the walk."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from ftspec.executor import progress as said
from ftspec.executor.crew import AsyncioCrew
from ftspec.executor.effects import Effects
from ftspec.executor.interrupt import Stop
from ftspec.executor.journal import Journal
from ftspec.executor.result import ApplyOptions, ApplyResult
from ftspec.executor.walk import Walk

if TYPE_CHECKING:
    from random import Random

    from ftspec.actions import Plan
    from ftspec.engines.base import Clock
    from ftspec.executor.crew import Crew
    from ftspec.executor.effects import Evaluate, Materialise, RequestBody
    from ftspec.executor.result import CostOf
    from ftspec.executor.walk import Engines
    from ftspec.experiment import Spec
    from ftspec.state.base import StateWriter


def heedless(progress: said.Progress) -> said.Progress:
    """Return a progress that goes on when its terminal is gone: nobody watching is no reason to stop recording."""

    def tell(event: said.Event) -> None:
        with contextlib.suppress(OSError):
            progress(event)

    return tell


async def execute(  # noqa: PLR0913 every effect is an argument
    plan: Plan,
    *,
    spec: Spec,
    writer: StateWriter,
    engines: Engines,
    request_body: RequestBody,
    materialise: Materialise,
    clock: Clock,
    random: Random,
    progress: said.Progress = said.silent,
    options: ApplyOptions | None = None,
    evaluate: Evaluate | None = None,
    cost_of: CostOf | None = None,
    stop: Stop | None = None,
    crew: Crew | None = None,
) -> ApplyResult:
    """Do a plan and return what happened. Holds no lock and asks nobody: that was done before.

    Engines are opened before anything is bought (`FtspecError` passes through). `stop` ends the walk in order;
    `crew` runs work at the same time, as asyncio tasks unless told otherwise.
    """
    effects = Effects(
        journal=Journal(writer),
        clock=clock,
        random=random,
        request_body=request_body,
        materialise=materialise,
        progress=heedless(progress),
        evaluate=evaluate,
        cost_of=cost_of,
        stop=stop or Stop(),
        options=options or ApplyOptions(),
    )
    return await Walk(plan, spec=spec, state=writer.read(), engines=engines, effects=effects, crew=crew or AsyncioCrew()).run()
