"""Eval items: what a model is asked in each row, and what its graders may compare with.

A chat row is asked without its last assistant message; that message is the reference
(`item.reference`, its tool calls `item.reference_tools`). Any other row needs the eval's
`prompt`. `prompt` is text (one user message) or a list of messages with templates;
an entry `"{{item.messages}}"` stands for the row's own messages. All members of the row are
members of `item`; members that the row itself has are never replaced.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from ftspec.diagnostics import FtspecError
from ftspec.evals.template import MissingField, Template, fill_tree

_DROPPED: Final = frozenset({"weight"})
_REQUEST_MEMBERS: Final = ("tools", "parallel_tool_calls")
_ID_DIGITS: Final = 12


class EvalItem(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One row to ask about. `id` is the same wherever and whenever the row is read.

    `request` are members of the row that belong into the request (tools).
    """

    id: str
    index: int
    messages: list[dict[str, Any]]
    item: dict[str, Any]
    request: dict[str, Any] = {}


class BadItem(FtspecError):
    """A row cannot be asked; the message names its number and never its content."""


def eval_items(rows: Iterable[bytes], *, prompt: Any = None) -> Iterator[EvalItem]:
    """Yield the items of canonical dataset rows, as they are read."""
    seen: Counter[str] = Counter()
    for index, line in enumerate(rows):
        digest = hashlib.sha256(line.strip()).hexdigest()[:_ID_DIGITS]
        seen[digest] += 1
        again = seen[digest]
        row = msgspec.json.decode(line)
        if not _has_messages(row):
            raise BadItem(f"row {index + 1} of the eval's dataset has `messages` that are not messages")
        item = _with_reference(row)
        yield EvalItem(
            id=digest if again == 1 else f"{digest}-{again}",
            index=index,
            messages=_asked(row, item, prompt, index),
            item=item,
            request={name: row[name] for name in _REQUEST_MEMBERS if row.get(name) is not None},
        )


def _has_messages(row: dict[str, Any]) -> bool:
    """Whether `messages` are messages, where there are any."""
    messages = row.get("messages", [])
    return isinstance(messages, list) and all(isinstance(message, dict) for message in messages)


def _with_reference(row: dict[str, Any]) -> dict[str, Any]:
    messages = row.get("messages")
    if not messages or messages[-1].get("role") != "assistant":
        return row
    answer = messages[-1]
    derived = {"reference": _text(answer.get("content")), "reference_tools": answer.get("tool_calls") or []}
    return {**derived, **row, "messages": [_sent(message) for message in messages[:-1]]}


def _text(content: Any) -> Any:
    """Return the text of message content where it is all text."""
    if isinstance(content, list) and all(isinstance(part, Mapping) and part.get("type") == "text" for part in content):
        return "".join(str(part.get("text", "")) for part in content)
    return content


def _sent(message: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name not in _DROPPED}


def _asked(row: Mapping[str, Any], item: Mapping[str, Any], prompt: Any, index: int) -> list[dict[str, Any]]:
    try:
        messages = _from_prompt(prompt, item) if prompt is not None else [_sent(message) for message in item.get("messages") or ()]
    except MissingField as missing:
        raise BadItem(f"row {index + 1} of the eval's dataset does not fit the `prompt`: {missing}") from None
    if messages:
        return messages
    if "messages" in row:
        raise BadItem(f"row {index + 1} of the eval's dataset has nothing to ask before its last message")
    raise BadItem(f"row {index + 1} of the eval's dataset has no `messages`", help="give the eval a `prompt` such as `{{item.question}}`")


def _from_prompt(prompt: Any, item: Mapping[str, Any]) -> list[dict[str, Any]]:
    if isinstance(prompt, str):
        return [{"role": "user", "content": Template(prompt).fill(item, None)}]
    messages: list[dict[str, Any]] = []
    for entry in prompt:
        if isinstance(entry, str):
            messages += fill_tree(entry, item, None)
        else:
            messages.append(fill_tree(entry, item, None))
    return messages


def prompt_problems(prompt: Any) -> list[str]:
    """Return what is wrong with a `prompt`, without any row."""
    if prompt is None:
        return []
    if isinstance(prompt, str):
        return [f"prompt: {problem}" for problem in _text_problems(prompt)]
    if not isinstance(prompt, Sequence) or not prompt:
        return ["prompt: must be text or a list of messages"]
    problems = []
    for i, entry in enumerate(prompt):
        if isinstance(entry, str):
            if entry.replace(" ", "") != "{{item.messages}}":
                problems.append(f"prompt.{i}: must be a message, or `{{{{item.messages}}}}`")
        elif not isinstance(entry, Mapping) or not isinstance(entry.get("role"), str) or "content" not in entry:
            problems.append(f"prompt.{i}: a message has `role` and `content`")
        elif isinstance(entry["content"], str):
            problems += [f"prompt.{i}.content: {problem}" for problem in _text_problems(entry["content"])]
    return problems


def _text_problems(text: str) -> list[str]:
    try:
        references = Template(text).references
    except ValueError as error:
        return [str(error)]
    return [f"`{{{{{one.text}}}}}`: a prompt is asked before there is a sample" for one in references if one.steps[0] == "sample"]
