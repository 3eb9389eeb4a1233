"""OpenAI's wire protocol over a store and a trainer, as an ASGI app.

`create_app` serves files, uploads, fine-tuning jobs, models, chat completions and graders.
Whatever happens, the answer has the protocol's form: every required member, or
`{"error": {message, type, param, code}}` (also for unknown URLs, wrong methods and crashes).

Who asks: with `api_keys` (key to project) a bearer key is required and decides the project;
without, every caller is let in and `OpenAI-Project` names the project. `local_only` turns web
pages away: only requests to a loopback address by its own name, from no other origin. The
first request of a process lets everything go on that an earlier process left unfinished.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ftspec.server.context import Server, server_of
from ftspec.server.limits import digest
from ftspec.server.meter import CONTENT_TYPE
from ftspec.server.routes import catalog, chat, files, graders, jobs, uploads
from ftspec.server.wire import ApiError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ftspec.server.limits import Limits
    from ftspec.server.meter import Meter
    from ftspec.server.store import Store
    from ftspec.server.trainers.base import Trainer

    Endpoint = Callable[[Request], Awaitable[Response]]

DEFAULT_PROJECT = "default"
MAX_FILE_BYTES = 512 * 1024 * 1024
_PROJECT = re.compile(r"[A-Za-z0-9_.\-]{1,128}")
_LOOPBACK = re.compile(r"(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]+)?")
_API_VERSION = "2020-10-01"

log = logging.getLogger("ftspec.server")


def create_app(  # noqa: PLR0913 each is a separate thing that an operator may want
    store: Store,
    trainer: Trainer,
    *,
    api_keys: Mapping[str, str] | None = None,
    local_only: bool = False,
    organization: str = "ftspec",
    now: Callable[[], float] = time.time,
    max_file_bytes: int = MAX_FILE_BYTES,
    limits: Limits | None = None,
    meter: Meter | None = None,
) -> Starlette:
    """Return the app. It owns neither store nor trainer: whoever made them closes them.

    With a `meter`, `/metrics` tells what it counted, to whoever may ask anything else.
    """
    app = Starlette(
        routes=[
            Route("/healthz", _healthy, methods=["GET"]),
            *([Route("/metrics", _metrics(meter), methods=["GET"])] if meter else []),
            *_one_a_path(route for resource in (files, uploads, jobs, catalog, chat, graders) for route in resource.routes),
        ],
        exception_handlers={HTTPException: _refused},
    )
    app.router.redirect_slashes = False
    server = Server(store=store, trainer=trainer, organization=organization, now=now, max_file_bytes=max_file_bytes, limits=limits)
    app.state.server = server
    app.add_middleware(_Envelope, server=server, api_keys=api_keys, local_only=local_only, meter=meter)
    return app


def _one_a_path(routes: Iterable[Route]) -> Iterator[Route]:
    """Yield one route for each path, so that a wrong method is told all the right ones."""
    paths: dict[str, dict[str, Endpoint]] = {}
    for route in routes:
        paths.setdefault(route.path, {}).update(dict.fromkeys(sorted(route.methods or ()), route.endpoint))
    for path, methods in paths.items():
        yield Route(path, _by_method(methods), methods=sorted(methods))


def _by_method(methods: Mapping[str, Endpoint]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return await methods[request.method](request)

    return endpoint


def _metrics(meter: Meter) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return Response(await run_sync(meter.text, server_of(request)), media_type=CONTENT_TYPE)

    return endpoint


async def _healthy(request: Request) -> Response:
    server: Server = request.app.state.server
    return JSONResponse({"status": "ok", "engine": server.trainer.name})


async def _refused(request: Request, refusal: Exception) -> Response:
    """Return the protocol's form of a refusal: ours, or the router's (it knows two)."""
    if isinstance(refusal, ApiError):
        return refusal.response()
    url = f"{request.method} {request.scope['path'][:200]}"
    if isinstance(refusal, HTTPException) and refusal.status_code == 405:
        allowed = ", ".join(sorted((refusal.headers or {}).get("Allow", "").split(", ")))
        return ApiError(405, f"Not allowed to {url}.", code="method_not_allowed", headers={"allow": allowed}).response()
    return ApiError(404, f"Invalid URL ({url})", code="unknown_url").response()


class _Envelope:
    """Around every request: who asks, the headers that every answer has, and a shape even for crashes."""

    def __init__(
        self, app: ASGIApp, *, server: Server, api_keys: Mapping[str, str] | None, local_only: bool, meter: Meter | None = None
    ) -> None:
        self._app = app
        self._meter = meter
        self._local_only = local_only
        self._server = server
        self._projects = None if api_keys is None else {digest(key): project for key, project in api_keys.items()}
        self._awake = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, request_id, begun, status = time.monotonic(), f"req_{secrets.token_hex(16)}", False, 500

        async def enveloped(message: Message) -> None:
            nonlocal begun, status
            if message["type"] == "http.response.start":
                begun, status = True, message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers["date"] = formatdate(self._server.now(), usegmt=True)
                headers["openai-organization"] = f"org-{self._server.organization}"
                headers["openai-version"] = _API_VERSION
                headers["openai-processing-ms"] = str(int(1000 * (time.monotonic() - started)))
            await send(message)

        try:
            headers = Headers(scope=scope)
            if self._local_only:
                _refuse_web_pages(headers)
            if scope["path"] != "/healthz":
                key, project = self._asks(headers)
                scope.setdefault("state", {})["project"] = project
                if self._server.limits is not None:
                    self._server.limits.request(key)
                await self._wake()
            await self._app(scope, receive, enveloped)
        except ApiError as refusal:
            await refusal.response()(scope, receive, enveloped)
        except Exception:
            log.exception("request %s failed", request_id)
            if begun:
                raise
            await _crashed(request_id).response()(scope, receive, enveloped)
        finally:
            if self._meter is not None:
                self._meter.answered(scope, status=status, seconds=time.monotonic() - started, request_id=request_id)

    async def _wake(self) -> None:
        if not self._awake:
            self._awake = True
            await run_sync(self._server.wake)

    def _asks(self, headers: Headers) -> tuple[bytes | None, str]:
        """Return what the caller's key is known by, and the project that he may speak for."""
        wanted = headers.get("openai-project")
        if wanted is not None and not _PROJECT.fullmatch(wanted):
            raise ApiError(400, "The OpenAI-Project header is not the name of a project.", code="invalid_project")
        if self._projects is None:
            return None, wanted or DEFAULT_PROJECT
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise _unauthorized("You didn't provide an API key: send it as `Authorization: Bearer YOUR_KEY`.", None)
        known = digest(key.strip())
        project = self._projects.get(known)
        if project is None:
            raise _unauthorized("Incorrect API key provided.", "invalid_api_key")
        if wanted is not None and wanted != project:
            raise _unauthorized("The OpenAI-Project header does not match the project of this API key.", "mismatched_project")
        return known, project


def _refuse_web_pages(headers: Headers) -> None:
    """Refuse what only a browser would send here: a foreign name for this machine, or a foreign origin."""
    origin = headers.get("origin")
    names = [headers.get("host", ""), *([origin.partition("://")[2]] if origin else [])]
    if not all(_LOOPBACK.fullmatch(name) for name in names):
        raise ApiError(403, "This server answers programs on its own machine only.", code="forbidden")


def _unauthorized(message: str, code: str | None) -> ApiError:
    return ApiError(401, message, code=code, headers={"www-authenticate": "Bearer"})


def _crashed(request_id: str) -> ApiError:
    message = f"The server had an error while processing your request ({request_id}). This is a bug in ftspec."
    return ApiError(500, message, type="server_error", code="server_error")
