"""Every way to a chat model that the SDK has is collected, and gives the caller what it always gave."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json

import pytest

from ftspec.data.collect import collect, collected, flush

QUESTION = [{"role": "user", "content": "Hi"}]
CHAT = {"model": "gpt-x", "messages": QUESTION}
ASK = {"model": "gpt-x", "input": "Hi"}
JSON = {"model": "gpt-x", "messages": [{"role": "user", "content": "json"}]}
STREAM = {**CHAT, "stream": True}
TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}


def rows(folder):
    assert flush(60)
    path = folder / "calls.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture(scope="module")
def client(model_url):
    from openai import OpenAI

    with OpenAI(api_key="test", base_url=model_url, max_retries=0) as made:
        yield made


def city():
    from pydantic import BaseModel

    class City(BaseModel):
        city: str

    return City


def text_of(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def final_of(events):
    return next(event.response.output_text for event in events if event.type == "response.completed")


def in_stream(manager, read):
    with manager as stream:
        return read(stream)


def events_in(text):
    return "Hel" in text and "lo." in text and "Hello."


def parsed_from(text):
    return json.loads(text)["choices"][0]["message"]["content"]


def asked_directly(client):
    from openai.types.responses import Response

    return client.post("/responses", cast_to=Response, body=ASK).output_text


def streaming(client):
    return client.chat.completions.with_streaming_response


WAYS = {
    "create": lambda c: c.chat.completions.create(**CHAT).choices[0].message.content,
    "create, streamed": lambda c: text_of(c.chat.completions.create(**STREAM)),
    "create, streamed in a block": lambda c: in_stream(c.chat.completions.create(**STREAM), text_of),
    "stream": lambda c: in_stream(c.chat.completions.stream(**CHAT), lambda s: s.get_final_completion().choices[0].message.content),
    "parse": lambda c: c.chat.completions.parse(**JSON, response_format=city()).choices[0].message.parsed.city,
    "beta parse": lambda c: c.beta.chat.completions.parse(**JSON, response_format=city()).choices[0].message.parsed.city,
    "stream, parsed": lambda c: in_stream(
        c.chat.completions.stream(**JSON, response_format=city()), lambda s: s.get_final_completion().choices[0].message.parsed.city
    ),
    "raw": lambda c: c.chat.completions.with_raw_response.create(**CHAT).parse().choices[0].message.content,
    "raw, by its text": lambda c: parsed_from(c.chat.completions.with_raw_response.create(**CHAT).text),
    "raw parse": lambda c: (
        c.chat.completions.with_raw_response.parse(**JSON, response_format=city()).parse().choices[0].message.parsed.city
    ),
    "raw, of the client": lambda c: c.with_raw_response.chat.completions.create(**CHAT).parse().choices[0].message.content,
    "raw, streamed": lambda c: text_of(c.chat.completions.with_raw_response.create(**STREAM).parse()),
    "raw, streamed, by its lines": lambda c: events_in(
        "".join(c.chat.completions.with_raw_response.create(**STREAM).http_response.iter_lines())
    ),
    "streaming, parsed": lambda c: in_stream(streaming(c).create(**CHAT), lambda r: r.parse().choices[0].message.content),
    "streaming, as JSON": lambda c: in_stream(streaming(c).create(**CHAT), lambda r: r.json()["choices"][0]["message"]["content"]),
    "streaming, as text": lambda c: in_stream(streaming(c).create(**CHAT), lambda r: parsed_from(r.text())),
    "streaming, as bytes": lambda c: in_stream(streaming(c).create(**CHAT), lambda r: parsed_from(b"".join(r.iter_bytes()))),
    "streaming, in one large piece": lambda c: in_stream(
        streaming(c).create(**CHAT), lambda r: parsed_from(b"".join(r.iter_bytes(10_000)))
    ),
    "streaming, in lines": lambda c: in_stream(streaming(c).create(**CHAT), lambda r: parsed_from("".join(r.iter_lines()))),
    "streaming, streamed": lambda c: in_stream(streaming(c).create(**STREAM), lambda r: text_of(r.parse())),
    "streaming, streamed, by its lines": lambda c: in_stream(streaming(c).create(**STREAM), lambda r: events_in("".join(r.iter_lines()))),
    "with options": lambda c: c.with_options(timeout=9).chat.completions.create(**CHAT).choices[0].message.content,
    "responses": lambda c: c.responses.create(**ASK).output_text,
    "responses, streamed": lambda c: final_of(c.responses.create(**ASK, stream=True)),
    "responses, only in items": lambda c: in_stream(
        c.responses.create(model="gpt-x", input="items", stream=True),
        lambda s: [e.type for e in s][-1] == "response.completed" and "Hello.",
    ),
    "responses, stream": lambda c: in_stream(c.responses.stream(**ASK), lambda s: s.get_final_response().output_text),
    "responses, parse": lambda c: c.responses.parse(model="gpt-x", input="json", text_format=city()).output_parsed.city,
    "responses, raw": lambda c: c.responses.with_raw_response.create(**ASK).parse().output_text,
    "responses, raw, streamed": lambda c: final_of(c.responses.with_raw_response.create(**ASK, stream=True).parse()),
    "responses, streaming": lambda c: in_stream(c.responses.with_streaming_response.create(**ASK), lambda r: r.parse().output_text),
    "responses, beta": lambda c: getattr(c.beta, "responses", c.responses).create(**ASK).output[-1].content[0].text,
    "post": asked_directly,
}


@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
def test_every_way_is_collected(client, tmp_path, way):
    """The caller gets its answer, and there is one row with it."""
    answer = way(collect(client, "calls", folder=tmp_path))
    [row] = rows(tmp_path)
    expected = {"Hello.": ["Hi", "items"], "Oslo": ["json"]}[answer]
    assert row["messages"][0]["content"] in expected
    assert row["messages"][-1] == {"role": "assistant", "content": '{"city": "Oslo"}' if answer == "Oslo" else "Hello."}
    assert way(client) == answer


async def gathered(stream):
    return [one async for one in stream]


async def within(manager, read):
    async with manager as stream:
        return await read(stream)


async def chat_text(call):
    return (await call).choices[0].message.content


async def final_completion(stream):
    return (await stream.get_final_completion()).choices[0].message.content


async def final_response(stream):
    return (await stream.get_final_response()).output_text


async def parsed_completion(response):
    return (await response.parse()).choices[0].message.content


async def in_lines(response):
    return parsed_from("".join([line async for line in response.iter_lines()]))


async def streamed_inside(response):
    return text_of(await gathered(await response.parse()))


async def awaited(call, read):
    return read(await call)


async def read_all(call, read):
    return read(await gathered(await call))


async def raw_stream(call):
    return text_of(await gathered((await call).parse()))


ASYNC_WAYS = {
    "create": lambda c: chat_text(c.chat.completions.create(**CHAT)),
    "create, streamed": lambda c: read_all(c.chat.completions.create(**STREAM), text_of),
    "stream": lambda c: within(c.chat.completions.stream(**CHAT), final_completion),
    "parse": lambda c: awaited(c.chat.completions.parse(**JSON, response_format=city()), lambda a: a.choices[0].message.parsed.city),
    "raw": lambda c: awaited(c.chat.completions.with_raw_response.create(**CHAT), lambda a: a.parse().choices[0].message.content),
    "raw, streamed": lambda c: raw_stream(c.chat.completions.with_raw_response.create(**STREAM)),
    "streaming": lambda c: within(streaming(c).create(**CHAT), parsed_completion),
    "streaming, in lines": lambda c: within(streaming(c).create(**CHAT), in_lines),
    "streaming, streamed": lambda c: within(streaming(c).create(**STREAM), streamed_inside),
    "with options": lambda c: chat_text(c.with_options(timeout=9).chat.completions.create(**CHAT)),
    "responses": lambda c: awaited(c.responses.create(**ASK), lambda a: a.output_text),
    "responses, streamed": lambda c: read_all(c.responses.create(**ASK, stream=True), final_of),
    "responses, stream": lambda c: within(c.responses.stream(**ASK), final_response),
    "responses, parse": lambda c: awaited(
        c.responses.parse(model="gpt-x", input="json", text_format=city()), lambda a: a.output_parsed.city
    ),
    "responses, raw": lambda c: awaited(c.responses.with_raw_response.create(**ASK), lambda a: a.parse().output_text),
}


@pytest.mark.parametrize("way", ASYNC_WAYS.values(), ids=list(ASYNC_WAYS))
def test_every_asynchronous_way_is_collected(model_url, tmp_path, way):
    """What waits is collected like what does not."""
    from openai import AsyncOpenAI

    async def main():
        async with AsyncOpenAI(api_key="test", base_url=model_url, max_retries=0) as client:
            return await way(collect(client, "calls", folder=tmp_path)), await way(client)

    answer, plain = asyncio.run(main())
    [row] = rows(tmp_path)
    assert answer == plain
    assert row["messages"][-1]["content"] == ('{"city": "Oslo"}' if answer == "Oslo" else "Hello.")


def test_azure_clients_are_collected(model_url, tmp_path):
    """The Azure clients put deployments into paths, which changes nothing."""
    from openai import AsyncAzureOpenAI, AzureOpenAI

    settings = {"api_key": "test", "api_version": "2026-01-01", "azure_endpoint": model_url.removesuffix("/v1"), "max_retries": 0}

    async def main():
        async with AsyncAzureOpenAI(**settings) as client:
            return await chat_text(collect(client, "calls", folder=tmp_path).chat.completions.create(**CHAT))

    with AzureOpenAI(**settings) as client:
        assert collect(client, "calls", folder=tmp_path).responses.create(**ASK).output_text == "Hello."
    assert asyncio.run(main()) == "Hello."
    assert len(rows(tmp_path)) == 2


def test_a_conversation_of_responses_is_one_row_a_turn(client, tmp_path):
    """`previous_response_id` is made whole: each row has all the turns before it, with tools, outputs and instructions."""
    collecting = collect(client, "calls", folder=tmp_path)
    first = collecting.responses.create(model="gpt-x", instructions="One.", input="tools", tools=[TOOL])
    told = {"type": "function_call_output", "call_id": first.output[0].call_id, "output": "rain"}
    collecting.with_options(timeout=9).responses.create(
        model="gpt-x", instructions="Two.", input=[told], previous_response_id=first.id, tools=[TOOL]
    )
    _, second = rows(tmp_path)
    assert [message["role"] for message in second["messages"]] == ["system", "user", "assistant", "tool", "assistant"]
    assert [message["content"] for message in second["messages"]] == ["Two.", "tools", None, "rain", "Hello."]
    assert second["messages"][2]["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city":"Oslo"}'}
    assert second["tools"] == [{"type": "function", "function": {"name": "weather", "parameters": TOOL["parameters"]}}]


def test_items_that_the_sdk_returned_can_be_asked_again(client, tmp_path):
    """Callers that keep their own history append the output items of the SDK; reasoning is left out unless wanted."""
    for reasoning in (False, True):
        collecting = collect(client, "calls", folder=tmp_path, reasoning=reasoning)
        first = collecting.responses.create(**ASK)
        collecting.responses.create(model="gpt-x", input=[*QUESTION, *first.output, {"role": "user", "content": "Again"}])
    answer = {"role": "assistant", "content": "Hello."}
    plain, thinking = [row["messages"] for row in rows(tmp_path)][1::2]
    assert plain == [*QUESTION, answer, {"role": "user", "content": "Again"}, answer]
    assert [message.get("reasoning_content") for message in thinking] == [None, "Greet.", None, "Greet."]


def test_an_answer_made_in_the_background_is_collected_when_it_is_fetched(client, tmp_path):
    """The question is kept until `retrieve` finds the answer; looking again adds nothing."""
    collecting = collect(client, "calls", folder=tmp_path)
    begun = collecting.responses.create(**ASK, background=True)
    assert rows(tmp_path) == []
    for _ in range(2):
        assert collecting.responses.retrieve(begun.id).output_text == "Hello."
    collecting.responses.retrieve(client.responses.create(**ASK).id)
    assert [row["messages"][0]["content"] for row in rows(tmp_path)] == ["Hi"]


REASONS = {
    "cut off": (lambda c: c.responses.create(model="m", input="long"), "the answer was cut off or filtered"),
    "refused": (lambda c: c.responses.create(model="m", input="refuse"), "the model refused to answer"),
    "a chat that refused": (
        lambda c: c.chat.completions.create(model="m", messages=[{"role": "user", "content": "refuse"}]),
        "the model refused to answer",
    ),
    "a stream that refused": (
        lambda c: list(c.chat.completions.create(model="m", messages=[{"role": "user", "content": "refuse"}], stream=True)),
        "the model refused to answer",
    ),
    "a hosted tool": (
        lambda c: c.responses.create(model="m", input="search"),
        "a message has a part, or calls a tool, that a row cannot show",
    ),
    "earlier turns elsewhere": (
        lambda c: c.responses.create(**ASK, previous_response_id="resp_of_yesterday"),
        "a part of the conversation is only on the server",
    ),
    "a conversation": (lambda c: c.responses.create(**ASK, conversation="conv_1"), "a part of the conversation is only on the server"),
    "a text completion": (lambda c: c.completions.create(model="m", prompt="x"), "not a call of a chat model"),
    "broken off": (lambda c: in_stream(c.responses.create(**ASK, stream=True), next), "the answer was broken off"),
    "broken off when all of it has come": (
        lambda c: in_stream(c.responses.create(model="m", input="at once", stream=True), next),
        "the answer was broken off",
    ),
    "forgotten": (lambda c: next(c.responses.create(**ASK, stream=True)) and gc.collect(), "the answer was broken off"),
    "closed": (lambda c: c.chat.completions.create(**STREAM).close(), "the answer was broken off"),
    "not read": (lambda c: in_stream(streaming(c).create(**CHAT), lambda r: r.headers), "the answer was broken off"),
    "left out by keep": (lambda c: c.responses.create(model="m", input="unwanted"), "left out by `keep`"),
}


@pytest.mark.parametrize(("way", "reason"), REASONS.values(), ids=list(REASONS))
def test_what_is_no_whole_question_and_answer_is_counted(client, tmp_path, way, reason):
    """Nothing is left out in silence: each call that is no row is counted by its reason."""
    collecting = collect(client, "calls", folder=tmp_path, keep=lambda row: row["messages"][-2]["content"] != "unwanted")
    before = collected()
    way(collecting)
    assert rows(tmp_path) == []
    after = collected()
    assert (after.skipped - before.skipped, after.dropped - before.dropped) == (1, 0)
    assert after.reasons - before.reasons == {reason: 1}


def test_a_stream_that_the_server_breaks_off_is_counted(client, tmp_path):
    """The caller gets the SDK's own error, and half an answer is no row."""
    from openai import APIConnectionError, APIError

    collecting, before = collect(client, "calls", folder=tmp_path), collected().reasons
    for stream in (
        collecting.responses.create(model="m", input="cut", stream=True),
        collecting.chat.completions.create(model="m", messages=[{"role": "user", "content": "cut"}], stream=True),
    ):
        with contextlib.suppress(APIError, APIConnectionError, *_transport_errors()):
            list(stream)
            raise AssertionError("the stream ended well")
    assert rows(tmp_path) == []
    assert collected().reasons - before == {"the answer was broken off": 2}


