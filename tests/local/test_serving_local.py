"""`ftspec serve --engine local`: killed at any moment, nothing is lost."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("training")]

KEY = "a-key-that-nobody-guesses"


class Served:
    def __init__(self, root, tiny, *more):
        self.words = [
            sys.executable, "-m", "ftspec", "serve", "--engine", "local", "--model", f"tiny={tiny}", "--root", str(root),
            "--port", "0", "--log-json", *(more or ("--api-key-env", "SERVED_KEY")),
        ]  # fmt: skip
        self.start()

    def start(self):
        environment = {**os.environ, "SERVED_KEY": KEY, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
        self.process = subprocess.Popen(self.words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
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


def test_a_killed_server_loses_nothing(tmp_path, tiny, data):
    """Killed while one job trains and one waits: the first goes on meanwhile, both end, and chats are answered."""
    served = Served(tmp_path / "root", tiny)
    try:
        body = {"model": "tiny", "training_file": served.upload(data("tickets", 24)), "method": {"type": "supervised"}}
        jobs = [served.ask("POST", "/fine_tuning/jobs", {**body, "seed": seed})["id"] for seed in (1, 2)]
        end, handle = time.monotonic() + 240, tmp_path / "root" / "runs" / jobs[0] / "handle.json"
        while not (handle.exists() and json.loads(handle.read_text())["handle"]):  # killed before, a second worker would fence the first
            assert time.monotonic() < end
            time.sleep(0.05)
        served.stop(signal.SIGKILL)
        served.start()
        end = time.monotonic() + 240
        while not all((found := served.ask("GET", f"/fine_tuning/jobs/{job}"))["finished_at"] for job in jobs):
            assert time.monotonic() < end
            time.sleep(0.5)
        assert found["status"] == "succeeded"
        assert (tmp_path / "root" / "runs" / jobs[0] / "attempts" / "0001").exists()
        assert not (tmp_path / "root" / "runs" / jobs[0] / "attempts" / "0002").exists()
        chat = {"model": found["fine_tuned_model"], "messages": [{"role": "user", "content": "where is my parcel"}], "max_tokens": 3}
        assert served.ask("POST", "/chat/completions", chat)["choices"][0]["message"]["role"] == "assistant"
    finally:
        served.stop()
    assert served.process.returncode == 0


def test_chats_can_be_answered_elsewhere(opened, tiny, data, method, tmp_path):
    """With `serve_url`, another server of the protocol answers, asked for the adapter by its model name; no key is sent."""
    elsewhere = Served(tmp_path / "elsewhere", tiny, "--no-auth")
    try:
        local = opened(serve_url=elsewhere.url)
        asked = {"seed": 3, "temperature": 1, "logprobs": True, "top_logprobs": 2}
        here, there = opened().ask("tiny", "hello", **asked).json(), local.ask("tiny", "hello", **asked).json()
        assert there["choices"] == here["choices"]
        assert there["usage"] == here["usage"]
    finally:
        elsewhere.stop()
    refused = local.ask("tiny", "hello")
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "serve_url_unreachable"
