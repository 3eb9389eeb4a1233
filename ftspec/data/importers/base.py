"""What an importer yields, and what an importer is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a model: what it was asked, what it answered, and what is known about it.

    Messages are in the form of the chat protocol. `time` is RFC 3339 as far as the tool says
    it. `part` is the split that the tool put the call in.
    """

    messages: list[dict[str, Any]]
    answer: dict[str, Any]
    tools: list[dict[str, Any]] | None = None
    parallel_tool_calls: bool | None = None
    model: str | None = None
    time: str | None = None
    finish_reason: str | None = None
    id: str | None = None
    name: str | None = None
    tags: tuple[str, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    part: str | None = None

    def row(self) -> dict[str, Any]:
        """Return the call as a row of a chat dataset."""
        row: dict[str, Any] = {"messages": [*self.messages, self.answer]}
        if self.tools:
            row["tools"] = self.tools
            if self.parallel_tool_calls is not None:
                row["parallel_tool_calls"] = self.parallel_tool_calls
        return row


@dataclass(frozen=True, slots=True)
class Skipped:
    """A record that is no call to learn from, and why; the reason never holds content."""

    reason: str


NOT_A_CALL = Skipped("not a call of a chat model")
FAILED = Skipped("the call failed")
NO_PROMPT = Skipped("no prompt was recorded (is content capture switched on?)")
NO_ANSWER = Skipped("no answer was recorded")
CUT_OFF = Skipped("the answer was cut off or filtered")

Record = Mapping[str, Any]
Read = Callable[[Iterable[Record]], Iterator[Call | Skipped]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Importer:
    """One source: a sentence for `--help`, the version of the format it was written for, and the function that reads it."""

    title: str
    format: str
    read: Read


def call_or_skip(
    messages: list[dict[str, Any]], answer: dict[str, Any] | None, *, finish_reason: str | None = None, **about: Any
) -> Call | Skipped:
    """Return a call, or why there is nothing to learn from it."""
    if not messages:
        return NO_PROMPT
    if answer is None or not (answer.get("content") or answer.get("tool_calls")):
        return NO_ANSWER
    if finish_reason in {"length", "content_filter", "max_tokens"}:
        return CUT_OFF
    return Call(messages=messages, answer=answer, finish_reason=finish_reason, **about)
