"""Sentences in a given width: broken between words, never within a short literal.

What stands between backticks is something to copy, so it stays on one line where it can; a line
that begins with a blank is a command to type, and stays as it is.
"""

from __future__ import annotations

import re

from ftspec.render.table import width_of

_WORD = re.compile(r"(?:`[^`\n]{1,38}`|[^\s`]|`)+")
"""A word, or several within backticks (those that take at most half of a line)."""


def paragraph(text: str, width: int | None, *, first: int = 0, rest: int = 0) -> str:
    """Return `text` in lines of `width` columns (`None`: only its own line feeds break it).

    `first` is how many columns of the first line are taken already, `rest` how far the other
    lines are indented. A word that is longer than a line has one of its own.
    """
    lines = text.split("\n")
    if width is not None:
        lines = [_broken(line, width, first if i == 0 else rest, rest) for i, line in enumerate(lines)]
    return ("\n" + " " * rest).join(lines)


def _broken(text: str, width: int, taken: int, rest: int) -> str:
    if text.startswith(" ") or taken + width_of(text) <= width:
        return text
    lines: list[list[str]] = [[]]
    used = taken
    for match in _WORD.finditer(text):
        word = match[0]
        if (lines[-1] and used + 1 + width_of(word) > width) or (not lines[-1] and used > rest and used + width_of(word) > width):
            lines.append([])
            used = rest
        used += width_of(word) + (1 if lines[-1] else 0)
        lines[-1].append(word)
    return ("\n" + " " * rest).join(" ".join(line) for line in lines)
