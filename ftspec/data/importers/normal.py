"""Values of export files in one form: JSON that was written as text, times, numbers, names, tool definitions."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_HALF = re.compile("[\ud800-\udfff]")


def decoded(text: str | bytes) -> Any:
    """Return the JSON value of a text as any reader takes it (`ValueError`).

    Python writes `NaN` and half surrogate pairs, which JSON does not have: they become null and U+FFFD.
    """
    try:
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        value = json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
        return json.loads(_HALF.sub("\ufffd", json.dumps(value, ensure_ascii=False))) if "\\ud" in text.lower() else value
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def parsed(value: Any) -> Any:
    """Return a JSON value that may have been written as text; other texts stay as they are."""
    if isinstance(value, str) and value.lstrip()[:1] in {"{", "["}:
        try:
            return decoded(value)
        except ValueError:
            return value
    return value


def tools_of(value: Any) -> list[dict[str, Any]] | None:
    """Return the functions among tool definitions in the protocol's form; those of others are flat."""
    value = parsed(value)
    if not isinstance(value, list):
        return None
    made = []
    for one in map(parsed, value):
        if not isinstance(one, Mapping):
            continue
        if isinstance(one.get("function"), Mapping):
            made.append({"type": "function", "function": dict(one["function"])})
        elif isinstance(one.get("name"), str) and one.get("type", "function") == "function":
            function = {key: one[key] for key in ("name", "description", "parameters", "strict") if one.get(key) is not None}
            if "parameters" not in function and isinstance(one.get("input_schema"), Mapping):
                function["parameters"] = one["input_schema"]
            made.append({"type": "function", "function": function})
    return made or None


def time_of(value: Any) -> str | None:
    """Return a time as RFC 3339 in UTC: from text, Unix seconds, milliseconds or nanoseconds."""
    if isinstance(value, str) and not value.isdecimal():
        try:
            moment = dt.datetime.fromisoformat(value)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=dt.UTC)
        try:
            return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
        except OverflowError:  # the first and the last day that there is
            return None
    seconds = float_of(value)
    if seconds is None:
        return None
    for scale in (1e9, 1e6, 1e3):
        if seconds > 1e11 * scale / 1e3:
            seconds /= scale
            break
    try:
        return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None


def text_or_none(value: Any) -> str | None:
    """Return a text, or `None` for anything else."""
    return value if isinstance(value, str) and value else None


def first_text(record: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """Return the first text among some members, `None` where none is a text."""
    return next((found for name in names if (found := text_or_none(record.get(name)))), None)


def texts(value: Any) -> tuple[str, ...]:
    """Return the texts of a list, for tags."""
    value = parsed(value)
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def float_of(value: Any) -> float | None:
    """Return a finite number, maybe written as text; `None` for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def items(value: Any) -> list[Any]:
    """Return a list; empty for anything else."""
    return value if isinstance(value, list) else []


def objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of a list."""
    return (one for one in items(value) if isinstance(one, Mapping))


def mapping(value: Any) -> dict[str, Any]:
    """Return a JSON object, maybe written as text; empty for anything else."""
    value = parsed(value)
    return dict(value) if isinstance(value, Mapping) else {}


def numbers(value: Any) -> dict[str, float]:
    """Return the members of an object that are numbers (or have an average), for scores."""
    found = {}
    for name, one in mapping(value).items():
        number = one.get("avg", one.get("value", one.get("score"))) if isinstance(one, Mapping) else one
        figure = float(number) if isinstance(number, bool) else float_of(number) if isinstance(number, (int, float)) else None
        if figure is not None:
            found[str(name)] = figure
    return found
