"""One request of the OpenAI protocol and its answer: chat completions and the Responses API.

For every source that has both as they were sent: `ftspec.collect`, batch files, stored objects, logs of gateways.
A turn of the Responses API may lean on earlier ones that only its server has (`previous_response_id`); `Turns`
remembers those that were seen, so that such a turn is whole again. Where they were not seen it is left out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import msgspec

from ftspec.data.importers.base import (
    CUT_OFF,
    ELSEWHERE,
    FAILED,
    NOT_A_CALL,
    UNFINISHED,
    Call,
    Skipped,
    call_or_skip,
)
from ftspec.data.importers.items import REFERENCE, messages_of_items
from ftspec.data.importers.messages import messages_of
from ftspec.data.importers.normal import items, mapping, objects, text_or_none, time_of, tools_of

Messages = list[dict[str, Any]]

_MANY = 1_000
_LONG = 16 << 20


class Turns:
    """The turns that were seen, by the id of their response: at most 1,000, and 16 MiB of JSON."""

    def __init__(self) -> None:
        self._turns: OrderedDict[str, tuple[Messages, int]] = OrderedDict()
        self._size = 0

    def before(self, response: str) -> Messages | None:
        """Return the messages up to and with a response, without instructions, which do not carry over."""
        found = self._turns.get(response)
        return found[0] if found else None

    def remember(self, response: str, before: Messages, new: Messages) -> None:
        """Note a turn; the oldest ones are forgotten."""
        size = len(msgspec.json.encode(new))
        self._turns[response] = ([*before, *new], size)
        self._size += size
        while self._turns and (len(self._turns) > _MANY or self._size > _LONG):
            _, (_, gone) = self._turns.popitem(last=False)
            self._size -= gone


def exchange(asked: Mapping[str, Any], said: Mapping[str, Any], *, turns: Turns | None = None, **about: Any) -> Call | Skipped:
    """Return the call that a request and its answer are; `about` overrides what they say of themselves."""
    if isinstance(said.get("choices"), list) and "messages" in asked:
        return _completion(asked, said, about)
    if is_response(said):
        return _response(asked, said, turns, about)
    return NOT_A_CALL


def is_response(said: Mapping[str, Any]) -> bool:
    """Return whether an answer is one of the Responses API."""
    return said.get("object") == "response" or (isinstance(said.get("output"), list) and "choices" not in said and "status" in said)


def _about(asked: Mapping[str, Any], said: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    parallel = asked.get("parallel_tool_calls")
    known = {
        "tools": tools_of(asked.get("tools")),
        "functions": [dict(one) for one in objects(asked.get("functions"))] or None,
        "parallel_tool_calls": parallel if isinstance(parallel, bool) else None,
        "model": text_or_none(said.get("model")) or text_or_none(asked.get("model")),
        "time": time_of(said.get("created", said.get("created_at"))),
        "id": text_or_none(said.get("id")),
        "metadata": mapping(asked.get("metadata")),
    }
    return known | {name: value for name, value in about.items() if value is not None}


def _completion(asked: Mapping[str, Any], said: Mapping[str, Any], about: Mapping[str, Any]) -> Call | Skipped:
    first = next((one for one in objects(said["choices"]) if one.get("index") in (0, None)), {})
    return call_or_skip(
        messages_of(asked["messages"], reasoning=True),
        messages_of(first.get("message"), role="assistant", reasoning=True)[-1:],
        finish_reason=text_or_none(first.get("finish_reason")),
        **_about(asked, said, about),
    )


def _response(asked: Mapping[str, Any], said: Mapping[str, Any], turns: Turns | None, about: Mapping[str, Any]) -> Call | Skipped:
    status = text_or_none(said.get("status"))
    if status in {"queued", "in_progress"}:
        return UNFINISHED
    if status in {"failed", "cancelled"} or said.get("error"):
        return FAILED
    previous = asked.get("previous_response_id") or said.get("previous_response_id")
    before = (turns.before(str(previous)) if turns else None) if previous else []
    given = asked.get("input")
    if before is None or any(one.get(key) for one in (asked, said) for key in ("conversation", "prompt")) or _leans(given):
        return ELSEWHERE
    new = [{"role": "user", "content": given}] if isinstance(given, str) else messages_of_items(items(given), reasoning=True)
    answers = messages_of_items(items(said.get("output")), reasoning=True)
    if turns and (name := text_or_none(said.get("id"))) and asked.get("store") is not False:
        turns.remember(name, before, [*new, *answers])
    if status == "incomplete":
        return CUT_OFF
    instructions = asked.get("instructions")
    system = [{"role": "system", "content": instructions}] if isinstance(instructions, str) and instructions.strip() else []
    if not before and not new:
        system = []  # instructions alone are no question
    return call_or_skip([*system, *before, *new], answers, finish_reason=status, **_about(asked, said, about))


def _leans(given: Any) -> bool:
    """Return whether an input names items that only the server has."""
    return any(item.get("type") == REFERENCE or (item.get("type") is None and set(item) == {"id"}) for item in objects(given))
