"""When an unfinished job will be done, by how long jobs like it took: for engines that do not say.

Like it: the same engine entry, base model and method, succeeded, with times and trained tokens.
The estimate is the median of their seconds for a token, waiting in the engine's queue included.
Pure: records in, a time out.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from statistics import median

from ftspec.record import JobStatus, RecordedJob


def expected_finish(record: RecordedJob, history: Iterable[RecordedJob]) -> str | None:
    """Return when the job should be done (RFC 3339), `None` where nothing like it is recorded."""
    last = record.last
    if last.status.terminal or last.created_at is None or not last.estimated_tokens:
        return None
    paces = [pace for other in history if _like(other) == _like(record) for pace in _paces(other)]
    if not paces:
        return None
    done = _moment(last.created_at) + timedelta(seconds=median(paces) * last.estimated_tokens)
    return done.isoformat(timespec="seconds").replace("+00:00", "Z")


def _like(record: RecordedJob) -> tuple[str, object, object]:
    return record.engine, record.preimage.get("base_model") or record.last.base_model, record.preimage.get("method")


def _paces(record: RecordedJob) -> Iterable[float]:
    """Yield seconds for a token of the attempts that succeeded."""
    for attempt in record.attempts:
        tokens = attempt.trained_tokens or attempt.estimated_tokens
        if attempt.status is JobStatus.SUCCEEDED and attempt.created_at and attempt.finished_at and tokens:
            yield max((_moment(attempt.finished_at) - _moment(attempt.created_at)).total_seconds(), 0.0) / tokens


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
