"""Comparisons as text, JSON and CSV. Pure: a `Comparison` in, a string out.

Text never cuts labels, shows foreign text printable, and ends with what the figures cannot say.
JSON has a `format_version`. CSV has one line a row; cells that a spreadsheet would take for a
formula begin with an apostrophe.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ftspec.evals.compare import Comparison, Flip, Row, Table, p_text
from ftspec.printable import printable
from ftspec.render.table import table

FORMAT_VERSION: Final = 1
_LONGEST: Final = 160


def to_text(comparison: Comparison, *, flipped: Mapping[str, Sequence[Flip]] | None = None, color: bool = False) -> str:
    """Return all tables with their notes; `flipped` are examples by a heading."""
    parts = [_table_text(one, color=color) for one in comparison.tables]
    first = {one.eval: one for one in reversed(comparison.tables)}
    parts += [_labels_text(one, color=color) for one in reversed(first.values()) if _labels_of(one.best)]
    for heading, examples in (flipped or {}).items():
        if examples:
            parts.append("\n".join([printable(heading), *(_flip_text(flip) for flip in examples)]))
    return "\n\n".join(parts)


def _table_text(one: Table, *, color: bool) -> str:
    n = max((row.n for row in one.rows), default=0)
    by = f", by {one.by}" if one.by else ""
    heading = f"{printable(one.eval)}: {printable(one.grader)} on {n} items, with 95 % intervals{by}"
    seeds, cost = any(row.spread for row in one.rows), any(row.cost for row in one.rows)
    headers = ["model", "mean", "95 %", *(["seeds"] if seeds else []), "vs base", "won", "lost", "verdict", *(["cost"] if cost else [])]
    rows = []
    for row in one.rows:
        against = row.against
        cells: list[object] = [f"{row.label} (base)" if row.is_base else row.label, number(row.mean), _range(row.low, row.high)]
        if seeds:
            cells.append(f"{len(row.runs)}: {_range(*row.spread)}" if row.spread else "")
        cells += [f"{against.difference:+.2f}" if against else "", against.wins if against else None, against.losses if against else None]
        cells.append(f"{row.verdict}, {p_text(row.p)}" if against and row.p is not None else "")
        if cost:
            cells.append("" if row.cost is None else f"{row.cost:.4f}")
        rows.append(cells)
    notes = [f"  note: {printable(note)}" for note in one.notes]
    return "\n".join([heading, "", table(headers, rows, color=color), *(["", *notes] if notes else [])])


def number(value: float | None) -> str:
    """Return a score with two digits."""
    return "" if value is None else f"{value:.2f}"


def _range(low: float | None, high: float | None) -> str:
    missing = low is None or high is None or low != low or high != high  # noqa: PLR0124 NaN alone differs from itself
    return "" if missing else f"{low:.2f} to {high:.2f}"


def _labels_of(row: Row | None) -> Mapping[str, Any] | None:
    return row.runs[0].measured.labels if row is not None else None


def _labels_text(one: Table, *, color: bool) -> str:
    """Return the label metrics of every row, and the confusion matrix of the best one."""
    rows = []
    for row in one.rows:
        all_labels = [run.measured.labels for run in row.runs if run.measured.labels]
        if all_labels:
            accuracy, macro = (sum(labels[name] for labels in all_labels) / len(all_labels) for name in ("accuracy", "macro_f1"))
            rows.append([row.label, number(accuracy), number(macro)])
    best = one.best
    labels = _labels_of(best) or {}
    confusion = labels.get("confusion", {})
    columns = list(next(iter(confusion.values()), {}))
    matrix = table(
        ["is \\ said", *columns], [[label, *(cells[column] for column in columns)] for label, cells in confusion.items()], color=color
    )
    summary = table(["model", "accuracy", "macro F1"], rows, color=color)
    title = f"confusion of {printable(best.runs[0].label)}" if best else ""
    return "\n".join([f"{printable(one.eval)}: labels", "", summary, "", title, "", matrix])


def _flip_text(flip: Flip) -> str:
    lines = [f"  {'won ' if flip.won else 'lost'}  {_cut(flip.question)}"]
    lines += [
        f"        {name:<9} {_cut(text)}" for name, text in (("reference", flip.reference), ("base", flip.base), ("tuned", flip.tuned))
    ]
    return "\n".join(lines)


def _cut(text: str) -> str:
    line = printable(" ".join(text.split())) or "(empty)"
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def to_json(comparison: Comparison, *, flipped: Mapping[str, Sequence[Flip]] | None = None) -> str:
    """Return the comparison as JSON, with a line feed at the end."""
    value: dict[str, Any] = {"format_version": FORMAT_VERSION, "tables": [_table_value(one) for one in comparison.tables]}
    if flipped:
        names = ("item", "won", "question", "reference", "base", "tuned")
        value["flipped"] = {
            heading: [{name: getattr(flip, name) for name in names} for flip in examples] for heading, examples in flipped.items()
        }
    return json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def _table_value(one: Table) -> dict[str, Any]:
    return {
        "eval": one.eval,
        "grader": one.grader,
        "by": one.by,
        "rows": [{**_row_value(row), "runs": [_run_value(run) for run in row.runs]} for row in one.rows],
        "notes": list(one.notes),
    }


def _run_value(run: Any) -> dict[str, Any]:
    return {
        "key": run.key,
        "model": run.model,
        "address": run.address,
        "step": run.step,
        "axes": dict(run.axes),
        "counts": dict(run.measured.counts),
        "labels": dict(run.measured.labels) if run.measured.labels else None,
    }


def _row_value(row: Row) -> dict[str, Any]:
    """Return the figures of a row; the columns of the CSV are the same."""
    against = row.against
    return {
        "label": row.label,
        "base": row.is_base,
        "mean": _finite(row.mean),
        "low": _finite(row.low),
        "high": _finite(row.high),
        "items": row.n,
        "ungraded": row.ungraded,
        "seeds": len(row.runs),
        "seed_low": row.spread[0] if row.spread else None,
        "seed_high": row.spread[1] if row.spread else None,
        "difference": _finite(against.difference) if against else None,
        "difference_low": _finite(against.low) if against else None,
        "difference_high": _finite(against.high) if against else None,
        "won": against.wins if against else None,
        "lost": against.losses if against else None,
        "tied": against.ties if against else None,
        "test": against.method if against else None,
        "p": _finite(against.p) if against else None,
        "p_holm": _finite(row.p),
        "verdict": row.verdict or None,
        "cost": _finite(row.cost),
    }


def _finite(value: float | None) -> float | None:
    missing = value is None or value != value  # noqa: PLR0124 NaN alone differs from itself
    return None if missing or value is None else round(value, 6)


def to_csv(comparison: Comparison) -> str:
    """Return one line a row, all tables below each other."""
    out = io.StringIO()
    writer: Any = None
    for one in comparison.tables:
        for row in one.rows:
            cells = {"eval": _cell(one.eval), "grader": _cell(one.grader), **_row_value(row)}
            cells["label"] = _cell(row.label)
            if writer is None:
                writer = csv.DictWriter(out, cells, lineterminator="\n")
                writer.writeheader()
            writer.writerow(cells)
    return out.getvalue()


def _cell(text: str) -> str:
    text = printable(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
