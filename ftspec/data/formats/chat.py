"""Chat: `messages` that end with the assistant's answer, maybe `tools`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ftspec.data.formats.base import Format, Piece
from ftspec.data.messages import messages_of, pieces_of, role_of, tool_pieces


def _likeness(row: Mapping[str, Any]) -> int:
    if "messages" not in row:
        return 0
    messages = messages_of(row["messages"])
    return 3 if messages and role_of(messages[-1]) == "assistant" else 1


def _pieces(row: Mapping[str, Any]) -> Iterator[Piece]:
    yield from tool_pieces(row)
    yield from pieces_of(row.get("messages"), train_assistant=True)


def _prompt(row: Mapping[str, Any]) -> Any:
    messages = messages_of(row.get("messages"))
    return messages[:-1] if messages and role_of(messages[-1]) == "assistant" else messages


def _target(row: Mapping[str, Any]) -> Any:
    messages = messages_of(row.get("messages"))
    return messages[-1] if messages and role_of(messages[-1]) == "assistant" else None


format = Format(name="chat", likeness=_likeness, pieces=_pieces, prompt=_prompt, target=_target)  # noqa: A001 found by this name
