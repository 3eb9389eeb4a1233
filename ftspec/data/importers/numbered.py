"""Messages that a trace spreads over numbered attributes, one for each word of each message.

OpenInference writes `llm.input_messages.0.message.role`, OpenLLMetry `gen_ai.prompt.0.role`. What was exported
as lists or objects (`llm.input_messages: [{"message.role": ...}]`) is read the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftspec.data.importers.messages import messages_of
from ftspec.data.importers.normal import items, mapping, parsed, text_or_none, tools_of
from ftspec.data.importers.parts import flat, read_parts

Messages = list[dict[str, Any]]


def nested(attributes: Mapping[str, Any], root: str) -> dict[str, Any]:
    """Return the attributes under a root as the objects and lists that their dotted names stand for."""
    tree: dict[str, Any] = {}
    for key, value in attributes.items():
        if key == root or key.startswith(f"{root}."):
            _put(tree, key.split("."), value)
    return mapping(_lists(tree).get(root))


def _put(tree: dict[str, Any], path: list[str], value: Any) -> None:
    *steps, last = path
    for step in steps:
        tree = tree.setdefault(step, {})
        if not isinstance(tree, dict):
            return  # a value where other names go on
    if isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
        value = {str(number): one for number, one in enumerate(value)}
    if isinstance(value, Mapping):
        for name, inner in value.items():
            _put(tree, [last, *str(name).split(".")], inner)
    elif not isinstance(tree.get(last), dict):
        tree[last] = value


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(name.isdecimal() for name in value):
        return [_lists(value[name]) for name in sorted(value, key=lambda name: (len(name), name))]
    return {name: _lists(inner) for name, inner in value.items()}


def openinference(attributes: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return `input`, `output` and `tools` of an OpenInference span, `None` where it has no messages."""
    llm = nested(attributes, "llm")
    found = {side: [_inferred(one) for one in items(llm.get(f"{side}_messages"))] for side in ("input", "output")}
    if not found["input"] and not found["output"]:
        return None
    tools = [mapping(mapping(one).get("tool")).get("json_schema") for one in items(llm.get("tools"))]
    tools = tools or items(mapping(llm.get("invocation_parameters")).get("tools"))
    return {
        "input": messages_of(found["input"], reasoning=True),
        "output": messages_of(found["output"], role="assistant", reasoning=True),
        "tools": tools_of(tools),
    }


def _inferred(one: Any) -> dict[str, Any]:
    """Return a message of OpenInference as a message of the protocol, as far as it goes."""
    message = mapping(mapping(one).get("message"))
    made: dict[str, Any] = {"role": message.get("role") or "user", "content": message.get("content")}
    if parts := [mapping(mapping(part).get("message_content")) for part in items(message.get("contents"))]:
        made["content"] = flat(read_parts([{**part, **mapping(mapping(part.get("image")).get("image"))} for part in parts]).content)
    if calls := [mapping(mapping(call).get("tool_call")) for call in items(message.get("tool_calls"))]:
        made["tool_calls"] = calls
    if name := message.get("function_call_name"):
        made["function_call"] = {"name": name, "arguments": message.get("function_call_arguments_json") or "{}"}
    return made | {key: message[key] for key in ("tool_call_id", "name") if message.get(key)}


def openllmetry(attributes: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return `input`, `output`, `tools` and `finish_reason` of an OpenLLMetry span, `None` where it has no messages."""
    gen_ai = nested(attributes, "gen_ai")
    asked, told = parsed(gen_ai.get("prompt")), parsed(gen_ai.get("completion"))
    if not asked and not told:
        return None
    answers = [mapping(one) for one in items(told)] if isinstance(told, list) else []
    first = next((one for one in answers if one.get("role") != "thinking"), {})
    thought = next((one.get("content") for one in answers if one.get("role") == "thinking"), None)
    answer = {"reasoning_content": thought, **first, "role": "assistant"} if first else told
    functions = mapping(nested(attributes, "llm").get("request")).get("functions")
    return {
        "input": messages_of([_told(one) for one in asked] if isinstance(asked, list) else asked),
        "output": messages_of([_told(answer)] if isinstance(answer, Mapping) else answer, role="assistant", reasoning=True),
        "tools": tools_of([{**mapping(one), "parameters": parsed(mapping(one).get("parameters"))} for one in items(functions)]),
        "finish_reason": text_or_none(first.get("finish_reason")),
    }


def _told(one: Any) -> Any:
    """Return a message whose content, where it has parts, is the JSON text of them."""
    if not isinstance(one, Mapping):
        return one
    content = parsed(one.get("content"))
    is_parts = isinstance(content, list) and all(isinstance(part, Mapping) and "type" in part for part in content)
    return {**one, "content": content if is_parts and content else one.get("content") or None}
