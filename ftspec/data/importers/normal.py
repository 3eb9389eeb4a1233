"""Messages of every tool in the form of the chat protocol.

Understood are the protocol's own messages, OpenTelemetry's (`parts`), LangChain's (`lc`
constructors, `type: human`), plain texts, and lists of any of them, also as JSON text.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ftspec.fingerprint import canonical_json

_ROLES = {"human": "user", "ai": "assistant", "model": "assistant", "bot": "assistant", "chat": "user"}
_HALF = re.compile("[\ud800-\udfff]")
_KEPT = ("role", "content", "name", "tool_calls", "tool_call_id", "function_call")
_TYPES = {"HumanMessage": "user", "AIMessage": "assistant", "SystemMessage": "system", "ToolMessage": "tool", "FunctionMessage": "function"}


def decoded(text: str | bytes) -> Any:
    """Return the JSON value of a text as any reader takes it (`ValueError`).

    Python writes `NaN` and half surrogate pairs, which JSON does not have: they become null and U+FFFD.
    """
    try:
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        value = json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
        return json.loads(_HALF.sub("\ufffd", json.dumps(value, ensure_ascii=False))) if "\\ud" in text.lower() else value
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def parsed(value: Any) -> Any:
    """Return a JSON value that may have been written as text; other texts stay as they are."""
    if isinstance(value, str) and value.lstrip()[:1] in {"{", "["}:
        try:
            return decoded(value)
        except ValueError:
            return value
    return value


def messages_of(value: Any, *, role: str = "user", reasoning: bool = False) -> list[dict[str, Any]]:
    """Return messages in the protocol's form from whatever a tool recorded as a prompt or an answer."""
    value = parsed(value)
    if isinstance(value, str):
        return [{"role": role, "content": value}] if value.strip() else []
    if isinstance(value, list):
        if value and all(isinstance(one, list) for one in value):
            value = value[0]  # one prompt of a batch
        if value and all(_is_part(one) for one in value):
            return _grouped({"role": role, "parts": value}, reasoning=reasoning)
        return [message for one in value for message in messages_of(one, role=role, reasoning=reasoning)]
    if not isinstance(value, Mapping):
        return []
    if "messages" in value and "role" not in value:
        return messages_of(value["messages"], role=role, reasoning=reasoning)
    return _message(value, role=role, reasoning=reasoning)


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
        return _grouped(value, reasoning=reasoning)
    given = value.get("role") or value.get("type")
    if "content" not in value and "tool_calls" not in value and "function_call" not in value:
        text = next(
            (
                value[key]
                for key in ("text", "output", "answer", "completion", "prompt", "input", "question")
                if isinstance(value.get(key), str)
            ),
            None,
        )
        return [{"role": role, "content": text}] if text else []
    made = {key: value[key] for key in _KEPT if value.get(key) is not None}
    made["role"] = _ROLES.get(str(given), str(given)) if given else role
    if "tool_calls" in made:
        made["tool_calls"] = [_tool_call(call) for call in objects(made["tool_calls"])]
        if not made["tool_calls"]:
            del made["tool_calls"]
    made.setdefault("content", None)
    if made["content"] is None and "tool_calls" not in made and "function_call" not in made:
        return []
    if reasoning and isinstance(thought := value.get("reasoning_content", value.get("reasoning")), str):
        made["reasoning_content"] = thought
    return [{key: made[key] for key in (*_KEPT, "reasoning_content") if key in made}]


def _langchain(value: Mapping[str, Any], *, role: str, reasoning: bool) -> list[dict[str, Any]]:
    """Return a message that LangChain serialised as a constructor call."""
    kwargs = value.get("kwargs")
    if not isinstance(kwargs, Mapping):
        return []
    names = value.get("id")
    kind = str(names[-1]) if isinstance(names, list) and names else ""
    known = _TYPES.get(kind.removesuffix("Chunk"), _ROLES.get(str(kwargs.get("type")), str(kwargs.get("type") or role)))
    extra = kwargs.get("additional_kwargs")
    calls = (extra.get("tool_calls") if isinstance(extra, Mapping) else None) or kwargs.get("tool_calls")
    flat = {"role": known, "content": kwargs.get("content"), "tool_calls": calls or None, "tool_call_id": kwargs.get("tool_call_id")}
    if isinstance(extra, Mapping):
        flat["reasoning_content"] = extra.get("reasoning_content")
    if flat["content"] == "" and calls:
        flat["content"] = None
    return _message({key: inner for key, inner in flat.items() if inner is not None}, role=role, reasoning=reasoning)


