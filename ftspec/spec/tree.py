"""The values that YAML text means, each with the place where it is written.

`Map` and `Seq` are a dict and a list; `Source` is the text that they come from. A place is
made when somebody asks for it: nodes keep packed integers (line, column, end column).
"""

from __future__ import annotations

import re
from typing import Any, Final

from ftspec.diagnostics import Place
from ftspec.printable import printable, redacted

COLUMN_BITS: Final = 24
_COLUMN_MASK: Final = (1 << COLUMN_BITS) - 1
LINE_BREAK: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""What ends a line for libyaml (YAML 1.1)."""

LONGEST_EXCERPT: Final = 1_000
"""Lines that are longer are not shown beside a problem."""


class Source:
    """One text and the name under which people know it. Places of its nodes are made here."""

    __slots__ = ("_lines", "path", "text")

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self._lines: list[str] | None = None

    @property
    def lines(self) -> list[str]:
        """The lines of the text, without their ends."""
        if self._lines is None:
            self._lines = LINE_BREAK.split(self.text)
        return self._lines

    def place(self, spot: int) -> Place:
        """Return the place that a packed spot (line, column, end column) stands for."""
        line, column, end = spot >> 2 * COLUMN_BITS, spot >> COLUMN_BITS & _COLUMN_MASK, spot & _COLUMN_MASK
        return self.at(line + 1, column + 1, end + 1 if end > column else 0)

    def at(self, line: int, column: int = 0, end_column: int = 0) -> Place:
        """Return the place of a line and column that count from 1, with the line's text."""
        excerpt = self.lines[line - 1] if 0 < line <= len(self.lines) else None
        if excerpt is not None and len(excerpt) > LONGEST_EXCERPT:
            excerpt = None
        elif excerpt is not None:
            excerpt = printable(redacted(excerpt.replace("\t", " ")))
        return Place(path=self.path, line=line, column=column, end_column=end_column, excerpt=excerpt)


class Map(dict[str, Any]):
    """A mapping with the places of its keys and values."""

    __slots__ = ("key_spots", "source", "spot", "value_spots")

    def __init__(self, source: Source, spot: int) -> None:
        super().__init__()
        self.source = source
        self.spot = spot
        self.key_spots: dict[str, int] = {}
        self.value_spots: dict[str, int] = {}

    def with_values(self, values: dict[str, Any]) -> Map:
        """Return a mapping of other values at the same places."""
        copy = Map(self.source, self.spot)
        copy.key_spots, copy.value_spots = self.key_spots, self.value_spots
        copy.update(values)
        return copy

    def at(self) -> Place:
        """Return where the mapping begins."""
        return self.source.place(self.spot)

    def key_at(self, key: str) -> Place:
        """Return where a key is written."""
        return self.source.place(self.key_spots.get(key, self.spot))

    def value_at(self, key: str) -> Place:
        """Return where the value of a key is written."""
        return self.source.place(self.value_spots.get(key, self.spot))


class Seq(list[Any]):
    """A sequence with the places of its items."""

    __slots__ = ("source", "spot", "spots")

    def __init__(self, source: Source, spot: int) -> None:
        super().__init__()
        self.source = source
        self.spot = spot
        self.spots: list[int] = []

    def with_items(self, items: list[Any]) -> Seq:
        """Return a sequence of other items at the same places."""
        copy = Seq(self.source, self.spot)
        copy.spots = self.spots
        copy.extend(items)
        return copy

    def at(self) -> Place:
        """Return where the sequence begins."""
        return self.source.place(self.spot)

    def item_at(self, index: int) -> Place:
        """Return where an item is written."""
        return self.source.place(self.spots[index] if -1 < index < len(self.spots) else self.spot)


def plain(value: Any) -> Any:
    """Return a copy of `value` in plain dicts and lists."""
    match value:
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list():
            return [plain(item) for item in value]
        case _:
            return value
