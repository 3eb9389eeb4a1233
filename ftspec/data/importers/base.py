"""What an importer yields, and what an importer is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ftspec.data.importers.normal import items, mapping, objects
from ftspec.data.importers.parts import are_shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a model: what it was asked, what it answered, and what is known about it.

    Messages are in the form of the chat protocol, `functions` are those of before there were tools. `time` is RFC 3339 as far as the tool says
    it. `part` is the split that the tool put the call in.
    """

    messages: list[dict[str, Any]]
    answer: dict[str, Any]
    tools: list[dict[str, Any]] | None = None
    functions: list[dict[str, Any]] | None = None
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

    def row(self, *, reasoning: bool = False) -> dict[str, Any]:
        """Return the call as a row of a chat dataset, with recorded `reasoning_content` or without."""
        messages = [*self.messages, self.answer]
        if not reasoning:
            messages = [{key: value for key, value in message.items() if key != "reasoning_content"} for message in messages]
        row: dict[str, Any] = {"messages": messages}
        if self.tools:
            row["tools"] = self.tools
            if self.parallel_tool_calls is not None:
                row["parallel_tool_calls"] = self.parallel_tool_calls
        if self.functions:
            row["functions"] = self.functions
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
REFUSED = Skipped("the model refused to answer")
UNFINISHED = Skipped("the answer was not finished yet")
ELSEWHERE = Skipped("a part of the conversation is only on the server")
MASKED = Skipped("the tool that recorded the call masked what was said")
NOT_SHOWN = Skipped("a message has a part, or calls a tool, that a row cannot show")

_MASKS = ("__REDACTED__", "redacted-by-litellm", "redacted by litellm.")
"""What OpenInference and LiteLLM write in place of what was said when they are told to."""

_CUT_OFF = {"length", "content_filter", "max_tokens", "max_output_tokens", "model_length", "safety", "recitation", "error", "abort"}
"""Why an answer is no whole one, in the words of several engines and conventions."""

Record = Mapping[str, Any]
Read = Callable[[Iterable[Record]], Iterator[Call | Skipped]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Importer:
    """One source: a sentence for `--help`, the version of the format it was written for, and the function that reads it."""

    title: str
    format: str
    read: Read


def call_or_skip(
    messages: list[dict[str, Any]], answers: Sequence[dict[str, Any]], *, finish_reason: str | None = None, **about: Any
) -> Call | Skipped:
    """Return a call, or why there is nothing to learn from it. The last of the answers is the one; comments before it stay."""
    if not messages:
        return NO_PROMPT
    if finish_reason is not None and finish_reason.lower() in _CUT_OFF:
        return CUT_OFF
    if finish_reason == "refusal" or any(map(_refuses, answers)):
        return REFUSED
    if not answers or not (answers[-1].get("content") or answers[-1].get("tool_calls") or answers[-1].get("function_call")):
        return NO_ANSWER
    if not all(map(_is_shown, (*messages, *answers))):
        return NOT_SHOWN
    if any(map(_is_masked, (*messages, *answers))):
        return MASKED
    *comments, answer = answers
    if any(one["role"] != "assistant" for one in comments):
        comments = []  # a tool that records its whole state again
    return Call(messages=[*messages, *comments], answer=answer, finish_reason=finish_reason, **about)


def _refuses(message: Mapping[str, Any]) -> bool:
    return any(isinstance(part, Mapping) and part.get("type") == "refusal" for part in items(message.get("content")))


def _is_masked(message: Mapping[str, Any]) -> bool:
    said = message.get("content")
    texts = [said] if isinstance(said, str) else [mapping(part.get("image_url")).get("url", part.get("text")) for part in objects(said)]
    return any(isinstance(text, str) and text.startswith(_MASKS) for text in texts)


def _is_shown(message: Mapping[str, Any]) -> bool:
    """Return whether a row can say all that a message says."""
    parts = message.get("content")
    return (not isinstance(parts, list) or are_shown(parts)) and all(
        call["type"] == "function" and call["function"]["name"] for call in message.get("tool_calls") or ()
    )
