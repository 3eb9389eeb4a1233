"""Time as an effect: which clock to believe, and how times are written.

Durations are measured on `monotonic`, which stands still while a laptop sleeps, so that a wait
is never shorter than promised. `now` is for labels and for rolling windows; where an engine
says what time it is, its word is preferred (`engine_now`).
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from ftspec.engines.base import EngineError

if TYPE_CHECKING:
    from ftspec.engines.base import Clock, Engine


def rfc3339(seconds: float) -> str:
    """Return Unix seconds as state writes times: UTC, milliseconds, `Z`."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_of(text: str) -> float:
    """Return the Unix seconds of an RFC 3339 time."""
    return dt.datetime.fromisoformat(text).timestamp()


async def engine_time(engine: Engine) -> int | None:
    """Return the engine's time as it last said it, if it did."""
    try:
        return await engine.server_time()
    except EngineError:
        return None


async def engine_now(engine: Engine, clock: Clock) -> float:
    """Return the engine's time where it says one, else ours."""
    said = await engine_time(engine)
    return clock.now() if said is None else float(said)
