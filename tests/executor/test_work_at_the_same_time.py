"""The crew of asyncio tasks, and being told to stop."""

import asyncio
import os
import signal
import subprocess
import sys
import threading

import pytest

from ftspec.executor import progress as said
from ftspec.executor.crew import AsyncioCrew, Done
from ftspec.executor.interrupt import Stop, stop_on_signals
from ftspec.record import JobStatus
from ftspec.testing.account import Rules
from ftspec.testing.bench import Bench
from ftspec.testing.storm import Wish


async def worth(value, seconds=0.0):
    """Return a value after a while."""
    await asyncio.sleep(seconds)
    if isinstance(value, Exception):
        raise value
    return value


def test_results_come_with_their_tags_and_errors():
    """Values and errors are handed over, each with its tag; nothing is lost."""

    async def main():
        crew, problem = AsyncioCrew(), ValueError("x")
        crew.start("a", worth(1))
        crew.start("b", worth(problem))
        assert crew.busy == 2
        found: list[Done] = []
        while crew.busy:
            found += await crew.results()
        return sorted(found, key=lambda done: done.tag), problem

    (a, b), problem = asyncio.run(main())
    assert a == Done("a", 1)
    assert (b.tag, b.value, b.error) == ("b", None, problem)


def test_only_work_that_may_be_abandoned_is_dropped():
    """A purchase is finished and reported; a wait is cancelled and never heard of again."""

    async def main():
        crew = AsyncioCrew()
        crew.start("wait", worth(1, 60))
        crew.start("purchase", worth(2, 0.01), keep=True)
        await asyncio.sleep(0)
        crew.drop()
        assert crew.busy == 1
        return await crew.results()

    assert asyncio.run(main()) == [Done("purchase", 2)]


def test_small_things_are_done_a_few_at_a_time():
    """Values come in order, no more than eight at once, and the first error ends it."""

    async def main():
        running, most = 0, 0

        async def one(value):
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.001)
            running -= 1
            if value < 0:
                raise ValueError(value)
            return value

        crew = AsyncioCrew()
        values = await crew.together([lambda value=value: one(value) for value in range(30)])
        with pytest.raises(ValueError, match="-1"):
            await crew.together([lambda: one(-1), lambda: one(1)])
        return values, most

    assert asyncio.run(main()) == (list(range(30)), 8)


def test_a_wake_ends_the_wait_for_results():
    """Nobody ended, and the coordinator looks up all the same."""

    async def main():
        crew = AsyncioCrew()
        crew.start("wait", worth(1, 60))
        asyncio.get_running_loop().call_later(0.01, crew.wake)
        results = await crew.results()
        crew.drop()
        return results

    assert asyncio.run(main()) == []


def test_work_that_was_cancelled_from_outside_is_reported_as_such():
    """A task that somebody else cancels is an error of its tag, not a hang."""

    async def main():
        crew = AsyncioCrew()
        crew.start("x", worth(1, 60), keep=True)
        await asyncio.sleep(0)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        return await crew.results()

    (done,) = asyncio.run(main())
    assert isinstance(done.error, asyncio.CancelledError)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_asks_to_stop_and_the_second_leaves_at_once(number):
    """One request with the signal's number; then the way out with 128 + signal."""
    before = signal.getsignal(number)
    left: list[int] = []

    async def main():
        stop, heard = Stop(), []
        stop.listen(lambda: heard.append(stop.requested))
        with stop_on_signals(stop, at_once=left.append):
            os.kill(os.getpid(), number)
            await asyncio.sleep(0.01)
            assert heard == [number]
            assert left == []
            os.kill(os.getpid(), number)
            await asyncio.sleep(0.01)
        stop.request(99)
        return heard

    assert asyncio.run(main()) == [number]
    assert left == [128 + number]
    assert signal.getsignal(number) == before


def test_leaving_at_once_gives_the_terminal_its_cursor_back():
    """A live table had hidden it; a pipe gets no escape sequences."""
    code = "from ftspec.executor.interrupt import leave_at_once; leave_at_once(130)"
    piped = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (piped.returncode, piped.stderr) == (130, b"")
    ours, theirs = os.openpty()
    shown = subprocess.run([sys.executable, "-c", code], stderr=theirs, check=False)
    assert shown.returncode == 130
    assert os.read(ours, 100).startswith(b"\x1b[?25h")
    os.close(ours)
    os.close(theirs)


def test_signals_that_the_shell_ignores_stay_ignored():
    """Under nohup a hangup changes nothing."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)

    async def main():
        stop = Stop()
        with stop_on_signals(stop):
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.sleep(0.01)
        return stop.requested

    try:
        assert asyncio.run(main()) is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_outside_of_the_main_thread_signals_are_left_alone():
    """The Python API may be called in any thread."""
    before = signal.getsignal(signal.SIGINT)

    async def main():
        with stop_on_signals(Stop()):
            return signal.getsignal(signal.SIGINT)

    seen: list[object] = []
    thread = threading.Thread(target=lambda: seen.append(asyncio.run(main())))
    thread.start()
    thread.join()
    assert seen == [before]


def test_an_interrupted_walk_finishes_what_is_in_flight_and_buys_nothing_more():
    """Calls in flight are recorded, waits are dropped, running jobs go on; the exit code is 128 + signal."""
    bench = Bench(rules=Rules(), wish=Wish(seeds=6))
    stop = Stop()
    for at in (0.9, 30.0):
        bench.sim.world.at(bench.sim.world.now + at, lambda: stop.request(signal.SIGTERM))
    from ftspec.executor.result import ApplyOptions

    result = bench.execute(stop=stop, options=ApplyOptions(concurrency=2))
    (event,) = bench.told(said.Stopping)
    assert event.signal == signal.SIGTERM
    assert result.exit_code == 143
    assert len(result.launched) == len(bench.account.jobs)
    assert len(result.launched) + len(result.queued) == 6
    assert {record.status for record in bench.state.jobs.values()} <= {JobStatus.QUEUED, JobStatus.RUNNING}
    assert bench.execute().exit_code == 0
    assert len(bench.account.jobs) == 6


def test_a_signal_between_deciding_and_buying_buys_nothing_more():
    """The purchases that had not begun when the signal came stay queued."""
    bench = Bench(wish=Wish(seeds=4))
    stop = Stop()

    def tell(event):
        if isinstance(event, said.Launching):
            stop.request(signal.SIGINT)

    result = bench.execute(stop=stop, progress=tell)
    assert (len(result.launched), len(result.queued)) == (1, 3)
    assert len(bench.account.posts) == 1
    assert len(bench.state.jobs) == 1


def test_an_interrupt_while_an_outcome_is_looked_up_leaves_it_to_the_next_run():
    """Looking up is dropped, the intent stays open; the next run finds the job."""
    bench = Bench(rules=Rules())
    bench.fates += ["lost_request"]
    stop = Stop()
    bench.sim.world.at(bench.sim.world.now + 125, lambda: stop.request(signal.SIGINT))
    result = bench.execute(stop=stop)
    assert [one.error.message for one in result.in_doubt] == ["its outcome was not looked up to the end"]
    assert result.exit_code == 130
