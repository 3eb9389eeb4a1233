"""Messages of every tool in the form of the chat protocol.

Understood are the protocol's own messages, items of the Responses API, OpenTelemetry's messages
(`parts`), LangChain's (`lc` constructors, `type: human`), plain texts, and lists of any of them, also
as JSON text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftspec.data.importers.items import is_item, messages_of_items
from ftspec.data.importers.normal import mapping, objects, parsed, text_or_none
from ftspec.data.importers.parts import are_shown, flat, read_parts, tool_call

_ROLES = {"human": "user", "ai": "assistant", "model": "assistant", "bot": "assistant", "chat": "user"}
_KEPT = ("role", "content", "name", "tool_calls", "tool_call_id", "function_call", "weight")
_KNOWN = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_SPOKEN = frozenset({"content", "tool_calls", "function_call", "refusal"})
_TEXTS = ("text", "output", "answer", "completion", "prompt", "input", "question")
_MARKS = frozenset({"role", "content", "messages", "parts", "kwargs", "tool_calls"})
_PARTS = frozenset({"text", "tool_call", "tool_call_response", "reasoning", "blob", "uri"})
_TYPES = {"HumanMessage": "user", "AIMessage": "assistant", "SystemMessage": "system", "ToolMessage": "tool", "FunctionMessage": "function"}


def messages_of(value: Any, *, role: str = "user", reasoning: bool = False) -> list[dict[str, Any]]:
    """Return messages in the protocol's form from whatever a tool recorded as a prompt or an answer."""
    if isinstance(value, str):
        if not _speaks(inner := parsed(value)):
            return [{"role": role, "content": value}] if value.strip() else []
        value = inner
    if isinstance(value, list):
        if value and all(isinstance(one, list) for one in value):
            value = value[0]  # one prompt of a batch
        if any(is_item(one) for one in value):
            return messages_of_items(value, reasoning=reasoning)
        if value and all(_is_part(one) for one in value):
            return _grouped({"role": role}, value, reasoning=reasoning)
        return [message for one in value for message in messages_of(one, role=role, reasoning=reasoning)]
    if not isinstance(value, Mapping):
        return []
    if "messages" in value and "role" not in value:
        return messages_of(value["messages"], role=role, reasoning=reasoning)
    if is_item(value):
        return messages_of_items([value], reasoning=reasoning)
    return _message(value, role=role, reasoning=reasoning)


def _speaks(value: Any) -> bool:
    """Return whether JSON that was written as text is messages; else the text itself is what somebody said."""
    if isinstance(value, list):
        return all(isinstance(one, list | Mapping) and _speaks(one) for one in value)
    return isinstance(value, Mapping) and (
        not value or _MARKS & value.keys() != set() or is_item(value) or text_or_none(value.get("type")) in _PARTS
    )


def _is_part(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and "role" not in value
        and "lc" not in value
        and "kwargs" not in value
        and isinstance(value.get("type"), str)
        and value["type"] not in _ROLES
    )


def _message(value: Mapping[str, Any], *, role: str, reasoning: bool) -> list[dict[str, Any]]:
    if value.get("lc") == 1 or ("kwargs" in value and "id" in value):
        return _langchain(value, role=role, reasoning=reasoning)
    if "parts" in value:
        return _grouped(value, value["parts"], reasoning=reasoning)
    given = value.get("role") or value.get("type")
    if not value.keys() & _SPOKEN:
        text = next((value[key] for key in _TEXTS if isinstance(value.get(key), str)), None)
        return [{"role": role, "content": text}] if text else []
    made = {key: value[key] for key in _KEPT if value.get(key) is not None}
    made["role"] = _role(given) if given else role
    if isinstance(content := made.get("content"), list) and not are_shown(content):
        return _grouped(made, content, reasoning=reasoning)
    if "tool_calls" in made:
        made["tool_calls"] = [tool_call(call) for call in objects(made["tool_calls"])]
        if not made["tool_calls"]:
            del made["tool_calls"]
    made.setdefault("content", None)
    if made["content"] is None and isinstance(value.get("refusal"), str):
        made["content"] = [{"type": "refusal", "refusal": value["refusal"]}]
    if made["content"] is None and "tool_calls" not in made and "function_call" not in made:
        return []
    if reasoning and isinstance(thought := value.get("reasoning_content", value.get("reasoning")), str):
        made["reasoning_content"] = thought
    return [{key: made[key] for key in (*_KEPT, "reasoning_content") if key in made}]


def _role(given: Any) -> str:
    """Return the protocol's word for a role."""
    named = str(given)
    return _ROLES.get(named.lower(), named.lower() if named.lower() in _KNOWN else named)


def _langchain(value: Mapping[str, Any], *, role: str, reasoning: bool) -> list[dict[str, Any]]:
    """Return a message that LangChain serialised as a constructor call."""
    kwargs = value.get("kwargs")
    if not isinstance(kwargs, Mapping):
        return []
    names = value.get("id")
    kind = str(names[-1]) if isinstance(names, list) and names else ""
    known = _TYPES.get(kind.removesuffix("Chunk"), _ROLES.get(str(kwargs.get("type")), str(kwargs.get("type") or role)))
    extra = mapping(kwargs.get("additional_kwargs"))
    calls = extra.get("tool_calls") or kwargs.get("tool_calls")
    made = {"role": known, "content": kwargs.get("content"), "tool_calls": calls or None, "tool_call_id": kwargs.get("tool_call_id")}
    made["reasoning_content"] = extra.get("reasoning_content")
    if made["content"] in ("", []) and calls:
        made["content"] = None
    return _message({key: inner for key, inner in made.items() if inner is not None}, role=role, reasoning=reasoning)


def _grouped(value: Mapping[str, Any], parts: Any, *, reasoning: bool) -> list[dict[str, Any]]:
    """Return the messages that one message in parts stands for: each answer of a tool is one of its own."""
    role = _role(value.get("role") or "user")
    said = read_parts(parts)
    content = flat(said.content)
    if role == "tool" and value.get("tool_call_id") and content is not None:
        return [{"role": role, "content": content, "tool_call_id": str(value["tool_call_id"])}]
    made: dict[str, Any] = {"role": role, "content": content}
    if calls := [tool_call(call) for call in objects(value.get("tool_calls"))] or said.calls:
        made["tool_calls"] = calls
    if reasoning and any(said.thoughts):
        made["reasoning_content"] = "\n".join(filter(None, said.thoughts))
    return [*said.answers, *([made] if said.content or calls else [])]
