"""One request, one answer: the `openai` SDK's async client behind a gate of our own.

The SDK is used for what it knows (its wire format, its connection handling) and trusted with
nothing: its retries and redirects are off, it holds a placeholder instead of the key, and
every request leaves through `_Gate`, which

- sends to one origin only, whatever the environment, a header or a redirect says;
- writes the headers itself, so that ambient `OPENAI_*` variables change nothing and the key is
  in no request, exception or log of the SDK;
- refuses answers that are longer than expected or compressed without being asked.

`openai` 3.x is built on httpx2, 2.x on httpx; `http_library` is the only place that knows.
Environment proxies and certificates are ignored (`trust_env` off).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ftspec.engines.outcome import Lost, Reply, Unreachable
from ftspec.printable import printable, redacted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai import AsyncOpenAI

    from ftspec.engines.account import Account
    from ftspec.engines.origin import Origin

CONNECT_SECONDS = 10.0
MAX_REPLY_BYTES = 64 * 2**20
MAX_CONTENT_BYTES = 2**30
_PLACEHOLDER = "kept-by-ftspec"
_NOT_SENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "InvalidURL", "SSLCertVerificationError"})


def http_library() -> Any:
    """Return the HTTP library that the installed SDK is built on."""
    import openai

    if int(openai.__version__.partition(".")[0]) >= 3:
        return import_module("httpx2")
    return import_module("httpx")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """What the gate must know of the request that is on its way; it passes by the SDK, not through it."""

    headers: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = MAX_REPLY_BYTES
    """Bytes the answer may have; `None`: it is read as it comes."""


_CALL: ContextVar[_Call] = ContextVar("ftspec_call")


@contextmanager
def _calling(call: _Call) -> Iterator[None]:
    token = _CALL.set(call)
    try:
        yield
    finally:
        _CALL.reset(token)


class Wire:
    """The requests of one account. Connects at the first one; lives in one event loop."""

    def __init__(self, account: Account, *, app: Any = None) -> None:
        self.account = account
        self._app = app
        self._sdk: AsyncOpenAI | None = None

    def clean(self, text: str) -> str:
        """Return foreign text without credentials and control characters, at most 1,000 characters."""
        text = text[:4000]
        if self.account.key is not None:
            text = self.account.key.hide_in(text)
        return printable(redacted(text))[:1000]

    async def send(
        self,
        method: str,
        path: str,
        *,
        seconds: float,
        body: Mapping[str, Any] | None = None,
        content: AsyncIterator[bytes] | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        limit: int = MAX_REPLY_BYTES,
    ) -> Reply:
        """Send one request and read the whole answer within `seconds`. Raises `Unreachable` or `Lost`.

        `content` is a body that is streamed; its length and type are in `headers`.
        """
        import asyncio

        failure: Unreachable | Lost
        self.sdk()  # importing it takes a second, which is not the engine's
        try:
            with _calling(_Call(headers={"accept": "application/json", **(headers or {})}, limit=limit)):
                async with asyncio.timeout(seconds):
                    response = await self._through_sdk(method, path, seconds, body=body, content=content, params=params)
            return _reply(response)
        except (Unreachable, Lost) as error:
            failure = error
        except TimeoutError:
            failure = Lost(f"no complete answer within {seconds:g} seconds")
        raise failure from None

    async def lines(self, path: str, body: Mapping[str, Any], *, seconds: float) -> AsyncIterator[str]:
        """POST and yield the lines of the answer as they come, each within `seconds`.

        Raises what `send` does, and `StreamRefused` for a status that is not 2xx.
        """
        with _calling(_Call(headers={"accept": "text/event-stream"}, limit=None)):
            response = await self._through_sdk("POST", path, seconds, body=body, stream=True)
        if not 200 <= response.status_code < 300:
            raise StreamRefused(_reply(response))
        try:
            async for line in response.aiter_lines():
                yield line
        except http_library().RequestError as error:
            raise _failure(error) from None
        finally:
            await response.aclose()

    async def _through_sdk(
        self,
        method: str,
        path: str,
        seconds: float,
        *,
        params: Mapping[str, Any] | None = None,
        **body: Any,
    ) -> Any:
        """Return the HTTP library's own response, whatever its status."""
        import openai

        http = http_library()
        options = {"timeout": http.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS)), "max_retries": 0, "params": dict(params or {})}
        sdk: Any = self.sdk()  # its overloads do not know a response class that is chosen at run time
        ask = sdk.get if method == "GET" else sdk.post
        try:
            return await ask(
                path, cast_to=http.Response, options=options, **{name: given for name, given in body.items() if given is not None}
            )
        except openai.APIStatusError as error:
            return error.response
        except openai.APIConnectionError as error:
            failure = _failure(error.__cause__ or error)
        except http.InvalidURL as error:  # such as `after=` an id of 100,000 characters
            failure = Unreachable(f"no address can be made of what was to be asked: {error}")
        raise failure

    def sdk(self) -> AsyncOpenAI:
        """Return the SDK's client, made at first use."""
        if self._sdk is None:
            import openai

            http, account = http_library(), self.account
            self._sdk = openai.AsyncOpenAI(
                base_url=account.base_url,
                api_key=_PLACEHOLDER,
                organization=account.organization or "",
                project=account.project or "",
                max_retries=0,
                http_client=http.AsyncClient(transport=_Gate(http, account, self._app), trust_env=False, follow_redirects=False),
            )
        return self._sdk

    async def aclose(self) -> None:
        """Close connections, and an app in process that can be closed."""
        if self._sdk is not None:
            await self._sdk.close()
            self._sdk = None
        if self._app is not None and hasattr(self._app, "close"):
            self._app.close()


