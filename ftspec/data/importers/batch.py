"""Batch files of the OpenAI protocol: the input and the output file, paired by `custom_id`, in any order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ftspec.data.importers.base import FAILED, NO_ANSWER, NO_PROMPT, NOT_A_CALL, Call, Importer, Record, Skipped, call_or_skip
from ftspec.data.importers.normal import mapping, messages_of, text_or_none, time_of, tools_of

_OK = 200


def read(records: Iterable[Record]) -> Iterator[Call | Skipped]:
    """Yield the calls whose request and answer are both there."""
    waiting: dict[str, Record] = {}
    for record in records:
        name = record.get("custom_id")
        if not isinstance(name, str) or not ("body" in record or "response" in record or "error" in record):
            yield NOT_A_CALL
            continue
        other = waiting.get(name)
        if other is None or ("body" in other) == ("body" in record):
            waiting[name] = record
            continue
        del waiting[name]
        request, answer = (record, other) if "body" in record else (other, record)
        yield _call(request, answer)
    for record in waiting.values():
        yield NO_ANSWER if "body" in record else NO_PROMPT


def _call(request: Record, answer: Record) -> Call | Skipped:
    body = mapping(request.get("body"))
    response = mapping(answer.get("response"))
    if answer.get("error") or response.get("status_code", _OK) != _OK:
        return FAILED
    completion = mapping(response.get("body"))
    choices = completion.get("choices")
    if "messages" not in body or not isinstance(choices, list):
        return NOT_A_CALL
    first: Mapping[str, Any] = choices[0] if choices and isinstance(choices[0], Mapping) else {}
    answers = messages_of(first.get("message"), role="assistant", reasoning=True)
    return call_or_skip(
        messages_of(body["messages"]),
        answers[-1] if answers else None,
        finish_reason=text_or_none(first.get("finish_reason")),
        tools=tools_of(body.get("tools")),
        parallel_tool_calls=body["parallel_tool_calls"] if isinstance(body.get("parallel_tool_calls"), bool) else None,
        model=text_or_none(completion.get("model")) or text_or_none(body.get("model")),
        time=time_of(completion.get("created")),
        id=text_or_none(request.get("custom_id")),
        metadata=mapping(body.get("metadata")),
    )


importer = Importer(
    title="Batch files: the input and the output file of a batch", format="OpenAI batch JSONL, /v1/chat/completions", read=read
)
