"""Stored completions of OpenAI and Azure (`store: true`), as `chat.completions.list` and `.messages.list` return them.

A file holds one completion object a line, with its input under `messages`; without a file,
`ftspec data import --from openai-stored --engine NAME` asks the engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ftspec.data.importers.base import NO_ANSWER, NOT_A_CALL, Call, Importer, Record, Skipped, call_or_skip
from ftspec.data.importers.normal import mapping, messages_of, text_or_none, time_of, tools_of


def read(records: Iterable[Record]) -> Iterator[Call | Skipped]:
    """Yield the calls of stored completions."""
    for record in records:
        choices = record.get("choices")
        if not isinstance(choices, list):
            yield NOT_A_CALL
            continue
        first = choices[0] if choices and isinstance(choices[0], dict) else {}
        answers = messages_of(first.get("message"), role="assistant", reasoning=True)
        if not answers:
            yield NO_ANSWER
            continue
        yield call_or_skip(
            messages_of(record.get("messages") or record.get("input")),
            answers[-1],
            finish_reason=text_or_none(first.get("finish_reason")),
            tools=tools_of(record.get("tools")),
            model=text_or_none(record.get("model")),
            time=time_of(record.get("created")),
            id=text_or_none(record.get("id")),
            metadata=mapping(record.get("metadata")),
        )


importer = Importer(title="OpenAI's stored completions", format="chat.completion objects with `messages`, openai 3.51", read=read)
