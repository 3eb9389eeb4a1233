"""The local engine proves itself like every other engine, as a team has it: served over a port with a key."""

import os
import subprocess
import sys

import pytest

from ftspec.engines.open import open_engine
from ftspec.engines.profiles import load_profiles
from ftspec.experiment import EngineEntry
from ftspec.testing.engines import EngineConformance

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("training")]

VARIABLE, KEY = "FTSPEC_SERVER_KEY", "a-key-that-nobody-guesses"


@pytest.fixture(scope="module")
def served(tmp_path_factory, tiny):
    """Serve the local engine from another process; return its base URL."""
    words = ["serve", "--engine", "local", "--model", f"tiny={tiny}", "--api-key-env", VARIABLE, "--port", "0"]
    words += ["--root", str(tmp_path_factory.mktemp("served"))]
    environ = {**os.environ, VARIABLE: KEY, "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "ftspec", *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environ
    ) as server:
        yield server.stdout.readline().strip()
        server.terminate()


class TestLocalServed(EngineConformance):
    """`ftspec serve --engine local`: another process, a bearer key, jobs that are processes of their own."""

    base_model = "tiny"
    seconds = 240.0

    @pytest.fixture
    def engine(self, served):
        entry = EngineEntry(name="local", type="local", scope="local", base_url=served, api_key_env=VARIABLE)
        return open_engine(entry, profile=load_profiles()["local"], environ={VARIABLE: KEY}, trust={})
