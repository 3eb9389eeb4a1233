"""Compare evaluated models with their bases and with each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ftspec.cli import _console
from ftspec.cli._options import project_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ftspec.evals.compare import Comparison, EvalRun, Flip
    from ftspec.pipeline.project import Project


@click.command()
@project_options
@click.argument("select", nargs=-1, metavar="[SELECT]...")
@click.option("--eval", "evals", multiple=True, metavar="NAME", help="Only these evals (repeatable).")
@click.option("--by", metavar="AXIS", help="Fold everything but this axis of the matrix.")
@click.option("--full", is_flag=True, help="One row for every run, seeds included.")
@click.option("--examples", type=click.IntRange(min=0), default=3, show_default=True, help="Won and lost examples of the best model.")
@click.option("--inspect-logs", metavar="DIR", help="Also write the runs as logs that `inspect view` opens (needs ftspec[inspect]).")
@click.option("--format", "form", type=click.Choice(["text", "json", "csv"]), default="text", show_default=True)
@click.option("--json", "form", flag_value="json", help="Short for --format json.")
def command(
    project: Project,
    *,
    select: tuple[str, ...],
    evals: tuple[str, ...],
    by: str | None,
    full: bool,
    examples: int,
    inspect_logs: str | None,
    form: str,
) -> None:
    r"""Compare evaluated models with their bases: scores with intervals, wins and losses, what flipped.

    Seeds are folded: the score of an item is its mean over the seeds, and tests are on items.
    Figures come from state; tests and examples need the samples under `.ftspec/evals`.

    \b
        ftspec compare
        ftspec compare 'triage/*' --by epochs
        ftspec compare --format csv > scores.csv
    """
    from ftspec.diagnostics import FtspecError
    from ftspec.evals.compare import compare
    from ftspec.evals.comparison_text import to_csv, to_json, to_text
    from ftspec.pipeline.evaluating import eval_runs, unfinished, write_inspect_logs
    from ftspec.pipeline.planning import load, state_of, want
    from ftspec.planner.selectors import select as selected

    wanted = want(load(project))
    state, odd = state_of(project, wanted.spec).read()
    _console.show(odd)
    runs = eval_runs(wanted, state, addresses=selected(select, wanted.jobs, state) if select else None)
    runs = [run for run in runs if not evals or run.eval in evals]
    for record in unfinished(wanted, state):
        _console.warn(f"{record.name} on {record.address or record.model} is not finished, and left out: run `ftspec eval`")
    if not runs:
        raise FtspecError("nothing has been evaluated yet", help="run `ftspec apply`, or `ftspec eval`")
    axes = {axis: None for run in runs for axis in run.axes}
    if by is not None and by not in axes:
        raise FtspecError(f"no evaluated job has the axis `{by}`", help=f"there are: {', '.join(axes) or 'none'}")
    if inspect_logs is not None:
        written = write_inspect_logs(wanted, runs, project.root / inspect_logs)
        _console.talk(f"{len(written)} Inspect logs written to {inspect_logs}")
    comparison = compare(runs, by=by, full=full)
    if form == "csv":
        _console.out_raw(to_csv(comparison))
    elif form == "json":
        _console.out_raw(to_json(comparison, flipped=_flipped(comparison, runs, examples)))
    else:
        _console.out(to_text(comparison, flipped=_flipped(comparison, runs, examples), color=_console.colour()))


def _flipped(comparison: Comparison, runs: Sequence[EvalRun], limit: int) -> dict[str, list[Flip]]:
    """Return examples that the best model of each eval won and lost against its base, by the eval's first grader."""
    from ftspec.evals.compare import flips

    by_key = {run.key: run for run in runs}
    found: dict[str, list[Flip]] = {}
    for table in {table.eval: table for table in reversed(comparison.tables)}.values():
        best = table.best.runs[0] if table.best else None
        base = by_key.get(best.base or "") if best else None
        if limit and best is not None and base is not None:
            found[f"{table.eval}, {table.grader}: {best.label} against {base.label}"] = flips(best, base, table.grader, limit=limit)
    return found
