"""Reinforcement: `messages` that end with the user; every other key is for the grader (`{{item.*}}`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ftspec.data.formats.base import Format, Piece
from ftspec.data.messages import messages_of, pieces_of, role_of, tool_pieces


def _likeness(row: Mapping[str, Any]) -> int:
    messages = messages_of(row.get("messages"))
    if not messages or role_of(messages[-1]) not in {"user", "developer", "tool"}:
        return 0
    return 2 if row.keys() - {"messages", "tools"} else 1  # with nothing for a grader it may be a chat row that lost its answer


def _pieces(row: Mapping[str, Any]) -> Iterator[Piece]:
    yield from tool_pieces(row)
    yield from pieces_of(row.get("messages"), train_assistant=False)


def _target(row: Mapping[str, Any]) -> Any:
    return {key: value for key, value in row.items() if key not in {"messages", "tools"}}


format = Format(  # noqa: A001 found by this name
    name="reinforcement", likeness=_likeness, pieces=_pieces, prompt=lambda row: row.get("messages"), target=_target
)
