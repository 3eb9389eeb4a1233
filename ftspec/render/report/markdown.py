"""A report as a short Markdown page for a pull request, at most 65,000 characters. Pure.

Foreign text stands inside code spans that it cannot leave. What does not fit is counted and left
to the HTML page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from ftspec.printable import redacted
from ftspec.render.markdown import LIMIT, code
from ftspec.render.report.columns import grid
from ftspec.render.report.headline import actual, estimate, headline, p_text
from ftspec.render.words import count

if TYPE_CHECKING:
    from ftspec.render.report.values import EvalRow, EvalTable, Report

_FLAGS: Final = 12
_ROWS: Final = 40
_LONGEST: Final = 160
_MARKS: Final = {"problem": "**problem**", "warning": "**warning**", "note": "note"}


def to_markdown(report: Report) -> str:
    """Return the page."""
    text = ""
    for section in (_head(report), _flags(report), *map(_eval, report.evals), _jobs(report), _cost(report)):
        part = "\n".join(section)
        if part and len(text) + len(part) > LIMIT - 200:
            return text + "\nThere is more: `ftspec report` writes all of it.\n"
        text += part + "\n\n" if part else ""
    return text.rstrip("\n") + "\n"


def _head(report: Report) -> Iterator[str]:
    yield f"## Report: {_span(report.title)}"
    yield ""
    for fact in headline(report):
        yield f"- {_sentence(fact.title)}: **{_sentence(fact.value)}**" + (f" ({_sentence(fact.detail)})" if fact.detail else "")


def _flags(report: Report) -> Iterator[str]:
    notes = [(_MARKS[flag.severity], flag.sentence) for flag in report.flags] + [("missing", note) for note in report.notes]
    if not notes:
        return
    yield "### Look at"
    yield ""
    for mark, sentence in notes[:_FLAGS]:
        yield f"- {mark}: {_sentence(sentence)}"
    if len(notes) > _FLAGS:
        yield f"- and {len(notes) - _FLAGS} more in the HTML page"


def _eval(table: EvalTable) -> Iterator[str]:
    yield f"### {_span(f'{table.eval}: {table.grader}')}" + (" (simulated)" if table.simulated else "")
    yield ""
    rows = [_eval_cells(row, best=row == table.best) for row in table.rows]
    yield from _table(["model", "mean", "95 %", "against base", "won", "lost", "verdict"], "lrrrrrl", rows)


def _eval_cells(row: EvalRow, *, best: bool) -> list[str]:
    mean = "" if row.mean is None else f"{row.mean:.3f}"
    return [
        _cell(row.label) + (" (base)" if row.base else ""),
        f"**{mean}**" if best else mean,
        "" if row.low is None or row.high is None else f"{row.low:.2f} to {row.high:.2f}",
        "" if row.difference is None else f"{row.difference:+.3f}",
        "" if row.wins is None else str(row.wins),
        "" if row.losses is None else str(row.losses),
        ", ".join(part for part in (row.verdict, p_text(row.p)) if part),
    ]


def _jobs(report: Report) -> Iterator[str]:
    columns, same = grid(report.jobs, report.evals)
    shown = [column for column in columns if column.title in _FIGURES]
    yield f"### {count(len(report.jobs), 'job')}"
    yield ""
    if same:
        yield "The same for all: " + ", ".join(f"{_sentence(title)} {_span(value)}" for title, value in same)
        yield ""
    rows = [
        [_cell(one.address), one.status, *(column.cells[i].text for column in shown), _cell(one.model) if one.model else ""]
        for i, one in enumerate(report.jobs)
    ]
    heads = ["job", "status", *(column.title for column in shown), "model"]
    yield from _table(heads, "ll" + "r" * len(shown) + "l", rows)


_FIGURES: Final = frozenset({"train loss", "valid loss", "train reward", "valid reward", "best step", "cost"})


def _cost(report: Report) -> Iterator[str]:
    if any(one.actual or one.high or one.unknown for one in report.spent):
        yield "### Cost"
        yield ""
        rows = [
            [_cell(one.engine), one.what, str(one.count), estimate([one]) if one.what == "training" else "", actual(one)]
            for one in report.spent
        ]
        yield from _table(["engine", "what", "count", "estimated", "paid"], "llrrr", rows)


def _table(heads: Sequence[str], sides: str, rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'|'.join('---:' if side == 'r' else '---' for side in sides)}|"
    for row in rows[:_ROWS]:
        yield f"| {' | '.join(row)} |"
    if len(rows) > _ROWS:
        yield ""
        yield f"and {len(rows) - _ROWS} more rows in the HTML page"


def _cell(text: str) -> str:
    """Return foreign text as a code span that leaves neither its span nor its table cell."""
    return _span(text).replace("|", r"\|")


def _span(text: str) -> str:
    """Return foreign text as a code span that it cannot leave."""
    text = redacted(text)
    return code(text if len(text) <= _LONGEST else text[:_LONGEST] + "…")


_PLAIN: Final = re.compile(r"[\w .,:;+\-%()/=]*")


def _sentence(text: str) -> str:
    """Return a sentence of ours: names in backticks become code spans, words stay, anything odd is a span too."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return _span(text)
    return "".join(_span(piece) if i % 2 or not _PLAIN.fullmatch(piece) else _words(piece) for i, piece in enumerate(pieces))


def _words(text: str) -> str:
    """Return plain words: none of them is a link, a mention or a mark of Markdown."""
    return _span(text) if "://" in text or "www." in text else text.replace("_", r"\_")
