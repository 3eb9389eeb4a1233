"""How values of a plan read: one wording for text, Markdown and messages.

Everything that came from outside is made printable here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ftspec.actions import Cost, FieldChange, Quota, Reason
from ftspec.fingerprint import SHORT, canonical_json
from ftspec.printable import printable, redacted

KNOWN_AFTER_APPLY = "(known after apply)"
_LONGEST_VALUE = 60


def count(number: int, noun: str, nouns: str | None = None) -> str:
    """Return `1 launch`, `2 launches`, `10,000 jobs`."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def reason_text(reason: Reason) -> str:
    """Return a reason in words: `dataset changed`."""
    return reason.value.replace("_", " ")


def value_text(value: Any) -> str:
    """Return a setting's value: short, on one line, printable; `None` is `(not set)`."""
    match value:
        case None:
            return "(not set)"
        case {"dataset": ref, "digest": str(digest), "rows": rows}:
            size = f" ({count(rows, 'row')})" if isinstance(rows, int) else ""
            return " ".join([*([printable(ref)] if ref else []), digest[:SHORT]]) + size
        case {"job": str(key), "address": address}:  # never cut: parents differ in their keys
            return f"model of {printable(address)} ({key[:SHORT]})" if address else f"model of job {key[:SHORT]}"
        case str():
            text = printable(redacted(value))
            text = text if text and " " not in text else f'"{text}"'
        case _:
            text = printable(redacted(canonical_json(_plain(value)).decode()))
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def change_text(change: FieldChange) -> str:
    """Return `epochs: 1 -> 3`."""
    return f"{printable(change.field)}: {value_text(change.old)} -> {value_text(change.new)}"


def place_text(change: FieldChange) -> str:
    """Return where the new value is written, or nothing."""
    return printable(str(change.at)) if change.at else ""


def error_text(code: str | None, message: str | None) -> str:
    """Return an engine's error on one line."""
    parts = [printable(redacted(part)) for part in (code, message) if part]
    return ": ".join(parts) or "no reason given"


def money(amount: float) -> str:
    """Return an amount with as many digits as it takes to see it."""
    if amount == 0 or amount >= 0.01:
        return f"{amount:,.2f}"
    return f"{amount:.2g}" if amount >= 0.0001 else "0.0001"


def cost_text(cost: Cost) -> str:
    """Return `1.20 to 1.50 USD`, `free` or `unknown`."""
    if cost.low is None or cost.high is None:
        return "unknown"
    if cost.high == 0:
        return "free"
    low, high = money(cost.low), money(cost.high)
    return f"{low} {cost.currency}" if low == high else f"{low} to {high} {cost.currency}"


def expected_text(*estimates: tuple[float, float] | None) -> str:
    """Return ` (estimated 1.00 to 2.00)` for what several things were expected to cost; nothing where one has no estimate, or all are free."""
    known = [one for one in estimates if one is not None]
    low, high = sum(one[0] for one in known), sum(one[1] for one in known)
    if len(known) < len(estimates) or not high:
        return ""
    return f" (estimated {' to '.join(dict.fromkeys((money(low), money(high))))})"


def tokens_text(cost: Cost) -> str:
    """Return `12,345`, `about 11,000 to 13,000` or `unknown`."""
    if cost.tokens is None:
        return "unknown"
    low = cost.tokens if cost.tokens_low is None else cost.tokens_low
    high = cost.tokens if cost.tokens_high is None else cost.tokens_high
    if low == high:
        return f"{high:,}" if cost.exact_tokens else f"about {high:,}"
    return f"about {low:,} to {high:,}"


def span_text(seconds: float) -> str:
    """Return a time span for people: `40 s`, `4 min`, `2 h 10 min`, `3 days`."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    if minutes < 90:
        return f"{minutes} min"
    hours, rest = divmod(round(minutes / 5) * 5, 60)
    if hours < 36:
        return f"{hours} h" + (f" {rest} min" if rest else "")
    return count(round(hours / 24), "day")


def time_text(moment: str) -> str:
    """Return an RFC 3339 time to the second: `2026-11-20T17:53:38Z`."""
    return re.sub(r"\.\d+(?=Z\Z)", "", moment)


def size_text(size: int) -> str:
    """Return a number of bytes for people: `64.4 kB`."""
    amount, unit = float(size), "B"
    for larger in ("kB", "MB", "GB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:,.0f} {unit}" if unit == "B" else f"{amount:,.1f} {unit}"


def quota_text(quota: Quota) -> str:
    """Return `openai: 12 jobs, 8 a day: 2 days`."""
    parts = [count(quota.launches, "job")]
    if quota.per_day is not None:
        parts.append(f"{quota.per_day:,} a day" + (f" ({quota.used_today:,} used)" if quota.used_today else ""))
    if quota.max_running is not None:
        parts.append(f"{quota.max_running:,} at a time")
    text = f"{printable(quota.engine)}: {', '.join(parts)}"
    if quota.per_day is not None:
        text += f": {count(quota.days, 'day')}"
    return text + (f"; next slot {time_text(quota.next_slot_at)}" if quota.next_slot_at else "")
