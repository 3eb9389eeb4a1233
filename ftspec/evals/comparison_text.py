"""Comparisons as text, JSON and CSV. Pure: a `Comparison` in, a string out.

Text gives the axes of a grid columns of their own below their experiment, so that tables of
usual grids fit 80 columns; it never cuts labels, shows foreign text printable, and ends with what
the figures cannot say.
JSON has a `format_version`. CSV has one line a row; cells that a spreadsheet would take for a
formula begin with an apostrophe.
"""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ftspec.address import axis_text, experiment_of
from ftspec.evals.compare import SEED_AXES, Comparison, Flip, Row, Table, p_text
from ftspec.printable import printable
from ftspec.render.style import style_for
from ftspec.render.table import table, width_of

FORMAT_VERSION: Final = 1
_LONGEST: Final = 160
WIDTH: Final = 80
_MODEL: Final = "model"


def to_text(comparison: Comparison, *, flipped: Mapping[str, Sequence[Flip]] | None = None, color: bool = False) -> str:
    """Return all tables with their notes; `flipped` are examples by a heading."""
    parts = [_table_text(one, color=color) for one in comparison.tables]
    first = {one.eval: one for one in reversed(comparison.tables)}
    parts += [_labels_text(one, color=color) for one in reversed(first.values()) if _labels_of(one.best)]
    for heading, examples in (flipped or {}).items():
        if examples:
            parts.append("\n".join([_wrapped(printable(heading), "  "), *(_flip_text(flip) for flip in examples)]))
    return "\n\n".join(parts)


def _table_text(one: Table, *, color: bool) -> str:
    n = max((row.n for row in one.rows), default=0)
    by = f", by {one.by}" if one.by else ""
    heading = f"{printable(one.eval)}: {printable(one.grader)} on {n} items, with 95 % intervals{by}"
    names, places = _names(one)
    notes = ["`vs base` is the difference of the means, and items won:lost"] if any(row.against for row in one.rows) else []
    spread = any(row.spread for row in one.rows)
    figures = _figures(one, seeds=spread)
    if spread and max(map(width_of, _beside(names, places, figures, color=False))) > WIDTH:
        figures = _figures(one, seeds=False)
        notes.append("`--full` shows every seed")
    lines = _beside(names, places, figures, color=color)
    wrapped = [_wrapped(f"  note: {printable(note)}", "        ") for note in [*notes, *one.notes]]
    return "\n".join([heading, "", *lines, *(["", *wrapped] if wrapped else [])])


def _names(one: Table) -> tuple[list[str], list[int]]:
    """Return what stands left of the figures, group by group, and at which of its lines the figures of each row stand."""
    groups: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for index, row in enumerate(one.rows):
        group, cells = _name(row, one.by)
        groups.setdefault(group, []).append((index, cells))
    lines: list[str] = []
    places = [0] * len(one.rows)
    for group, members in groups.items():
        columns = list(dict.fromkeys(name for _, cells in members for name in cells))
        lines.append(group + _runs_each([one.rows[index] for index, _ in members], one.by))
        if not columns:
            places[members[0][0]] = len(lines) - 1
            continue
        titles = ["" if name == _MODEL else name.removeprefix("method.hyperparameters.") for name in columns]
        block = table(titles, [[cells.get(name) for name in columns] for _, cells in members]).split("\n")
        first = 1 if columns == [_MODEL] else 0
        for offset, (index, _) in enumerate(members, start=1 - first):
            places[index] = len(lines) + offset
        lines += [f"  {line}" for line in block[first:]]
    return lines, places


