"""Rows to token ids and labels: what is learned is decided here, and nowhere in TRL.

Only turns of the assistant are learned, each with the token that ends it, and a turn of `weight`
0 is not. Which tokens those are, the chat template says, in one of three ways (`Policy.mode`):

- `markers`: it marks them itself (`{% generation %}`);
- `training`: TRL stores a marked twin of it;
- `difference`: a turn is what a conversation is longer by, provided that the template renders a
  beginning of a conversation as a beginning of the whole, and ends each turn with a token of its own.

A template that does neither is refused before anything is trained (`TemplateRefused`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

IGNORED = -100
"""The label of a token that is not learned."""

_TOOL = "tool_a8f3e2b1"
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})


class TemplateRefused(Exception):
    """The chat template of a base cannot tell what is to be learned."""


class BadRows(Exception):
    """A file cannot be trained on. Names the line, never what it holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How a chat template shows what is to be learned, and what else it can render."""

    mode: Literal["markers", "training", "difference"]
    template: str
    tools: bool


def policy(tokenizer: Any) -> Policy:
    """Return how to learn from conversations with this tokenizer (`TemplateRefused`)."""
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    if not template:
        raise TemplateRefused("the tokenizer has no chat template")
    from trl.chat_template_utils import get_training_chat_template, has_generation_markers, is_chat_template_stop_token_trained

    tools = _renders_tools(tokenizer)
    if has_generation_markers(template) and is_chat_template_stop_token_trained(tokenizer):
        return Policy(mode="markers", template=template, tools=tools)
    try:
        twin = get_training_chat_template(tokenizer)
    except ValueError:
        twin = None
    if twin is not None and is_chat_template_stop_token_trained(tokenizer, chat_template=twin):
        return Policy(mode="training", template=twin, tools=tools)
    found = Policy(mode="difference", template=template, tools=tools)
    _prove_difference(Encoder(tokenizer, found))
    return found


def _renders_tools(tokenizer: Any) -> bool:
    from trl.chat_template_utils import supports_tool_calling

    try:
        return bool(supports_tool_calling(tokenizer)) and _TOOL in tokenizer.apply_chat_template(
            [{"role": "user", "content": "hi"}],
            tools=[
                {"type": "function", "function": {"name": _TOOL, "description": "", "parameters": {"type": "object", "properties": {}}}}
            ],
            tokenize=False,
        )
    except Exception:  # noqa: BLE001 whatever a template raises, it cannot
        return False


def _prove_difference(encoder: Encoder) -> None:
    words = [{"role": role, "content": f"{role} {number}"} for number in (1, 2) for role in ("user", "assistant")]
    special = set(encoder.tokenizer.get_added_vocab().values())
    try:
        spans = list(encoder.spans(words))
    except Exception as error:
        raise TemplateRefused("the chat template renders the beginning of a conversation differently from the whole") from error
    ids = encoder.ids(words)
    for begin, end in spans:
        learned = [token for token in ids[begin:end] if encoder.tokenizer.decode([token]).strip()]
        if not learned or learned[-1] not in special:
            raise TemplateRefused("the chat template does not end a turn of the assistant: a model trained with it would never stop")


class Encoder:
    """Encodes rows with one tokenizer."""

    def __init__(self, tokenizer: Any, how: Policy, *, max_length: int | None = None) -> None:
        self.tokenizer = tokenizer
        self._how = how
        self.most = max_length or 1 << 20
        self._knows_developer = "developer" in how.template

    # Rows

    def supervised(self, row: Mapping[str, Any]) -> dict[str, list[int]]:
        """Return `input_ids` and `labels` of a conversation."""
        messages, tools = self._conversation(row)
        weights = [raw.get("weight", 1) for raw in row["messages"] if raw["role"] == "assistant"]
        if any(isinstance(weight, bool) or weight not in {0, 1} for weight in weights):
            raise ValueError("expected a weight of 0 or 1")
        if not any(weights):
            raise ValueError("expected a turn of the assistant to learn from")
        ids, spans = self._learned(messages, tools)
        if len(spans) != len(weights):
            raise ValueError("the chat template does not show every turn of the assistant")
        labels = [IGNORED] * len(ids)
        for (begin, end), weight in zip(spans, weights, strict=True):
            if weight:
                labels[begin:end] = ids[begin:end]
        return {"input_ids": self._fitting(ids), "labels": labels}

    def preference(self, row: Mapping[str, Any]) -> dict[str, list[int]]:
        """Return `prompt_ids`, `chosen_ids` and `rejected_ids` of a pair."""
        given = row.get("input")
        context, tools = self._conversation(given if isinstance(given, dict) else {})
        prompt = self.ids(context, tools=tools, answering=True)
        sides = []
        for name in ("preferred", "non_preferred"):
            answer = row.get(f"{name}_output", row.get(f"{name}_completion"))
            turns, _ = self._conversation({"messages": answer})
            whole = self._fitting(self.ids([*context, *turns], tools=tools))
            if turns[-1]["role"] != "assistant" or whole[: len(prompt)] != prompt:
                raise ValueError(f"expected {name}_output to be an answer to the conversation")
            sides.append(whole[len(prompt) :])
        return {"prompt_ids": prompt, "chosen_ids": sides[0], "rejected_ids": sides[1]}

    def task(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the `prompt` of a row, its `size` in tokens, and as JSON the `item` that its grader sees."""
        messages, tools = self._conversation(row)
        if messages[-1]["role"] == "assistant":
            raise ValueError("expected the last message to be the user's")
        if tools:
            raise ValueError("reinforcement with tools is not supported here")
        size = len(self._fitting(self.ids(messages, answering=True)))
        item = {name: value for name, value in row.items() if name not in {"messages", "tools", "parallel_tool_calls"}}
        return {"prompt": messages, "item": json.dumps(item), "size": size}

    # Conversations

    def ids(self, messages: Sequence[Mapping[str, Any]], *, tools: Sequence[Any] | None = None, answering: bool = False) -> list[int]:
        """Return the tokens of a conversation; `answering`: up to where the assistant begins."""
        found: list[int] = self.tokenizer.apply_chat_template(
            list(messages),
            tools=list(tools) if tools else None,
            chat_template=self._how.template,
            add_generation_prompt=answering,
            return_dict=False,
        )
        return found

    def spans(self, messages: Sequence[Mapping[str, Any]], *, tools: Sequence[Any] | None = None) -> Iterator[tuple[int, int]]:
        """Yield where the turns of the assistant are, by what a conversation grows by (`ValueError`: it does not)."""
        whole = self.ids(messages, tools=tools)
        for place, message in enumerate(messages):
            if message["role"] == "assistant":
                before = self.ids(messages[:place], tools=tools, answering=True)
                after = self.ids(messages[: place + 1], tools=tools)
                if whole[: len(after)] != after or after[: len(before)] != before:
                    raise ValueError("the chat template renders this conversation differently from its beginnings")
                yield len(before), len(after)

    def _learned(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] | None) -> tuple[list[int], list[tuple[int, int]]]:
        if self._how.mode == "difference":
            return self.ids(messages, tools=tools), list(self.spans(messages, tools=tools))
        found = self.tokenizer.apply_chat_template(
            list(messages),
            tools=list(tools) if tools else None,
            chat_template=self._how.template,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        return list(found["input_ids"]), _runs(found["assistant_masks"])

    def _conversation(self, row: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[Any] | None]:
        raw = row.get("messages")
        if not isinstance(raw, list) or not raw:
            raise ValueError("expected a list of messages")
        tools = row.get("tools") or None
        messages = [plain_message(one, knows_developer=self._knows_developer) for one in raw]
        if (tools or any("tool_calls" in one or one["role"] == "tool" for one in messages)) and not self._how.tools:
            raise ValueError("the chat template of the base cannot render tools")
        return messages, tools

    def _fitting(self, ids: list[int]) -> list[int]:
        if len(ids) > self.most:
            raise ValueError(f"{len(ids)} tokens are more than the {self.most} that fit")
        return ids


def plain_message(raw: Any, *, knows_developer: bool) -> dict[str, Any]:
    """Return a message as chat templates read it (`ValueError`: it is none, or holds more than text)."""
    if not isinstance(raw, dict) or raw.get("role") not in _ROLES:
        raise ValueError("expected messages with a known role")
    role = raw["role"] if raw["role"] != "developer" or knows_developer else "system"
    message: dict[str, Any] = {"role": role, "content": _text(raw.get("content"))}
    for name in ("name", "tool_call_id"):
        if isinstance(raw.get(name), str):
            message[name] = raw[name]
    if raw.get("tool_calls"):
        message["tool_calls"] = [_call(one) for one in raw["tool_calls"]]
    return message


def _text(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict) and part.get("type") in ("text", "refusal")]
        texts = [text for part in parts if isinstance(text := part.get(part["type"]), str)]
        if len(texts) == len(content):
            return "".join(texts)
    raise ValueError("only text is understood here")


