"""Asking one engine, politely: bounded connections, retries that honour retry-after, one pause for all.

What cannot succeed by waiting is told apart here, by status and code alone:

- transient (no connection, 408, 409, 425, 429, 5xx): tried again, at most `attempts` times, after the engine's
  `retry_after`, else after a growing, jittered pause; while one waits because of a limit, all wait;
- about this question (400, 413, 422): `NotAnswered`, counted as an error of the sample;
- about everything (401, 403, 404, no money left): `Hopeless`, the eval stops.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from ftspec.printable import printable, redacted

if TYPE_CHECKING:
    from ftspec.engines.base import ChatAnswer

_TRANSIENT: Final = frozenset({408, 409, 425, 429})
_ABOUT_EVERYTHING: Final = frozenset({401, 403, 404})
_NOT_FOUND: Final = 404
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 60.0
_TOO_LONG: Final = 900.0


class Asked(Protocol):
    """The part of an engine that evals use (`ftspec.engines.base.Engine` has it)."""

    async def chat(self, *, model: str, messages: Sequence[Mapping[str, Any]], **sampling: Any) -> ChatAnswer:
        """Ask a model once; errors have `message`, `status`, `code` and `retry_after`."""
        ...


class Clock(Protocol):
    """Time, so that tests can bend it."""

    def monotonic(self) -> float:
        """Return seconds that only go forward."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let that much time pass."""
        ...


class _NoAnswer(Exception):
    """The message is redacted and printable; `permanent`: asking again later would change nothing."""

    def __init__(self, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.permanent = permanent


class NotAnswered(_NoAnswer):
    """One question has no answer."""


class Hopeless(_NoAnswer):
    """No question will be answered: the key, the model or the money is missing."""


class Asker:
    """One engine with its patience. The number of askers at once is the caller's."""

    def __init__(self, engine: Asked, *, clock: Clock, attempts: int = 6, seed: int = 0) -> None:
        self._engine, self._clock, self._attempts = engine, clock, attempts
        self._random = random.Random(seed)  # noqa: S311 jitter, not secrecy
        self._not_before = 0.0
        self.retries = 0

    async def ask(self, model: str, messages: Sequence[Mapping[str, Any]], sampling: Mapping[str, Any]) -> ChatAnswer:
        """Return the answer (`NotAnswered`, `Hopeless`)."""
        attempt = 0
        while True:
            attempt += 1
            wait = self._not_before - self._clock.monotonic()
            if wait > 0:
                await self._clock.sleep(wait)
            try:
                return await self._engine.chat(model=model, messages=messages, **sampling)
            except Exception as error:
                if not hasattr(error, "retry_after"):
                    raise
                pause = self._pause(error, attempt)
            self.retries += 1
            await self._clock.sleep(pause)

    def _pause(self, error: Any, attempt: int) -> float:
        """Return how long to wait before the next attempt, or raise that there is none."""
        message = printable(redacted(str(error)))
        status: int | None = getattr(error, "status", None)
        after: float | None = error.retry_after
        if status in _ABOUT_EVERYTHING or getattr(error, "quota", None) in {"money", "daily"}:
            raise Hopeless(message, permanent=status == _NOT_FOUND) from None
        if status is not None and status not in _TRANSIENT and status < 500:
            raise NotAnswered(message, permanent=True) from None
        if after is not None and after > _TOO_LONG:
            raise Hopeless(f"{message} (the engine asks to wait {after:.0f} s)", permanent=False) from None
        if attempt >= self._attempts:
            raise NotAnswered(f"{message} (after {attempt} attempts)", permanent=False) from None
        if after is not None:
            self._not_before = max(self._not_before, self._clock.monotonic() + after)
            return after
        return self._random.uniform(0.5, 1) * min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (attempt - 1))
