"""Batches: good rows of a stretch of a file, column by column.

What most readers want of rows (their bytes in one piece, their number, their texts) is had
without an object for each row; who wants rows iterates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import repeat
from typing import Any

from ftspec.data.transforms import Row


class Batch:
    """Good rows, in order.

    `canonical` is what is hashed and uploaded: the canonical bytes of all rows, each followed by
    LF. A value is a dict, or a `PlainChat` where nothing needs more than that.
    """

    def __init__(
        self, values: list[Any], canonical: bytes, *, lines: Sequence[int], parts: Sequence[str] | None = None, path: str = ""
    ) -> None:
        self.values = values
        self.canonical = canonical
        self.lines = lines
        self.parts = parts or [""] * len(values)
        self._path = path

    @classmethod
    def of(cls, rows: list[Row]) -> Batch:
        """Return rows, maybe from several files, as a batch."""
        canonical = b"\n".join([*[row.canonical for row in rows], b""])
        made = cls([row.value for row in rows], canonical, lines=[row.line for row in rows], parts=[row.part for row in rows])
        made._rows = rows
        return made

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    @cached_property
    def _rows(self) -> list[Row]:
        columns = zip(self.values, self.each, self.parts, self.lines, repeat(self._path), strict=False)
        return [Row(*row) for row in columns]

    @cached_property
    def each(self) -> list[bytes]:
        """The canonical bytes of each row; texts have LF as an escape."""
        return self.canonical.split(b"\n")[:-1]

    def of_part(self, part: str) -> tuple[int, bytes]:
        """Return how many rows a part of a split has, and their canonical bytes."""
        mine = [one for one, dealt in zip(self.each, self.parts, strict=True) if dealt == part]
        return len(mine), b"\n".join([*mine, b""])

    @cached_property
    def pictured(self) -> bool:
        """Whether a row may hold an image."""
        return b'"image_url"' in self.canonical
