"""The same protocol through the real SDK, over real HTTP, to a server that has bad days."""

import asyncio
import random
import time
from collections import Counter

import pytest

from ftspec.engines.account import Account
from ftspec.engines.client import Timeouts, WireEngine
from ftspec.engines.origin import parse_base_url
from ftspec.engines.profiles import load_profiles
from ftspec.engines.request import job_body
from ftspec.executor.apply import execute
from ftspec.executor.clock import rfc3339
from ftspec.executor.doubt import mark_absent, settle
from ftspec.planner import plan
from ftspec.planner.prices import PriceTable
from ftspec.planner.request import PlanRequest
from ftspec.record import JobStatus
from ftspec.state.memory import MemoryState, Store
from ftspec.testing.faulty import FAULTS, LIST_FAULTS, RANDOM_POST_FAULTS, RANDOM_READ_FAULTS, Fault, FaultyServer
from ftspec.testing.storm import Wish, wanted
from ftspec.testing.tinyapi import TinyApi

WANTED = wanted(Wish(seeds=3))
REFUSED = {"400", "401", "403", "404", "413", "422", "429 money", "429 spend"}
QUEUED = {"429 rate", "429 daily", "429 concurrent"}
HARMLESS = {"strange status", "bare job", "drip after"}
ELSEWHERE = {"redirect", "wait", "echo", "stream breaks", "another job", "hang before", "hang after", "huge after", "deep after"}
UNKNOWN = sorted(set(FAULTS) - REFUSED - QUEUED - HARMLESS - ELSEWHERE - LIST_FAULTS)


class FastClock:
    """The real time, in which waiting takes none: what is slept is only counted."""

    def __init__(self):
        self.slept = 0.0

    def now(self):
        return time.time() + self.slept

    def monotonic(self):
        return time.monotonic() + self.slept

    async def sleep(self, seconds):
        self.slept += seconds
        await asyncio.sleep(0)


class Clone:
    """One clone of a project with three jobs: its state, and applies on a server."""

    def __init__(self, server, *, profile="openai-compatible"):
        self.server, self.profile = server, load_profiles()[profile]
        self.store, self.clock = Store(), FastClock()

    @property
    def state(self):
        return MemoryState(self.store).read()[0]

    def plan(self):
        return plan(
            PlanRequest(
                spec=WANTED.spec,
                jobs=WANTED.jobs,
                datasets=WANTED.datasets,
                state=self.state,
                profiles={"simulated": self.profile},
                prices=PriceTable(date="2026-01-01"),
                now=rfc3339(self.clock.now()),
                version="0",
            )
        )

    def apply(self):
        """Settle, plan and execute, as the command does; every job POST that was sent is counted by key."""
        return asyncio.run(self._apply())

    async def _apply(self):
        origin, _ = parse_base_url(self.server.base_url)
        account = Account(origin=origin, base_url=self.server.base_url, key=None)
        quick = Timeouts(read=2, create=2, upload=2, chat=2)
        engine = WireEngine(account, profile=self.profile, scope="sim", clock=self.clock, timeouts=quick)
        try:
            with MemoryState(self.store).lock("apply") as writer:
                await settle(spec=WANTED.spec, writer=writer, engines={"sim": engine}, clock=self.clock)
                return await execute(
                    self.plan(),
                    spec=WANTED.spec,
                    writer=writer,
                    engines={"sim": engine},
                    request_body=job_body,
                    materialise=self._materialise,
                    clock=self.clock,
                    random=random.Random(1),  # noqa: S311 jitter
                )
        finally:
            await engine.aclose()

    async def _materialise(self, ref, key):
        facts = WANTED.datasets[ref]
        return WANTED.blobs[ref], key, facts.rows, facts.bytes

    def absent(self):
        """Be the person who looked at the server's own pages."""
        there = Counter(job["metadata"].get("ftspec_key") for job in self.server.jobs.values())
        with MemoryState(self.store).lock("import") as writer:
            for record in self.state.jobs.values():
                if record.in_doubt and not there[record.key]:
                    mark_absent(record, writer=writer, clock=self.clock)

    def check(self, *, whole=True):
        """Each key has one job at most, each job is recorded or in doubt; `whole`: all three have models."""
        keys = Counter(job["metadata"]["ftspec_key"] for job in self.server.jobs.values())
        assert all(count == 1 for count in keys.values()), keys
        recorded = {attempt.engine_job_id for record in self.state.jobs.values() for attempt in record.attempts}
        doubtful = {record.key for record in self.state.jobs.values() if record.in_doubt}
        assert all(job_id in recorded or job["metadata"]["ftspec_key"] in doubtful for job_id, job in self.server.jobs.items())
        if whole:
            assert [record.status for record in self.state.jobs.values()] == [JobStatus.SUCCEEDED] * 3
            assert len(self.server.jobs) == 3


@pytest.fixture
def serve():
    """Return a function that starts a faulty server; it must not have stumbled over itself."""
    servers = []

    def start(*script, **options):
        server = FaultyServer(script, **options)
        servers.append(server)
        return server.__enter__()

    yield start
    for server in servers:
        server.close()
        assert server.surprises == []


def test_on_a_good_day_three_jobs_are_bought_with_three_requests(serve):
    """No faults: one file, three POSTs, three models, nothing left to plan."""
    clone = Clone(serve())
    assert clone.apply().exit_code == 0
    clone.check()
    sent = [file for file in clone.server.files.values() if file["purpose"] == "fine-tune"]
    assert (clone.server.posts, len(sent)) == (3, 1)
    assert clone.plan().empty


