"""The real clock, for `ftspec.engines.base.Clock`."""

from __future__ import annotations

import time


class SystemClock:
    """The time of this machine; sleeping lets other tasks run."""

    def now(self) -> float:
        """Return the wall clock in Unix seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that only go forward."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Let that much time pass."""
        import asyncio

        await asyncio.sleep(seconds)
