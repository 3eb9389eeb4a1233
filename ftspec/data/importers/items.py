"""Items of the Responses API (`input`, `output`) as messages of the chat protocol.

Function calls join the assistant's message before them, each output of a function is a message of role `tool`,
reasoning goes with what the assistant says next. Any other item (a hosted tool's call, a reference to
something on the server, a compacted history) becomes a part of type `UNSHOWN`: a row cannot show it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ftspec.data.importers.parts import UNSHOWN, flat, read_parts, thought_of, tool_answer, tool_call

REFERENCE = "item_reference"


def is_item(value: Any) -> bool:
    """Return whether a value is an item that only the Responses API has; its messages look like those of others."""
    if not isinstance(value, Mapping) or not isinstance(kind := value.get("type"), str):
        return False
    return (
        kind in {REFERENCE, "compaction", "mcp_list_tools"}
        or (kind.endswith(("_call", "_call_output", "_approval_request", "_approval_response")) and kind != "tool_call")
        or (kind == "reasoning" and "summary" in value)
        or (kind == "message" and isinstance(value.get("content"), list))
    )


def messages_of_items(given: Iterable[Any], *, reasoning: bool = False) -> list[dict[str, Any]]:
    """Return the messages that items stand for, in order."""
    made: list[dict[str, Any]] = []
    thoughts: list[str] = []
    for item in given:
        if not isinstance(item, Mapping):
            continue
        match item.get("type") or "message":
            case "reasoning":
                thoughts.append(thought_of(item))
                continue
            case "function_call":
                if not made or made[-1]["role"] != "assistant":
                    made.append({"role": "assistant", "content": None})
                call = tool_call({**item, "id": item.get("call_id") or item.get("id")})
                made[-1].setdefault("tool_calls", []).append(call)
            case "function_call_output":
                made.append(tool_answer(item.get("call_id"), item.get("output")))
            case "message":
                made.extend(_message(item))
            case _:
                made.append({"role": "user", "content": [{"type": UNSHOWN}]})
        if reasoning and any(thoughts) and made and made[-1]["role"] == "assistant":
            made[-1]["reasoning_content"] = "\n\n".join(filter(None, thoughts))
            thoughts = []
    return made


def _message(item: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = item.get("content")
    said = content if isinstance(content, str) else flat(read_parts(content).content)
    return [{"role": str(item.get("role") or "user"), "content": said}] if said else []
