"""Show what is missing, why, and what it costs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from ftspec.actions import LaunchJob
from ftspec.cli import _console
from ftspec.cli._options import project_options

if TYPE_CHECKING:
    from ftspec.actions import Plan
    from ftspec.pipeline.planning import PlanOptions
    from ftspec.pipeline.project import Project

CHANGES = 2
IN_DOUBT = 4
REFUSED = 5
STALE = 3


def plan_options(command: Any) -> Any:
    """Add the options that shape a plan; they arrive as one `PlanOptions` named `options`."""
    import functools

    @functools.wraps(command)
    def call(
        *args: Any,
        targets: tuple[str, ...],
        exclude: tuple[str, ...],
        replace: tuple[str, ...],
        retry_failed: str | None,
        sample: int | None,
        **rest: Any,
    ) -> Any:
        from ftspec.pipeline.planning import PlanOptions

        options = PlanOptions(
            targets=targets, exclude=exclude, replace=replace, retry_failed=(retry_failed,) if retry_failed else (), sample=sample
        )
        return command(*args, options=options, **rest)

    for option in reversed(
        (
            click.option(
                "--target",
                "targets",
                multiple=True,
                metavar="SELECT",
                help="Only these jobs and their parents (address glob, tag:k=v, ...).",
            ),
            click.option("--exclude", multiple=True, metavar="SELECT", help="Leave out these jobs and their children."),
            click.option("--replace", multiple=True, metavar="SELECT", help="Buy these jobs again although they are recorded."),
            click.option(
                "--retry-failed",
                is_flag=False,
                flag_value="*",
                metavar="[SELECT]",
                help="Try failed and cancelled jobs again (all, or those selected).",
            ),
            click.option(
                "--sample",
                type=click.IntRange(min=1),
                metavar="N",
                help="Train on the first N rows of every dataset only (other keys, other jobs).",
            ),
        )
    ):
        call = option(call)
    return call


@click.command()
@click.argument("select", nargs=-1, metavar="[SELECT]...")
@project_options
@plan_options
@click.option("--full", is_flag=True, help="Unfold folded cells and reused jobs.")
@click.option("--format", "form", type=click.Choice(["text", "json", "markdown"]), default="text", show_default=True)
@click.option("--json", "form", flag_value="json", help="Short for --format json.")
@click.option("-o", "--out", "saved", metavar="FILE", help="Save the plan for `ftspec apply FILE`.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when there is something to do, 4 when a launch is in doubt.")
@click.option("--locked", is_flag=True, help="Exit 3 unless the lockfile is what specs and state give.")
@click.option("--refresh", is_flag=True, help="Ask the engines first (needs keys and network).")
def command(  # noqa: PLR0913 click passes each option
    project: Project,
    select: tuple[str, ...],
    *,
    options: PlanOptions,
    full: bool,
    form: str,
    saved: str | None,
    detailed_exitcode: bool,
    locked: bool,
    refresh: bool,
) -> None:
    r"""Show what is missing, why, and what it costs. Buys nothing.

    Needs no key and no network, and runs nothing from the project. SELECT is short for
    `--target SELECT`.

    \b
        ftspec plan
        ftspec plan 'triage/*' --format markdown
        ftspec plan --detailed-exitcode -o plan.json && ftspec apply plan.json
    """
    from ftspec.cli._data._progress import bar
    from ftspec.pipeline.planning import make_plan

    options = replace(options, targets=(*options.targets, *select))
    if refresh:
        from ftspec.pipeline.refreshing import refreshed_plan

        planned = refreshed_plan(project, options)
    else:
        planned = make_plan(project, options, watch=bar)
    _console.show(planned.diagnostics)
    show_plan(planned.plan, form=form, full=full)
    local = {name for name, entry in planned.wanted.spec.engines.items() if entry.type == "local"}
    if any(isinstance(action, LaunchJob) and action.job.engine in local for action in planned.plan.actions):
        from ftspec.pipeline.local_notes import local_notes

        for line in local_notes(planned):
            _console.talk(line)
    if saved is not None:
        from ftspec.pipeline.applying import request_of
        from ftspec.planner.saved import save

        Path(saved).write_bytes(save(planned.plan, planned.state, request_of=request_of(planned)))
        _console.talk(f"saved to {saved}\n\n    ftspec apply {saved}")
    if locked:
        from ftspec.pipeline.locking import check_lockfile

        check_lockfile(planned)
    if any(not verdict.ok for verdict in planned.plan.verdicts):
        _console.stop(REFUSED)
    if detailed_exitcode and planned.plan.in_doubt:
        _console.stop(IN_DOUBT)
    if detailed_exitcode and not planned.plan.empty:
        _console.stop(CHANGES)


def show_plan(plan: Plan, *, form: str = "text", full: bool = False) -> None:
    """Write a plan to stdout."""
    if form == "json":
        from ftspec.render.json import to_json

        _console.out_raw(to_json(plan))
    elif form == "markdown":
        from ftspec.render.markdown import to_markdown

        _console.out_raw(to_markdown(plan))
    else:
        from ftspec.render.text import to_text

        _console.out(to_text(plan, full=full, color=_console.colour(), width=_width()))


def _width() -> int:
    asked = os.environ.get("COLUMNS", "")
    return _console.width() or (max(60, min(int(asked) or 80, 120)) if asked.isdecimal() else 80)
