"""Training rows as the sandbox reads them: conversations, preference pairs, prompts with items.

Only text is learned: rows whose replies are tool calls, or that hold images, are refused. A
`BadRows` names the line and never the content of a row.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftspec.server.wire import half_characters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ftspec.server.trainers.base import Method

Message = dict[str, str]
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})


class BadRows(Exception):
    """A file cannot be trained on."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply to learn, and the conversation before it."""

    context: list[Message]
    text: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Two replies to one conversation, the first one preferred."""

    preferred: Reply
    other: Reply


@dataclass(frozen=True, slots=True)
class Task:
    """A conversation to answer, and what the grader knows about it."""

    context: list[Message]
    item: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """What a line holds (one kind of the three), and how many messages texts of it count as trained on."""

    replies: list[Reply]
    pair: Pair | None = None
    task: Task | None = None
    texts: tuple[str, ...] = ()


def flattened(message: Any) -> Message:
    """Return a message with its text in one piece (`ValueError`: it holds more than text)."""
    if not isinstance(message, dict) or str(message.get("role")) not in _ROLES:
        msg = "expected messages with a known role"
        raise ValueError(msg)
    content = message.get("content")
    if isinstance(content, list):
        if not all(isinstance(part, dict) and part.get("type") in ("text", "refusal") for part in content):
            msg = "the sandbox reads text only"
            raise ValueError(msg)
        content = "".join(str(part.get("text") or part.get("refusal") or "") for part in content)
    if content is not None and not isinstance(content, str):
        msg = "expected content that is text"
        raise ValueError(msg)
    return {"role": message["role"], "content": content or ""}


def read(path: Path, method: Method) -> list[Row]:
    """Return the rows of a file (`BadRows`)."""
    parse = {"supervised": _conversation, "dpo": _preference, "reinforcement": _task}[method]
    rows = [_row(parse, number, line) for number, line in _lines(path)]
    if not rows:
        msg = "the file has no rows"
        raise BadRows(msg)
    return rows


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if text.strip():
                    yield number, text
    except FileNotFoundError:
        msg = "the bytes of the file are gone"
        raise BadRows(msg) from None


def _row(parse: Callable[[dict[str, Any]], Row], number: int, line: bytes) -> Row:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        msg = f"line {number} is not JSON"
        raise BadRows(msg) from None
    if not isinstance(value, dict):
        msg = f"line {number} is not an object"
        raise BadRows(msg)
    if half_characters(line, value):
        msg = f"line {number} holds half of a surrogate pair, which is no character"
        raise BadRows(msg)
    try:
        return parse(value)
    except ValueError as error:
        msg = f"line {number}: {error}"
        raise BadRows(msg) from None


def _messages(value: Any) -> list[Message]:
    if not isinstance(value, list) or not value:
        msg = "expected a list of messages"
        raise ValueError(msg)
    return [flattened(message) for message in value]


def _conversation(row: dict[str, Any]) -> Row:
    messages = _messages(row.get("messages"))
    replies = []
    for place, message in enumerate(messages):
        raw = row["messages"][place]
        weight = raw.get("weight", 1)
        if isinstance(weight, bool) or weight not in (0, 1):
            msg = "expected a weight of 0 or 1"
            raise ValueError(msg)
        if message["role"] != "assistant" or weight == 0:
            continue
        replies.append(_reply(messages[:place], raw))
    if not replies:
        msg = "expected a reply of the assistant to learn from"
        raise ValueError(msg)
    return Row(replies, texts=tuple(message["content"] for message in messages))


def _reply(context: list[Message], raw: dict[str, Any]) -> Reply:
    text = flattened(raw)["content"]
    if not text:
        msg = "the sandbox cannot learn tool calls or empty replies" if raw.get("tool_calls") else "expected a reply that is not empty"
        raise ValueError(msg)
    return Reply(context, text)


def _preference(row: dict[str, Any]) -> Row:
    given = row.get("input")
    context = _messages(given.get("messages") if isinstance(given, dict) else None)
    sides = []
    for name in ("preferred", "non_preferred"):
        output: Any = row.get(f"{name}_output", row.get(f"{name}_completion"))
        if _messages(output)[-1]["role"] != "assistant":
            msg = f"expected {name}_output to end with the assistant"
            raise ValueError(msg)
        sides.append(_reply(context, output[-1]))
    texts = [message["content"] for message in context] + [side.text for side in sides]
    return Row([], pair=Pair(*sides), texts=tuple(texts))


def _task(row: dict[str, Any]) -> Row:
    context = _messages(row.get("messages"))
    if context[-1]["role"] == "assistant":
        msg = "expected the last message to be the user's"
        raise ValueError(msg)
    item = {name: value for name, value in row.items() if name not in {"messages", "tools"}}
    return Row([], task=Task(context, item), texts=tuple(message["content"] for message in context))