def _tool_call(call: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool call in the protocol's form: LangChain has `args`, OpenTelemetry `arguments` as an object."""
    function = call.get("function")
    if isinstance(function, Mapping):
        name, arguments = function.get("name"), function.get("arguments")
    else:
        name, arguments = call.get("name"), call.get("args", call.get("arguments"))
    if not isinstance(arguments, str):
        arguments = canonical_json(arguments if arguments is not None else {}).decode()
    return {"id": str(call.get("id") or ""), "type": "function", "function": {"name": str(name or ""), "arguments": arguments}}


def _grouped(value: Mapping[str, Any], *, reasoning: bool) -> list[dict[str, Any]]:
    """Return the messages that one OpenTelemetry message stands for: each tool response is one of its own."""
    role = _ROLES.get(str(value.get("role")), str(value.get("role") or "user"))
    content: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    thoughts: list[str] = []
    responses: list[dict[str, Any]] = []
    for part in objects(value.get("parts")):
        match part.get("type"):
            case "text":
                content.append({"type": "text", "text": str(part.get("content", part.get("text", "")))})
            case "image_url":
                content.append(dict(part))
            case "tool_call":
                calls.append(_tool_call(part))
            case "tool_call_response":
                answer = part.get("response", part.get("result"))
                said = answer if isinstance(answer, str) else canonical_json(answer).decode()
                responses.append({"role": "tool", "content": said, "tool_call_id": str(part.get("id") or "")})
            case "reasoning" | "thinking":
                thoughts.append(str(part.get("content", "")))
            case "uri" if part.get("modality") == "image":
                content.append({"type": "image_url", "image_url": {"url": str(part.get("uri"))}})
            case "blob" if part.get("modality") == "image":
                url = f"data:{part.get('mime_type', 'image/png')};base64,{part.get('content')}"
                content.append({"type": "image_url", "image_url": {"url": url}})
    made: dict[str, Any] = {"role": role, "content": _flat(content)}
    if calls:
        made["tool_calls"] = calls
    if reasoning and thoughts:
        made["reasoning_content"] = "\n".join(thoughts)
    return [*responses, *([made] if content or calls else [])]


def _flat(content: list[dict[str, Any]]) -> Any:
    if not content:
        return None
    if all(part["type"] == "text" for part in content):
        return "".join(part["text"] for part in content)
    return content


def tools_of(value: Any) -> list[dict[str, Any]] | None:
    """Return tool definitions in the protocol's form; OpenTelemetry's are flat."""
    value = parsed(value)
    if not isinstance(value, list):
        return None
    made = []
    for one in map(parsed, value):
        if not isinstance(one, Mapping):
            continue
        if isinstance(one.get("function"), Mapping):
            made.append({"type": "function", "function": dict(one["function"])})
        elif isinstance(one.get("name"), str):
            made.append({"type": "function", "function": {key: one[key] for key in ("name", "description", "parameters") if key in one}})
    return made or None


def time_of(value: Any) -> str | None:
    """Return a time as RFC 3339 in UTC: from text, Unix seconds, milliseconds or nanoseconds."""
    if isinstance(value, str) and not value.isdecimal():
        try:
            moment = dt.datetime.fromisoformat(value)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=dt.UTC)
        try:
            return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
        except OverflowError:  # the first and the last day that there is
            return None
    seconds = float_of(value)
    if seconds is None:
        return None
    for scale in (1e9, 1e6, 1e3):
        if seconds > 1e11 * scale / 1e3:
            seconds /= scale
            break
    try:
        return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None


def text_or_none(value: Any) -> str | None:
    """Return a text, or `None` for anything else."""
    return value if isinstance(value, str) and value else None


def texts(value: Any) -> tuple[str, ...]:
    """Return the texts of a list, for tags."""
    value = parsed(value)
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def float_of(value: Any) -> float | None:
    """Return a finite number, maybe written as text; `None` for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def items(value: Any) -> list[Any]:
    """Return a list; empty for anything else."""
    return value if isinstance(value, list) else []


def objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of a list."""
    return (one for one in items(value) if isinstance(one, Mapping))


def mapping(value: Any) -> dict[str, Any]:
    """Return a JSON object, maybe written as text; empty for anything else."""
    value = parsed(value)
    return dict(value) if isinstance(value, Mapping) else {}


def numbers(value: Any) -> dict[str, float]:
    """Return the members of an object that are numbers (or have an average), for scores."""
    found = {}
    for name, one in mapping(value).items():
        number = one.get("avg", one.get("value", one.get("score"))) if isinstance(one, Mapping) else one
        figure = float(number) if isinstance(number, bool) else float_of(number) if isinstance(number, (int, float)) else None
        if figure is not None:
            found[str(name)] = figure
    return found
