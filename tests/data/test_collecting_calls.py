"""Calls of the real SDK become rows, and the caller never notices."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ftspec.data import collect as module
from ftspec.data.collect import collect, collected, collected_datasets, flush
from ftspec.data.digest import digest
from ftspec.experiment import DesiredDataset

ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}


def completion(message, reason="stop"):
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-x",
        "choices": [{"index": 0, "finish_reason": reason, "message": message}],
    }


def chunks(*deltas, reason="stop"):
    ended = [({}, reason)] if reason else []
    for delta, why in [*((delta, None) for delta in deltas), *ended]:
        yield {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "gpt-x",
            "choices": [{"index": 0, "delta": delta, "finish_reason": why}],
        }


class Handler(BaseHTTPRequestHandler):
    """Answers by what the user says."""

    wbufsize = -1
    disable_nagle_algorithm = True
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = body["messages"][-1]["content"]
        if said == "fail":
            return self.reply(400, {"error": {"message": "no", "type": "invalid_request_error", "code": "x", "param": None}})
        if body.get("stream"):
            deltas = [{"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo."}]
            if said == "tools":
                deltas = [
                    {"role": "assistant", "tool_calls": [{"index": 0, **CALL, "function": {"name": "weather", "arguments": ""}}]},
                    {"tool_calls": [{"index": 0, "function": {"arguments": '{"city":'}}]},
                    {"tool_calls": [{"index": 0, "function": {"arguments": '"Oslo"}'}}]},
                ]
            lines = "".join(
                f"data: {json.dumps(chunk)}\n\n"
                for chunk in chunks(*deltas, reason={"tools": "tool_calls", "long": "length"}.get(said, "stop"))
            )
            return self.reply(200, (lines + "data: [DONE]\n\n").encode(), "text/event-stream")
        answers = {
            "tools": completion({"role": "assistant", "content": None, "tool_calls": [CALL]}, "tool_calls"),
            "long": completion({"role": "assistant", "content": "and so on and"}, "length"),
            "json": completion({"role": "assistant", "content": '{"city": "Oslo"}'}),
        }
        return self.reply(
            200, answers.get(said, completion({"role": "assistant", "content": "Hello.", "refusal": None, "annotations": []}))
        )

    def reply(self, status, body, kind="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture(scope="module")
def url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def client(url):
    from openai import OpenAI

    with OpenAI(api_key="test", base_url=url, max_retries=0) as made:
        yield made


def rows(folder, name="calls"):
    assert flush()
    path = folder / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def ask(client, said="Hi", **more):
    return client.chat.completions.create(model="gpt-x", messages=[*ASKED[:1], {"role": "user", "content": said}], **more)


def test_a_call_becomes_a_row(client, tmp_path):
    """The answer is returned as before, and the row has prompt, answer and what is known of the call."""
    collecting = collect(client, "calls", folder=tmp_path, tags=["new"], metadata={"team": "search"})
    answer = ask(collecting)
    assert answer.choices[0].message.content == "Hello."
    [row] = rows(tmp_path)
    assert row["messages"] == [*ASKED, {"role": "assistant", "content": "Hello."}]
    about = row["metadata"]
    assert (about["model"], about["id"], about["tags"], about["team"]) == ("gpt-x", "chatcmpl-1", ["new"], "search")
    assert len(about["prompt_sha256"]) == 64
    assert collected_datasets(tmp_path) == {"calls": tmp_path / "calls.jsonl"}


def test_a_collected_file_is_a_dataset(client, tmp_path):
    """What is collected can be trained on once its metadata is dropped."""
    collecting = collect(client, "calls", folder=tmp_path)
    for number in range(12):
        ask(collecting, f"question {number}")
    assert len(rows(tmp_path)) == 12
    dataset = DesiredDataset(name="calls", path="calls.jsonl", transforms=({"type": "drop", "fields": ["metadata"]},))
    facts, problems = digest(dataset, root=tmp_path)
    assert (facts["calls"].rows, problems) == (12, [])


def test_the_given_client_is_not_touched(client, tmp_path):
    """Only the copy collects; it is of the same class, and its own copies collect too."""
    collecting = collect(client, "calls", folder=tmp_path)
    assert type(collecting) is type(client)
    ask(client)
    assert rows(tmp_path) == []
    ask(collecting.with_options(timeout=5))
    ask(collecting.copy())
    assert len(rows(tmp_path)) == 2


def test_a_stream_is_collected_when_it_has_ended(client, tmp_path):
    """Chunks arrive as before, in an `openai.Stream`; the row has the whole answer."""
    from openai import Stream

    collecting = collect(client, "calls", folder=tmp_path)
    stream = ask(collecting, stream=True)
    assert isinstance(stream, Stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "Hello."
    assert [row["messages"][-1]["content"] for row in rows(tmp_path)] == ["Hello."]
    with ask(collecting, stream=True) as broken_off:
        next(iter(broken_off))
    assert len(rows(tmp_path)) == 1


def test_tool_calls_are_collected_whole(client, tmp_path):
    """Calls come in one piece or in parts of a stream; the tools come from the request."""
    collecting = collect(client, "calls", folder=tmp_path)
    ask(collecting, "tools", tools=[TOOL], parallel_tool_calls=False)
    for _ in ask(collecting, "tools", tools=[TOOL], stream=True):
        pass
    once, streamed = rows(tmp_path)
    expected = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    assert once["messages"][-1] == streamed["messages"][-1] == expected
    assert once["tools"] == [TOOL]
    assert once["parallel_tool_calls"] is False


def test_async_calls_and_streams_are_collected(url, tmp_path):
    """The asynchronous client works as before and is collected the same way."""
    from openai import AsyncOpenAI, AsyncStream

    async def main():
        async with AsyncOpenAI(api_key="test", base_url=url, max_retries=0) as client:
            collecting = collect(client, "calls", folder=tmp_path)
            answers = await asyncio.gather(*(ask(collecting, f"q{n}") for n in range(10)))
            stream = await ask(collecting, stream=True)
            assert isinstance(stream, AsyncStream)
            return [answer.choices[0].message.content for answer in answers], [chunk async for chunk in stream]

    texts, streamed = asyncio.run(main())
    assert set(texts) == {"Hello."}
    assert len(streamed) == 4
    assert len(rows(tmp_path)) == 11


def test_parsed_answers_are_collected(client, tmp_path):
    """`parse` with a pydantic model returns its object, and the text becomes the row."""
    from pydantic import BaseModel

    class Place(BaseModel):
        city: str

    collecting = collect(client, "calls", folder=tmp_path)
    answer = collecting.chat.completions.parse(model="gpt-x", messages=[{"role": "user", "content": "json"}], response_format=Place)
    assert answer.choices[0].message.parsed == Place(city="Oslo")
    assert [row["messages"][-1]["content"] for row in rows(tmp_path)] == ['{"city": "Oslo"}']


def test_raw_responses_pass_through(client, tmp_path):
    """Callers that want headers get them; such calls are not collected, and nothing breaks."""
    collecting = collect(client, "calls", folder=tmp_path)
    raw = collecting.chat.completions.with_raw_response.create(model="gpt-x", messages=ASKED)
    assert raw.parse().choices[0].message.content == "Hello."
    assert rows(tmp_path) == []


def test_errors_reach_the_caller_and_are_no_rows(client, tmp_path):
    """A refused call raises what it always raised; cut answers are not collected."""
    from openai import BadRequestError

    collecting = collect(client, "calls", folder=tmp_path)
    with pytest.raises(BadRequestError):
        ask(collecting, "fail")
    before = collected().skipped
    ask(collecting, "long")
    for _ in ask(collecting, "long", stream=True):
        pass
    assert rows(tmp_path) == []
    assert collected().skipped == before + 2


def test_what_the_caller_changes_later_is_not_collected(client, tmp_path):
    """The row has the messages as they were sent, also when they came as an iterator."""
    collecting = collect(client, "calls", folder=tmp_path)
    messages = [dict(one) for one in ASKED]
    collecting.chat.completions.create(model="gpt-x", messages=messages)
    messages[1]["content"] = "changed"
    messages.append({"role": "assistant", "content": "x"})
    collecting.chat.completions.create(model="gpt-x", messages=iter(ASKED))
    assert [row["messages"][:-1] for row in rows(tmp_path)] == [ASKED, ASKED]


def test_messages_of_the_sdk_are_understood(client, tmp_path):
    """Callers append the SDK's own message objects to their history."""
    collecting = collect(client, "calls", folder=tmp_path)
    first = ask(collecting, "tools", tools=[TOOL]).choices[0].message
    collecting.chat.completions.create(model="gpt-x", messages=[*ASKED, first, {"role": "tool", "tool_call_id": "c1", "content": "Rain."}])
    assert [one["role"] for one in rows(tmp_path)[1]["messages"]] == ["system", "user", "assistant", "tool", "assistant"]


