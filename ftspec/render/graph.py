"""A spec as a graph: datasets into experiments (or jobs), those into each other and into evals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.experiment import DesiredJob, Spec

Kind = Literal["dataset", "job", "eval"]
_SHAPES: dict[Kind, tuple[str, str]] = {"dataset": ("[(", ")]"), "job": ("[", "]"), "eval": ("{{", "}}")}
_DOT_SHAPES: dict[Kind, str] = {"dataset": "cylinder", "job": "box", "eval": "hexagon"}


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes by name (kind and label, in order) and edges between names."""

    nodes: dict[str, tuple[Kind, str]]
    edges: tuple[tuple[str, str], ...]


def graph_of(spec: Spec, *, jobs: bool = False) -> Graph:
    """Return the graph of a spec: a node per experiment with its number of jobs, or one per job."""
    nodes: dict[str, tuple[Kind, str]] = {}
    edges: dict[tuple[str, str], None] = {}
    counts: dict[str, int] = {}
    experiment_of = {job.address: job.experiment for job in spec.jobs}
    for job in spec.jobs:
        counts[job.experiment] = counts.get(job.experiment, 0) + 1

    def node_of(address: str) -> str:
        return f"job {address}" if jobs else f"job {experiment_of.get(address, address)}"

    def dataset(ref: str) -> str:
        nodes.setdefault(f"dataset {ref}", ("dataset", ref))
        return f"dataset {ref}"

    for job in spec.jobs:
        for ref in (job.train, job.validation):
            if ref:
                edges.setdefault((dataset(ref), node_of(job.address)))
        label = job.address if jobs else _experiment_label(job, counts[job.experiment])
        nodes.setdefault(node_of(job.address), ("job", label))
        for parent in job.parents:
            edges.setdefault((node_of(parent), node_of(job.address)))
        for name in job.evals:
            nodes.setdefault(f"eval {name}", ("eval", name))
            edges.setdefault((node_of(job.address), f"eval {name}"))
    for name, one in spec.evals.items():
        if f"eval {name}" in nodes:
            edges.setdefault((dataset(one.dataset), f"eval {name}"))
    return Graph(nodes, tuple(edges))


def _experiment_label(job: DesiredJob, count: int) -> str:
    return f"{job.experiment} ({count} job{'s' if count != 1 else ''})"


def to_mermaid(graph: Graph) -> str:
    """Return Mermaid flowchart text."""
    ids = {name: f"n{number}" for number, name in enumerate(graph.nodes)}
    lines = ["flowchart LR"]
    for name, (kind, label) in graph.nodes.items():
        before, after = _SHAPES[kind]
        lines.append(f'  {ids[name]}{before}"{_entity(label)}"{after}')
    lines += [f"  {ids[start]} --> {ids[end]}" for start, end in graph.edges]
    return "\n".join(lines)


def to_dot(graph: Graph) -> str:
    """Return Graphviz text."""
    ids = {name: f"n{number}" for number, name in enumerate(graph.nodes)}
    lines = ["digraph ftspec {", "  rankdir=LR;"]
    for name, (kind, label) in graph.nodes.items():
        text = printable(label).replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'  {ids[name]} [shape={_DOT_SHAPES[kind]}, label="{text}"];')
    lines += [f"  {ids[start]} -> {ids[end]};" for start, end in graph.edges]
    return "\n".join([*lines, "}"])


def _entity(text: str) -> str:
    """Return a label in which no character means anything to Mermaid."""
    return "".join(char if char.isalnum() or char in " /=,._-()" else f"#{ord(char)};" for char in printable(text))
