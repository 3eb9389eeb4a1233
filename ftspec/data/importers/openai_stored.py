"""What OpenAI and Azure stored (`store: true`): chat completions and responses.

A file holds one object a line with what it answers: a completion with its input under `messages`, as
`chat.completions.list` and `.messages.list` return them; a response with its input under `input` or
`input_items`, as `responses.retrieve` and `responses.input_items.list` return them: a page has the newest item
first, a plain list is in order. Without a file, `ftspec data import --from openai-stored --engine NAME` asks the engine for completions (responses have no list).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ftspec.data.importers.base import ELSEWHERE, Call, Importer, Record, Skipped
from ftspec.data.importers.exchange import exchange, is_response
from ftspec.data.importers.normal import items, parsed


def read(records: Iterable[Record]) -> Iterator[Call | Skipped]:
    """Yield the calls of stored objects."""
    for record in records:
        if not is_response(record):
            yield exchange({**record, "messages": record.get("messages") or record.get("input")}, record)
            continue
        given = parsed(record.get("input", record.get("input_items")))
        if isinstance(given, dict):  # a page as the list returns it: the newest item first
            if given.get("has_more"):
                yield ELSEWHERE
                continue
            given = items(given.get("data"))[::-1]
        yield exchange({**record, "input": given}, record)


importer = Importer(
    title="OpenAI's stored completions and responses",
    format="chat.completion objects with `messages`, response objects with `input`, openai 3.51",
    read=read,
)
