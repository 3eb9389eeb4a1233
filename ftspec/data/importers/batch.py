"""Batch files of the OpenAI protocol: the input and the output file, paired by `custom_id`, in any order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ftspec.data.importers.base import FAILED, NO_ANSWER, NO_PROMPT, NOT_A_CALL, Call, Importer, Record, Skipped
from ftspec.data.importers.exchange import Turns, exchange
from ftspec.data.importers.normal import mapping, text_or_none

TWICE = Skipped("several calls have the same `custom_id` (import one batch after the other)")

_OK = 200


def read(records: Iterable[Record]) -> Iterator[Call | Skipped]:
    """Yield the calls whose request and answer are both there. Ids that several batches share are not paired by chance."""
    waiting: dict[str, Record] = {}
    twice: set[str] = set()
    turns = Turns()
    for record in records:
        name = record.get("custom_id")
        if not isinstance(name, str) or not ("body" in record or "response" in record or "error" in record):
            yield NOT_A_CALL
            continue
        if name in twice:
            yield TWICE
            continue
        other = waiting.pop(name, None)
        if other is None or other == record:  # the same file may be named twice
            waiting[name] = record
            continue
        if ("body" in other) == ("body" in record):
            twice.add(name)
            yield from (TWICE, TWICE)
            continue
        request, answer = (record, other) if "body" in record else (other, record)
        yield _call(request, answer, turns)
    for record in waiting.values():
        yield NO_ANSWER if "body" in record else NO_PROMPT


def _call(request: Record, answer: Record, turns: Turns) -> Call | Skipped:
    body = mapping(request.get("body"))
    response = mapping(answer.get("response"))
    if answer.get("error") or response.get("status_code", _OK) != _OK:
        return FAILED
    return exchange(body, mapping(response.get("body")), turns=turns, id=text_or_none(request.get("custom_id")))


importer = Importer(
    title="Batch files: the input and the output file of a batch",
    format="OpenAI batch JSONL, /v1/chat/completions and /v1/responses",
    read=read,
)
