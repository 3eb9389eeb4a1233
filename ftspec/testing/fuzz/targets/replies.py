"""What engines answer, through the real client: jobs, lists, events, files, completions, streams, errors, headers.

An input is a reply: the status on the first line, headers, a blank line, the body.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ftspec.engines.base import EngineError, Refused
from ftspec.testing.fuzz.target import Check, Target, shown
from ftspec.testing.fuzz.targets.exports import COMPLETION
from ftspec.testing.fuzz.targets.rows import ANSWER, CALLING, USER
from ftspec.testing.fuzz.targets.specs import GRADERS

if TYPE_CHECKING:
    from ftspec.engines.client import WireEngine

KEY: Final = "sk-proj-canary-0123456789abcdefghCRET"
Ask: TypeAlias = "Callable[[WireEngine], Awaitable[None]]"


class _Clock:
    """Time passes only by sleeping."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return 1_795_000_000.0 + self.seconds

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        assert 0 <= seconds < 1e6, seconds
        self.seconds += seconds


class _Server:
    """An ASGI app that gives one answer to everything."""

    def __init__(self) -> None:
        self.status, self.headers, self.body = 200, list[tuple[bytes, bytes]](), b""

    def load(self, content: bytes) -> None:
        head, _, self.body = content.partition(b"\n\n")
        first, *rest = head.split(b"\n")
        self.status = int(first) if first.isdigit() and len(first) == 3 and first >= b"200" else 200
        pairs = (line.partition(b":") for line in rest)
        self.headers = [(name.strip().lower(), value.strip()) for name, _, value in pairs if name.strip() and name.strip().isascii()]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        del scope
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


def engine(app: Any, base_url: str = "http://127.0.0.1:9/v1") -> WireEngine:
    """Return the real client, with a key, before an app in this process."""
    from ftspec.engines.account import Account, Secret
    from ftspec.engines.client import Timeouts, WireEngine
    from ftspec.engines.origin import parse_base_url
    from ftspec.engines.profiles import load_profiles

    origin, _ = parse_base_url(base_url)
    return WireEngine(
        Account(origin=origin, base_url=base_url, key=Secret(KEY)),
        profile=load_profiles()["openai"],
        scope="test",
        clock=_Clock(),
        patience=1,
        app=app,
        timeouts=Timeouts(read=5, create=5, upload=5, chat=5),
    )


@contextmanager
def _answered(folder: Path, *, asks: tuple[Ask, ...]) -> Iterator[Check]:
    """Every question has an answer or an `EngineError` that can be shown and holds no key."""
    del folder
    server = _Server()
    with asyncio.Runner() as runner:

        def check(content: bytes) -> None:
            server.load(content)
            for ask in asks:
                runner.run(_asked(server, ask))

        yield check


async def _asked(server: _Server, ask: Ask) -> None:
    one = engine(server)
    try:
        await ask(one)
    except EngineError as error:
        _told(error, server)
    finally:
        await one.aclose()


def _told(error: EngineError, server: _Server) -> None:
    said = (error.message, error.code or "", error.param or "")
    shown(*said)
    assert not [text for text in said if KEY in text or "sk-proj-canary" in text], said
    assert error.retry_after is None or 0 <= error.retry_after < float("inf")
    if isinstance(error, Refused):
        assert 400 <= server.status < 500, server.status


async def _job(one: WireEngine) -> None:
    """What an engine says of a job can be written to state, and read again."""
    from ftspec.executor.facts import bought, ended
    from ftspec.record import Origin
    from ftspec.state.lines import decode, encode

    job = await one.job("ftjob-1")
    if job is None:
        return
    fact = bought("k" * 64, 1, job, at=1.7e9, origin=Origin.LAUNCHED)
    assert decode(encode(fact, 1).rstrip(b"\n")) == (1, fact)
    _kept(ended(job, checkpoints=(), metrics={}, cost=None))


async def _bought(one: WireEngine) -> None:
    """A purchase is a job, or one of the three outcomes; a 2xx that is no job is never `Refused`."""
    from ftspec.engines.base import JobRequest

    for ask in (one.create_job(JobRequest(body={"model": "m"}, key="k", attempt=1)), one.cancel("ftjob-1")):
        try:
            job = await ask
        except EngineError as error:
            shown(error.message)
            assert not isinstance(error, Refused) or 400 <= (error.status or 0) < 500
        else:
            assert job.id


async def _listed(one: WireEngine) -> None:
    """What lists hold can be written to state; a list that makes no sense is not complete."""
    from ftspec.executor.facts import bought
    from ftspec.record import Origin
    from ftspec.state.lines import encode

    for job in (await one.find_jobs(since=0)).items:
        encode(bought("k" * 64, 1, job, at=1.7e9, origin=Origin.ADOPTED), 1)
    await one.find_jobs(key="k")


async def _told_more(one: WireEngine) -> None:
    """Events and checkpoints can be sorted, shown, and written to state."""
    import msgspec

    from ftspec.pipeline.measuring import _add

    found: dict[float, dict[str, float]] = {}
    for event in (await one.events("ftjob-1")).items:
        shown(event.message, event.level, event.type)
        _add(found, event)
    _kept({"checkpoints": [msgspec.to_builtins(point) for point in await one.checkpoints("ftjob-1")]})


