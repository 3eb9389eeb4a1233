"""Make the lockfile again from specs and state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ftspec.cli import _console
from ftspec.cli._options import project_options

if TYPE_CHECKING:
    from ftspec.pipeline.project import Project


@click.command()
@project_options
@click.option("--check", is_flag=True, help="Write nothing; exit 3 unless the lockfile is what specs and state give.")
def command(project: Project, *, check: bool) -> None:
    r"""Make the lockfile again from specs and state, also over conflict markers.

    \b
        ftspec lock
        ftspec lock --check
    """
    from ftspec.pipeline.locking import check_lockfile, write_lockfile
    from ftspec.pipeline.planning import load, make_plan, want

    planned = make_plan(project, wanted=want(load(project)))
    _console.show(planned.diagnostics)
    name = project.relative(project.lockfile)
    if check:
        check_lockfile(planned)
        _console.out(f"{name} is up to date")
    else:
        _console.out(f"wrote {name}" if write_lockfile(planned.wanted, planned.state) else f"{name} is up to date")
