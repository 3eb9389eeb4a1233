"""LiteLLM's logs: `StandardLoggingPayload` objects, by themselves or as `standard_logging_object` of callback arguments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ftspec.data.importers.base import FAILED, NOT_A_CALL, Call, Importer, Record, Skipped, call_or_skip
from ftspec.data.importers.normal import mapping, messages_of, parsed, text_or_none, texts, time_of, tools_of

_CHAT = {"completion", "acompletion", "chat_completion", ""}


def read(records: Iterable[Record]) -> Iterator[Call | Skipped]:
    """Yield the calls of logged payloads."""
    for record in records:
        payload = mapping(record.get("standard_logging_object")) or dict(record)
        if "messages" not in payload or "response" not in payload or str(payload.get("call_type") or "") not in _CHAT:
            yield NOT_A_CALL
            continue
        if payload.get("status") == "failure" or payload.get("error_str"):
            yield FAILED
            continue
        response = parsed(payload["response"])
        choices = response.get("choices") if isinstance(response, dict) else None
        first = mapping(choices[0]) if isinstance(choices, list) and choices else {}
        answers = messages_of(first.get("message") if choices else response, role="assistant", reasoning=True)
        parameters = mapping(payload.get("model_parameters"))
        parallel = parameters.get("parallel_tool_calls")
        yield call_or_skip(
            messages_of(payload["messages"]),
            answers[-1] if answers else None,
            finish_reason=text_or_none(first.get("finish_reason")),
            tools=tools_of(parameters.get("tools")),
            parallel_tool_calls=parallel if isinstance(parallel, bool) else None,
            model=text_or_none(payload.get("model")),
            time=time_of(payload.get("startTime")),
            id=text_or_none(payload.get("id")),
            tags=texts(payload.get("request_tags")),
            metadata={**mapping(payload.get("metadata")), "end_user": payload.get("end_user"), "model_group": payload.get("model_group")},
        )


importer = Importer(title="LiteLLM's log payloads", format="LiteLLM StandardLoggingPayload", read=read)
