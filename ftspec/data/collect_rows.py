"""From a collected call to a row: what the SDK returned, or what was heard of a stream."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ftspec.data.importers.base import NOT_A_CALL, UNFINISHED, Call, Skipped
from ftspec.data.importers.exchange import Turns, exchange
from ftspec.data.importers.normal import decoded, items, mapping, objects

if TYPE_CHECKING:
    from ftspec.data.collect_writer import Noted

BROKEN_OFF = Skipped("the answer was broken off")
UNWANTED = Skipped("left out by `keep`")

_MANY = 1_000
_FINAL = {"response.completed", "response.incomplete", "response.failed"}


@dataclass(slots=True)
class Memory:
    """What later calls may need of earlier ones: turns of conversations, and calls whose answer is fetched later."""

    turns: OrderedDict[str, Turns] = field(default_factory=OrderedDict)
    background: OrderedDict[tuple[str, str], Noted] = field(default_factory=OrderedDict)

    def turns_of(self, origin: str) -> Turns:
        """Return the turns of one server: its ids are no other's."""
        found = self.turns.setdefault(origin, Turns())
        while len(self.turns) > 8:
            self.turns.popitem(last=False)
        return found


def row_of(noted: Noted, memory: Memory) -> dict[str, Any] | Skipped | None:
    """Return the row of a call, why there is nothing to learn from it, or `None` where it is no call, or none yet."""
    said = _said(noted)
    name = (noted.origin, str(said.get("id"))) if said else None
    if noted.asked.get("retrieved"):
        earlier = memory.background.get(name) if name else None
        if earlier is None:
            return None
        noted = earlier
    if not noted.asked:
        return NOT_A_CALL
    if said is None:
        return BROKEN_OFF
    call = exchange(noted.asked, said, turns=memory.turns_of(noted.origin))
    if call == UNFINISHED and name is not None:
        memory.background[name] = noted
        while len(memory.background) > _MANY:
            memory.background.popitem(last=False)
        return None
    if name is not None:
        memory.background.pop(name, None)
    return call if isinstance(call, Skipped) else _row(call, noted)


def _row(call: Call, noted: Noted) -> dict[str, Any] | Skipped:
    row = call.row(reasoning=noted.wish.reasoning)
    row["metadata"] = _about(call, noted)
    if noted.wish.redact:
        from ftspec.data.repair import redacted_row

        row, _ = redacted_row(row)
    return row if noted.wish.keep is None or noted.wish.keep(row) else UNWANTED


def _about(call: Call, noted: Noted) -> dict[str, Any]:
    about = {
        "model": call.model,
        "id": call.id,
        "time": dt.datetime.fromtimestamp(noted.at, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "tags": list(noted.wish.tags),
        **noted.wish.metadata,
    }
    prompt = next((one.get("content") for one in call.messages if one.get("role") in {"system", "developer"}), None)
    if isinstance(prompt, str):
        about["prompt_sha256"] = hashlib.sha256(prompt.strip().encode(errors="replace")).hexdigest()
    return {name: value for name, value in about.items() if value not in (None, [])}


def _said(noted: Noted) -> dict[str, Any] | None:
    """Return the answer as JSON, `None` where it did not come to its end."""
    answer = noted.answer
    if not isinstance(answer, list):
        dump = getattr(answer, "model_dump", None)
        return dump(mode="json", exclude_none=True, warnings=False) if callable(dump) else None
    heard = b"".join(answer)
    if not noted.streamed:
        try:
            return mapping(decoded(heard)) or None
        except ValueError:
            return None
    events = list(_events(heard))
    return _response(events) if any(str(event.get("type", "")).startswith("response.") for event in events) else _completion(events)


def _events(heard: bytes) -> Iterator[dict[str, Any]]:
    """Yield the objects of a stream of server-sent events, up to where it broke off."""
    data: list[bytes] = []
    for line in [*heard.splitlines(), b""]:
        if line.startswith(b"data:"):
            data.append(line[5:].strip())
        elif not line and data:
            try:
                yield mapping(decoded(b"\n".join(data)))
            except ValueError:
                return  # `[DONE]`, or half an event
            finally:
                data = []


def _response(events: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the response that a stream of events ends with. Its items may have come one by one only."""
    final = next((mapping(event.get("response")) for event in events if event.get("type") in _FINAL), None)
    if final and not final.get("output"):
        done = {event.get("output_index", 0): event.get("item") for event in events if event.get("type") == "response.output_item.done"}
        final["output"] = [done[number] for number in sorted(done)]
    return final


def _completion(events: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the completion that the chunks of a stream add up to, of several choices the first."""
    said: dict[str, Any] = {}
    message: dict[str, Any] = {"role": "assistant", "content": None}
    calls: dict[int, dict[str, Any]] = {}
    reason = None
    for event in events:
        said |= {name: event[name] for name in ("id", "model", "created") if event.get(name)}
        for choice in objects(event.get("choices")):
            if choice.get("index", 0) != 0:
                continue
            reason = choice.get("finish_reason") or reason
            delta = mapping(choice.get("delta"))
            for name in ("content", "refusal", "reasoning_content", "reasoning"):
                if isinstance(text := delta.get(name), str) and text:
                    message[name] = (message.get(name) or "") + text
            for part in items(delta.get("tool_calls")):
                _add(part, calls)
            if function := mapping(delta.get("function_call")):
                _join(function, message.setdefault("function_call", {"name": "", "arguments": ""}))
    if calls:
        message["tool_calls"] = [calls[number] for number in sorted(calls)]
    return {**said, "choices": [{"index": 0, "finish_reason": reason, "message": message}]} if reason else None


def _add(part: Any, calls: dict[int, dict[str, Any]]) -> None:
    part = mapping(part)
    call = calls.setdefault(int(part.get("index") or 0), {"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
    call["id"] = part.get("id") or call["id"]
    call["type"] = part.get("type") or call["type"]
    _join(mapping(part.get("function")), call["function"])


def _join(part: Mapping[str, Any], whole: dict[str, Any]) -> None:
    for name in ("name", "arguments"):
        whole[name] += part.get(name) or ""
