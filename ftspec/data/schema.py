"""The part of JSON Schema that tool parameters use, enough to say whether arguments fit.

Known keywords are checked, all others pass: a wrong alarm would be worse than a missed one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftspec.printable import printable

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "integer": (int,),
    "number": (int, float),
}


def mismatch(value: Any, schema: Any, *, depth: int = 0) -> str | None:
    """Return why a value does not fit, naming parameters but no values, or `None`."""
    if not isinstance(schema, dict) or depth > 16 or "$ref" in schema:
        return None
    if problem := _wrong_type(value, schema.get("type")):
        return problem
    if isinstance(choices := schema.get("enum"), list) and value not in choices:
        return "a value is not one of its `enum`"
    if isinstance(value, dict):
        return _wrong_object(value, schema, depth)
    if isinstance(value, list) and isinstance(items := schema.get("items"), dict):
        return next((problem for item in value if (problem := mismatch(item, items, depth=depth + 1))), None)
    return None


def _wrong_type(value: Any, types: Any) -> str | None:
    names = [name for name in (types if isinstance(types, list) else [types]) if isinstance(name, str)]
    known = [name for name in names if name in _TYPES]
    if not names or len(known) < len(names):
        return None
    if isinstance(value, bool):
        fits = "boolean" in known
    elif isinstance(value, float) and value.is_integer():
        fits = "integer" in known or "number" in known
    else:
        fits = any(isinstance(value, _TYPES[name]) for name in known)
    return None if fits else f"a value is not of type `{'` or `'.join(known)}`"


def _wrong_object(value: dict[str, Any], schema: Mapping[str, Any], depth: int) -> str | None:
    required = schema.get("required")
    for name in required if isinstance(required, list) else []:
        if isinstance(name, str) and name not in value:
            return f"`{printable(name[:64])}` is missing"
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return None
    if schema.get("additionalProperties") is False and not value.keys() <= properties.keys() and "patternProperties" not in schema:
        return "a parameter is not declared"
    for name, inner in value.items():
        if problem := mismatch(inner, properties.get(name), depth=depth + 1):
            return f"`{printable(name[:64])}`: {problem}" if depth == 0 else problem
    return None