def _transport_errors():
    """Return the error of the HTTP package that this major version of the SDK sits on."""
    try:
        import httpx2 as http
    except ImportError:
        import httpx as http
    return (http.TransportError,)


def test_a_task_that_is_cancelled_ends_as_ever(model_url, tmp_path):
    """Cancellation in the middle of a stream reaches the task, and the half answer is counted."""
    from openai import AsyncOpenAI

    async def read_slowly(client, begun):
        async for _ in await collect(client, "calls", folder=tmp_path).chat.completions.create(**STREAM):
            begun.set()
            await asyncio.Event().wait()

    async def main():
        async with AsyncOpenAI(api_key="test", base_url=model_url, max_retries=0) as client:
            task = asyncio.create_task(read_slowly(client, begun := asyncio.Event()))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    before = collected().reasons
    asyncio.run(main())
    assert rows(tmp_path) == []
    assert collected().reasons - before == {"the answer was broken off": 1}


def test_a_copied_client_collects_like_the_first(client, tmp_path):
    """Copies by the SDK and by `copy` collect, collecting twice goes to both files, and the given client stays as it was."""
    import copy

    before = dict(vars(client))
    both = collect(collect(client, "calls", folder=tmp_path), "more", folder=tmp_path)
    copy.copy(both).responses.create(**ASK)
    both.copy(timeout=3).responses.create(**ASK)
    assert final_of(both.responses.create(**ASK, stream=True)) == "Hello."
    assert len(rows(tmp_path)) == 3
    assert len((tmp_path / "more.jsonl").read_text().splitlines()) == 3
    assert {name: value for name, value in vars(client).items() if name in before} == before
    assert "post" not in vars(client)


