"""List the models that were trained, as a table or for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ftspec.cli import _console, _state
from ftspec.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ftspec.pipeline.project import Project
    from ftspec.record import State
    from ftspec.state.trained import TrainedModel


@click.command()
@click.argument("select", nargs=-1, metavar="[SELECT]...")
@_state.state_options
@click.option(
    "-w", "--where", "where", multiple=True, metavar="NAME=VALUE", help="Only models with this setting, axis or tag (repeatable)."
)
@click.option("--history", is_flag=True, help="Also models of jobs that have been replaced.")
@click.option("--checkpoints", is_flag=True, help="Also the models saved during training.")
@click.option("--raw", "form", flag_value="raw", help="Only the names, one a line.")
@click.option("--json", "form", flag_value="json", help="Everything, as JSON.")
@click.option("--csv", "form", flag_value="csv", help="One row per model, as CSV.")
@click.option("--env", "form", flag_value="env", help="Shell assignments: TRIAGE_SEED_1='...'.")
def command(
    project: Project, select: tuple[str, ...], *, where: tuple[str, ...], history: bool, checkpoints: bool, form: str | None
) -> None:
    r"""List the models that were trained.

    SELECT are addresses, globs, `experiment:x`, `tag:k=v` or keys. NAME is any setting
    (`base_model`, `seed`, `epochs`, `suffix`, ...), axis or tag.

    \b
        ftspec models
        ftspec models -w base_model=sandbox-mini -w epochs=3
        ftspec models --raw triage/seed=1
        eval "$(ftspec models --env triage)"
    """
    from ftspec.state.lockfile import read
    from ftspec.state.trained import as_csv, as_json, as_shell, models

    store = _state.backend(project)
    state = _state.read(store)
    lock, problems = read(project.lockfile)
    _console.show(problems, fail_on_errors=False)
    rows = models(state, lock, history=history, where=_pairs(where))
    rows = _selected(select, rows, state) if select else rows
    if checkpoints:
        rows = [row for one in rows for row in (*one.saved(), one)]
    match form:
        case "raw":
            _console.out_raw("".join(f"{printable(row.asked)}\n" for row in rows))
        case "json":
            _console.out_raw(as_json(rows))
        case "csv":
            _console.out_raw(as_csv(rows))
        case "env":
            _console.out_raw(as_shell(rows))
        case _ if not rows and where:
            _console.out(f"No model has {' and '.join(f'`{printable(one)}`' for one in where)}.")
        case _ if not rows:
            _console.out(f"No models are recorded in `{printable(store.name)}` yet. `ftspec status` shows the jobs.")
        case _:
            _table(rows)


def _pairs(words: Sequence[str]) -> dict[str, str]:
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"`{word}` is not NAME=VALUE", param_hint="--where")
        found[name] = value
    return found


def _table(rows: Sequence[TrainedModel]) -> None:
    cells = [
        (
            row.address,
            row.base_model,
            row.step,
            _figure(row, "train_loss"),
            _figure(row, "full_valid_loss", "valid_loss"),
            row.model,
            row.deployment,
            None if row.current else "replaced",
        )
        for row in rows
    ]
    headers = ("address", "base model", "step", "loss", "valid", "model", "deployment", "")
    used = [i for i, head in enumerate(headers) if any(row[i] is not None for row in cells) or head == "model"]
    _console.table([headers[i] for i in used], [[row[i] for i in used] for row in cells])


def _figure(row: TrainedModel, *names: str) -> str | None:
    """Return the first of these metrics that the engine told."""
    found = next((one for name in names if (one := row.metrics.get(name)) is not None), None)
    return None if found is None else f"{found:.4f}"


def _selected(select: Sequence[str], rows: list[TrainedModel], state: State) -> list[TrainedModel]:
    from ftspec.address import experiment_of
    from ftspec.planner.selectors import Candidate, select_from
    from ftspec.state.trained import NoModel

    there = {row.address for row in rows}
    for record in state.jobs.values():
        if record.address in select and record.address not in there and not record.forgotten:
            raise NoModel.of(record)
    candidates = [
        Candidate(
            address=row.address, experiment=experiment_of(row.address), engine=row.engine, key=row.key, status="succeeded", tags=row.tags
        )
        for row in rows
    ]
    addresses = select_from(select, candidates)
    return [row for row in rows if row.address in addresses]
