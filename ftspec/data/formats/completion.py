"""Completion: `prompt` and `completion`, for base models of the old kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ftspec.data.formats.base import Format, Piece


def _likeness(row: Mapping[str, Any]) -> int:
    return 2 * ("prompt" in row and "completion" in row)


def _pieces(row: Mapping[str, Any]) -> Iterator[Piece]:
    for key in ("prompt", "completion"):
        if isinstance(text := row.get(key), str):
            yield Piece(key, text, trained=key == "completion")


format = Format(  # noqa: A001 found by this name
    name="completion", likeness=_likeness, pieces=_pieces, prompt=lambda row: row.get("prompt"), target=lambda row: row.get("completion")
)
