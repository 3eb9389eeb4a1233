"""The sandbox proves itself twice: in process, and served over a port with a key."""

import os
import subprocess
import sys

import pytest

from ftspec.engines.open import open_engine
from ftspec.engines.profiles import load_profiles
from ftspec.experiment import EngineEntry
from ftspec.testing.engines import EngineConformance


def sandbox(*, app_factory=None, environ=None, **entry):
    return open_engine(
        EngineEntry(name="sandbox", type="sandbox", scope="sandbox", **entry),
        profile=load_profiles()["sandbox"],
        environ=environ or {},
        trust={},
        app_factory=app_factory,
    )


class TestSandboxInProcess(EngineConformance):
    """No port, no key: the SDK's client on the server's app."""

    base_model = "sandbox-nano"

    @pytest.fixture
    def engine(self, tmp_path):
        from ftspec.server.inprocess import in_process_app

        return sandbox(app_factory=lambda entry: in_process_app(entry, root=tmp_path))


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Serve the sandbox from another process; return its base URL."""
    root = tmp_path_factory.mktemp("served")
    words = ["serve", "--api-key-env", "FTSPEC_SERVED_KEY", "--port", "0", "--root", str(root)]
    environ = {**os.environ, "FTSPEC_SERVED_KEY": "served-key-0123456789"}
    with subprocess.Popen(
        [sys.executable, "-m", "ftspec", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ
    ) as server:
        yield server.stdout.readline().strip()
        server.terminate()


class TestSandboxServed(EngineConformance):
    """`ftspec serve`, another process, a bearer key."""

    base_model = "sandbox-nano"

    @pytest.fixture
    def engine(self, served):
        return sandbox(base_url=served, api_key_env="FTSPEC_SERVED_KEY", environ={"FTSPEC_SERVED_KEY": "served-key-0123456789"})