class StreamRefused(Exception):
    """A streamed request was answered with an error."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"status {reply.status}")
        self.reply = reply


class _Gate:
    """The HTTP library's transport through which everything leaves."""

    def __init__(self, http: Any, account: Account, app: Any) -> None:
        self._http = http
        self._account = account
        self._inner = _inner_transport(http, account.origin, app)

    async def handle_async_request(self, request: Any) -> Any:
        """Send what was meant, to where it was meant to go, and read the answer."""
        call = _CALL.get(_Call())
        url = request.url
        if (url.scheme, url.host, url.port) != self._account.origin.parts or url.userinfo:
            msg = "a request to another origin was stopped"
            raise Unreachable(msg)
        headers = {"host": url.netloc.decode(), **self._account.headers(), **call.headers}
        body: dict[str, Any] = {"stream": request.stream}
        if "content-length" not in headers:
            body = {"content": b"".join([chunk async for chunk in request.stream])}
            headers.setdefault("content-type", "application/json")
        try:
            answer = await self._inner.handle_async_request(
                self._http.Request(request.method, url, headers=headers, extensions=request.extensions, **body)
            )
            if answer.headers.get("content-encoding", "identity") != "identity":
                await answer.aclose()
                msg = "the answer is compressed, which was not asked for"
                raise Lost(msg)  # noqa: TRY301 the same way out
            if call.limit is None and answer.status_code < 300:
                return answer
            content = await _read(answer, call.limit or MAX_REPLY_BYTES)
        except self._http.RequestError:
            raise
        except Exception as error:  # noqa: BLE001 whatever a transport raises, the request may have left
            failure = _failure(error)
        else:
            return self._http.Response(answer.status_code, headers=answer.headers, content=content)
        raise failure

    async def aclose(self) -> None:
        """Close connections."""
        await self._inner.aclose()


def _inner_transport(http: Any, origin: Origin, app: Any) -> Any:
    import ssl

    if app is not None:
        return http.ASGITransport(app=app, raise_app_exceptions=False)
    # Loading certificates takes longer than a plan; a context without any trusts nobody.
    verify: Any = True if origin.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return http.AsyncHTTPTransport(verify=verify, trust_env=False, limits=http.Limits(max_connections=64, max_keepalive_connections=64))


async def _read(answer: Any, limit: int) -> bytes:
    chunks, size = [], 0
    try:
        async for chunk in answer.stream:
            size += len(chunk)
            if size > limit:
                msg = f"the answer is longer than {limit} bytes"
                raise Lost(msg)
            chunks.append(chunk)
    finally:
        await answer.aclose()
    return b"".join(chunks)


def _reply(response: Any) -> Reply:
    return Reply(
        status=response.status_code,
        content=response.content,
        headers={name.lower(): value for name, value in response.headers.items()},
    )


def _failure(error: BaseException) -> Unreachable | Lost:
    """Return whether the engine can have seen the request that ended in `error`."""
    if isinstance(error, Unreachable | Lost):
        return error
    name = type(error).__name__
    return (Unreachable if name in _NOT_SENT else Lost)(f"{name}: {error}" if str(error) else name)
