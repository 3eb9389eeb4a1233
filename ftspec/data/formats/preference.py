"""Preference (DPO): `input`, a preferred and a non-preferred output.

`preferred_completion` and `non_preferred_completion` are the names of an older schema; they are
recognised so that the rules can say what to rename.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ftspec.data.formats.base import Format, Piece
from ftspec.data.messages import pieces_of, tool_pieces

OUTPUTS = {"preferred_output": "preferred_completion", "non_preferred_output": "non_preferred_completion"}
"""Today's names of the outputs, and those of the older schema."""


def output_of(row: Mapping[str, Any], key: str) -> Any:
    """Return an output under its name of today or its older one."""
    return row.get(key, row.get(OUTPUTS[key]))


def input_of(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the `input` object, empty where it is none."""
    given = row.get("input")
    return given if isinstance(given, dict) else {}


def _likeness(row: Mapping[str, Any]) -> int:
    outputs = {*OUTPUTS, *OUTPUTS.values()} & row.keys()
    return len(outputs) + bool(outputs or input_of(row).keys() & {"messages"})  # other formats have an `input`, too


def _pieces(row: Mapping[str, Any]) -> Iterator[Piece]:
    yield from tool_pieces(input_of(row))
    yield from pieces_of(input_of(row).get("messages"), train_assistant=False)
    for key in OUTPUTS:
        for piece in pieces_of(output_of(row, key), train_assistant=True):
            yield Piece(key.removesuffix("_output"), piece.text, trained=piece.trained)


format = Format(  # noqa: A001 found by this name
    name="preference",
    likeness=_likeness,
    pieces=_pieces,
    prompt=lambda row: input_of(row).get("messages"),
    target=lambda row: output_of(row, "preferred_output"),
)
