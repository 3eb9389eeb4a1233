"""A local address for other people's harnesses: chat completions of one model, and nothing else.

A harness (Inspect, any command) runs as a subprocess and speaks OpenAI's protocol to a port of
this machine. It never sees an engine's key, whatever the engine is, in process or far away: the
port has a key of its own that dies with the run. Every answer is paid into the run's budget.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import socket
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from ftspec.diagnostics import FtspecError
from ftspec.evals.asking import Asked
from ftspec.evals.money import Bill, Money
from ftspec.printable import printable, redacted

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ftspec.engines.base import ChatAnswer

_MINE: Final = frozenset({"model", "messages", "stream", "stream_options", "user", "store"})


class Gateway:
    """`async with Gateway(engine, model, money) as gateway: gateway.base_url, gateway.key`."""

    def __init__(self, engine: Asked, model: str, money: Money) -> None:
        self._engine, self._model, self._money = engine, model, money
        self.key = secrets.token_urlsafe(24)
        self.answers = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.over_budget = False
        self._in_flight = 0

    @property
    def base_url(self) -> str:
        """Where the harness asks."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    @property
    def refusal(self) -> str:
        """What was said when the budget was used up."""
        return self._money.refusal

    async def __aenter__(self) -> Self:
        try:
            import uvicorn
        except ImportError:
            raise FtspecError("another harness asks over a port, which needs uvicorn", help="`pip install 'ftspec[server]'`") from None

        class Server(uvicorn.Server):
            """Leaves signals to the command that runs the eval."""

            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                yield

        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        config = uvicorn.Config(self._app(), lifespan="off", log_config=None, access_log=False)
        self._server = Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._listener]))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.should_exit = self._server.force_exit = True  # the program has ended: nobody is left to be patient with
        await self._serving
        self._listener.close()

    def _app(self) -> Any:
        from starlette.applications import Starlette
        from starlette.routing import Route

        return Starlette(
            routes=[
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/v1/models", self._models, methods=["GET"]),
            ]
        )

    def _refuse_stranger(self, request: Request) -> Response | None:
        given = request.headers.get("authorization", "")
        if secrets.compare_digest(given.encode(), f"Bearer {self.key}".encode()):
            return None
        return _error(401, "the key of this address is another one")

    async def _models(self, request: Request) -> Response:
        from starlette.responses import JSONResponse

        model = {"id": self._model, "object": "model", "created": 0, "owned_by": "ftspec"}
        return self._refuse_stranger(request) or JSONResponse({"object": "list", "data": [model]})

    async def _chat(self, request: Request) -> Response:
        """Ask the one model, whatever name was asked for."""
        from starlette.responses import JSONResponse

        if refused := self._refuse_stranger(request):
            return refused
        try:
            body = json.loads(await request.body())
        except (ValueError, RecursionError):
            return _error(400, "the body is not JSON")
        if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
            return _error(400, "`messages` is missing")
        if body.get("stream"):
            return _error(400, "this address does not stream")
        if not self._money.fits(self._in_flight):
            self.over_budget = True
            return _error(402, self._money.refusal)
        self._in_flight += 1
        try:
            answer = await self._engine.chat(
                model=self._model, messages=body["messages"], **{name: value for name, value in body.items() if name not in _MINE}
            )
        except Exception as error:
            if not hasattr(error, "retry_after"):
                raise
            return _error(getattr(error, "status", None) or 502, printable(redacted(str(error))), retry_after=error.retry_after)
        finally:
            self._in_flight -= 1
        self._pay(answer)
        return JSONResponse(dict(answer.raw) or completion(answer, self._model))

    def _pay(self, answer: ChatAnswer) -> None:
        bill = Bill(self._money)
        bill.add(None, self._model, answer)
        self._money.pay(bill)
        self.answers += 1
        self.input_tokens += bill.input_tokens
        self.output_tokens += bill.output_tokens


def completion(answer: ChatAnswer, model: str) -> dict[str, Any]:
    """Return an answer as a chat completion of the protocol."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": answer.refusal}
    if answer.tool_calls:
        message["tool_calls"] = [dict(call) for call in answer.tool_calls]
    tokens = (answer.input_tokens or 0, answer.output_tokens or 0)
    return {
        "id": "chatcmpl-ftspec",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": answer.finish_reason or "stop", "logprobs": None}],
        "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)},
    }


def _error(status: int, message: str, *, retry_after: float | None = None) -> Response:
    from starlette.responses import JSONResponse

    headers: Mapping[str, str] = {} if retry_after is None else {"retry-after": f"{retry_after:g}"}
    return JSONResponse(
        {"error": {"message": message, "type": "ftspec_error", "param": None, "code": None}}, status_code=status, headers=headers
    )
