"""Work that goes on at the same time, for one coordinator.

The coordinator is the only one that decides; it starts pieces of work and takes their results
one batch at a time, so it needs no locks. Work is either *kept* (a purchase in flight: it is
never abandoned) or not (waiting, polling, looking up), and `drop` ends only the latter.
`ftspec.testing.world` has a crew on a virtual clock.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

T = TypeVar("T")

AT_ONCE = 8
"""Small questions at once."""


@dataclass(frozen=True, slots=True)
class Done:
    """A piece of work that ended: with a value, or with the error that it raised."""

    tag: Any
    value: Any = None
    error: BaseException | None = None


class Crew(Protocol):
    """Runs work and hands its results to one coordinator."""

    def start(self, tag: Any, work: Coroutine[Any, Any, Any], *, keep: bool = False) -> None:
        """Begin `work`; its end will be reported with `tag`. `keep`: never abandon it."""
        ...

    async def results(self) -> list[Done]:
        """Wait until something ended or `wake` was called; return what ended, oldest first (maybe nothing)."""
        ...

    async def together(self, works: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
        """Do some small things, a few at a time, and return their values in order; the first error ends it."""
        ...

    def wake(self) -> None:
        """Make `results` return now. Safe to call from a signal handler of the event loop."""
        ...

    def drop(self) -> None:
        """Abandon all work that is not kept; it is not reported any more."""
        ...

    @property
    def busy(self) -> int:
        """How many pieces of work have not been reported yet."""
        ...


class AsyncioCrew:
    """A crew of asyncio tasks."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[Any], tuple[Any, bool]] = {}
        self._ended: list[Done] = []
        self._news = asyncio.Event()

    def start(self, tag: Any, work: Coroutine[Any, Any, Any], *, keep: bool = False) -> None:
        """Begin `work` as a task."""
        task = asyncio.create_task(work)
        self._tasks[task] = (tag, keep)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[Any]) -> None:
        entry = self._tasks.pop(task, None)
        if entry is None:
            return  # dropped
        if task.cancelled():
            self._ended.append(Done(entry[0], error=asyncio.CancelledError()))
        else:
            error = task.exception()
            self._ended.append(Done(entry[0], None if error else task.result(), error))
        self._news.set()

    async def results(self) -> list[Done]:
        """Wait for news and return what ended."""
        await self._news.wait()
        self._news.clear()
        ended, self._ended = self._ended, []
        return ended

    async def together(self, works: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
        """Do some small things, a few at a time."""
        turn = asyncio.Semaphore(AT_ONCE)

        async def in_turn(work: Callable[[], Awaitable[T]]) -> T:
            async with turn:
                return await work()

        return list(await asyncio.gather(*map(in_turn, works)))

    def wake(self) -> None:
        """Make `results` return now."""
        self._news.set()

    def drop(self) -> None:
        """Cancel the tasks that are not kept."""
        for task in [task for task, (_, keep) in self._tasks.items() if not keep]:
            del self._tasks[task]
            task.cancel()

    @property
    def busy(self) -> int:
        """Tasks that run, and ends that nobody took yet."""
        return len(self._tasks) + len(self._ended)
