"""LiteLLM's logs: `StandardLoggingPayload` objects, by themselves or as `standard_logging_object` of callback arguments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ftspec.data.importers.base import FAILED, NOT_A_CALL, Call, Importer, Record, Skipped, call_or_skip
from ftspec.data.importers.exchange import Turns, exchange, is_response
from ftspec.data.importers.messages import messages_of
from ftspec.data.importers.normal import mapping, parsed, text_or_none, texts, time_of, tools_of

_CALLS = {"completion", "acompletion", "chat_completion", "responses", "aresponses", ""}


def read(records: Iterable[Record]) -> Iterator[Call | Skipped]:
    """Yield the calls of logged payloads."""
    turns = Turns()
    for record in records:
        payload = mapping(record.get("standard_logging_object")) or dict(record)
        if "messages" not in payload or "response" not in payload or str(payload.get("call_type") or "") not in _CALLS:
            yield NOT_A_CALL
            continue
        if payload.get("status") == "failure" or payload.get("error_str"):
            yield FAILED
            continue
        about: dict[str, Any] = {
            "model": text_or_none(payload.get("model")),
            "time": time_of(payload.get("startTime")),
            "id": text_or_none(payload.get("id")),
            "tags": texts(payload.get("request_tags")),
            "metadata": {
                **mapping(payload.get("metadata")),
                "end_user": payload.get("end_user"),
                "model_group": payload.get("model_group"),
            },
        }
        parameters = mapping(payload.get("model_parameters"))
        asked = {**parameters, "messages": payload["messages"], "input": parsed(payload["messages"])}
        response = parsed(payload["response"])
        if isinstance(response, dict) and ("choices" in response or is_response(response)):
            yield exchange(asked, response, turns=turns, **about)
            continue
        answers = messages_of(response, role="assistant", reasoning=True)
        tools = tools_of(parameters.get("tools"))
        yield call_or_skip(messages_of(payload["messages"]), answers, tools=tools, **about)


importer = Importer(title="LiteLLM's log payloads", format="LiteLLM StandardLoggingPayload", read=read)
