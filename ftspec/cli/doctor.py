"""Check keys, addresses, clocks, tokenizers, state and limits before money is spent."""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING

import click

from ftspec.cli import _console
from ftspec.cli._options import project_options
from ftspec.printable import redacted

if TYPE_CHECKING:
    from ftspec.pipeline.checkup import Finding
    from ftspec.pipeline.project import Project


@click.command()
@project_options(need_spec=False)  # type: ignore[untyped-decorator]
@click.option(
    "--online", is_flag=True, help="Ask every engine that the spec uses: does it answer, what time is it, what does each key see?"
)
@click.option("--json", "as_json", is_flag=True, help="The findings as JSON.")
def command(project: Project, *, online: bool, as_json: bool) -> None:
    r"""Check keys, addresses, clocks, tokenizers, state and limits before money is spent.

    Opens no connection without --online, buys nothing, shows no key. Exit 1 if something
    must be put right.

    \b
        ftspec doctor
        ftspec doctor --online
    """
    from ftspec.pipeline.checkup import Level, examine

    findings = list(examine(project, environ=os.environ, now=dt.datetime.now(dt.UTC), online=online))
    if as_json:
        from ftspec.render.json import dumps

        _console.out_raw(dumps({"format_version": "1.0", "findings": [_plain(finding) for finding in findings]}))
    else:
        _show(findings)
    if any(finding.level is Level.FAILED for finding in findings):
        _console.stop(1)


def _plain(finding: Finding) -> dict[str, str | None]:
    return {"level": finding.level, "about": finding.about, "message": redacted(finding.message), "help": finding.help}


def _show(findings: list[Finding]) -> None:
    from ftspec.render.paragraph import paragraph

    levels = max(len(finding.level) for finding in findings)
    subjects = max(len(finding.about) for finding in findings)
    indent = levels + 2 + subjects + 2
    for finding in findings:
        said = paragraph(redacted(finding.message), _console.width(), first=indent, rest=indent)
        _console.out(f"{finding.level:<{levels}}  {finding.about:<{subjects}}  {said}")
        if finding.help is not None and finding.level != "ok":
            fix = paragraph(redacted(finding.help), _console.width(), first=indent + 8, rest=indent + 8)
            _console.out(f"{'':<{indent}}= help: {fix}")
