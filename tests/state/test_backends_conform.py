"""The shipped backends pass the suite that every backend must pass."""

from __future__ import annotations

import pytest

from ftspec.state.jsonl import JsonlState
from ftspec.state.memory import MemoryState, Store
from ftspec.testing.state import StateConformance


class TestJsonlState(StateConformance):
    @pytest.fixture
    def connect(self, tmp_path):
        return lambda: JsonlState(tmp_path / "state")


class TestMemoryState(StateConformance):
    @pytest.fixture
    def connect(self):
        store = Store()
        return lambda: MemoryState(store)
