"""Phoenix: datasets as OpenAI fine-tuning JSONL or as examples (`input`, `output`, `metadata`), and exported spans.

Spans are those of `otel`, with OpenInference attributes: traced, of a page of the REST API, or a table of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ftspec.data.importers import chat, otel
from ftspec.data.importers.base import Call, Importer, Record, Skipped, call_or_skip
from ftspec.data.importers.messages import messages_of
from ftspec.data.importers.normal import mapping, numbers, objects, text_or_none, tools_of


def read(records: Iterable[Record]) -> Iterator[Call | Skipped]:
    """Yield the calls of a dataset or of spans."""
    for record in _each(records):
        if "messages" in record:
            yield from chat.read([record])
        elif "input" in record and "output" in record:
            given, about = mapping(record["input"]), mapping(record.get("metadata"))
            answers = messages_of(record["output"], role="assistant", reasoning=True)
            yield call_or_skip(
                messages_of(given or record["input"]),
                answers,
                tools=tools_of(given.get("tools")),
                model=text_or_none(about.get("model")) or text_or_none(about.get("llm.model_name")),
                id=text_or_none(record.get("id")),
                scores=numbers(record.get("annotations")),
                metadata=about,
            )
        else:
            yield from otel.read([record])


def _each(records: Iterable[Record]) -> Iterator[Record]:
    """Yield records one by one, also those of a page of the REST API."""
    for record in records:
        if isinstance(record.get("data"), list):
            yield from objects(record["data"])
        else:
            yield record


importer = Importer(title="Phoenix datasets (fine-tuning JSONL or examples) and spans", format="Phoenix 15", read=read)
