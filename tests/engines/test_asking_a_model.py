"""One question, whole or as a stream; nothing is asked twice by itself."""

import pytest

from ftspec.engines.base import EngineError, NotSent, Refused, UnknownOutcome
from ftspec.engines.client import Timeouts
from ftspec.testing.faulty import Fault

CHAT = "POST /chat/completions"
HI = [{"role": "user", "content": "hi there"}]


async def whole(engine):
    return (await engine.chat(model="base-small", messages=HI, temperature=0)).text


async def streamed(engine):
    return "".join([piece async for piece in engine.chat_stream(model="base-small", messages=HI, temperature=0)])


def test_an_answer_comes_whole_or_as_a_stream(serve, engine_at, asking):
    """Sampling options travel as they are; a stream is asked for as one."""
    server = serve()
    assert asking(engine_at(server.base_url), whole) == "base-small says: hi there"
    assert asking(engine_at(server.base_url), streamed) == "base-smallsays:hithere"
    bodies = [request.body for request in server.requests]
    assert all(b'"temperature":0' in body.replace(b" ", b"") for body in bodies)
    assert [b'"stream"' in body for body in bodies] == [False, True]


@pytest.mark.parametrize("ask", [whole, streamed])
@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("429 rate", Refused),
        ("404", Refused),
        ("500 before", UnknownOutcome),
        ("502 before", UnknownOutcome),
        ("reset before", UnknownOutcome),
    ],
)
def test_a_failed_question_is_asked_once(ask, kind, outcome, serve, engine_at, asking):
    """Who asks decides whether to ask again: answers cost money."""
    server = serve(Fault(kind, on=CHAT))
    with pytest.raises(EngineError) as caught:
        asking(engine_at(server.base_url), ask)
    assert type(caught.value) is outcome
    assert len(server.requests) == 1


@pytest.mark.parametrize("ask", [whole, streamed])
def test_nobody_there_is_not_sent(ask, engine_at, asking, closed_port):
    """A refused connection is told apart from a lost answer."""
    with pytest.raises(NotSent):
        asking(engine_at(f"http://127.0.0.1:{closed_port}/v1"), ask)


@pytest.mark.parametrize("kind", ["html before", "list after", "wrong json after"])
def test_what_is_no_answer_is_not_taken_for_one(kind, serve, engine_at, asking):
    """A login page in place of an answer."""
    with pytest.raises(UnknownOutcome):
        asking(engine_at(serve(Fault(kind, on=CHAT)).base_url), whole)


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        ('data: {"error": {"message": "overloaded sk-abcdefghijkl", "code": "server_error"}}\n\n', "overloaded [redacted]"),
        ("data: {not json}\n\n", "not a stream of completions"),
        ("data: []\n\n", "not a stream of completions"),
    ],
)
def test_an_error_in_a_stream_ends_it(stream, message, serve, engine_at, asking):
    """What came before it was an answer; what comes then is an error."""
    piece = 'data: {"choices": [{"delta": {"content": "well"}}]}\n\n: a comment\n\ndata: {"choices": []}\n\n'
    server = serve(Fault("stream breaks", on=CHAT, value=piece + stream))
    heard = []

    async def listen(engine):
        async for text in engine.chat_stream(model="base-small", messages=HI):
            heard.append(text)  # noqa: PERF401 what came before the error counts

    with pytest.raises(UnknownOutcome) as caught:
        asking(engine_at(server.base_url), listen)
    assert message in caught.value.message
    assert heard == ["well"]


@pytest.mark.parametrize("kind", ["cut after", "hang before"])
def test_a_stream_that_breaks_off_is_unknown(kind, serve, engine_at, asking):
    """Half an answer, or none, is not an answer."""
    server = serve(Fault(kind, on=CHAT))
    with pytest.raises(UnknownOutcome):
        asking(engine_at(server.base_url, timeouts=Timeouts(chat=0.5)), streamed)


def test_a_listener_may_stop_listening(serve, engine_at, asking):
    """A stream that is left early leaves nothing open."""

    async def first(engine):
        stream = engine.chat_stream(model="base-small", messages=HI)
        text = await anext(stream)
        await stream.aclose()
        return text, await whole(engine)

    assert asking(engine_at(serve().base_url), first) == ("base-small", "base-small says: hi there")
