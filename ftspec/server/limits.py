"""Limits of a team: requests a minute of each key, and jobs of a project that have not ended.

A refusal is the protocol's 429 with a `retry-after`, so that clients wait by themselves. A job that
the same request bought before is never refused: it is no new one.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from ftspec.server.wire import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ftspec.server.store import Store

_MINUTE = 60.0
JOBS_CODE = "concurrent_jobs_exceeded"


def digest(key: str) -> bytes:
    """Return what a key is known by: equal time for every key, and no key kept."""
    return hashlib.sha256(key.encode(errors="replace")).digest()


class Limits:
    """Counts what keys do. `requests` (a minute) by `digest` of the key, `jobs` by project; without an entry there is no limit."""

    def __init__(
        self,
        *,
        requests: Mapping[bytes, int] | None = None,
        jobs: Mapping[str, int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._requests = requests or {}
        self._jobs = jobs or {}
        self._clock = clock
        self._lock = threading.Lock()
        self._asked: dict[bytes, deque[float]] = {}

    def request(self, key: bytes | None) -> None:
        """Count a request (`ApiError`: one too many)."""
        most = self._requests.get(key) if key is not None else None
        if key is None or most is None:
            return
        now = self._clock()
        with self._lock:
            asked = self._asked.setdefault(key, deque())
            while asked and asked[0] <= now - _MINUTE:
                asked.popleft()
            if len(asked) >= most:
                wait = max(1, int(asked[0] + _MINUTE - now) + 1)
                message = f"Rate limit reached: {most} requests a minute. Try again in {wait} seconds."
                raise ApiError(429, message, type="rate_limit_error", code="rate_limit_exceeded", headers={"retry-after": str(wait)})
            asked.append(now)

    def job(self, project: str, store: Store) -> None:
        """Look whether a project may have one more job (`ApiError`: it may not)."""
        most = self._jobs.get(project)
        if most is not None and sum(job.project == project for job in store.unsettled()) >= most:
            message = f"This project has {most} unfinished jobs, as many as it may have."
            raise ApiError(429, message, type="rate_limit_error", code=JOBS_CODE, headers={"retry-after": "30"})
