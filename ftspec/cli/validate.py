"""Check specs and their datasets, and show every problem at once."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from ftspec.cli import _console
from ftspec.cli._options import project_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ftspec.diagnostics import Diagnostic
    from ftspec.pipeline.project import Project

PROBLEMS = 1


@click.command()
@project_options
@click.option("--format", "form", type=click.Choice(["text", "json", "sarif", "github"]), default="text", show_default=True)
@click.option("--json", "form", flag_value="json", help="Short for --format json.")
@click.option("--strict", is_flag=True, help="Exit 1 for warnings too.")
def command(project: Project, *, form: str, strict: bool) -> None:
    r"""Check specs and their datasets, and show every problem at once.

    Needs no key and no network, and runs nothing from the project. Exit 1 when there are errors.

    \b
        ftspec validate
        ftspec validate --format github
        ftspec validate -f specs/tone.yaml --strict
    """
    from ftspec.cli._data._progress import bar
    from ftspec.diagnostics import has_errors
    from ftspec.pipeline.planning import InvalidSpec, load, want

    summary = ""
    try:
        wanted = want(load(project), buying=True, watch=bar)
    except InvalidSpec as stop:
        found: Sequence[Diagnostic] = stop.diagnostics
    else:
        found = wanted.diagnostics
        experiments = len({job.job.experiment for job in wanted.jobs})
        summary = f"valid: {_count(len(wanted.jobs), 'job')} of {_count(experiments, 'experiment')}"
    _show(found, form)
    if form == "text" and summary:
        _console.out(summary)
    if has_errors(found) or (strict and any(one.severity == "warning" for one in found)):
        _console.stop(PROBLEMS)


def _show(found: Sequence[Diagnostic], form: str) -> None:
    from ftspec import __version__
    from ftspec.render import diagnostics as render

    if form == "text":
        if found:
            _console.out(render.to_text(found, color=_console.colour(sys.stdout), width=_console.width()))
    elif form == "sarif":
        _console.out_raw(render.to_sarif(found, version=__version__))
    else:
        _console.out_raw({"json": render.to_json, "github": render.to_github}[form](found))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
