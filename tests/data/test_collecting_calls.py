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

import pytest

from ftspec.data import collect_rows, collect_writer
from ftspec.data.collect import collect, collected, collected_datasets, flush
from ftspec.data.collect_writer import Noted, Wish, Writer
from ftspec.data.digest import digest
from ftspec.data.importers import all_importers
from ftspec.data.importers.where import all_of
from ftspec.experiment import DesiredDataset

ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}


def completion(message):
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-x",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
    }


@pytest.fixture(scope="module")
def client(model_url):
    from openai import OpenAI

    with OpenAI(api_key="test", base_url=model_url, max_retries=0) as made:
        yield made


def rows(folder, name="calls"):
    assert flush(60)
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


def test_collected_calls_can_be_imported_by_what_is_known_of_them(client, tmp_path):
    """Model, time and tags choose among collected rows; the import leaves the metadata behind and knows the teacher."""
    ask(collect(client, "calls", folder=tmp_path, tags=["good"]))
    ask(collect(client, "calls", folder=tmp_path, tags=["bad"]), "tools", tools=[TOOL])
    found = list(all_importers()["chat"].read(rows(tmp_path)))
    keep = all_of(["tag=good", "model=gpt-x", "time>=2026-01-01"])
    assert [(call.row(), call.model) for call in found if keep(call)] == [
        ({"messages": [*ASKED, {"role": "assistant", "content": "Hello."}]}, "gpt-x")
    ]


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


def test_async_calls_and_streams_are_collected(model_url, tmp_path):
    """The asynchronous client works as before and is collected the same way."""
    from openai import AsyncOpenAI, AsyncStream

    async def main():
        async with AsyncOpenAI(api_key="test", base_url=model_url, max_retries=0) as client:
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
            monkeypatch.setattr(collect_rows, "exchange", lambda *_args, **_more: 7)
        case "full disk":
            monkeypatch.setattr(collect_writer.os, "write", lambda descriptor, data, write=os.write: write(descriptor, data[:5]))
    before = collected().dropped
    assert ask(collect(client, "calls", **options)).choices[0].message.content == "Hello."
    assert flush(60)
    assert collected().dropped == before + 1
    if trouble == "full disk":
        assert (tmp_path / "calls.jsonl").read_bytes() == b""


def test_a_full_queue_drops_calls_instead_of_holding_them_up(client, tmp_path, monkeypatch):
    """A disk that does not answer never makes a caller wait: what does not fit is counted, the rest is written later."""
    monkeypatch.setattr(collect_writer, "WAITING", 1)
    gate, begun = threading.Event(), threading.Event()

    def keep(_row):
        begun.set()
        return gate.wait(30)

    monkeypatch.setattr("ftspec.data.collect.writer", writer := Writer())
    collecting = collect(client, "calls", folder=tmp_path, keep=keep)
    ask(collecting)
    assert begun.wait(30)
    for _ in range(3):
        ask(collecting)
    assert (writer.counts().dropped, writer.wait(0.01)) == (2, False)
    gate.set()
    assert writer.wait(30)
    assert len((tmp_path / "calls.jsonl").read_text().splitlines()) == writer.counts().written == 2


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


def note(message, wish):
    return Noted(asked={"messages": ASKED}, wish=wish, answer=[json.dumps(completion(message)).encode()])


def _write_many(folder, number):
    writer = Writer()
    wish = Wish(path=folder / "calls.jsonl")
    for n in range(number):
        message = {"role": "assistant", "content": f"{os.getpid()} {n} " + "x" * 5000}
        writer.put(note(message, wish))
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
    wish = Wish(path=tmp_path / "calls.jsonl")

    def say(text):
        collect_writer.writer.put(note({"role": "assistant", "content": text}, wish))

    say("parent")
    assert flush(60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested
        child = os.fork()
    if child == 0:
        say("child")
        os._exit(0 if flush() else 1)
    assert os.waitpid(child, 0)[1] == 0
    say("parent again")
    assert [row["messages"][-1]["content"] for row in rows(tmp_path)] == ["parent", "child", "parent again"]


def _write_and_leave(folder):
    wish = Wish(path=folder / "calls.jsonl", keep=lambda _row: time.sleep(0.01) or True)
    for n in range(10):
        collect_writer.writer.put(note({"role": "assistant", "content": str(n)}, wish))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_a_worker_process_that_ends_has_written_its_calls(tmp_path):
    """Forked workers end without the interpreter's own farewells; what they collected is written all the same."""
    process = multiprocessing.get_context("fork").Process(target=_write_and_leave, args=(tmp_path,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested
        process.start()
    process.join(60)
    assert process.exitcode == 0
    assert len((tmp_path / "calls.jsonl").read_text().splitlines()) == 10


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_forked_while_a_row_is_written_holds_nobody_up(tmp_path, monkeypatch):
    """The child has the descriptor too; the lock is given back in so many words, so it does not live as long as the child."""
    import fcntl

    path, children = tmp_path / "calls.jsonl", []
    wait, go_on = os.pipe()

    def write(descriptor, data, write=os.write):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            if (child := os.fork()) == 0:
                os.close(go_on)
                os.read(wait, 1)
                os._exit(0)
        children.append(child)
        return write(descriptor, data)

    monkeypatch.setattr(collect_writer.os, "write", write)
    try:
        collect_writer.append(path, b"{}\n")
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(go_on)
        for child in children:
            os.waitpid(child, 0)
        os.close(wait)


def test_a_lock_that_is_never_given_back_loses_no_rows(tmp_path, monkeypatch):
    """Whoever holds the file's lock for ever, rows are appended whole."""
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(collect_writer, "PATIENCE", 0.01)
    path = tmp_path / "calls.jsonl"
    path.touch()
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        collect_writer.append(path, b"{}\n")
    assert path.read_bytes() == b"{}\n"


def test_a_row_after_a_torn_one_starts_a_line(tmp_path):
    """After a power loss the file may end in half a row; the next row is not glued to it."""
    path = tmp_path / "calls.jsonl"
    path.write_bytes(b'{"messages": [')
    collect_writer.append(path, b"{}\n")
    collect_writer.append(path, b"{}\n")
    assert path.read_bytes() == b'{"messages": [\n{}\n{}\n'


def test_an_answer_without_end_is_dropped(client, tmp_path, monkeypatch):
    """A stream that goes on for ever does not fill the memory; the caller reads on, and the loss is counted."""
    monkeypatch.setattr("ftspec.data.collect.LONGEST", 300)
    before = collected().dropped
    assert len(list(ask(collect(client, "calls", folder=tmp_path), stream=True))) == 4
    assert rows(tmp_path) == []
    assert collected().dropped == before + 1


def test_a_process_that_ends_starts_no_thread(monkeypatch):
    """A call in the last moments of a process is counted as lost, and nothing is raised."""

    class Unstartable(threading.Thread):
        def start(self):
            raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(collect_writer.threading, "Thread", Unstartable)
    writer = Writer()
    writer.put(note({"role": "assistant", "content": "x"}, Wish(path=None)))
    assert (writer.counts().dropped, writer.wait(0)) == (1, True)
