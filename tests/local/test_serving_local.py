"""`ftspec serve --engine local`, as a team has it: an engine like every other, and killed at any moment it loses nothing."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from ftspec.engines.open import open_engine
from ftspec.engines.profiles import load_profiles
from ftspec.experiment import EngineEntry
from ftspec.testing.engines import EngineConformance

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("training")]

VARIABLE, KEY = "FTSPEC_SERVER_KEY", "a-key-that-nobody-guesses"


class Served:
    """The local engine of a spec, in a process of its own."""

    def __init__(self, folder, tiny, python):
        self.project, self.root = folder / "project", folder / "project" / ".ftspec" / "local"
        self.project.mkdir()
        settings = {"type": "local", "models": {"tiny": str(tiny)}, "python": python, "cpus": 1}
        (self.project / "ftspec.yaml").write_text(json.dumps({"ftspec": 1, "engines": {"local": settings}}))
        own = {VARIABLE: KEY, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "XDG_CONFIG_HOME": str(folder / "config")}
        self.environment = {**os.environ, **own}
        trust = [sys.executable, "-m", "ftspec", "trust", "--command", python]
        subprocess.run(trust, check=True, capture_output=True, cwd=self.project, env=self.environment)
        self.words = [sys.executable, "-m", "ftspec", "serve", "--engine", "local", "-f", "ftspec.yaml"]
        self.words += ["--port", "0", "--log-json", "--api-key-env", VARIABLE]
        self.start()

    def start(self):
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        self.process = subprocess.Popen(self.words, cwd=self.project, env=self.environment, **streams)
        self.url = self.process.stdout.readline().strip()

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.process.wait(timeout=60)
        self.process.stdout.close()

    def ask(self, verb, path, body=None, *, content_type="application/json"):
        content = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        headers = {"authorization": f"Bearer {KEY}", "content-type": content_type}
        request = urllib.request.Request(self.url + path, data=content, headers=headers, method=verb)  # noqa: S310 this machine
        with urllib.request.urlopen(request, timeout=240) as answer:  # noqa: S310 this machine
            return json.loads(answer.read())

    def upload(self, rows):
        lines = [b"--x", b'content-disposition: form-data; name="purpose"', b"", b"fine-tune", b"--x"]
        lines += [b'content-disposition: form-data; name="file"; filename="r.jsonl"', b"", rows, b"--x--", b""]
        return self.ask("POST", "/files", b"\r\n".join(lines), content_type="multipart/form-data; boundary=x")["id"]


@pytest.fixture(scope="module")
def served(tmp_path_factory, tiny, warm):
    served = Served(tmp_path_factory.mktemp("served"), tiny, warm)
    yield served
    served.stop()
    assert served.process.returncode == 0


class TestLocalServed(EngineConformance):
    """Another process, a bearer key, jobs that are processes of their own."""

    base_model = "tiny"
    seconds = 240.0

    @pytest.fixture
    def engine(self, served):
        entry = EngineEntry(name="local", type="local", scope="local", base_url=served.url, api_key_env=VARIABLE)
        return open_engine(entry, profile=load_profiles()["local"], environ={VARIABLE: KEY}, trust={})


def test_a_killed_server_loses_nothing(served, data):
    """Killed while a job trains: it goes on meanwhile, ends after one attempt, and its model answers (more deaths: `tests/server`)."""
    method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1}}}
    body = {"model": "tiny", "training_file": served.upload(data("tickets", 24)), "method": method}
    job = served.ask("POST", "/fine_tuning/jobs", body)["id"]
    attempts, end = served.root / "runs" / job / "attempts", time.monotonic() + 240
    while not attempts.exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    served.stop(signal.SIGKILL)
    served.start()
    while not (found := served.ask("GET", f"/fine_tuning/jobs/{job}"))["finished_at"]:
        assert time.monotonic() < end
        time.sleep(0.2)
    assert found["status"] == "succeeded"
    assert sorted(path.name for path in attempts.iterdir()) == ["0001", "0001.ended"]
    chat = {"model": found["fine_tuned_model"], "messages": [{"role": "user", "content": "where is my parcel"}], "max_tokens": 3}
    assert served.ask("POST", "/chat/completions", chat)["choices"][0]["message"]["role"] == "assistant"
