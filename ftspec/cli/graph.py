"""Draw what depends on what, as Mermaid or Graphviz text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ftspec.cli import _console
from ftspec.cli._options import project_options

if TYPE_CHECKING:
    from ftspec.pipeline.project import Project


@click.command()
@project_options
@click.option("--mermaid", "form", flag_value="mermaid", default="mermaid", help="Mermaid, which GitHub and GitLab draw (default).")
@click.option("--dot", "form", flag_value="dot", help="Graphviz.")
@click.option("--jobs", is_flag=True, help="One node per job instead of one per experiment.")
def command(project: Project, *, form: str, jobs: bool) -> None:
    r"""Draw what depends on what: datasets, experiments, evals.

    \b
        ftspec graph > graph.mmd
        ftspec graph --dot --jobs | dot -Tsvg > graph.svg
    """
    from ftspec.pipeline.planning import load
    from ftspec.render.graph import graph_of, to_dot, to_mermaid

    loaded = load(project)
    _console.show(loaded.diagnostics)
    graph = graph_of(loaded.spec, jobs=jobs)
    _console.out(to_dot(graph) if form == "dot" else to_mermaid(graph))
