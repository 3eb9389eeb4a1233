"""Evaluate models: trained ones by address, checkpoints, base models, any model by name."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, Self

import click

from ftspec.cli import _console
from ftspec.cli._options import project_options

if TYPE_CHECKING:
    from ftspec.actions import RunEval
    from ftspec.evals.runner import Progress
    from ftspec.pipeline.project import Project
    from ftspec.pipeline.questions import Evaluation
    from ftspec.record import RecordedEval

GATE_FAILED = 5
PARTLY = 4


@click.command()
@project_options
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--eval", "evals", multiple=True, metavar="NAME", help="Only these evals (repeatable; default: those of each job).")
@click.option("--engine", metavar="NAME", help="The engine of models given by name.")
@click.option("--checkpoint", metavar="STEP", help="Evaluate the checkpoint of this step instead of the final model; `*` for all.")
@click.option("--no-base", is_flag=True, help="Do not evaluate the models that these are compared with.")
@click.option("--fresh", is_flag=True, help="Ask again, although the answers are recorded.")
@click.option("--allow-code", is_flag=True, help="Let `python` graders of this project run, isolated.")
@click.option("--isolation", type=click.Choice(["bubblewrap", "namespace", "process"]), help="Demand this wall around graders' code.")
@click.option("--connections", type=click.IntRange(min=1), default=16, show_default=True, help="Questions in flight at once.")
@click.option("--json", "as_json", is_flag=True, help="Write the records as JSON.")
def command(  # noqa: PLR0913 click passes each option
    project: Project,
    *,
    models: tuple[str, ...],
    evals: tuple[str, ...],
    engine: str | None,
    checkpoint: str | None,
    no_base: bool,
    fresh: bool,
    allow_code: bool,
    isolation: str | None,
    connections: int,
    as_json: bool,
) -> None:
    r"""Evaluate models. What is recorded already is reused; what was interrupted goes on.

    MODEL is a selector of jobs (`triage/seed=1`, `experiment:triage`), or the name of any model
    of an engine. Without one, every eval of the spec runs on every model that exists.

    \b
        ftspec eval
        ftspec eval 'triage/*' --eval holdout
        ftspec eval triage/seed=1 --checkpoint 40
        ftspec eval gpt-4.1-mini --engine openai --eval holdout
    """
    from ftspec.evals.runner import RunOptions
    from ftspec.pipeline.planning import load, want
    from ftspec.pipeline.questions import Question, evaluate

    wanted = want(load(project))
    question = Question(models=models, evals=evals, engine=engine, checkpoint=checkpoint, fresh=fresh, with_base=not no_base)
    options = RunOptions(connections=connections, allow_code=allow_code, isolation=isolation, fresh=fresh)
    with Watch() as watch:
        done = asyncio.run(evaluate(wanted, question, options=options, watch=watch.moved, talk=watch.turned))
    if as_json:
        _console.out_raw(_json(done))
    else:
        _show(wanted, done)
    _finish(wanted, done)


def _show(wanted: Any, done: Evaluation) -> None:
    """Write the comparison of what was asked for."""
    from ftspec.evals.compare import Comparison, compare
    from ftspec.evals.comparison_text import to_text
    from ftspec.pipeline.evaluating import eval_runs
    from ftspec.pipeline.planning import state_of

    state, _ = state_of(wanted.project, wanted.spec).read()
    runs = [run for run in eval_runs(wanted, state) if run.key in done.records]
    comparison: Comparison = compare(runs)
    _console.out(to_text(comparison, color=_console.colour()))


def _json(done: Evaluation) -> str:
    import msgspec

    from ftspec.render.json import dumps

    records = [msgspec.to_builtins(record) for record in done.records.values()]
    return dumps({"format_version": 1, "evals": records})


def _finish(wanted: Any, done: Evaluation) -> None:
    """Say what is not finished and which gates do not hold, by the exit code."""
    from ftspec.pipeline.evaluating import gate_verdicts
    from ftspec.pipeline.planning import state_of

    unfinished = [record for record in done.records.values() if record.status != "succeeded"]
    for record in unfinished:
        _console.warn(f"{record.name} on {record.address or record.model}: {record.error.message if record.error else record.status}")
    state, _ = state_of(wanted.project, wanted.spec).read()
    failed = [verdict for verdict in gate_verdicts(wanted, state, keys=frozenset(done.records)) if not verdict.ok]
    for verdict in failed:
        _console.warn(verdict.sentence)
    if unfinished:
        _console.stop(PARTLY)
    if failed:
        _console.stop(GATE_FAILED)


class Watch:
    """Progress on stderr: a bar on a terminal, else a line for each run as it ends."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def moved(self, action: RunEval, progress: Progress) -> None:
        """Move the bar."""
        del action
        if self._bar is not None:
            self._bar.update(self._task, completed=progress.done, total=progress.total)

    def turned(self, action: RunEval, record: RecordedEval | None) -> None:
        """Begin a run (no record yet), or say how it ended."""
        name = f"{action.eval.name} on {_whose(action)}"
        if record is None:
            if self._bar is not None:
                if self._task is not None:
                    self._bar.remove_task(self._task)
                self._task = self._bar.add_task(name, total=action.samples)
            return
        figures = ", ".join(f"{grader} {score['mean']:.2f}" for grader, score in record.scores.items() if score.get("mean") is not None)
        _console.talk(f"{name}: {record.samples} samples, {figures or record.status}")


def _whose(action: RunEval) -> str:
    return (action.address or action.model or "") + (f"@{action.step}" if action.step is not None else "")
