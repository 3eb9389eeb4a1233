"""The evals of a plan: each starts when its model can be used, a few at once.

How a model is asked and graded is not the executor's: an injected `Evaluate` does it and records
it. A failed eval fails nothing else.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from ftspec.diagnostics import FtspecError
from ftspec.engines.base import EngineError
from ftspec.executor import facts
from ftspec.executor import progress as said
from ftspec.executor.result import Trouble
from ftspec.record import JobError, RecordedEval

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from ftspec.actions import RunEval
    from ftspec.engines.base import Engine
    from ftspec.executor.crew import Crew
    from ftspec.executor.effects import Effects
    from ftspec.executor.graph import Node

AT_ONCE = 4
"""Evals at once."""


class Evals:
    """The evals of a walk."""

    def __init__(self, actions: Iterable[RunEval], *, effects: Effects, crew: Crew, engine: Callable[[str], Engine]) -> None:
        self._effects, self._crew, self._engine = effects, crew, engine
        self._waiting: dict[str, list[RunEval]] = {}
        self._ready: deque[tuple[RunEval, str, str | None]] = deque()
        self._running = 0
        self.done: list[RecordedEval] = []
        self.trouble: list[Trouble] = []
        for action in actions:
            if action.model is not None:
                self._ready.append((action, action.model, action.preimage["model"].get("job")))
            elif action.address is not None:
                self._waiting.setdefault(action.address, []).append(action)

    def wanted(self, address: str) -> bool:
        """Whether an eval waits for the model of this job."""
        return address in self._waiting

    def served(self, node: Node) -> None:
        """Take notice that a job's model can be used."""
        if node.model is not None:
            self._ready.extend((action, node.model, node.key) for action in self._waiting.pop(node.address, ()))

    def step(self) -> None:
        """Start what can be started now."""
        evaluate = self._effects.evaluate
        while evaluate is not None and self._ready and self._running < AT_ONCE:
            action, model, job_key = self._ready.popleft()
            self._running += 1
            self._effects.progress(said.Evaluating(eval=action.eval.name, address=action.address, model=model))
            work = evaluate(action, model=model, job_key=job_key, engine=self._engine(action.engine))
            self._crew.start(partial(self._ended, action, model), _attempted(work))

    def _ended(self, action: RunEval, model: str, outcome: RecordedEval | JobError) -> None:
        self._running -= 1
        status = "failed"
        if isinstance(outcome, RecordedEval) and outcome.status != "failed":
            status = outcome.status
            self.done.append(outcome)
        elif isinstance(outcome, RecordedEval):
            said_of_it = outcome.error or JobError()
            why = f": {said_of_it.message}" if said_of_it.message else ""
            error = JobError(code=said_of_it.code or "eval", message=f"the eval `{outcome.name}` failed{why}")
            self.trouble.append(Trouble(address=action.address or model, error=error))
        else:
            self.trouble.append(Trouble(address=action.address or model, error=outcome))
        self._effects.progress(said.Evaluated(eval=action.eval.name, address=action.address, model=model, status=status))


async def _attempted(work: Awaitable[RecordedEval]) -> RecordedEval | JobError:
    """Return an eval run, or why there is none."""
    try:
        return await work
    except EngineError as error:
        return facts.error_of(error)
    except FtspecError as error:
        return JobError(code="eval", message=error.message + (f"; {error.help}" if error.help else ""))
    except OSError as error:
        return JobError(code="eval", message=f"its results could not be written: {error.strerror or error}")
