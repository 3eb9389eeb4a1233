"""A few threads that work on jobs in the order in which they were asked for.

A job that waits or is worked on here is not taken twice. `close` stops taking jobs, tells the
work under way to stop at its next step (`stopping`), and waits for it.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ftspec.server.trainers.base import TrainingJob

log = logging.getLogger("ftspec.server")


class Workers:
    """Up to `count` daemon threads, started when there is work."""

    def __init__(self, work: Callable[[TrainingJob], None], *, count: int) -> None:
        self._work = work
        self._count = count
        self._waiting: deque[TrainingJob] = deque()
        self._taken: set[str] = set()
        self._threads: set[threading.Thread] = set()
        self._changed = threading.Condition()
        self._stopping = threading.Event()

    @property
    def stopping(self) -> bool:
        """Whether work should end at its next step."""
        return self._stopping.is_set()

    def ensure(self, job: TrainingJob) -> None:
        """Have the job worked on, unless it waits or is worked on already."""
        with self._changed:
            if self.stopping or job.id in self._taken:
                return
            self._taken.add(job.id)
            self._waiting.append(job)
            if len(self._threads) < self._count:
                thread = threading.Thread(target=self._run, name="ftspec-trainer", daemon=True)
                self._threads.add(thread)
                thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                if self.stopping or not self._waiting:
                    self._threads.discard(threading.current_thread())
                    self._changed.notify_all()
                    return
                job = self._waiting.popleft()
            try:
                self._work(job)
            except Exception:
                log.exception("work on %s failed", job.id)
            finally:
                with self._changed:
                    self._taken.discard(job.id)
                    self._changed.notify_all()

    def close(self) -> None:
        """Stop at the next step and wait for it."""
        self._stopping.set()
        with self._changed:
            self._waiting.clear()
            threads = list(self._threads)
        for thread in threads:
            thread.join()
