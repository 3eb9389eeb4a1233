"""Tables of plain text, for terminals and logs.

Cells are made printable; widths are those of a terminal (East Asian characters take two
columns, combining marks none). A cell is never cut, because people copy addresses and model names:
where a width is given and the columns do not fit, those at the end go on below. Like all text of
`render`, it has no line feed at its end.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from ftspec.printable import printable
from ftspec.render.style import style_for


def width_of(text: str) -> int:
    """Return how many columns a terminal needs for `text`."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def table(
    headers: Sequence[str], rows: Sequence[Sequence[object]], *, color: bool = False, gap: str = "  ", width: int | None = None
) -> str:
    """Return rows under headers as aligned columns, columns of numbers to the right. `None` is an empty cell."""
    style = style_for(color=color)
    cells = [[printable("" if cell is None else str(cell)) for cell in row] for row in rows]
    widths = [max([width_of(head), *(width_of(row[i]) for row in cells)]) for i, head in enumerate(headers)]
    to_right = [_numbers([row[i] for row in rows]) for i in range(len(headers))]
    groups = _groups(widths, len(gap), width)

    def lines(row: Sequence[str]) -> list[str]:
        found = [_line(row[one], widths[one], to_right[one], gap) for one in groups]
        return [found[0], *(_BELOW + line for line in found[1:] if line)]

    return "\n".join([*(style(line, "strong") for line in lines(list(headers))), *(line for row in cells for line in lines(row))])


_BELOW = "    "


def _groups(widths: Sequence[int], gap: int, width: int | None) -> list[slice]:
    """Return which columns stand side by side: all of them, or as many as fit."""
    starts = [0]
    used = -gap
    for i, one in enumerate(widths):
        used += gap + one
        if width is not None and used > width and i > starts[-1]:
            starts.append(i)
            used = len(_BELOW) + one
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], len(widths)], strict=True)]


def _numbers(column: Sequence[object]) -> bool:
    given = [cell for cell in column if cell is not None]
    return bool(given) and all(isinstance(cell, (int, float)) and not isinstance(cell, bool) for cell in given)


def _line(cells: Sequence[str], widths: Sequence[int], to_right: Sequence[bool], gap: str) -> str:
    padded = []
    for cell, width, right in zip(cells, widths, to_right, strict=True):
        space = " " * (width - width_of(cell))
        padded.append(space + cell if right else cell + space)
    return gap.join(padded).rstrip()