async def _files(one: WireEngine) -> None:
    """Files and their content, models, and the clock."""
    from ftspec.engines.result_csv import read_result

    await one.file("file-1")
    await one.find_files(name="rows.jsonl", purpose="fine-tune")
    read_result(await one.content("file-1"))
    await one.models()
    await one.server_time()


async def _uploaded(one: WireEngine) -> None:
    """An upload is a file, or an outcome."""
    await one.upload(name="rows.jsonl", content=BytesIO(b"{}\n" * 10), purpose="fine-tune")


async def _stored(one: WireEngine) -> None:
    """Stored completions become calls, or reasons."""
    from ftspec.data.importers import all_importers

    found = await one.stored_completions()
    list(all_importers()["openai-stored"].read(found.items))


async def _chatted(one: WireEngine) -> None:
    """An answer has text, counts and calls that can be kept, and every grader can look at it."""
    import msgspec

    from ftspec.evals.grading import SyncGrader, sample_of

    answer = await one.chat(model="m", messages=[])
    msgspec.json.encode({"text": answer.text, "calls": answer.tool_calls, "tokens": [answer.input_tokens, answer.output_tokens]})
    sample = sample_of(answer.text, tool_calls=answer.tool_calls, finish_reason=answer.finish_reason, refusal=answer.refusal)
    for definition in JUDGES:
        grade = SyncGrader(definition).grade(sample, {"reference": "yes", "labels": ["a"], "reference_tools": [], "n": 1})
        shown(grade.error or "", grade.detail or "")


async def _streamed(one: WireEngine) -> None:
    """A stream is texts, or ends in an error."""
    async for text in one.chat_stream(model="m", messages=[]):
        assert isinstance(text, str)


def _kept(values: dict[str, Any]) -> None:
    from ftspec.state.base import JobFact
    from ftspec.state.lines import encode

    encode(JobFact(key="k" * 64, attempt=1, at="2026-11-20T10:00:00.000Z", values=values), 1)


@contextmanager
def _raw(folder: Path) -> Iterator[Check]:
    """Any bytes on the socket end in an answer or an `EngineError`; the input is all that the server sends."""
    del folder
    content_now = b""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await reader.read(1 << 16)
            writer.write(content_now)
            await writer.drain()
            writer.close()

    with asyncio.Runner() as runner:
        server = runner.run(_listening(serve))
        port = server.sockets[0].getsockname()[1]

        async def ask(make: Ask) -> None:
            one = engine(None, f"http://127.0.0.1:{port}/v1")
            try:
                await make(one)
            except EngineError as error:
                shown(error.message)
            finally:
                await one.aclose()

        def check(content: bytes) -> None:
            nonlocal content_now
            content_now = content
            for make in (_bought, _streamed):
                runner.run(ask(make))

        yield check
        server.close()


async def _listening(serve: Any) -> asyncio.Server:
    return await asyncio.start_server(serve, "127.0.0.1", 0)


@contextmanager
def _collected(folder: Path) -> Iterator[Check]:
    """A collecting client returns and raises what the plain one does, and what it writes are rows."""
    import openai

    from ftspec.data.collect import collect, flush
    from ftspec.engines.transport import http_library

    http, server = http_library(), _Server()

    def reply(request: Any) -> Any:
        del request
        return http.Response(server.status, headers=server.headers, content=server.body)

    plain = openai.OpenAI(
        api_key=KEY, base_url="http://127.0.0.1:9/v1", max_retries=0, http_client=http.Client(transport=http.MockTransport(reply))
    )
    watched = collect(plain, "calls", folder=folder, redact=True)

    def check(content: bytes) -> None:
        server.load(content)
        path = folder / "calls.jsonl"
        for stream in (False, True):
            path.unlink(missing_ok=True)
            assert _outcome(plain, stream=stream) == _outcome(watched, stream=stream)
            assert flush(10)
            for line in path.read_bytes().splitlines() if path.exists() else ():
                assert isinstance(json.loads(line)["messages"], list)

    yield check


def _outcome(client: Any, *, stream: bool) -> str:
    try:
        answer = client.chat.completions.create(model="m", messages=[USER], stream=stream)
        return repr([repr(chunk) for chunk in answer] if stream else answer)
    except Exception as error:  # noqa: BLE001 what the SDK raises is its own business
        return type(error).__name__


def _prepare(*asks: Ask) -> Callable[[Path], AbstractContextManager[Check]]:
    return partial(_answered, asks=asks)


def _reply(body: Any, *headers: str, status: int = 200) -> bytes:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return "\n".join([str(status), *headers]).encode() + b"\n\n" + text


