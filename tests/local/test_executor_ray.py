"""A real Ray head on this machine proves the executor, where the command `ray` can be found (`FTSPEC_TEST_RAY` may name it)."""

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ftspec.server.trainers.local.executors import Submission
from ftspec.server.trainers.local.executors.ray import RayExecutor
from ftspec.server.trainers.local.settings import Settings
from ftspec.testing.executors import Drive, ExecutorConformance
from ftspec.testing.toy_worker import value_of


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Head:
    """The head of a Ray cluster of one node; it can be killed and started again, and has forgotten everything then."""

    def __init__(self, ray, home):
        self.port, self.log = free_port(), home / "log"
        self.words = [
            ray, "start", "--head", "--block", f"--port={free_port()}", "--include-dashboard=true", "--dashboard-host=127.0.0.1",
            f"--dashboard-port={self.port}", "--num-cpus=2", "--disable-usage-stats", "--object-store-memory=100000000",
        ]  # fmt: skip
        self.environment = {**os.environ, "HOME": str(home), "RAY_AUTH_MODE": "disabled", "RAY_TMPDIR": "/tmp"}  # noqa: S108 sockets need short paths
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self):
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(self.words, env=self.environment, stdout=log, stderr=log, start_new_session=True)
        end = time.monotonic() + 120
        while not self.answers():
            assert time.monotonic() < end, self.log.read_text()[-2000:]
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            time.sleep(0.3)

    def answers(self):
        try:
            urllib.request.urlopen(f"{self.url}/api/jobs/", timeout=5).close()  # noqa: S310 this machine
        except OSError:
            return False
        return True

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    ray = os.environ.get("FTSPEC_TEST_RAY") or shutil.which("ray")
    if ray is None:
        pytest.skip("ray is not installed")
    head = Head(ray, tmp_path_factory.mktemp("ray"))
    head.start()
    yield head
    head.stop()


@pytest.fixture
def settings(head):
    return Settings(executor="ray", gpus=0, cpus=1, ray={"address": head.url})


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
class TestRay(ExecutorConformance):
    """The drive, against the Jobs REST interface."""

    @pytest.fixture
    def settings(self, settings):
        return settings


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_a_cluster_that_died_with_its_jobs_gets_them_again(head, settings, tmp_path):
    """While nobody answers, jobs count as running and new ones wait; a cluster that has forgotten them goes on from their last step."""
    drive = Drive(tmp_path, settings, 120)
    run = drive.job("a", steps=200)
    drive.until(lambda: (run.resume_folder() or (0,))[0] >= 2)
    head.stop()
    assert drive.executor.poll(run.handle()["handle"]) == "running"
    late = drive.job("b", steps=2)
    assert [said.message.partition(":")[0] for said in late.events()] == ["The job cannot be submitted yet"]
    head.start()
    drive.until(lambda: run.result() and late.result())
    assert run.handle()["lost"] <= 1
    assert (run.path / "value").read_text() == value_of(200)
    assert late.newest_attempt() == 1


class Jobs(BaseHTTPRequestHandler):
    """The few words of Ray's Jobs interface that the executor says."""

    known: dict
    seen: list
    broken = False

    def log_message(self, *_):
        """Say nothing."""

    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        name = self.path.rpartition("/")[2]
        if self.server.broken:
            self.answer(503, {})
        elif self.path == "/api/version":
            self.answer(200, {"ray_version": "0"})
        elif name in self.server.known:
            self.answer(200, {"status": self.server.known[name]})
        else:
            self.answer(404, {})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
        self.server.seen.append((self.path, body, self.headers.get("authorization")))
        if self.path.endswith("/stop"):
            self.answer(200, {"stopped": True})
        elif body["submission_id"] in self.server.known:
            self.answer(500, {"error": "already exists"})
        else:
            self.server.known[body["submission_id"]] = "PENDING"
            self.answer(200, {"submission_id": body["submission_id"]})


@pytest.fixture
def fake():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Jobs)
    server.known, server.seen, server.broken = {}, [], False
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def made(fake, host="127.0.0.1", **more):
    return RayExecutor(Settings(executor="ray", ray={"address": f"http://{host}:{fake.server_port}", **more}, memory_gb=2))


def test_a_name_that_ray_knows_is_not_submitted_twice(fake, tmp_path):
    """Resources reach Ray; a refused repetition is the first submission."""
    ray = made(fake, resources={"a100": 1})
    submission = Submission(run=tmp_path / "job", number=1, command=("python", "a b"), environment={"A": "b"}, cpus=3, gpus=1)
    assert ray.submit(submission, slot=0) == ray.submit(submission, slot=0) == {"job": "job-1"}
    _, body, token = fake.seen[0]
    assert body["entrypoint"] == f"exec python 'a b' >> {tmp_path}/job/worker.log 2>&1"
    assert (body["entrypoint_num_cpus"], body["entrypoint_num_gpus"], body["entrypoint_memory"]) == (3, 1, 2 * 1024**3)
    assert body["entrypoint_resources"] == {"a100": 1}
    assert body["runtime_env"]["env_vars"] == {"A": "b", "OMP_NUM_THREADS": "3"}
    assert token is None


def test_where_a_job_is_follows_ray_and_silence_means_nothing(fake):
    """Unknown is gone; a cluster that does not answer has lost nothing."""
    ray = made(fake)
    fake.known |= {"a": "PENDING", "b": "RUNNING", "c": "SUCCEEDED", "d": "FAILED", "e": "STOPPED"}
    assert [ray.poll({"job": name}) for name in "abcdef"] == ["queued", "running", "gone", "gone", "gone", "gone"]
    fake.broken = True
    assert ray.poll({"job": "f"}) == "running"
    assert ray.problem() == "The Ray cluster does not answer (HTTPError)."


def test_a_token_goes_to_this_machine_or_the_users_own_address_only(fake, monkeypatch, tmp_path):
    """A spec cannot send the user's token somewhere else."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", "t")
    made(fake).cancel({"job": "a"})
    assert fake.seen[-1][2] == "Bearer t"
    assert not RayExecutor._may_know("http://elsewhere.example:8265")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://elsewhere.example:8265/")
    assert RayExecutor._may_know("http://elsewhere.example:8265")
    assert RayExecutor(Settings(executor="ray"))._address == "http://elsewhere.example:8265"
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS")
    assert "RAY_API_SERVER_ADDRESS" in RayExecutor(Settings(executor="ray")).problem()
