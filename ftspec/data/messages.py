"""Messages: what chat, reinforcement and preference rows are made of.

Everything here takes any JSON value, also a wrong one: rows are looked at before they are known to be right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ftspec.data.formats.base import Piece


def messages_of(value: Any) -> list[dict[str, Any]]:
    """Return the messages that are objects."""
    if not isinstance(value, list):
        return []
    return [message for message in value if isinstance(message, dict)]


def role_of(message: Mapping[str, Any]) -> str | None:
    """Return the role, or `None` where it is no text."""
    role = message.get("role")
    return role if isinstance(role, str) else None


def text_of(message: Mapping[str, Any]) -> str:
    """Return the text of a message: its content, or the text parts of it."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))


def pieces_of(messages: Any, *, train_assistant: bool) -> Iterator[Piece]:
    """Yield the texts of messages: content, names, tool calls, refusals."""
    for message in messages_of(messages):
        role = role_of(message) or "unknown"
        trained = train_assistant and role == "assistant" and message.get("weight") != 0
        if text := text_of(message):
            yield Piece(role, text, trained)
        for key in ("refusal", "name"):
            if isinstance(extra := message.get(key), str):
                yield Piece(role, extra, trained)
        for key in ("tool_calls", "function_call"):
            if extra := message.get(key):
                yield Piece(role, msgspec.json.encode(extra).decode(), trained)


def tool_pieces(row: Mapping[str, Any]) -> Iterator[Piece]:
    """Yield the tool definitions of a row as one text."""
    for key in ("tools", "functions"):
        if extra := row.get(key):
            yield Piece("tools", msgspec.json.encode(extra).decode(), trained=False)


def has_messages(value: Any) -> bool:
    """Whether the value is a list with at least one message."""
    return bool(messages_of(value))
