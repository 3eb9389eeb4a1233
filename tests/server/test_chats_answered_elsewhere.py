"""`serve_url`: another server of the protocol answers the local engine's chats, and nothing that it says is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ftspec.experiment import EngineEntry
from ftspec.server.inprocess import engine_app

PATH = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "I was charged twice"}]


@pytest.fixture
def proxied(calling, tmp_path):
    """Ask the local engine whose chats are answered at a URL."""
    apps = []

    def ask(url):
        options = {"models": {"sandbox-nano": str(tmp_path), "gone": str(tmp_path)}, "serve_url": url}
        apps.append(engine_app(EngineEntry(name="local", type="local", scope="local", options=options), tmp_path / f"{len(apps)}"))
        return calling(apps[-1])

    yield ask
    for app in apps:
        app.close()


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The base URL of a served sandbox: a real server of the protocol."""
    words = [sys.executable, "-m", "ftspec", "serve", "--no-auth", "--port", "0", "--root", str(tmp_path_factory.mktemp("real"))]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=dict(os.environ)) as server:
        yield server.stdout.readline().strip()
        server.terminate()


@pytest.fixture
def direct(calling, tmp_path):
    """The same sandbox, asked without anything between."""
    from ftspec.server.inprocess import sandbox_app

    with sandbox_app(tmp_path / "direct") as app:
        yield calling(app)


def frames(answer):
    """Return the events of a stream."""
    return [json.loads(line[6:]) for line in answer.content.decode().split("\n\n") if line.startswith("data: {")]


@pytest.mark.parametrize(
    "more",
    [
        {"temperature": 0},
        {"temperature": 1, "seed": 3, "logprobs": True, "top_logprobs": 2, "max_tokens": 5},
        {"seed": 1, "n": 3, "max_completion_tokens": 4},
        {"temperature": 0, "stop": ["e"]},
    ],
)
def test_an_answer_is_the_other_servers_with_its_own_counts(proxied, direct, real, more):
    """Choices, log probabilities and usage are what the other server would have answered itself, whole and streamed."""
    body = {"model": "sandbox-nano", "messages": HELLO, **more}
    here, there = proxied(real), direct
    (asked, wanted) = (caller.post(PATH, json=body).json for caller in (here, there))
    assert asked["choices"] == wanted["choices"]
    assert asked["usage"] == wanted["usage"]
    assert asked["usage"]["prompt_tokens"] > 0
    streamed = {**body, "stream": True, "stream_options": {"include_usage": True}}
    *_, last = frames(here.post(PATH, json=streamed))
    assert (last["usage"], last["choices"]) == (wanted["usage"], [])


def test_what_the_other_server_refuses_is_refused_in_its_words(proxied, real):
    """A model that it does not serve is a 404, a request that it does not take a 400."""
    here = proxied(real)
    answer = here.post(PATH, json={"model": "gone", "messages": HELLO})
    assert (answer.status, answer.error["code"]) == (404, "model_not_found")
    assert "refused (404): The model `gone` does not exist" in answer.error["message"]
    answer = here.post(PATH, json={"model": "sandbox-nano", "messages": HELLO, "response_format": {"type": "json_object"}})
    assert (answer.status, answer.error["param"]) == (400, "response_format")


class Scripted(BaseHTTPRequestHandler):
    """Says what the test wants said."""

    def log_message(self, *_):
        """Say nothing else."""

    def do_POST(self):
        self.server.asked.append((json.loads(self.rfile.read(int(self.headers["content-length"]))), dict(self.headers)))
        status, kind, body = self.server.says
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("location", "/elsewhere")
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        """Be where a redirect leads."""
        self.server.asked.append((self.path, dict(self.headers)))
        self.send_response(200)
        self.end_headers()


@pytest.fixture
def scripted():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def asking(proxied, scripted, *said, status=200, kind="text/event-stream", **more):
    content = said[0] if kind != "text/event-stream" else b"".join(b"data: " + one + b"\n\n" for one in said)
    scripted.says = (status, kind, content)
    return proxied(f"http://127.0.0.1:{scripted.server_port}/v1").post(PATH, json={"model": "gone", "messages": HELLO, **more})


def chunk(delta, finish=None, **more):
    return json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish, **more}]}).encode()


