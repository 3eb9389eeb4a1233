"""How long a job takes, by how long jobs like it took: for engines that do not say.

Like it: the same engine entry, base model and method, succeeded, with times and trained tokens.
The estimate is the median of their seconds for a token, waiting in the engine's queue included.
Pure: records in, seconds or a time out. Times that are none, which a record may hold, count for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from statistics import median
from typing import Any

from ftspec.record import JobStatus, RecordedJob

_LONGEST = 366 * 24 * 3600.0
"""Seconds: what takes more than a year is no estimate."""


class Pace:
    """How long recorded jobs took."""

    def __init__(self, history: Iterable[RecordedJob]) -> None:
        self._history = history

    @cached_property
    def _found(self) -> dict[tuple[str, object, object], list[float]]:
        """Seconds for a token, by what is alike. Most questions are about jobs that have ended, and need none of it."""
        found: dict[tuple[str, object, object], list[float]] = {}
        for record in self._history:
            for attempt in record.attempts:
                tokens = attempt.trained_tokens or attempt.estimated_tokens
                began, ended = _moment(attempt.created_at), _moment(attempt.finished_at)
                if attempt.status is JobStatus.SUCCEEDED and began and ended and tokens and tokens > 0:
                    like = _like(record.engine, record.preimage, attempt.base_model)
                    found.setdefault(like, []).append(max((ended - began).total_seconds(), 0.0) / tokens)
        return found

    def seconds(self, *, engine: str, preimage: Mapping[str, Any], tokens: int | None, base_model: str | None = None) -> float | None:
        """Return how long a job should take from its launch on, `None` where nothing like it is recorded."""
        paces = self._found.get(_like(engine, preimage, base_model)) if tokens else None
        return min(median(paces) * tokens, _LONGEST) if paces and tokens else None

    def finish(self, record: RecordedJob) -> str | None:
        """Return when an unfinished job should be done (RFC 3339)."""
        last = record.last
        began = _moment(last.created_at)
        if last.status.terminal or began is None:
            return None
        took = self.seconds(engine=record.engine, preimage=record.preimage, tokens=last.estimated_tokens, base_model=last.base_model)
        if took is None:
            return None
        done = began + timedelta(seconds=took)
        return done.isoformat(timespec="seconds").replace("+00:00", "Z")


def _like(engine: str, preimage: Mapping[str, Any], base_model: str | None) -> tuple[str, object, object]:
    wanted = preimage.get("base_model") or base_model
    return engine, repr(wanted), preimage.get("method")


def _moment(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return found.astimezone(UTC) if found is not None and found.tzinfo is not None and 1970 <= found.year <= 2500 else None
