"""Tables of plain text, for terminals and logs.

Cells are made printable; widths are those of a terminal (East Asian characters take two
columns, combining marks none). The table is as wide as its content: a cell is never cut, because
people copy addresses and model names.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from ftspec.printable import printable
from ftspec.render.style import Style, plain


def width_of(text: str) -> int:
    """Return how many columns a terminal needs for `text`."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def table(
    headers: Sequence[str], rows: Sequence[Sequence[object]], *, style: Style = plain, right: Sequence[str] = (), gap: str = "  "
) -> str:
    """Return rows under headers as aligned columns; columns named in `right` are right-aligned. `None` is an empty cell."""
    cells = [[printable("" if cell is None else str(cell)) for cell in row] for row in rows]
    widths = [max([width_of(head), *(width_of(row[i]) for row in cells)]) for i, head in enumerate(headers)]
    to_right = [head in right for head in headers]
    lines = [style(_line(list(headers), widths, to_right, gap), "strong")]
    lines += [_line(row, widths, to_right, gap) for row in cells]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str], widths: Sequence[int], to_right: Sequence[bool], gap: str) -> str:
    padded = []
    for cell, width, right in zip(cells, widths, to_right, strict=True):
        space = " " * (width - width_of(cell))
        padded.append(space + cell if right else cell + space)
    return gap.join(padded).rstrip()
