"""The faulty server without faults is an engine like any other, with and without promises."""

import time

import pytest

from ftspec.engines.open import open_engine
from ftspec.engines.profiles import load_profiles
from ftspec.experiment import EngineEntry
from ftspec.testing.engines import EngineConformance
from ftspec.testing.faulty import FaultyServer
from ftspec.testing.tinyapi import TinyApi


def engine_of(server, profile):
    entry = EngineEntry(name="tiny", type=profile, scope="tiny", base_url=server.base_url, api_key_env="FTSPEC_TINY_KEY")
    return open_engine(entry, profile=load_profiles()[profile], environ={"FTSPEC_TINY_KEY": "tiny-key-0001"}, trust={})


class TestPlainServer(EngineConformance):
    """A compatible server that keeps labels but filters no lists and repeats what it is asked twice."""

    @pytest.fixture
    def engine(self):
        with FaultyServer(api=TinyApi(now=time.time, key="tiny-key-0001", filters=False)) as server:
            yield engine_of(server, "openai-compatible")


class TestServerWithUniqueKeys(EngineConformance):
    """A server with the promises of ftspec's own: unique keys and idempotency."""

    @pytest.fixture
    def engine(self):
        with FaultyServer(api=TinyApi(now=time.time, key="tiny-key-0001", unique_keys=True, idempotent=True)) as server:
            yield engine_of(server, "sandbox")


class TestServerWithoutLabels(EngineConformance):
    """A server that drops job metadata."""

    @pytest.fixture
    def engine(self):
        with FaultyServer(api=TinyApi(now=time.time, key="tiny-key-0001", keeps_metadata=False)) as server:
            yield engine_of(server, "nebius")
