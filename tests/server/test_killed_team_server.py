"""A team's server and its workers are killed at random moments: whatever somebody was told is true, and every job trains once."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException

import pytest

from ftspec.server.trainers.local.run import LocalRun
from ftspec.testing.toy_worker import value_of

KEYS = {"ann": "ann-key-0123456789abcdef", "bob": "bob-key-0123456789abcdef"}
JOBS = 4
KILLS = 10

SERVER = """
from importlib import import_module
from ftspec.cli.serve import command
from ftspec.server.trainers.local import reconcile
from ftspec.server.trainers.local.probe import Facts
from ftspec.testing.toy_worker import TOY

class Toys(reconcile.Reconciler):
    def __init__(self, *words, **more):
        super().__init__(*words, worker=TOY, **more)

trainer = import_module("ftspec.server.trainers.local.trainer")
trainer.Reconciler, trainer.ask = Toys, lambda *_, **__: Facts()
command()
"""


class TeamServer:
    """`ftspec serve --engine local` whose jobs are toys, at one address whatever happens to it."""

    def __init__(self, folder):
        self.root = folder / "root"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        keys = folder / "keys.txt"
        keys.write_text("".join(f"{key} {name}\n" for name, key in KEYS.items()))
        words = [
            "--engine",
            "local",
            "--model",
            f"tiny={folder}",
            "--root",
            self.root,
            "--port",
            self.port,
            "--key-file",
            keys,
            "--log-json",
        ]
        self.words = [sys.executable, "-c", SERVER, *map(str, words)]
        self.log = folder / "log"
        self.start()

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.words, stdout=subprocess.PIPE, stderr=log, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
        assert self.process.stdout.readline(), self.log.read_text()[-2000:]

    def stop(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        self.process.wait(timeout=60)
        self.process.stdout.close()

    def ask(self, user, verb, path, body=None, *, kind="application/json"):
        content = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        headers = {"authorization": f"Bearer {KEYS[user]}", "content-type": kind}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/v1{path}", data=content, headers=headers, method=verb)
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 this machine
            return json.loads(answer.read())

    def insist(self, *words, **more):
        """Ask until there is an answer, like any client that tries again."""
        end = time.monotonic() + 120
        while True:
            try:
                return self.ask(*words, **more)
            except urllib.error.HTTPError as refusal:
                raise AssertionError(refusal.read()) from None
            except (OSError, ValueError, HTTPException):  # nobody there, or killed in the middle of the answer
                assert time.monotonic() < end
                time.sleep(0.05)

    def kill_a_worker(self, chance):
        """Kill one of the workers under way, if any; return its job."""
        claimed = sorted(path for path in (self.root / "runs").glob("*/submissions/*") if not path.name.startswith("."))
        running = [path for path in claimed if not (path.parents[1] / "result.json").exists()]
        if running:
            path = chance.choice(running)
            with contextlib.suppress(ProcessLookupError, TypeError):
                os.kill(json.loads(path.read_text())["pid"], signal.SIGKILL)
                return path.parents[1].name
        return None


def upload(server, user):
    """Upload ten rows until somebody says yes."""
    rows = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n' * 10
    form = [b"--x", b'content-disposition: form-data; name="purpose"', b"", b"fine-tune", b"--x"]
    form += [b'content-disposition: form-data; name="file"; filename="r.jsonl"', b"", rows, b"--x--", b""]
    return server.insist(user, "POST", "/files", b"\r\n".join(form), kind="multipart/form-data; boundary=x")["id"]


def buy_and_wait(server, user):
    """Buy jobs one after the other, each asked for until somebody says yes; then wait for all of them."""
    file, told = upload(server, user), []
    for number in range(JOBS):
        label = {"ftspec_key": f"{user}-{number}", "ftspec_attempt": "1"}
        body = {"model": "tiny", "training_file": file, "seed": number, "method": {"type": "supervised"}, "metadata": label}
        told.append(server.insist(user, "POST", "/fine_tuning/jobs", body)["id"])
        assert server.insist(user, "POST", "/fine_tuning/jobs", body)["id"] == told[-1]
    while any(server.insist(user, "GET", f"/fine_tuning/jobs/{job}")["finished_at"] is None for job in told):
        time.sleep(0.1)
    return told


@pytest.fixture
def server(tmp_path):
    server = TeamServer(tmp_path)
    yield server
    if server.process.poll() is None:
        server.stop()


@pytest.mark.slow
def test_whoever_is_killed_nothing_is_lost_and_nothing_trains_twice(server):
    """Two users buy at once while server and workers die: each purchase is one job, and a job has no attempt that no death explains."""
    chance, killed = random.Random(7), []  # noqa: S311 reproducible moments
    with ThreadPoolExecutor(2) as pool:
        buying = {user: pool.submit(buy_and_wait, server, user) for user in KEYS}
        for _ in range(KILLS):
            time.sleep(chance.uniform(0, 0.6))
            if chance.random() < 0.3:
                killed.append(server.kill_a_worker(chance))
            else:
                server.stop()
                server.start()
    told = {user: bought.result() for user, bought in buying.items()}
    for user, other in (("ann", "bob"), ("bob", "ann")):
        listed = server.ask(user, "GET", "/fine_tuning/jobs?limit=50")["data"]
        assert sorted(job["id"] for job in listed) == sorted(told[user])
        assert {job["status"] for job in listed} == {"succeeded"}
        with pytest.raises(urllib.error.HTTPError, match="404"):
            server.ask(user, "GET", f"/fine_tuning/jobs/{told[other][0]}")
    for job in [*told["ann"], *told["bob"]]:
        run = LocalRun(server.root / "runs" / job)
        assert run.newest_attempt() <= 1 + killed.count(job)
        assert (run.path / "value").read_text() == value_of(20)
    server.stop(signal.SIGTERM)
    assert server.process.returncode == 0
    assert not any(key in server.log.read_text() for key in KEYS.values())


def test_jobs_go_on_while_nobody_asks(server):
    """The second of two jobs gets the slot of the first without another request."""
    body = {"model": "tiny", "training_file": upload(server, "ann"), "method": {"type": "supervised"}}
    jobs = [server.ask("ann", "POST", "/fine_tuning/jobs", {**body, "seed": seed})["id"] for seed in (1, 2)]
    results = [server.root / "runs" / job / "result.json" for job in jobs]
    end = time.monotonic() + 120
    while not all(path.exists() for path in results):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert [json.loads(path.read_text())["status"] for path in results] == ["succeeded", "succeeded"]