@pytest.mark.parametrize("trouble", ["read-only folder", "a file as folder", "keep raises", "odd answer", "full disk"])
def test_trouble_is_counted_and_never_raised(client, tmp_path, trouble, monkeypatch):
    """Whatever goes wrong while collecting, the call returns, and the loss is known."""
    options = {"folder": tmp_path}
    match trouble:
        case "read-only folder":
            options["folder"] = "/proc/nowhere"
        case "a file as folder":
            (tmp_path / "x").write_text("")
            options["folder"] = tmp_path / "x"
        case "keep raises":
            options["keep"] = lambda _row: 1 / 0
        case "odd answer":
            monkeypatch.setattr(module, "_plain", lambda _value: 7)
        case "full disk":
            monkeypatch.setattr(module.os, "write", lambda descriptor, data, write=os.write: write(descriptor, data[:5]))
    before = collected().dropped
    assert ask(collect(client, "calls", **options)).choices[0].message.content == "Hello."
    assert flush()
    assert collected().dropped == before + 1
    if trouble == "full disk":
        assert (tmp_path / "calls.jsonl").read_bytes() == b""


def test_a_full_queue_drops_calls_instead_of_holding_them_up(client, tmp_path, monkeypatch):
    """A disk that does not answer never makes a caller wait."""
    monkeypatch.setattr(module._writer, "_queue", module.queue.Queue(maxsize=1))
    monkeypatch.setattr(module._writer, "_thread", threading.current_thread())
    collecting, before = collect(client, "calls", folder=tmp_path), collected().dropped
    for _ in range(3):
        ask(collecting)
    assert collected().dropped == before + 2
    assert not flush(0.01)


