"""Time as an effect: the machine's clocks, and how times are written.

Durations are measured on `monotonic`, which stands still while a laptop sleeps, so that a wait
is never shorter than promised. `now` is for labels and for rolling windows; where an engine
says what time it is, its word is preferred (`engine_now`).
"""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING

from ftspec.engines.base import Clock

if TYPE_CHECKING:
    from ftspec.engines.base import Engine

__all__ = ["Clock", "SystemClock", "engine_now", "rfc3339", "seconds_of"]


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> float:
        """Return the wall clock in Unix seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that only grow."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Let at least `seconds` pass."""
        import asyncio

        await asyncio.sleep(seconds)


def rfc3339(seconds: float) -> str:
    """Return Unix seconds as state writes times: UTC, milliseconds, `Z`."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_of(text: str) -> float:
    """Return the Unix seconds of an RFC 3339 time."""
    return dt.datetime.fromisoformat(text).timestamp()


async def engine_now(engine: Engine, clock: Clock) -> float:
    """Return the engine's time where it says one, else ours."""
    said = await engine.server_time()
    return clock.now() if said is None else float(said)
