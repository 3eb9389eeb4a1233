"""What recorders write and importers read: a short conversation with a call of a tool, and OpenTelemetry's spelling of values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Json = dict[str, Any]

BRIEF: Final[Json] = {"role": "system", "content": "Be brief."}
QUESTION: Final[Json] = {"role": "user", "content": "Weather in Paris?"}
ARGUMENTS: Final = '{"city":"Paris"}'
CALL: Final[Json] = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ARGUMENTS}}
CALLING: Final[Json] = {"role": "assistant", "content": None, "tool_calls": [CALL]}
TOLD: Final[Json] = {"role": "tool", "content": "rainy", "tool_call_id": "call_1"}
ANSWER: Final[Json] = {"role": "assistant", "content": "Rainy."}
PARAMETERS: Final[Json] = {"type": "object", "properties": {"city": {"type": "string"}}}


def otlp(value: Any) -> Json:
    """Return a value as OTLP's JSON writes it: in an object that names its type."""
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case list():
            return {"arrayValue": {"values": [otlp(one) for one in value]}}
        case dict():
            return {"kvlistValue": {"values": [{"key": key, "value": otlp(one)} for key, one in value.items()]}}
        case _:
            return {"stringValue": value}


def attributes(given: Mapping[str, Any]) -> list[Json]:
    """Return attributes as OTLP's JSON lists them; `None` is no attribute."""
    return [{"key": key, "value": otlp(value)} for key, value in given.items() if value is not None]