def test_collecting_costs_the_caller_next_to_nothing(client, tmp_path, monkeypatch):
    """Beside the call itself there are some microseconds, not a file or a lock."""
    monkeypatch.setattr(module._writer, "put", lambda _noted: None)
    answer = ask(client)

    class Fake:
        def __init__(self):
            self.chat = self
            self.completions = self

        def create(self, **_kwargs):
            return answer

    collecting = collect(Fake(), "calls", folder=tmp_path)
    started = time.perf_counter()
    for _ in range(1000):
        collecting.chat.completions.create(messages=ASKED)
    assert time.perf_counter() - started < 0.5


def test_options_decide_what_is_kept(client, tmp_path):
    """`keep` chooses rows, `redact` replaces personal data."""
    collecting = collect(client, "calls", folder=tmp_path, redact=True, keep=lambda row: "no" not in row["messages"][1]["content"])
    ask(collecting, "I am kari@nordmann.se")
    ask(collecting, "no")
    assert [row["messages"][1]["content"] for row in rows(tmp_path)] == ["I am [e-mail address]"]


@pytest.mark.parametrize("name", ["", "../x", "a/b", "1st", "x" * 65])
def test_a_name_cannot_be_a_path(client, name):
    """The dataset's name is a name, so no call can be written elsewhere."""
    with pytest.raises(ValueError, match="letters"):
        collect(client, name)


def test_the_folder_can_come_from_the_environment(client, tmp_path, monkeypatch):
    """Without `folder` the variable decides, then `data/collected`."""
    monkeypatch.setenv("FTSPEC_COLLECT", str(tmp_path / "here"))
    ask(collect(client, "calls"))
    assert len(rows(tmp_path / "here")) == 1
    assert (tmp_path / "here" / "calls.jsonl").stat().st_mode & 0o077 == 0


def _write_many(folder, number):
    writer = module._Writer()
    wish = module._Wish(path=folder / "calls.jsonl")
    for n in range(number):
        message = {"role": "assistant", "content": f"{os.getpid()} {n} " + "x" * 5000}
        writer.put(module._Noted({"messages": ASKED}, completion(message), wish, 0.0))
    writer.wait(20)


def test_threads_and_processes_append_whole_rows(tmp_path):
    """Several processes with several threads write into one file: every row arrives once and whole."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write_many, args=(tmp_path, 60)) for _ in range(3)]
    for process in processes:
        process.start()
    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(_write_many, tmp_path, 60)
    for process in processes:
        process.join(30)
    texts = [json.loads(line)["messages"][-1]["content"] for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    assert len(texts) == 7 * 60


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_collects_its_own_calls_only(tmp_path):
    """A child neither writes its parent's calls again nor loses its own."""
    wish = module._Wish(path=tmp_path / "calls.jsonl")

    def note(text):
        module._writer.put(module._Noted({"messages": ASKED}, completion({"role": "assistant", "content": text}), wish, 0.0))

    note("parent")
    assert flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested
        child = os.fork()
    if child == 0:
        note("child")
        os._exit(0 if flush() else 1)
    assert os.waitpid(child, 0)[1] == 0
    note("parent again")
    assert [row["messages"][-1]["content"] for row in rows(tmp_path)] == ["parent", "child", "parent again"]
