"""`ftspec serve`: who is let in, what is printed, how it ends, and the journeys of SDKs of both majors."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ftspec.cli.serve import command
from ftspec.diagnostics import FtspecError
from ftspec.server.serving import base_url, is_loopback, listen, read_keys

KEY = "a-key-that-nobody-guesses"
SERVE = "from ftspec.cli.serve import command; command()"
JOURNEY = Path(__file__).with_name("journey.py")


class Served:
    """A served engine in a process of its own."""

    def __init__(self, root: Path, *options: str) -> None:
        environment = {**os.environ, "SERVER_KEY": KEY}
        arguments = [sys.executable, "-c", SERVE, "--port", "0", "--root", str(root), *options]
        self.process = subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.base_url = self.process.stdout.readline().strip()

    def get(self, path: str, **headers: str) -> tuple[int, Any]:
        request = urllib.request.Request(self.base_url.removesuffix("/v1") + path, headers=headers)  # noqa: S310 loopback
        try:
            with urllib.request.urlopen(request) as answer:  # noqa: S310 loopback
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as refusal:
            return refusal.code, json.loads(refusal.read())

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, said


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Any]:
    started: list[Served] = []

    def serve(*options: str) -> Served:
        started.append(Served(tmp_path / "server", *options))
        return started[-1]

    yield serve
    for served in started:
        if served.process.poll() is None:
            served.stop()


def test_it_prints_its_address_answers_with_the_key_and_ends_orderly(serving):
    """stdout holds the base URL and nothing else; SIGTERM and SIGINT end it with 0; its records stay for the next start."""
    served = serving("--api-key-env", "SERVER_KEY")
    assert served.base_url.startswith("http://127.0.0.1:")
    assert served.get("/healthz") == (200, {"status": "ok", "engine": "sandbox"})
    assert served.get("/v1/models")[0] == 401
    status, models = served.get("/v1/models", authorization=f"Bearer {KEY}")
    assert (status, models["data"][0]["id"]) == (200, "sandbox-nano")
    code, said = served.stop()
    assert code == 0
    assert "toy learner" in said
    assert serving("--no-auth").stop(signal.SIGINT)[0] == 0


def test_its_log_is_json_from_the_first_line_to_the_last(serving):
    """With `--log-json` stderr holds JSON objects only, also about what is no HTTP."""
    served = serving("--no-auth", "--log-json")
    port = int(served.base_url.split(":")[2].partition("/")[0])
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"this is no HTTP\r\n\r\n")
        assert b"400" in client.recv(100)
    served.get("/healthz")
    code, said = served.stop()
    assert code == 0
    lines = [json.loads(line) for line in said.splitlines()]
    assert (lines[0]["event"], lines[0]["engine"], lines[0]["url"]) == ("serving", "sandbox", served.base_url)
    assert [line["level"] for line in lines[1:]] == ["warning", "info"]
    assert lines[-1]["route"] == "/healthz"


def test_an_unfinished_job_goes_on_at_the_next_start_without_being_asked(serving, tmp_path, rows):
    """SIGTERM stops training at a step; the next start takes the job up by itself."""
    served = serving("--no-auth")
    client = sdk(served)
    content = "".join(json.dumps(row) + "\n" for row in rows(60, seed=1)).encode()
    file = client.files.create(file=("a.jsonl", content), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(model="sandbox-nano", training_file=file.id, hyperparameters={"n_epochs": 20, "batch_size": 1})
    result = tmp_path / "server" / "runs" / job.id / "result.json"
    assert served.stop()[0] == 0
    assert not result.exists()
    client.close()
    serving("--no-auth")
    end = time.monotonic() + 60
    while not result.exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    assert json.loads(result.read_text())["status"] == "succeeded"


def sdk(served: Served) -> Any:
    import openai

    return openai.OpenAI(base_url=served.base_url, api_key=KEY, max_retries=0)


def test_the_socket_lets_small_answers_go_at_once():
    """asyncio turns Nagle's algorithm off for sockets that name TCP; without that, answers wait 40 ms."""
    listener = listen("127.0.0.1", 0)
    assert listener.proto == socket.IPPROTO_TCP
    listener.close()


def journey(python: str, served: Served) -> dict[str, str]:
    done = subprocess.run([python, str(JOURNEY), served.base_url, KEY], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen: dict[str, str] = json.loads(done.stdout)
    return seen


def test_the_installed_sdk_makes_the_whole_journey(serving):
    """Sync and async clients upload, train, page through 50 events by 7, ask, stream and delete."""
    import openai

    assert journey(sys.executable, serving("--api-key-env", "SERVER_KEY"))["openai"] == openai.__version__


@pytest.mark.slow
@pytest.mark.parametrize("requirement", ["openai>=2.30,<3", "openai>=3,<4"])
def test_both_majors_of_the_sdk_make_the_whole_journey(serving, tmp_path, requirement):
    """The same journey in a fresh environment with another SDK."""
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    installed = subprocess.run([python, "-m", "pip", "install", "-q", requirement], capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.skip("the package index does not answer")
    assert journey(str(python), serving("--api-key-env", "SERVER_KEY"))["openai"].split(".")[0] == requirement[8]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ([], "nobody said who may ask"),
        (["--no-auth", "--api-key-env", "SERVER_KEY"], "`--api-key-env` and `--no-auth` exclude each other"),
        (["--no-auth", "--host", "0.0.0.1"], "`--no-auth` is for loopback addresses only"),
        (["--api-key-env", "NOT_SET"], "the variable `NOT_SET` holds no key"),
        (["--api-key-env", "SHORT_KEY"], "a key is shorter than 16 characters"),
        (["--key-file", "missing.txt"], "cannot read the key file `missing.txt`"),
        (["--no-auth", "--host", "203.0.113.7"], "`--no-auth` is for loopback addresses only"),
    ],
)
def test_it_does_not_start_open_by_accident(options, reason):
    """Without a key, or an explicit wish on loopback, nothing is served."""
    stopped = CliRunner().invoke(command, ["--port", "0", *options], env={"SHORT_KEY": "short"})
    assert isinstance(stopped.exception, FtspecError)
    assert stopped.exception.message == reason
    assert stopped.exception.help


def test_a_port_that_is_taken_says_so():
    """The message names the port and what to type."""
    taken = listen("127.0.0.1", 0)
    port = taken.getsockname()[1]
    with pytest.raises(FtspecError, match=f"cannot listen on port {port}"):
        listen("127.0.0.1", port)
    taken.close()
    for host in ("203.0.113.7", "x" * 64 + ".y"):
        with pytest.raises(FtspecError, match="cannot listen on"):
            listen(host, 0)


def test_addresses_are_written_as_clients_need_them():
    """An IPv6 address stands in brackets; only loopback counts as this machine."""
    listener = listen("localhost", 0)
    assert base_url(listener).endswith(f":{listener.getsockname()[1]}/v1")
    listener.close()
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.1", "example.org")] == [True, True, True, False, False]


def test_a_key_file_gives_each_key_its_project(tmp_path):
    """Comments and blank lines are skipped; a key twice, three words, or no key at all is an error without the key in it."""
    path = tmp_path / "keys.txt"
    path.write_text(f"# keys\n\n{KEY} team-a  # Ann\nanother-key-for-the-rest\n")
    assert read_keys(path) == {KEY: "team-a", "another-key-for-the-rest": "default"}
    for content in (f"{KEY} a\n{KEY} b\n", f"{KEY} a b\n", "# none\n", "short\n"):
        path.write_text(content)
        with pytest.raises(FtspecError) as stopped:
            read_keys(path)
        assert KEY not in stopped.value.message
