"""Content parts as the chat protocol writes them: text, images, audio, files, and what tools call and answer.

Understood are the parts of the chat and the Responses API, of OpenTelemetry, LangChain and
Anthropic. A part that a row cannot show (a video, a file that only a server has, the call of a hosted tool)
becomes one of type `UNSHOWN`, so that its call is refused instead of being told in part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ftspec.data.importers.normal import items, objects, text_or_none
from ftspec.fingerprint import canonical_json

UNSHOWN = "unshown"
SHOWN = ("text", "image_url", "input_audio", "file", "refusal")
"""The types of parts that a chat message may have."""


@dataclass(slots=True)
class Said:
    """What the parts of one message say, by kind. `answers` are messages of role `tool`."""

    content: list[dict[str, Any]] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)


def are_shown(parts: Sequence[Any]) -> bool:
    """Return whether parts are those of the chat protocol already, without marks of a cache or of sources."""
    for part in parts:
        kind = text_or_none(part.get("type")) if isinstance(part, Mapping) else None
        if (
            kind not in SHOWN
            or not part.keys() <= {"type", kind}
            or (kind == "image_url" and not isinstance(part.get("image_url"), Mapping))
        ):
            return False
    return True


def read_parts(parts: Any) -> Said:
    """Return what a list of parts says."""
    said = Said()
    for part in items(parts):
        if isinstance(part, str):
            said.content.append({"type": "text", "text": part})
        elif isinstance(part, Mapping):
            _read(part, said)
    return said


def flat(content: list[dict[str, Any]]) -> Any:
    """Return parts as the content of a message: a text where all of them are texts, `None` where there are none."""
    if not content:
        return None
    if all(part["type"] == "text" for part in content):
        return "".join(part["text"] for part in content)
    return content


def tool_call(call: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool call in the protocol's form: LangChain has `args`, Anthropic `input`, OpenTelemetry an object."""
    if call.get("type") == "custom":
        return {"id": str(call.get("id") or ""), "type": UNSHOWN, "function": {"name": "", "arguments": ""}}
    function = call.get("function")
    if isinstance(function, Mapping):
        name, arguments = function.get("name"), function.get("arguments")
    else:
        name = call.get("name")
        arguments = next((call[key] for key in ("args", "arguments", "input") if key in call), None)
    if not isinstance(arguments, str):
        arguments = canonical_json(arguments if arguments is not None else {}).decode()
    return {"id": str(call.get("id") or ""), "type": "function", "function": {"name": str(name or ""), "arguments": arguments}}


def tool_answer(identity: Any, answer: Any) -> dict[str, Any]:
    """Return what a tool answered as a message; an answer in parts must be text."""
    if isinstance(answer, list) and all(isinstance(part, Mapping) and isinstance(part.get("type"), str) for part in answer):
        said: Any = flat(read_parts(answer).content) or ""
        if not isinstance(said, str):
            said = [{"type": UNSHOWN}]
    else:
        said = answer if isinstance(answer, str) else canonical_json(answer).decode()
    return {"role": "tool", "content": said, "tool_call_id": str(identity or "")}


def thought_of(part: Mapping[str, Any]) -> str:
    """Return the text of recorded reasoning; empty where the model's maker keeps it to itself."""
    for key in ("content", "thinking", "reasoning", "text"):
        if isinstance(part.get(key), str):
            return str(part[key])
    told = [*objects(part.get("content")), *objects(part.get("summary"))]
    return "\n\n".join(str(one["text"]) for one in told if isinstance(one.get("text"), str))


def _read(part: Mapping[str, Any], said: Said) -> None:
    match part.get("type"):
        case "text" | "input_text" | "output_text":
            said.content.append({"type": "text", "text": str(part.get("text", part.get("content", "")))})
        case "refusal":
            said.content.append({"type": "refusal", "refusal": str(part.get("refusal", ""))})
        case "input_audio":
            said.content.append({"type": "input_audio", "input_audio": part.get("input_audio")})
        case "image_url" | "input_image" | "image":
            said.content.append(_image(part))
        case "uri" | "blob" if part.get("modality") == "image":
            said.content.append(_image(part))
        case "file" | "input_file":
            said.content.append(_file(part))
        case "tool_call" | "tool_use":
            said.calls.append(tool_call({**part, "type": "function"}))
        case "function_call":
            said.calls.append(tool_call({**part, "type": "function", "id": part.get("call_id") or part.get("id")}))
        case "tool_call_response":
            said.answers.append(tool_answer(part.get("id"), part.get("response", part.get("result"))))
        case "tool_result":
            said.answers.append(tool_answer(part.get("tool_use_id"), part.get("content")))
        case "reasoning" | "thinking" | "reasoning_content":
            said.thoughts.append(thought_of(part))
        case "redacted_thinking":
            pass
        case None if isinstance(part.get("text"), str):
            said.content.append({"type": "text", "text": part["text"]})
        case _:
            said.content.append({"type": UNSHOWN})


def _image(part: Mapping[str, Any]) -> dict[str, Any]:
    given = part.get("image_url")
    detail = part.get("detail")
    if isinstance(given, Mapping):
        url, detail = given.get("url"), given.get("detail", detail)
    else:
        url = given if isinstance(given, str) else _address(part)
    if not isinstance(url, str) or not url:
        return {"type": UNSHOWN}
    return {"type": "image_url", "image_url": {"url": url, **({"detail": detail} if isinstance(detail, str) else {})}}


def _address(part: Mapping[str, Any]) -> Any:
    """Return the address of an image that is linked, or that is part of the message itself."""
    source = part.get("source")
    if isinstance(source, Mapping):
        part = source
    if url := part.get("url", part.get("uri")):
        return url
    data = next((part[key] for key in ("base64", "data", "content") if isinstance(part.get(key), str)), None)
    kind = next((part[key] for key in ("mime_type", "media_type") if isinstance(part.get(key), str)), "image/png")
    return f"data:{kind};base64,{data}" if data else None


def _file(part: Mapping[str, Any]) -> dict[str, Any]:
    inner = part.get("file")
    known = inner if isinstance(inner, Mapping) else part if part.get("type") == "input_file" else {}
    made = {key: known[key] for key in ("file_data", "filename", "file_id") if isinstance(known.get(key), str)}
    return {"type": "file", "file": made} if "file_data" in made or "file_id" in made else {"type": UNSHOWN}
