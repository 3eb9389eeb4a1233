"""OpenTelemetry's records: OTLP as JSON (a file of the collector, an answer of a store), or what an SDK's console exporter wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ftspec.data.importers.base import Record
from ftspec.data.importers.normal import float_of, items, mapping, objects

_ERRORS = (2, "STATUS_CODE_ERROR", "ERROR")


def value_of(value: Any) -> Any:
    """Return an OTLP `AnyValue` as a plain value."""
    if not isinstance(value, Mapping):
        return value
    match value:
        case {"stringValue": text}:
            return text
        case {"intValue": int() | str() as number} if re.fullmatch(r"-?[0-9]{1,30}", str(number)):
            return int(number)
        case {"doubleValue": number}:
            return float_of(number)
        case {"boolValue": flag}:
            return bool(flag)
        case {"arrayValue": array}:
            return [value_of(one) for one in items(mapping(array).get("values"))]
        case {"kvlistValue": pairs}:
            return attributes_of(mapping(pairs).get("values", []))
        case _:
            return dict(value) if value else None


def attributes_of(given: Any) -> dict[str, Any]:
    """Return attributes as a dict: OTLP lists them as key and value, SDKs write an object."""
    if isinstance(given, Mapping):
        return dict(given)
    return {str(one.get("key")): value_of(one.get("value")) for one in objects(given)}


def spans_of(record: Record) -> Iterator[Mapping[str, Any]]:
    """Yield the spans and log records of one line, or the one that the record itself is."""
    groups = (
        ("resourceSpans", ("scopeSpans", "instrumentationLibrarySpans"), "spans"),
        ("batches", ("scopeSpans", "instrumentationLibrarySpans"), "spans"),
        ("resourceLogs", ("scopeLogs",), "logRecords"),
    )
    found = False
    for outer, middles, inner in groups:
        for resource in objects(mapping(record.get("trace")).get(outer, record.get(outer))):
            for middle in middles:
                for scope in objects(resource.get(middle)):
                    found = True
                    yield from objects(scope.get(inner))
    if found:
        return
    columns = {str(key).removeprefix("attributes."): value for key, value in record.items() if str(key).startswith("attributes.")}
    if "attributes" not in record and columns:  # a table of spans, one column for each attribute
        yield {**record, "attributes": {key: value for key, value in columns.items() if value is not None}}
    else:
        yield record


def failed(span: Mapping[str, Any]) -> bool:
    """Return whether a span says that its work failed."""
    status = span.get("status")
    codes = (status.get("code"), status.get("status_code")) if isinstance(status, Mapping) else (span.get("status_code"),)
    return any(code in _ERRORS for code in codes)


def place_of(span: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the ids of the trace and the span that a span is, or that a log record belongs to."""
    context = mapping(span.get("context"))
    trace = span.get("traceId") or span.get("trace_id") or context.get("trace_id") or span.get("context.trace_id")
    name = span.get("spanId") or span.get("span_id") or context.get("span_id") or span.get("context.span_id")
    return (str(trace), str(name)) if trace and name else None