def _call(raw: Any) -> dict[str, Any]:
    """Return a tool call with its arguments as a value: templates would quote the text of them once more."""
    function = raw.get("function") if isinstance(raw, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise ValueError("expected tool calls with a function")  # noqa: TRY004 it is the row that is wrong
    try:
        arguments = json.loads(function.get("arguments") or "{}")
    except (TypeError, ValueError):
        raise ValueError("expected the arguments of tool calls to be JSON") from None
    call = {"type": "function", "function": {"name": function["name"], "arguments": arguments}}
    return {**call, "id": raw["id"]} if isinstance(raw.get("id"), str) else call


def _runs(mask: Sequence[int]) -> list[tuple[int, int]]:
    """Return where the mask is set, as spans."""
    edges = [place for place, (a, b) in enumerate(zip([0, *mask], [*mask, 0], strict=True)) if bool(a) != bool(b)]
    return list(zip(edges[::2], edges[1::2], strict=True))


def read(path: Path, encode: Callable[[Mapping[str, Any]], dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the encoded rows of a file (`BadRows`)."""
    rows = []
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if text.strip():
                    rows.append(_row(number, text, encode))
    except FileNotFoundError:
        raise BadRows("the bytes of the file are gone") from None
    if not rows:
        raise BadRows("the file has no rows")
    return rows


def _row(number: int, line: bytes, encode: Callable[[Mapping[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise BadRows(f"line {number} is not JSON") from None
    if not isinstance(row, dict):
        raise BadRows(f"line {number} is not an object")
    try:
        return encode(row)
    except ValueError as error:
        raise BadRows(f"line {number}: {error}") from None
    except Exception as error:  # noqa: BLE001 a template may raise anything; its words may quote the row
        raise BadRows(f"line {number}: the chat template cannot render it ({type(error).__name__})") from None