@pytest.mark.parametrize("kind", UNKNOWN)
def test_an_unknown_outcome_sends_one_request_and_is_found_or_stays_in_doubt(kind, serve):
    """Whatever happened to an answer: no second POST in that apply; what exists is adopted, what does not is in doubt."""
    clone = Clone(serve(Fault(kind)))
    first = clone.apply()
    assert clone.server.posts == 3
    clone.check(whole=False)
    landed = len(clone.server.jobs) == 3
    assert first.exit_code == (0 if landed else 4)
    if not landed:
        again = clone.apply()
        assert (again.exit_code, clone.server.posts) == (4 if len(clone.server.jobs) < 3 else 0, 3)
        clone.absent()
        assert clone.apply().exit_code == 0
    clone.check()


@pytest.mark.parametrize("kind", sorted(LIST_FAULTS))
def test_lists_on_a_bad_day_never_lead_to_a_second_purchase(kind, serve):
    """The answer is lost, and every list lags, repeats itself, ignores its filter, never ends or has broken rows."""
    clone = Clone(serve(Fault("reset after"), Fault(kind, times=60)))
    for _ in range(3):
        clone.apply()
        assert clone.server.posts == 3
        clone.check(whole=False)
    clone.server._script.clear()
    assert clone.apply().exit_code == 0
    clone.check()
    assert clone.server.posts == 3


@pytest.mark.parametrize("kind", sorted(REFUSED))
def test_a_refusal_buys_nothing_and_says_why(kind, serve):
    """The server's own words are recorded; another apply, once it is lifted, buys what is missing."""
    clone = Clone(serve(Fault(kind, times=3)))
    result = clone.apply()
    assert clone.server.jobs == {}
    assert result.exit_code == 1
    assert all(trouble.error.message for trouble in result.failed)
    assert clone.apply().exit_code == 0
    clone.check()


@pytest.mark.parametrize("kind", sorted(QUEUED))
def test_a_limit_is_a_queue_and_not_a_failure(kind, serve):
    """Told apart by code alone: the job waits for its slot, and the apply ends with everything."""
    clone = Clone(serve(Fault(kind, times=2)))
    assert clone.apply().exit_code == 0
    clone.check()
    assert clone.clock.slept > 10


@pytest.mark.parametrize("kind", sorted(HARMLESS))
def test_an_odd_answer_that_really_is_a_job_is_believed(kind, serve):
    """Unknown status words, missing members, a byte at a time: it is a job, and it is recorded."""
    clone = Clone(serve(Fault(kind)))
    assert clone.apply().exit_code == 0
    clone.check()
    assert clone.server.posts == 3


@pytest.mark.parametrize(
    "where", ["GET /files", "POST /files", "GET /fine_tuning/jobs/*", "GET /fine_tuning/jobs/*/events", "GET /files/*"]
)
@pytest.mark.parametrize("kind", ["reset before", "500 before", "html before", "cut after"])
def test_trouble_with_anything_but_purchases_is_got_over(where, kind, serve):
    """Files, reads and lists fail a few times: the apply ends with everything, each job bought once."""
    clone = Clone(serve(Fault(kind, on=where, times=2)))
    for _ in range(3):
        if clone.apply().exit_code == 0:
            break
    clone.check()
    assert clone.server.posts == 3


def test_two_clones_on_a_server_that_keeps_labels_share_what_one_of_them_bought(serve):
    """The second clone looks before it buys and adopts; where keys are unique the server itself says so."""
    server = serve()
    one, two = Clone(server), Clone(server)
    assert one.apply().exit_code == 0
    result = two.apply()
    assert (result.launched, len(result.adopted)) == ((), 3)
    assert server.posts == 3
    two.check()


def test_an_engine_that_honours_idempotency_keys_is_asked_until_it_answers(serve):
    """Lost answers are asked for again within one apply: still one job a key."""
    server = serve(Fault("reset after", times=2), api=TinyApi(now=time.time, unique_keys=True, idempotent=True))
    clone = Clone(server, profile="sandbox")
    assert clone.apply().exit_code == 0
    clone.check()
    assert server.posts == 5


def storm(seed: int) -> None:
    """Apply on a server with random faults until the sky clears, then finish and judge."""
    with FaultyServer(seed=seed, rate=0.25) as server:
        clone = Clone(server)
        for _ in range(3):
            before = server.posts
            clone.apply()
            assert server.posts - before <= 12
            clone.check(whole=False)
        server._random = None
        for _ in range(4):
            server._land()
            clone.absent()
            if clone.apply().exit_code == 0:
                break
        clone.check()
        assert server.surprises == []


@pytest.mark.parametrize("seed", range(4))
def test_random_faults_break_no_promise(seed):
    """A quarter of all requests goes wrong in a random way."""
    storm(seed)


@pytest.mark.slow
def test_many_random_faults_break_no_promise(figure):
    """Two hundred seeds of random faults over real HTTP."""
    for seed in range(100, 300):
        storm(seed)
    figure("200 seeds over real HTTP")


def test_random_storms_hold_every_kind_of_fault_that_is_random():
    """The names of the random faults are faults."""
    assert {*RANDOM_POST_FAULTS, *RANDOM_READ_FAULTS} <= set(FAULTS)
