"""OpenTelemetry GenAI traces: OTLP as JSON, as the collector's file exporter writes it.

Read are spans, and the event `gen_ai.client.inference.operation.details` of spans and logs, with
`gen_ai.input.messages`, `gen_ai.output.messages`, `gen_ai.system_instructions` and
`gen_ai.tool.definitions` (semantic conventions since 1.37; structured or as JSON text), and
OpenInference's flat `llm.input_messages.0.message.role` (Phoenix). Spans that an SDK's console exporter
wrote, with plain attributes, are read too. Scores come from `gen_ai.evaluation.result` events.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ftspec.data.importers.base import FAILED, NO_PROMPT, NOT_A_CALL, Call, Importer, Record, Skipped, call_or_skip
from ftspec.data.importers.normal import float_of, items, mapping, messages_of, objects, parsed, text_or_none, time_of, tools_of

_OPERATIONS = {"chat", "text_completion", "generate_content", None}
_ERROR = 2
_FLAT = re.compile(r"llm\.(input|output)_messages\.(\d+)\.message\.(.+)\Z")
_CALL = re.compile(r"tool_calls\.(\d+)\.tool_call\.(.+)\Z")
_CONTENT = ("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions")


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
    if not isinstance(given, list):
        return {}
    return {str(one.get("key")): value_of(one.get("value")) for one in given if isinstance(one, Mapping)}


def _spans(record: Record) -> Iterator[Mapping[str, Any]]:
    """Yield the spans and log records of one line of OTLP, or the span that the record itself is."""
    groups = (("resourceSpans", "scopeSpans", "spans"), ("resourceLogs", "scopeLogs", "logRecords"))
    found = False
    for outer, middle, inner in groups:
        for resource in objects(record.get(outer)):
            for scope in objects(resource.get(middle)):
                found = True
                yield from objects(scope.get(inner))
    if not found and "attributes" in record:
        yield record


def read(records: Iterable[Record]) -> Iterator[Call | Skipped]:
    """Yield the calls of a trace file."""
    for record in records:
        for span in _spans(record):
            yield _call(span)


def _call(span: Mapping[str, Any]) -> Call | Skipped:
    attributes = attributes_of(span.get("attributes"))
    scores: dict[str, float] = {}
    for event in objects(span.get("events")):
        inner = attributes_of(event.get("attributes"))
        score = float_of(inner.get("gen_ai.evaluation.score.value"))
        if "gen_ai.evaluation.name" in inner and score is not None:
            scores[str(inner["gen_ai.evaluation.name"])] = score
        attributes.update({key: inner[key] for key in (*_CONTENT, "gen_ai.tool.definitions") if key in inner})
    flat = _openinference(attributes)
    operation = attributes.get("gen_ai.operation.name")
    is_call = any(key in attributes for key in _CONTENT) or flat or operation is not None
    if not is_call or not isinstance(operation, str | None) or operation not in _OPERATIONS:
        return NOT_A_CALL
    status = span.get("status")
    if isinstance(status, Mapping) and status.get("code") in (_ERROR, "STATUS_CODE_ERROR", "ERROR"):
        return FAILED
    system = messages_of(attributes.get("gen_ai.system_instructions"), role="system")
    asked = system + (flat["input"] if flat else messages_of(attributes.get("gen_ai.input.messages")))
    outputs = parsed(attributes.get("gen_ai.output.messages"))
    first = outputs[0] if isinstance(outputs, list) and outputs else outputs
    answers = flat["output"] if flat else messages_of([first] if first else [], role="assistant", reasoning=True)
    if not asked:
        return NO_PROMPT
    reasons = parsed(attributes.get("gen_ai.response.finish_reasons"))
    reason = first.get("finish_reason") if isinstance(first, Mapping) else None
    return call_or_skip(
        asked,
        answers[-1] if answers else None,
        finish_reason=text_or_none(reason) or text_or_none(reasons[0] if isinstance(reasons, list) and reasons else None),
        tools=tools_of(attributes.get("gen_ai.tool.definitions")),
        model=text_or_none(attributes.get("gen_ai.response.model"))
        or text_or_none(attributes.get("gen_ai.request.model"))
        or text_or_none(attributes.get("llm.model_name")),
        time=time_of(span.get("startTimeUnixNano") or span.get("timeUnixNano") or span.get("start_time")),
        id=text_or_none(span.get("spanId")),
        name=text_or_none(span.get("name")),
        scores=scores,
        metadata={key: value for key, value in attributes.items() if not key.startswith(("gen_ai.", "llm.", "input.", "output."))},
    )


def _openinference(attributes: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]] | None:
    """Return messages that OpenInference spread over numbered attributes."""
    found: dict[str, dict[int, dict[str, Any]]] = {"input": {}, "output": {}}
    calls: dict[tuple[str, int, int], dict[str, Any]] = {}
    for key, value in attributes.items():
        if (match := _FLAT.match(key)) is None:
            continue
        side, number, rest = match[1], int(match[2]), match[3]
        message = found[side].setdefault(number, {})
        if (call := _CALL.match(rest)) is not None:
            made = calls.setdefault((side, number, int(call[1])), {"id": ""})
            made[call[2].removeprefix("function.")] = value
            message["tool_calls"] = [calls[place] for place in sorted(calls) if place[:2] == (side, number)]
        elif rest in {"role", "content", "tool_call_id", "name"}:
            message[rest] = value
    if not found["input"] and not found["output"]:
        return None
    return {side: messages_of([messages[number] for number in sorted(messages)]) for side, messages in found.items()}


importer = Importer(
    title="OpenTelemetry GenAI spans or logs (OTLP JSON), also with OpenInference attributes",
    format="OTLP JSON; semantic conventions 1.37 and later",
    read=read,
)
