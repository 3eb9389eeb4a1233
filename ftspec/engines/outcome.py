"""What an answer to a purchase means. The only place that decides.

| answer | class |
|---|---|
| 2xx that really is what was asked for | the value (decided by `wire`) |
| no connection was made (refused, DNS, TLS, connect or pool timeout) | `NotSent` |
| 4xx with the engine's own JSON error, 429 included | `Refused` |
| 408, 409, 425, 499, 3xx, 5xx, lost, cut, HTML, anything else | `UnknownOutcome` |

No header changes the class (`x-should-retry` never causes a second purchase), and no message
text does: a quota is recognised by its exact `error.code` or `error.type`, because some
servers say "insufficient quota" where they mean that too many jobs run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ftspec.engines.base import EngineError, NotSent, Refused, UnknownOutcome

_AMBIGUOUS = frozenset({408, 409, 425, 499})
_TOO_MANY = 429

QUOTA_CODES: Mapping[str, str] = {
    "daily_rate_limit_exceeded": "daily",
    "insufficient_quota": "money",
    "credit_balance_exhausted": "money",
    "billing_hard_limit_reached": "money",
    "billing_not_active": "money",
    "concurrent_jobs_limit_exceeded": "concurrent",
    "rate_limit_exceeded": "rate",
    "requests": "rate",
    "tokens": "rate",
}
"""Exact words. OpenAI's own for too many running jobs is not known; a profile names what its engine says."""

_SPEND = "_spend_limit_exceeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An HTTP answer, read to its end. Header names are lower case."""

    status: int
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the status says that it was done."""
        return 200 <= self.status < 300


class Unreachable(Exception):
    """No connection was made: the engine saw nothing."""


class Lost(Exception):
    """The request was on its way and no complete answer came back."""


def outcome(
    answer: Reply | Unreachable | Lost,
    *,
    clean: Callable[[str], str],
    json: Any = None,
    quota_codes: Mapping[str, str] | None = None,
    now: float = 0.0,
    doing: str = "the request",
) -> EngineError:
    """Return the error that `answer` amounts to (a 2xx given here was not what was asked for).

    `json` is the decoded body, `None` where it is not JSON; `clean` redacts; `now` is the
    engine's or our clock, for a `retry-after` that is a date.
    """
    if isinstance(answer, Unreachable):
        return NotSent(clean(f"{doing} was not sent: {answer}"))
    if isinstance(answer, Lost):
        return UnknownOutcome(clean(f"the answer to {doing} was lost: {answer}"))
    error = error_object(json)
    said = {name: clean(text) for name in ("message", "code", "param") if (text := _text(error, name))}
    wait = retry_after(answer.headers, now=now)
    if error is None or not 400 <= answer.status < 500 or answer.status in _AMBIGUOUS:
        sentence = _describe(answer, said.get("message"), clean, doing)
        return UnknownOutcome(sentence, code=said.get("code"), status=answer.status, retry_after=wait)
    refused = Refused(
        said.get("message") or said.get("code") or f"{doing} was refused with status {answer.status}",
        code=said.get("code"),
        status=answer.status,
        param=said.get("param"),
        retry_after=wait,
    )
    refused.quota = quota_kind(answer.status, error, quota_codes or {})
    return refused


def quota_kind(status: int, error: Mapping[str, Any], own: Mapping[str, str]) -> str | None:
    """Return `daily`, `concurrent`, `rate` or `money` when the error is about a quota, by code and type alone."""
    for name in ("code", "type"):
        word = _text(error, name)
        if word is None:
            continue
        if kind := own.get(word) or QUOTA_CODES.get(word):
            return kind
        if word.endswith(_SPEND):
            return "money"
    return "rate" if status == _TOO_MANY else None


def error_object(json: Any) -> Mapping[str, Any] | None:
    """Return the engine's own error, if the body has the form of one."""
    if not isinstance(json, dict):
        return None
    error = json.get("error")
    if isinstance(error, str) and error:
        return {"message": error}
    if isinstance(error, dict) and any(_text(error, name) for name in ("message", "code", "type")):
        return error
    if json.get("object") == "error" and _text(json, "message"):
        return json
    return None


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Return for how many seconds the engine asks to wait, from `retry-after-ms` or `retry-after`."""
    import math

    for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        if not text:
            continue
        try:
            seconds = float(text) / scale
        except ValueError:
            seconds = _until(text, now)
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    return None


def _until(text: str, now: float) -> float:
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return -1.0


def _describe(answer: Reply, said: str | None, clean: Callable[[str], str], doing: str) -> str:
    """Say what came, without repeating a body: it may hold what we sent."""
    what = "was answered with something else" if answer.ok else "has no clear answer"
    came = said or clean(f"{len(answer.content)} bytes of {answer.headers.get('content-type') or 'unknown type'}")
    return f"{doing} {what} (status {answer.status}): {came}"


def _text(mapping: Mapping[str, Any] | None, name: str) -> str | None:
    value = mapping.get(name) if mapping is not None else None
    if isinstance(value, str):
        return value.strip() or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None
