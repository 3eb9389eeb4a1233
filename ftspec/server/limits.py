"""Limits of a key: requests a minute, and jobs that have not ended.

A refusal is the protocol's 429 with a `retry-after`, so that clients wait by themselves. A job that
the same request bought before is never refused: it is no new one.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ftspec.server.wire import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ftspec.server.store import Store

_MINUTE = 60.0
JOBS_CODE = "concurrent_jobs_exceeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimits:
    """What one key may do; `None`: as it likes."""

    requests_per_minute: int | None = None
    open_jobs: int | None = None


class Limits:
    """Counts what each project's keys do. Limits of several keys of one project are its largest ones."""

    def __init__(self, by_project: Mapping[str, KeyLimits], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._by_project = by_project
        self._clock = clock
        self._lock = threading.Lock()
        self._asked: dict[str, deque[float]] = {}

    def request(self, project: str) -> None:
        """Count a request (`ApiError`: one too many)."""
        most = self._by_project.get(project, KeyLimits()).requests_per_minute
        if most is None:
            return
        now = self._clock()
        with self._lock:
            asked = self._asked.setdefault(project, deque())
            while asked and asked[0] <= now - _MINUTE:
                asked.popleft()
            if len(asked) >= most:
                wait = max(1, int(asked[0] + _MINUTE - now) + 1)
                message = f"Rate limit reached: {most} requests a minute. Try again in {wait} seconds."
                raise ApiError(429, message, type="rate_limit_error", code="rate_limit_exceeded", headers={"retry-after": str(wait)})
            asked.append(now)

    def job(self, project: str, store: Store) -> None:
        """Look whether a project may have one more job (`ApiError`: it may not)."""
        most = self._by_project.get(project, KeyLimits()).open_jobs
        if most is not None and sum(job.project == project for job in store.unsettled()) >= most:
            message = f"This project has {most} unfinished jobs, as many as it may have."
            raise ApiError(429, message, type="rate_limit_error", code=JOBS_CODE, headers={"retry-after": "30"})
