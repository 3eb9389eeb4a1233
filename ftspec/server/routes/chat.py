"""`/v1/chat/completions`: answers of bases, checkpoints and fine-tuned models, whole or streamed.

Stop sequences are cut here, whatever trains: an answer never holds one, nor the beginning of
one that then came true.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from anyio.to_thread import run_sync
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from ftspec.server.context import project_of, server_of, unknown_model
from ftspec.server.routes.chat_request import Chat, parse
from ftspec.server.trainers.base import ChatToken, TrainerRefusal
from ftspec.server.wire import ApiError, new_id, read_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from ftspec.server.context import Server
    from ftspec.server.trainers.base import ChatRequest, Completion, ModelSource, Trainer

T = TypeVar("T")


@dataclass(slots=True)
class Answer:
    """One answer being made: its pieces as they become certain, then why it ended and what it cost."""

    completion: Completion
    request: ChatRequest
    finish: str = "stop"
    usage: tuple[int, int] = (0, 0)
    """Tokens of the prompt and of what was written so far."""
    _held: list[ChatToken] = field(default_factory=list)
    _stopped: bool = False

    def pieces(self) -> Iterator[list[ChatToken]]:
        """Yield tokens that no stop sequence can take back any more."""
        prompt, count = self.completion.prompt_tokens, 0
        try:
            for token in self.completion.tokens:
                if token.finish is not None:
                    self.finish, self.usage = token.finish, token.usage or (prompt, count)
                    break
                count += 1
                self.usage = prompt, count
                self._held.append(token)
                yield from self._certain()
                if self._stopped:
                    return
            if self._held:
                yield self._held
        finally:
            self.completion.tokens.close()

    def _certain(self) -> Iterator[list[ChatToken]]:
        text = "".join(token.text for token in self._held)
        cut = min((at for stop in self.request.stop if (at := text.find(stop)) >= 0), default=-1)
        if cut >= 0:
            self._stopped, self.finish = True, "stop"
            if kept := _up_to(self._held, cut):
                yield kept
            self._held = []
        elif not any(text.endswith(stop[:size]) for stop in self.request.stop for size in range(1, len(stop))):
            yield self._held
            self._held = []


def _up_to(tokens: Sequence[ChatToken], length: int) -> list[ChatToken]:
    """Return the first `length` characters; the last token may lose its end."""
    kept = []
    for token in tokens:
        if length <= 0:
            break
        kept.append(replace(token, text=token.text[:length]))
        length -= len(token.text)
    return kept


def _wire_logprobs(tokens: Sequence[ChatToken], request: ChatRequest) -> dict[str, Any] | None:
    if request.top_logprobs is None:
        return None
    content = [
        {
            "token": token.text,
            "bytes": list(token.text.encode()),
            "logprob": token.logprob,
            "top_logprobs": [{"token": text, "bytes": list(text.encode()), "logprob": logprob} for text, logprob in token.top],
        }
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def _usage(answers: Sequence[Answer]) -> dict[str, int]:
    prompt, completion = answers[0].usage[0], sum(answer.usage[1] for answer in answers)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


async def create(request: Request) -> Response:
    """Answer a conversation."""
    server, chat = server_of(request), parse(await read_json(request))
    source = server.source(project_of(request), chat.model)
    if source is None:
        raise unknown_model(chat.model)
    answers = await _together(server, [partial(_begin, server.trainer, source, one) for one in chat.requests()])
    head = {
        "id": new_id("chatcmpl-"),
        "created": server.time,
        "model": chat.model,
        "system_fingerprint": answers[0].completion.fingerprint,
    }
    if chat.stream:
        chunks = _threaded(server, _stream(chat, head, answers))
        return StreamingResponse(chunks, media_type="text/event-stream", headers={"cache-control": "no-cache"})
    choices = await _together(server, [partial(_whole, index, answer) for index, answer in enumerate(answers)])
    return JSONResponse({**head, "object": "chat.completion", "choices": choices, "usage": _usage(answers)})


async def _together(server: Server, works: Sequence[Callable[[], T]]) -> list[T]:
    """Return what each work returns, done at the same time in threads that nothing but chats wait for."""
    made: dict[int, T] = {}
    refused: list[TrainerRefusal] = []

    async def do(index: int) -> None:
        try:
            made[index] = await run_sync(works[index], limiter=server.chats)
        except TrainerRefusal as refusal:
            refused.append(refusal)

    async with anyio.create_task_group() as group:
        for index in range(len(works)):
            group.start_soon(do, index)
    if refused:
        raise ApiError.of(refused[0].problem)
    return [made[index] for index in range(len(works))]


async def _threaded(server: Server, events: Iterator[str]) -> AsyncIterator[str]:
    """Yield what comes out of a thread."""
    while (event := await run_sync(next, events, None, limiter=server.chats)) is not None:
        yield event


def _begin(trainer: Trainer, source: ModelSource, request: ChatRequest) -> Answer:
    return Answer(trainer.complete(source, request), request)


def _whole(index: int, answer: Answer) -> dict[str, Any]:
    tokens = [token for piece in answer.pieces() for token in piece]
    text, calls = "".join(token.text for token in tokens), _joined(tokens)
    message: dict[str, Any] = {"role": "assistant", "content": text or None if calls else text, "refusal": None, "annotations": []}
    return {
        "index": index,
        "message": {**message, "tool_calls": calls} if calls else message,
        "logprobs": _wire_logprobs(tokens, answer.request),
        "finish_reason": answer.finish,
    }


def _joined(tokens: Sequence[ChatToken]) -> list[dict[str, Any]]:
    """Return the tool calls that the parts in `tokens` make up."""
    calls: dict[int, dict[str, Any]] = {}
    for part in (part for token in tokens for part in token.calls):
        call = calls.setdefault(part["index"], {"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
        call["id"] = part.get("id") or call["id"]
        function = part.get("function") or {}
        call["function"]["name"] += function.get("name") or ""
        call["function"]["arguments"] += function.get("arguments") or ""
    return [calls[index] for index in sorted(calls)]


def _stream(chat: Chat, head: dict[str, Any], answers: Sequence[Answer]) -> Iterator[str]:
    """Yield the server-sent events of all answers, a piece of each in turn."""
    frame: dict[str, Any] = {**head, "object": "chat.completion.chunk"}
    if chat.include_usage:
        frame["usage"] = None

    def event(choices: list[dict[str, Any]], **more: Any) -> str:
        return f"data: {json.dumps({**frame, 'choices': choices, **more}, ensure_ascii=False)}\n\n"

    def choice(index: int, delta: dict[str, Any], logprobs: Any = None, finish: str | None = None) -> dict[str, Any]:
        return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}

    running = [(index, answer, answer.pieces()) for index, answer in enumerate(answers)]
    for index, _, _ in running:
        yield event([choice(index, {"role": "assistant", "content": "", "refusal": None})])
    while running:
        for one in list(running):
            index, answer, pieces = one
            try:
                piece = next(pieces, None)
            except TrainerRefusal as refusal:
                yield f"data: {json.dumps(ApiError.of(refusal.problem).body)}\n\n"
                return
            if piece is None:
                running.remove(one)
                yield event([choice(index, {}, finish=answer.finish)])
            else:
                yield event([choice(index, _delta(piece), _wire_logprobs(piece, answer.request))])
    if chat.include_usage:
        yield event([], usage=_usage(answers))
    yield "data: [DONE]\n\n"


def _delta(piece: Sequence[ChatToken]) -> dict[str, Any]:
    text, calls = "".join(token.text for token in piece), [part for token in piece for part in token.calls]
    return {**({"content": text} if text or not calls else {}), **({"tool_calls": calls} if calls else {})}


routes = [Route("/v1/chat/completions", create, methods=["POST"])]
