"""Time that costs nothing: coroutines on a virtual clock, and processes that can be killed.

A `World` steps coroutines in the order of their wake-up times. What they await must come from here:
`World.sleep`, or the `results` of a `VirtualCrew`. There is no event loop and no thread, so one
seed always gives one story, and thousands of applies fit in a second.

A `Process` is one run of a program: its wall clock may be wrong and jump, it may be suspended
(its monotonic clock stands still, the world goes on), and `kill` ends all of its coroutines where
they are. Nothing of it happens afterwards.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from ftspec.executor.crew import Done

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence

T = TypeVar("T")


ENDLESS = 100_000
"""Steps after which a world is taken to go round in circles."""


class Endless(Exception):
    """Nothing comes to an end any more."""


class Killed(BaseException):
    """The process is gone. Raised inside it so that nothing after the point of death is executed."""


class _Sleep:
    """An awaitable that resumes after some time; `None`: when somebody resumes it."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds

    def __await__(self) -> Generator[float | None, None, None]:
        yield self.seconds


_PARK = _Sleep(None)


class _Task:
    __slots__ = ("coroutine", "ended", "process")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], process: Process, ended: Callable[[Done], None]) -> None:
        self.coroutine = coroutine
        self.process = process
        self.ended = ended


class World:
    """The one true time, and everything that waits for it."""

    def __init__(self, start: float) -> None:
        self.now = start
        self._queue: list[tuple[float, int, _Task | Callable[[], None]]] = []
        self._soon: deque[_Task] = deque()
        self._count = 0
        self.steps = 0

    def sleep(self, seconds: float) -> _Sleep:
        """Return an awaitable that resumes after `seconds`."""
        return _Sleep(seconds if seconds > 0 else 0.0)

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Have something happen at a time, whatever processes there are."""
        self._count += 1
        heapq.heappush(self._queue, (when, self._count, action))

    def resume(self, task: _Task, when: float | None = None) -> None:
        """Have a coroutine go on, now or at a time."""
        if when is None:
            self._soon.append(task)
        else:
            self._count += 1
            heapq.heappush(self._queue, (when, self._count, task))

    def run(self, until: Callable[[], bool] = lambda: False) -> None:
        """Go on until something is true, or nothing is left to happen."""
        soon, queue = self._soon, self._queue
        while (soon or queue) and not until():
            self.steps += 1
            if self.steps > ENDLESS:
                raise Endless(f"{ENDLESS} steps, {self.now:.0f} s")
            if soon:
                self._step(soon.popleft())
                continue
            when, _, what = heapq.heappop(queue)
            self.now = max(self.now, when)
            if isinstance(what, _Task):
                self._step(what)
            else:
                what()

    def _step(self, task: _Task) -> None:
        process = task.process
        if not process.alive or task not in process.tasks:
            return
        if process.suspended_until > self.now:
            self.resume(task, process.suspended_until)
            return
        process.current = task
        try:
            wanted = task.coroutine.send(None)
        except StopIteration as stop:
            process.tasks.discard(task)
            task.ended(Done(None, stop.value))
        except Killed:
            process.kill()
        except Exception as error:  # noqa: BLE001 whoever started it is told
            process.tasks.discard(task)
            task.ended(Done(None, None, error))
        else:
            if wanted is not None:
                self.resume(task, self.now + wanted)
        process.current = None


class Process:
    """One run of a program. It is a `Clock`."""

    def __init__(self, world: World, *, name: str = "", wrong_by: float = 0.0) -> None:
        self.world = world
        self.name = name
        self.alive = True
        self.tasks: set[_Task] = set()
        self.current: _Task | None = None
        self.suspended_until = 0.0
        self._asleep = 0.0
        self._wrong_by = wrong_by

    def now(self) -> float:
        """Return the wall clock, which may be wrong."""
        return self.world.now + self._wrong_by

    def monotonic(self) -> float:
        """Return seconds that only grow, and stand still while it is suspended."""
        return self.world.now - self._asleep

    def sleep(self, seconds: float) -> Any:
        """Let `seconds` pass."""
        return _Sleep(seconds if seconds > 0 else 0.0)

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back."""
        self._wrong_by += seconds

    def suspend(self, seconds: float) -> None:
        """Close the lid for that long."""
        self.suspended_until = self.world.now + seconds
        self._asleep += seconds

    def start(self, coroutine: Coroutine[Any, Any, Any], ended: Callable[[Done], None]) -> _Task:
        """Begin a coroutine; `ended` hears of its end unless the process was killed."""
        task = _Task(coroutine, self, ended)
        self.tasks.add(task)
        self.world.resume(task)
        return task

    def end(self, task: _Task) -> None:
        """End one coroutine where it is."""
        self.tasks.discard(task)
        if task is not self.current:
            task.coroutine.close()

    def kill(self) -> None:
        """End everything where it is."""
        self.alive = False
        tasks, self.tasks = self.tasks, set()
        for task in tasks:
            if task is not self.current:
                task.coroutine.close()


class VirtualCrew:
    """A `Crew` of coroutines of one process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._running: dict[_Task, bool] = {}
        self._ended: list[Done] = []
        self._awake = False
        self._waiter: _Task | None = None

    def start(self, tag: Any, work: Coroutine[Any, Any, Any], *, keep: bool = False) -> None:
        """Begin `work`."""

        def ended(done: Done) -> None:
            del self._running[task]
            self._ended.append(Done(tag, done.value, done.error))
            self._resume()

        task = self._process.start(work, ended)
        self._running[task] = keep

    async def results(self) -> list[Done]:
        """Wait for news and return what ended."""
        while not self._ended and not self._awake:
            self._waiter = self._process.current
            await _PARK
        self._awake = False
        ended, self._ended = self._ended, []
        return ended

    async def together(self, works: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
        """Do some small things, one after the other."""
        return [await work() for work in works]

    def wake(self) -> None:
        """Make `results` return now."""
        self._awake = True
        self._resume()

    def drop(self) -> None:
        """End everything that is not kept."""
        for task in [task for task, keep in self._running.items() if not keep]:
            del self._running[task]
            self._process.end(task)

    @property
    def busy(self) -> int:
        """Coroutines that run, and ends that nobody took yet."""
        return len(self._running) + len(self._ended)

    def _resume(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self._process.world.resume(waiter)
