"""A clock that costs no time, and engines that speak real HTTP to a local server."""

import asyncio
import socket

import pytest

from ftspec.engines.account import Account, Secret
from ftspec.engines.client import Timeouts, WireEngine
from ftspec.engines.origin import parse_base_url
from ftspec.engines.profiles import load_profiles
from ftspec.testing.faulty import FaultyServer

CANARY = "sk-proj-canary-0123456789abcdefghCRET"


class StillClock:
    """Time passes only by sleeping."""

    def __init__(self):
        self.seconds = 0.0
        self.slept = []

    def now(self):
        return 1_795_000_000.0 + self.seconds

    def monotonic(self):
        return self.seconds

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.seconds += seconds


@pytest.fixture
def clock():
    return StillClock()


@pytest.fixture
def engine_at(clock):
    """Return a function that opens an engine at a base URL."""

    def open_at(base_url, *, profile="openai-compatible", key=CANARY, timeouts=None, **account):
        origin, _ = parse_base_url(base_url)
        who = Account(origin=origin, base_url=base_url, key=Secret(key) if key else None, **account)
        return WireEngine(
            who,
            profile=load_profiles()[profile],
            scope="test",
            clock=clock,
            owner="CANARY",
            timeouts=timeouts or Timeouts(read=5, create=5, upload=5, chat=5),
        )

    return open_at


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


@pytest.fixture
def asking():
    """Return a function that runs one scenario on an engine, in a loop of its own, and closes the engine."""

    def run(engine, scenario):
        async def whole():
            try:
                return await scenario(engine)
            finally:
                await engine.aclose()

        return asyncio.run(whole())

    return run


@pytest.fixture
def closed_port():
    """Return a port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def canary():
    return CANARY
