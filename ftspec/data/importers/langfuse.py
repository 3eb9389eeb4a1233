"""Langfuse exports: observations as JSON, JSONL or CSV from the table, the API or blob storage, or a downloaded trace.

Calls are observations of type `GENERATION`. Field names are those of the export (camel case) and of blob
storage (snake case); input and output are JSON, or JSON as text (CSV). Blob storage has scores in files of their own:
name them before the observations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ftspec.data.importers.base import FAILED, NOT_A_CALL, Call, Importer, Record, Skipped, call_or_skip
from ftspec.data.importers.exchange import exchange, is_response
from ftspec.data.importers.messages import messages_of
from ftspec.data.importers.normal import first_text, float_of, mapping, numbers, objects, parsed, text_or_none, texts, time_of, tools_of

_MODELS = ("model", "providedModelName", "provided_model_name")


def read(records: Iterable[Record]) -> Iterator[Call | Skipped]:
    """Yield the generations of an export. Rows of a `scores` file belong to what follows them."""
    known: dict[str, dict[str, float]] = {}
    for record in records:
        observations = parsed(record.get("observations"))
        if any(objects(observations)):
            trace = mapping(record.get("trace")) or dict(record)
            scores = _scores(record.get("scores")) | _scores(trace.get("scores"))
            for one in objects(observations):
                yield _call(one, trace=trace, scores=scores)
        elif "data" in record and isinstance(record["data"], list):
            yield from (_call(one, trace={}, scores={}) for one in objects(record["data"]))
        elif (place := _place(record)) is not None:
            if (value := float_of(record.get("value"))) is not None:
                known.setdefault(place, {})[str(record.get("name"))] = value
        else:
            scores = known.get(str(record.get("trace_id", record.get("traceId"))), {}) | known.get(str(record.get("id")), {})
            yield _call(record, trace={}, scores=scores)


def _place(record: Record) -> str | None:
    """Return the id of what a row of a `scores` file is about, `None` for other records."""
    if "value" not in record or "name" not in record or "input" in record:
        return None
    return first_text(record, ("observation_id", "observationId", "trace_id", "traceId"))


def _tools(value: Any) -> list[dict[str, Any]] | None:
    """Return tool definitions: a list, or an object of JSON texts by name."""
    value = parsed(value)
    return tools_of([{"name": name, **mapping(one)} for name, one in value.items()] if isinstance(value, Mapping) else value)


def _scores(value: Any) -> dict[str, float]:
    """Return scores by name: exports have a list of score objects, or an object of lists or numbers."""
    value = parsed(value)
    if isinstance(value, list):
        found = {str(one.get("name")): one.get("value") for one in objects(value)}
        return numbers(found)
    if isinstance(value, Mapping):
        return numbers({name: one[0] if isinstance(one, list) and one else one for name, one in value.items()})
    return {}


def _call(one: Mapping[str, Any], *, trace: Mapping[str, Any], scores: Mapping[str, float]) -> Call | Skipped:
    kind = one.get("type")
    if "input" not in one or (isinstance(kind, str) and kind.upper() not in {"GENERATION", "LLM"}):
        return NOT_A_CALL
    if str(one.get("level", "")).upper() == "ERROR":
        return FAILED
    about: dict[str, Any] = {
        "model": first_text(one, _MODELS),
        "time": time_of(one.get("startTime") or one.get("start_time")),
        "id": text_or_none(one.get("id")),
        "name": text_or_none(one.get("name")),
        "tags": texts(one.get("tags")) or texts(trace.get("tags")),
        "scores": {**scores, **_scores(one.get("scores"))},
        "metadata": {**mapping(trace.get("metadata")), **mapping(one.get("metadata"))},
    }
    given, output = parsed(one.get("input")), parsed(one.get("output"))
    tools = tools_of(mapping(given).get("tools")) or _tools(one.get("toolDefinitions") or one.get("tool_definitions"))
    if isinstance(output, Mapping) and ("choices" in output or is_response(output)):
        asked = given if isinstance(given, Mapping) else {}
        return exchange({"messages": given, "input": given, **asked}, output, tools=tools, **about)
    return call_or_skip(
        messages_of(one.get("input")),
        messages_of(one.get("output"), role="assistant", reasoning=True),
        finish_reason=text_or_none(mapping(output).get("finish_reason")),
        tools=tools,
        **about,
    )


importer = Importer(
    title="Langfuse observations (JSON, JSONL, CSV) or a downloaded trace",
    format="Langfuse table, API v2 and blob storage exports of 2026",
    read=read,
)
