"""Write a report of jobs, curves, evals and costs as one HTML file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ftspec.cli import _console
from ftspec.cli._options import project_options

if TYPE_CHECKING:
    from pathlib import Path

    from ftspec.pipeline.project import Project
    from ftspec.render.report.values import Report


@click.command()
@click.argument("select", nargs=-1, metavar="[SELECT]...")
@project_options
@click.option(
    "-o", "--output", metavar="FILE", help="Where to write (default: report.html, report.ipynb; Markdown: stdout). `-` is stdout."
)
@click.option("--markdown", "form", flag_value="markdown", help="A short page for a pull request instead.")
@click.option("--ipynb", "form", flag_value="ipynb", help="A notebook instead, with the figures in it.")
@click.option("--offline", is_flag=True, help="Ask no engine: only curves that are on this machine already.")
@click.option(
    "--examples",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    metavar="N",
    help="Won and lost examples of the best model. They show rows of the eval's dataset; 0 shows none.",
)
def command(project: Project, *, select: tuple[str, ...], output: str | None, form: str | None, offline: bool, examples: int) -> None:
    r"""Write a report of jobs, curves, evals and costs as one HTML file.

    SELECT are addresses, globs, `experiment:x`, `tag:k=v`, `status:succeeded` or keys; without
    one, all jobs of the spec. Curves are asked of the engines once and kept below
    `.ftspec/results`. Equal state gives equal bytes.

    \b
        ftspec report
        ftspec report 'triage/*seed=1' -o triage.html
        ftspec report --markdown >> "$GITHUB_STEP_SUMMARY"
    """
    from ftspec.pipeline.planning import load, state_of, want
    from ftspec.pipeline.reporting import collect

    wanted = want(load(project))
    state, odd = state_of(project, wanted.spec).read()
    _console.show(odd)
    report = collect(wanted, state, select=select, offline=offline, examples=examples)
    for note in report.notes:
        _console.warn(note)
    text = _rendered(report, form)
    where = output or {"markdown": "-", "ipynb": "report.ipynb"}.get(form or "", "report.html")
    if where == "-":
        _console.out_raw(text)
        return
    path = project.root / where
    _write(path, where, text)
    _console.out(project.relative(path))


def _rendered(report: Report, form: str | None) -> str:
    match form:
        case "markdown":
            from ftspec.render.report.markdown import to_markdown

            return to_markdown(report)
        case "ipynb":
            from ftspec.render.report.notebook import to_notebook

            return to_notebook(report)
        case _:
            from ftspec.render.report.html import to_html

            return to_html(report)


def _write(path: Path, name: str, text: str) -> None:
    """Write a whole file or nothing."""
    from ftspec.diagnostics import FtspecError
    from ftspec.printable import printable

    if path.is_dir() or not path.parent.is_dir():
        raise FtspecError(f"`{printable(name)}` cannot be written", help="`-o` takes the name of a file in a folder that exists")
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