def test_a_response_that_was_read_is_as_the_sdk_made_it(client, tmp_path):
    """Nothing of the listening stays on the response, so what is done with it later is not changed."""
    stream = collect(client, "calls", folder=tmp_path).responses.create(**ASK, stream=True)
    plain = client.responses.create(**ASK, stream=True)
    for one in (stream, plain):
        list(one)
    assert vars(stream.response).keys() == vars(plain.response).keys()


def test_a_client_that_was_used_before_is_collected(client, tmp_path):
    """Resources that the client has made already are made anew for the copy."""
    assert client.responses.create(**ASK).output_text == "Hello."
    assert client.with_raw_response.chat.completions.create(**CHAT).parse().choices[0].message.content == "Hello."
    collecting = collect(client, "calls", folder=tmp_path)
    collecting.responses.create(**ASK)
    collecting.with_raw_response.chat.completions.create(**CHAT)
    client.responses.create(**ASK)
    assert len(rows(tmp_path)) == 2


@pytest.mark.parametrize("thing", [None, object(), "openai"])
def test_only_a_client_can_be_collected(thing):
    """Something else is told when it is given, not when calls are missing."""
    with pytest.raises(TypeError, match="OpenAI"):
        collect(thing, "calls")


def test_the_classes_and_the_module_are_no_clients():
    """What one types by mistake is told."""
    import openai

    for thing in (openai, openai.OpenAI):
        with pytest.raises(TypeError):
            collect(thing, "calls")