JOB: Final = {
    "id": "ftjob-1", "object": "fine_tuning.job", "status": "succeeded", "model": "gpt-4.1-mini", "created_at": 1700000000, "finished_at": 1700000100,
    "estimated_finish": None, "training_file": "file-1", "validation_file": None, "fine_tuned_model": "ft:m:org::1", "seed": 1, "trained_tokens": 100,
    "hyperparameters": {"n_epochs": 3, "batch_size": "auto"}, "result_files": ["file-9", {"id": "file-8"}], "metadata": {"ftspec_key": "k", "a": 1},
    "method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.1, "n_epochs": 2}}}, "error": {"code": "x", "message": f"key {KEY}", "param": None},
    "organization_id": "org-1", "integrations": [{"type": "wandb", "wandb": {"project": "p", "api_key": "k"}}], "user_provided_suffix": "s",
}  # fmt: skip
ERROR: Final = {"error": {"message": f"no: {KEY}", "type": "invalid_request_error", "param": "model", "code": "daily_rate_limit_exceeded"}}
EVENT: Final = {
    "id": "e",
    "object": "fine_tuning.job.event",
    "created_at": 5,
    "level": "info",
    "message": "hi",
    "type": "metrics",
    "data": {"step": 1, "train_loss": 0.5},
}
CHECKPOINT: Final = {"id": "c", "object": "fine_tuning.job.checkpoint", "fine_tuned_model_checkpoint": "ft:x:ckpt-step-2", "step_number": 2, "metrics": {"step": 2, "train_loss": 1, "valid_loss": None}}  # fmt: skip
FILE: Final = {
    "id": "file-1",
    "object": "file",
    "filename": "rows.jsonl",
    "bytes": 10,
    "status": "processed",
    "purpose": "fine-tune",
    "created_at": 5,
    "status_details": "x",
}
CHUNK: Final = {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}]}
STREAM: Final = b"data: " + json.dumps(CHUNK).encode() + b"\n\n: ping\n\ndata: [DONE]\n\n"
JSON_TEXT: Final = {
    **COMPLETION,
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": '{"a": 1, "b": [2]}'}}],
}
CHAT: Final = {
    **COMPLETION,
    "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {**CALLING, "refusal": "no"}}, {"message": ANSWER}],
}


def _page(*rows: Any) -> bytes:
    return _reply({"object": "list", "data": list(rows), "has_more": True}, "content-type: application/json")


JUDGES: Final = tuple(one for one in map(json.loads, GRADERS) if one["type"] not in {"python", "score_model", "label_model", "pairwise"})
ERRORS: Final = (
    _reply(ERROR, "content-type: application/json", "retry-after: 5", "date: Fri, 20 Nov 2026 10:00:00 GMT", status=429),
    _reply({"error": "x", "object": "error"}, "retry-after-ms: 1e3", "retry-after: Fri, 20 Nov 2026 10:00:00 GMT", status=400),
    _reply(b"<html>", "content-type: text/html", "content-encoding: gzip", status=502),
    _reply(b"", "location: http://elsewhere.example/", status=307),
)
JSON: Final = "content-type: application/json"

TARGETS: Final = (
    Target(name="reply job", form="http", prepare=_prepare(_job), seeds=(_reply(JOB, JSON), *ERRORS)),
    Target(name="reply purchase", form="http", prepare=_prepare(_bought), seeds=(_reply(JOB, JSON, "x-should-retry: true"), *ERRORS)),
    Target(name="reply jobs", form="http", prepare=_prepare(_listed), seeds=(_page(JOB, {**JOB, "id": "ftjob-2"}), *ERRORS)),
    Target(name="reply events", form="http", prepare=_prepare(_told_more), seeds=(_page(EVENT, {**EVENT, "id": "f", "created_at": 4}), _page(CHECKPOINT), *ERRORS)),
    Target(name="reply files", form="http", prepare=_prepare(_files), seeds=(_page(FILE), _reply(FILE, JSON), _page({"id": "m", "object": "model"}), _reply(b"step,train_loss\n1,0.5\n"))),
    Target(name="reply upload", form="http", prepare=_prepare(_uploaded), seeds=(_reply(FILE, JSON), *ERRORS)),
    Target(name="reply stored", form="http", prepare=_prepare(_stored), seeds=(_page({**COMPLETION, **USER}),)),
    Target(name="reply chat", form="http", prepare=_prepare(_chatted), seeds=(_reply(CHAT, JSON), _reply(JSON_TEXT, JSON), *ERRORS)),
    Target(name="reply stream", form="http", prepare=_prepare(_streamed), seeds=(_reply(STREAM, "content-type: text/event-stream"), _reply(b"data: " + json.dumps(ERROR).encode() + b"\n\n"), *ERRORS)),
    Target(name="reply socket", form="text", prepare=_raw, seeds=(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\ndata:\r\n0\r\n\r\n",
        b"HTTP/1.1 429 X\r\nretry-after: 1\r\n\r\n" + json.dumps(ERROR).encode(),
    )),
    Target(name="collected call", form="http", prepare=_collected, seeds=(_reply(CHAT, JSON), _reply(COMPLETION, JSON), _reply(STREAM, "content-type: text/event-stream"), *ERRORS)),
)  # fmt: skip