def test_a_call_of_a_tool_arrives_whole_and_in_parts(proxied, scripted):
    """Parts of calls are passed on as they come, and joined for whoever wants the answer whole."""
    said = [
        chunk({"role": "assistant", "content": None}),
        chunk({"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a"'}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]}),
        chunk({}, "tool_calls"),
        b'{"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}}',
        b"[DONE]",
    ]
    answer = asking(proxied, scripted, *said).json
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"] == [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}]
    assert answer["usage"] == {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    deltas = [frame["choices"][0]["delta"] for frame in frames(asking(proxied, scripted, *said, stream=True))]
    assert [part["function"]["arguments"] for delta in deltas for part in delta.get("tool_calls", ())] == ['{"a"', ": 1}"]


def test_a_server_that_streams_nothing_is_understood(proxied, scripted):
    """A whole answer is one piece of a stream."""
    message = {"role": "assistant", "content": "yes", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f"}}]}
    body = {"choices": [{"message": message, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}
    answer = asking(proxied, scripted, json.dumps(body).encode(), kind="application/json").json
    assert answer["choices"][0]["message"]["content"] == "yes"
    assert answer["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "f"
    assert answer["usage"]["total_tokens"] == 4


def test_half_characters_keep_the_text_whole(proxied, scripted):
    """Where log probabilities spell a token otherwise, the text is still what the server wrote."""
    tokens = [{"token": "\\xc3", "logprob": -1.0, "top_logprobs": []}, {"token": "\\xa9", "logprob": -2.0, "top_logprobs": []}]
    answer = asking(proxied, scripted, chunk({"content": "é"}, "stop", logprobs={"content": tokens}), logprobs=True).json
    assert answer["choices"][0]["message"]["content"] == "é"
    assert [token["logprob"] for token in answer["choices"][0]["logprobs"]["content"]] == [-1.0, -2.0]


@pytest.mark.parametrize(
    "said",
    [
        [chunk({"content": "and th"})],
        [chunk({"content": "and th"}), b"{"],
        [chunk({"content": "and th"}), b'{"error": {"message": "out of memory"}}'],
        [b"[]"],
        [b'{"choices": [3]}'],
    ],
)
def test_an_answer_that_breaks_off_is_none(proxied, scripted, said):
    """Half an answer is a 503 that clients try again; streamed, its last event is the error."""
    answer = asking(proxied, scripted, *said)
    assert (answer.status, answer.error["code"], answer.error["type"]) == (503, "serve_url_broke_off", "server_error")
    assert frames(asking(proxied, scripted, *said, stream=True))[-1]["error"]["code"] == "serve_url_broke_off"


@pytest.mark.parametrize(
    ("status", "body", "ours", "code"),
    [
        (429, b'{"error": {"message": "slow down", "code": "rate_limit_exceeded"}}', 429, "rate_limit_exceeded"),
        (400, b'{"error": {"message": "too long\x1b[31m", "code": 400, "param": null}}', 400, "serve_url_refused"),
        (500, b"<html>", 503, "serve_url_refused"),
        (401, b'{"detail": "no"}', 503, "serve_url_refused"),
        (302, b"", 503, "serve_url_refused"),
    ],
)
def test_refusals_are_passed_on_and_mishaps_are_ours(proxied, scripted, status, body, ours, code):
    """What is wrong with a request is said as it was said; what is wrong with the server is a 503; nothing is followed."""
    answer = asking(proxied, scripted, body, status=status, kind="application/json")
    assert (answer.status, answer.error["code"]) == (ours, code)
    assert f"refused ({status})" in answer.error["message"]
    assert "\x1b" not in answer.error["message"]
    assert len(scripted.asked) == 1


def test_it_is_asked_without_a_key_and_for_counts(proxied, scripted, monkeypatch):
    """No header says who we are; usage is asked for; a server that is away is a 503."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-you-0123456789")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    asking(proxied, scripted, chunk({"content": "yes"}, "stop"), tool_choice="required", tools=[{"type": "function"}])
    ((body, headers),) = scripted.asked
    assert "authorization" not in {name.lower() for name in headers}
    assert (body["model"], body["stream_options"], body["tool_choice"]) == ("gone", {"include_usage": True}, "required")
    away = proxied("http://127.0.0.1:9/v1").post(PATH, json={"model": "gone", "messages": HELLO})
    assert (away.status, away.error["code"]) == (503, "serve_url_unreachable")
