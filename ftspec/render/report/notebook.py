"""A report as a notebook that opens and runs anywhere: its figures are in it, tables are text, charts need matplotlib.

The code cells need nothing but Python. Only the last one asks for ftspec, to use the models. The
bytes are the same for equal reports: cells have fixed ids, and no outputs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from ftspec.printable import printable, redacted
from ftspec.render.json import harmless
from ftspec.render.report.curves import smoothed, thinned
from ftspec.render.report.markdown import to_markdown

if TYPE_CHECKING:
    from ftspec.render.report.values import EvalRow, Points, Report, ReportJob

_POINTS: Final = 200

_TABLES: Final = '''\
def table(rows, columns):
    """Print rows as columns."""
    cells = [columns, *([f"{row[c]:.4f}" if isinstance(row[c], float) else str("" if row[c] is None else row[c]) for c in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


table(report["jobs"], ["address", "status", "train_loss", "valid_loss", "trained_tokens", "model"])'''

_CURVES: Final = """\
try:
    import matplotlib.pyplot as plt
except ImportError:
    print("For charts: pip install matplotlib")
else:
    # Simulated engines are toys: their curves never share a chart with other engines'.
    for group in dict.fromkeys((job["experiment"], job["simulated"]) for job in report["jobs"]):
        jobs = [job for job in report["jobs"] if (job["experiment"], job["simulated"]) == group and any(job["curves"].values())]
        if not jobs:
            continue
        columns = min(4, len(jobs))
        rows = -(-len(jobs) // columns)
        figure, axes = plt.subplots(rows, columns, figsize=(4 * columns, 2.8 * rows), sharey=True, squeeze=False)
        for place in axes.flat[len(jobs):]:
            place.axis("off")
        for job, place in zip(jobs, axes.flat):
            for name, style in (("train", {"alpha": 0.3}), ("train_smoothed", {}), ("valid", {"alpha": 0.3}), ("valid_smoothed", {"linestyle": "--"}), ("full_valid", {"marker": "D"})):
                if job["curves"][name]:
                    place.plot(*zip(*job["curves"][name]), label=name.replace("_", " "), **style)
            for step in job["checkpoints"]:
                place.axvline(step, color="grey", linestyle=":", linewidth=0.8)
            place.set_title(job["address"], fontsize=8)
        axes.flat[0].legend(fontsize=7)
        figure.suptitle(group[0] + (" (simulated)" if group[1] else ""))
        figure.tight_layout()
    plt.show()"""

_EVALS: Final = """\
for one in report["evals"]:
    print(f"{one['eval']}: {one['grader']}" + (" (simulated)" if one["simulated"] else ""))
    table(one["rows"], ["label", "mean", "low", "high", "n", "difference", "p", "verdict"])
    print()"""

_MODELS: Final = """\
# The models, from the lockfile and state of the project, when this runs in its folder.
try:
    import ftspec

    for row in ftspec.models():
        print(row)
except Exception as error:  # not in the project's folder
    print(f"ftspec: {error}")"""


def to_notebook(report: Report) -> str:
    """Return the notebook (nbformat 4.5)."""
    data = json.dumps(_clean(_data(report)), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    load = f"import json\n\n# Everything that the report says. It is data: nothing in it is run.\nreport = json.loads({data!r})\nprint(len(report['jobs']), 'jobs')"
    cells = [
        _cell(0, "markdown", to_markdown(report)),
        *(_cell(i, "code", source) for i, source in enumerate((load, _TABLES, _CURVES, _EVALS, _MODELS), 1)),
    ]
    notebook = {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return harmless(json.dumps(notebook, indent=1)) + "\n"


def _cell(number: int, kind: str, source: str) -> dict[str, Any]:
    lines = source.splitlines(keepends=True)
    found: dict[str, Any] = {"cell_type": kind, "id": f"ftspec-{number}", "metadata": {}, "source": lines}
    return found | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def _clean(value: Any) -> Any:
    """Return JSON with foreign text printable and without keys."""
    match value:
        case str():
            return printable(redacted(value), newlines=True)
        case dict():
            return {_clean(name): _clean(member) for name, member in value.items()}
        case list():
            return [_clean(member) for member in value]
        case _:
            return value


def _data(report: Report) -> dict[str, Any]:
    return {
        "title": report.title,
        "as_of": report.as_of,
        "jobs": [_job(one) for one in report.jobs],
        "evals": [
            {"eval": table.eval, "grader": table.grader, "simulated": table.simulated, "rows": [_row(row) for row in table.rows]}
            for table in report.evals
        ],
        "flags": [{"kind": flag.kind, "severity": flag.severity, "sentence": flag.sentence} for flag in report.flags],
    }


def _job(one: ReportJob) -> dict[str, Any]:
    curves = one.curves
    return {
        "address": one.address,
        "experiment": one.job.experiment,
        "key": one.key,
        "engine": one.job.engine,
        "simulated": one.simulated,
        "status": one.status,
        "axes": dict(one.job.axes),
        "train_loss": one.metric("train_loss"),
        "valid_loss": one.metric("full_valid_loss", "valid_loss"),
        "trained_tokens": one.attempt.trained_tokens if one.attempt is not None else None,
        "cost": one.attempt.cost if one.attempt is not None else None,
        "model": one.model,
        "checkpoints": [checkpoint.step for checkpoint in one.checkpoints],
        "curves": {
            "train": _points(curves.train),
            "train_smoothed": _points(smoothed(curves.train)),
            "valid": _points(curves.valid),
            "valid_smoothed": _points(smoothed(curves.valid)),
            "full_valid": _points(curves.full),
        },
    }


def _points(points: Points) -> list[list[float]]:
    return [[step, round(value, 5)] for step, value in thinned(points, _POINTS)]


def _row(row: EvalRow) -> dict[str, Any]:
    names = ("label", "base", "mean", "low", "high", "n", "difference", "wins", "losses", "ties", "p", "verdict")
    return {name: getattr(row, name) for name in names} | {"seeds": [[label, mean] for label, mean in row.seeds]}
