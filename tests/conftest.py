"""What all tests share: no network but this machine, laws that are checked on the same examples every time."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings

# A run is repeatable unless somebody looks for new examples: HYPOTHESIS_PROFILE=search pytest tests/property
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

# A runner that was started with `nohup`, or by a shell in the background, hands ignored signals down to whatever it starts.
if threading.current_thread() is threading.main_thread():
    for _number, _handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
        (signal.SIGTERM, signal.SIG_DFL),
    ):
        if signal.getsignal(_number) is signal.SIG_IGN:
            signal.signal(_number, _handler)

_connect = socket.socket.connect


def _connect_here(self: socket.socket, address: Any) -> None:
    host = address[0] if isinstance(address, tuple) else None
    if host is not None and host not in ("127.0.0.1", "::1", "localhost"):
        pytest.fail(f"a test wanted to connect to {host}")
    _connect(self, address)


@pytest.fixture(autouse=True)
def only_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that opens a connection to anywhere but this machine."""
    monkeypatch.setattr(socket.socket, "connect", _connect_here)


@pytest.fixture(autouse=True)
def no_ambient_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep keys, proxies and settings of whoever runs the tests out of them."""
    for name in list(os.environ):
        if name.startswith(("OPENAI_", "FTSPEC_", "AZURE_", "NEBIUS_", "AWS_BEARER")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return a function that keeps a figure of this test for the end of the run: campaigns say how much they tried."""

    def keep(what: str) -> None:
        request.node.user_properties.append(("figure", what))

    return keep


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the figures of all campaigns; here, because the process that prints under `-n` loads no other conftest."""
    lines = {
        f"{report.nodeid.rpartition('::')[2]}: {what}"
        for report in terminalreporter.stats.get("passed", [])
        for name, what in report.user_properties
        if name == "figure"
    }
    if lines:
        terminalreporter.section("figures of the campaigns")
        for line in sorted(lines):
            terminalreporter.line(line)
