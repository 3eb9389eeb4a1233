"""Eval: any object; graders and prompts say what its keys mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ftspec.data.formats.base import Format, Piece


def _pieces(row: Mapping[str, Any]) -> Iterator[Piece]:
    for value in row.values():
        if isinstance(value, str):
            yield Piece("item", value, trained=False)


format = Format(name="eval", likeness=lambda _row: 0, pieces=_pieces, prompt=dict, target=lambda _row: None)  # noqa: A001 found by this name
