"""Being told to stop: the first signal ends the walk in order, the second ends it at once.

After the first SIGINT, SIGTERM or SIGHUP nothing more is bought; requests in flight are finished
and recorded, and jobs go on running on their engines. The second one leaves without
waiting: what was sent has a durable intent, and the next `apply` finds out what became of it.
Before the walk begins the first one leaves at once (`leave_on_signals`): asyncio would keep it until something is
waited for, and cut that short.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Stop:
    """Whether somebody asked to stop: `requested` is the signal's number."""

    def __init__(self) -> None:
        self.requested: int | None = None
        self._listeners: list[Callable[[], None]] = []

    def request(self, signum: int) -> None:
        """Ask to stop; later requests change nothing."""
        if self.requested is None:
            self.requested = signum
            for listener in self._listeners:
                listener()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` when a stop is requested."""
        self._listeners.append(listener)


def leave_at_once(code: int) -> None:
    """End the process without finishing anything, but give the terminal its cursor back."""
    if sys.stderr.isatty():
        with contextlib.suppress(OSError):  # the terminal may be closed
            os.write(sys.stderr.fileno(), b"\x1b[?25h\n")
    os._exit(code)


@contextlib.contextmanager
def leave_on_signals() -> Iterator[None]:
    """Let the first signal end the process here: nothing has begun that would have to be finished."""

    def take(signum: int, _frame: Any) -> None:
        with contextlib.suppress(OSError):
            os.write(2, b"interrupted\n")
        leave_at_once(128 + signum)

    with _handling(take):
        yield


@contextlib.contextmanager
def stop_on_signals(stop: Stop, *, at_once: Callable[[int], object] = leave_at_once) -> Iterator[None]:
    """Turn signals into `stop` while an asyncio loop runs here; the second one calls `at_once(128 + signal)`."""
    import asyncio

    loop = asyncio.get_running_loop()
    asked = False

    def take(signum: int, _frame: Any) -> None:
        nonlocal asked
        if asked:
            at_once(128 + signum)
        asked = True
        loop.call_soon_threadsafe(stop.request, signum)

    with _handling(take):
        yield


@contextlib.contextmanager
def _handling(take: Callable[[int, Any], None]) -> Iterator[None]:
    """Set a handler for all signals, except for those that the shell told us to ignore (nohup, background jobs).

    Outside the main thread signals are left alone, because only there handlers can be set.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, take) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