def _name(row: Row, by: str | None) -> tuple[str, dict[str, Any]]:
    """Return the group of a row, and its cells there: axis values where its label is made of them, else the label."""
    if row.is_base:
        return "base", {_MODEL: row.label}
    run = row.runs[0]
    if by is not None and row.label == f"{by}={row.axis}":
        return f"by {printable(by)}", {_MODEL: row.label}
    label, step = (row.label, {}) if run.step is None else (row.label.removesuffix(f"@{run.step}"), {"step": run.step})
    for axes in (run.axes, {name: value for name, value in run.axes.items() if name not in SEED_AXES}):
        cell = ",".join(f"{axis}={axis_text(value)}" for axis, value in axes.items())
        if run.address is not None and label == experiment_of(run.address) + (f"/{cell}" if cell else ""):
            return printable(experiment_of(run.address)), {**{axis: _value(value) for axis, value in axes.items()}, **step}
    return "models", {_MODEL: row.label}


def _value(value: Any) -> Any:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else axis_text(value)


def _runs_each(rows: Sequence[Row], by: str | None) -> str:
    counts = sorted({len(row.runs) for row in rows})
    if counts == [1]:
        return ""
    return ", " + " to ".join(str(one) for one in dict.fromkeys([counts[0], counts[-1]])) + (" jobs each" if by else " seeds")


def _figures(one: Table, *, seeds: bool) -> list[str]:
    """Return the header of the figures, and a line for each row."""
    cost, tested = any(row.cost for row in one.rows), any(row.against for row in one.rows)
    headers = ["mean", "95 %", *([("jobs" if one.by else "seeds")] if seeds else []), *(["vs base", "verdict", "p"] if tested else [])]
    lines = []
    for row in one.rows:
        cells: list[object] = [number(row.mean), _range(row.low, row.high)]
        if seeds:
            cells.append(_range(*row.spread) if row.spread else "")
        if tested:
            against = row.against
            cells.append(f"{against.difference:+.2f} {against.wins}:{against.losses}" if against else "")
            cells += [row.verdict, p_text(row.p).removeprefix("p ").replace("< ", "<") if against and row.p is not None else ""]
        if cost:
            cells.append("" if row.cost is None else f"{row.cost:.4f}")
        lines.append(cells)
    return table([*headers, *(["cost"] if cost else [])], lines).split("\n")


def _beside(names: Sequence[str], places: Sequence[int], figures: Sequence[str], *, color: bool) -> list[str]:
    """Return names and figures next to each other, the header of the figures above all."""
    style = style_for(color=color)
    room = max((width_of(name) for name in names), default=0) + 2
    at = dict(zip(places, figures[1:], strict=True))
    lines = [" " * room + style(figures[0], "strong")]
    for index, name in enumerate(names):
        shown = name if index in at else style(name, "strong")
        lines.append((shown + " " * (room - width_of(name)) + at.get(index, "")).rstrip())
    return lines


def _wrapped(line: str, indent: str) -> str:
    return textwrap.fill(line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def number(value: float | None) -> str:
    """Return a score with two digits."""
    return "" if value is None else f"{value:.2f}"


def _range(low: float | None, high: float | None) -> str:
    missing = low is None or high is None or low != low or high != high  # noqa: PLR0124 NaN alone differs from itself
    return "" if missing else f"{low:.2f}-{high:.2f}"


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
    lines = [_wrapped(f"  {'won ' if flip.won else 'lost'}  {_cut(flip.question)}", "        ")]
    lines += [
        _wrapped(f"        {name:<9} {_cut(text)}", " " * 18)
        for name, text in (("reference", flip.reference), ("base", flip.base), ("tuned", flip.tuned))
    ]
    return "\n".join(lines)


def _cut(text: str) -> str:
    line = printable(" ".join(text.split())) or "(empty)"
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def to_json(comparison: Comparison, *, flipped: Mapping[str, Sequence[Flip]] | None = None) -> str:
    """Return the comparison as JSON, with a line feed at the end."""
    from ftspec.render.json import dumps

    value: dict[str, Any] = {"format_version": FORMAT_VERSION, "tables": [_table_value(one) for one in comparison.tables]}
    if flipped:
        names = ("item", "won", "question", "reference", "base", "tuned")
        value["flipped"] = {
            heading: [{name: getattr(flip, name) for name in names} for flip in examples] for heading, examples in flipped.items()
        }
    return dumps(value)


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
