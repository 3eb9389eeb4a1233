r"""A real HTTP server on loopback that does what networks and servers do on bad days.

    with FaultyServer([Fault("reset after"), Fault("list lag", times=3)]) as server:
        ...  # base URL: server.base_url
    assert server.posts == 1

A script is a list of `Fault`s; each waits for its route, skips `skip` requests and strikes
`times` times, one fault a request, in order. With a `seed` faults strike at random instead
(`rate` of the requests), the same ones for the same seed and sequence of requests.

What the server did is in `jobs` and `files` (what really exists), `posts` (job POSTs that
arrived) and `requests`. `after` in a fault's name: the request is carried out and its answer
spoilt; `before`: it is not carried out.
"""

# ruff: noqa: ARG001, ARG005 every kind of trouble has the same signature

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from ftspec.testing.tinyapi import Answer, Request, TinyApi, refusal

JOB_POST = "POST /fine_tuning/jobs"
JOB_LIST = "GET /fine_tuning/jobs"
MEBI = 2**20


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of trouble (a name of `FAULTS`) for one route (`Request.name`), `times` times, after `skip` requests.

    `value` is what the kind needs: the location of a redirect (or its status and location), a status word, seconds, bytes.
    """

    kind: str
    on: str = ""
    times: int = 1
    skip: int = 0
    value: Any = None

    @property
    def route(self) -> str:
        """The route that it strikes: job lists for trouble with lists, else job POSTs."""
        return self.on or (JOB_LIST if self.kind in LIST_FAULTS else JOB_POST)


@dataclass(slots=True, kw_only=True)
class _Waiting:
    """A fault of the script, and how often it will still be skipped and strike."""

    fault: Fault
    skip: int
    times: int


class _Reset(Exception):
    """Answer with a TCP reset."""


class _Cut(Exception):
    """Send half of an answer and close."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


class _Hang(Exception):
    """Send nothing until the server closes or `seconds` have passed."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class _Drip(Exception):
    """Send an answer a byte at a time."""

    def __init__(self, answer: Answer, pause: float) -> None:
        super().__init__()
        self.answer = answer
        self.pause = pause


Strike = Callable[["FaultyServer", Request, Any], Answer]


def _html(server: FaultyServer, request: Request, value: Any) -> Answer:
    return Answer(status=value or 200, content=b"<html><body>Please log in</body></html>", content_type="text/html")


def _redirect(server: FaultyServer, request: Request, value: Any) -> Answer:
    status, location = value if isinstance(value, tuple) else (307, value)
    return Answer(status=status, headers={"Location": location})


def _after(strike: Strike) -> Strike:
    def carried_out(server: FaultyServer, request: Request, value: Any) -> Answer:
        server.api.handle(request)
        return strike(server, request, value)

    return carried_out


def _raises(make: Callable[[FaultyServer, Request, Any], Exception]) -> Strike:
    def strike(server: FaultyServer, request: Request, value: Any) -> Answer:
        raise make(server, request, value)

    return strike


def _says(status: int, code: str | None, message: str, kind: str = "invalid_request_error") -> Strike:
    return lambda server, request, value: refusal(status, code, message, kind=kind)


def _changed(change: Callable[[dict[str, Any], Any], Any]) -> Strike:
    def strike(server: FaultyServer, request: Request, value: Any) -> Answer:
        answer = server.api.handle(request)
        return Answer(status=answer.status, value=change(dict(answer.value), value))

    return strike


def _lands_late(server: FaultyServer, request: Request, value: Any) -> Answer:
    server.later.append([int(value or 1), request])
    return Answer(status=504, content=b"gateway timeout", content_type="text/plain")


def _lagging(server: FaultyServer, request: Request, value: Any) -> Answer:
    """Answer as the list was before the newest `value` rows."""
    answer = server.api.handle(request)
    hidden = set(list(server.api.jobs)[-int(value or 1) :])
    rows = [row for row in answer.value["data"] if row["id"] not in hidden]
    return Answer(value={**answer.value, "data": rows})


def _unfiltered(server: FaultyServer, request: Request, value: Any) -> Answer:
    query = {name: text for name, text in request.query.items() if not name.startswith("metadata[")}
    return server.api.handle(Request(method=request.method, path=request.path, query=query, headers=request.headers, body=request.body))


def _without_after(server: FaultyServer, request: Request, value: Any) -> Answer:
    query = {name: text for name, text in request.query.items() if name != "after"}
    answer = server.api.handle(Request(method=request.method, path=request.path, query=query, headers=request.headers, body=request.body))
    return Answer(value={**answer.value, "has_more": True})


_SLOW_DOWN = "Rate limit reached, slow down"

FAULTS: Mapping[str, Strike] = {
    "reset before": _raises(lambda s, r, v: _Reset()),
    "reset after": _after(_raises(lambda s, r, v: _Reset())),
    "hang before": _raises(lambda s, r, v: _Hang(float(v or 3600))),
    "hang after": _after(_raises(lambda s, r, v: _Hang(float(v or 3600)))),
    "cut after": _raises(lambda s, r, v: _Cut(s.api.handle(r))),
    "drip after": _raises(lambda s, r, v: _Drip(s.api.handle(r), float(v or 0.05))),
    "lands late": _lands_late,
    "400": _says(400, "invalid_hyperparameter", "n_epochs is out of range"),
    "401": _says(401, "invalid_api_key", "Incorrect API key provided: sk-****CRET"),
    "403": _says(403, "not_allowed", "You are not allowed to create fine-tuning jobs"),
    "404": _says(404, "model_not_found", "The model does not exist"),
    "413": _says(413, None, "Too large"),
    "422": _says(422, None, "Unprocessable"),
    "408 after": _after(_says(408, None, "Request timeout")),
    "409 after": _after(_says(409, "conflict", "Lock timeout")),
    "409 before": _says(409, "conflict", "Lock timeout"),
    "429 rate": _says(429, "rate_limit_exceeded", _SLOW_DOWN, "requests"),
    "429 daily": _says(429, "daily_rate_limit_exceeded", "This fine-tune request has been rate-limited."),
    "429 concurrent": _says(429, "concurrent_jobs_limit_exceeded", "INSUFFICIENT QUOTA: too many jobs are running"),
    "429 money": _says(429, "insufficient_quota", "You exceeded your current quota", "insufficient_quota"),
    "429 spend": _says(429, "project_spend_limit_exceeded", "The limit of this project is reached"),
    "wait": lambda s, r, v: Answer(
        status=429, value=refusal(429, "rate_limit_exceeded", _SLOW_DOWN).value, headers={"Retry-After": str(v)}
    ),
    "429 html": lambda s, r, v: _html(s, r, 429),
    "500 before": _says(500, "server_error", "The server had an error", "server_error"),
    "500 after": _after(_says(500, "server_error", "The server had an error", "server_error")),
    "502 before": lambda s, r, v: _html(s, r, 502),
    "502 after": _after(lambda s, r, v: _html(s, r, 502)),
    "503 before": _says(503, None, "Overloaded", "server_error"),
    "html before": _html,
    "html after": _after(_html),
    "empty after": _after(lambda s, r, v: Answer(content=b"")),
    "wrong json after": _after(lambda s, r, v: Answer(value={"id": "something", "object": "thing"})),
    "bare id after": _changed(lambda whole, v: {"id": whole.get("id", "ftjob-?")}),
    "list after": _after(lambda s, r, v: Answer(value=[])),
    "null after": _after(lambda s, r, v: Answer(value=None, content=b"null")),
    "nan after": _after(lambda s, r, v: Answer(content=b'{"id": NaN}')),
    "deep after": _after(lambda s, r, v: Answer(content=b"[" * 100_000 + b"]" * 100_000)),
    "huge after": _after(lambda s, r, v: Answer(content=b'{"id": "' + b"x" * int(v or 70 * MEBI) + b'"}')),
    "compressed after": _after(lambda s, r, v: Answer(content=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})),
    "redirect": _redirect,
    "echo": lambda s, r, v: Answer(status=200, content=r.body, content_type="text/plain"),
    "stream breaks": lambda s, r, v: Answer(content=str(v).encode(), content_type="text/event-stream"),
    "strange status": _changed(lambda whole, v: {**whole, "status": v or "paused_by_policy", "surprise": {"new": 1}}),
    "bare job": _changed(lambda whole, v: {name: whole[name] for name in ("id", "object") if name in whole}),
    "another job": _changed(lambda whole, v: {**whole, "metadata": {"ftspec_key": "0" * 64}}),
    "list lag": _lagging,
    "filter ignored": _unfiltered,
    "endless pages": _without_after,
    "duplicate rows": _changed(lambda whole, v: {**whole, "data": [row for row in whole["data"] for _ in range(2)]}),
    "no has_more": _changed(lambda whole, v: {name: part for name, part in whole.items() if name != "has_more"}),
    "broken row": _changed(lambda whole, v: {**whole, "data": [*whole["data"], v or {"object": "fine_tuning.job"}]}),
}
"""Every kind of trouble by name."""

LIST_FAULTS = frozenset({"list lag", "filter ignored", "endless pages", "duplicate rows", "no has_more", "broken row"})

RANDOM_POST_FAULTS: tuple[str, ...] = (
    *("reset before", "reset after", "cut after", "408 after", "409 after", "429 rate", "500 before", "500 after", "502 before"),
    *("502 after", "html before", "html after", "wrong json after", "list after", "lands late"),
)
RANDOM_READ_FAULTS: tuple[str, ...] = ("reset before", "500 before", "502 before", "html before", "429 rate")


class FaultyServer:
    """A threaded server on `127.0.0.1`; a context manager. `api` is the honest part."""

    def __init__(
        self,
        script: Sequence[Fault] = (),
        *,
        seed: int | None = None,
        rate: float = 0.2,
        key: str | None = None,
        api: TinyApi | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`seed` adds random faults to `rate` of the requests; `key`: the only bearer key that is let in."""
        self.api: TinyApi = api or TinyApi(now=clock, key=key)
        self.requests: list[Request] = []
        self.posts = 0
        self.later: list[list[Any]] = []
        self.surprises: list[BaseException] = []
        """Bugs of the server itself; a test should find none."""
        self._script: list[_Waiting] = []
        for fault in script:
            self.add(fault)
        self._random = random.Random(seed) if seed is not None else None  # noqa: S311 faults, not secrets
        self._rate = rate
        self._clock = clock
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._connections: set[socket.socket] = set()
        self._http = _HttpServer(self)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def add(self, fault: Fault) -> None:
        """Put a fault at the end of the script."""
        self._script.append(_Waiting(fault=fault, skip=fault.skip, times=fault.times))

    @property
    def origin(self) -> str:
        """`http://127.0.0.1:<port>`."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def base_url(self) -> str:
        """What a client is given."""
        return f"{self.origin}/v1"

    @property
    def jobs(self) -> Mapping[str, Mapping[str, Any]]:
        """The jobs that exist."""
        return self.api.jobs

    @property
    def files(self) -> Mapping[str, Mapping[str, Any]]:
        """The files that exist."""
        return self.api.files

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop answering; requests that hang are reset."""
        self._closed.set()
        self._http.shutdown()
        self._thread.join()
        for connection in list(self._connections):
            _shut(connection)
        self._http.server_close()

    def answer(self, request: Request) -> Answer:
        """Decide on a request, in the order of arrival."""
        with self._lock:
            self.requests.append(request)
            self.posts += request.name == JOB_POST
            self._land()
            kind, value = self._next(request)
            return FAULTS[kind](self, request, value) if kind else self.api.handle(request)

    def _land(self) -> None:
        """Let late requests land whose time has come, counted in requests."""
        for waiting in list(self.later):
            waiting[0] -= 1
            if waiting[0] < 0:
                self.later.remove(waiting)
                self.api.handle(waiting[1])

    def _next(self, request: Request) -> tuple[str | None, Any]:
        for waiting in self._script:
            if waiting.fault.route != request.name or not waiting.times:
                continue
            if waiting.skip:
                waiting.skip -= 1
                continue
            waiting.times -= 1
            return waiting.fault.kind, waiting.fault.value
        if self._random is not None and self._random.random() < self._rate:
            return self._random.choice(RANDOM_POST_FAULTS if request.name == JOB_POST else RANDOM_READ_FAULTS), None
        return None, None

    def date(self) -> str:
        """Return the server's clock as a header."""
        return formatdate(self._clock(), usegmt=True)


class _HttpServer(ThreadingHTTPServer):
    """One thread a connection; knows its connections so that they can be closed."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, owner: FaultyServer) -> None:
        self.owner = owner
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.owner._connections.add(request)  # noqa: SLF001 one server in two classes
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.owner._connections.discard(request)  # noqa: SLF001
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 the library's signature
        import sys

        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            self.owner.surprises.append(error)


class _Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with one write a reply and without Nagle's delay."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _HttpServer

    def _serve(self) -> None:
        owner = self.server.owner
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        request = Request.parse(self.command, self.path, dict(self.headers.items()), body)
        try:
            self._send(owner.answer(request))
        except _Reset:
            self._reset()
        except _Cut as cut:
            self._send(cut.answer, share=0.5)
        except _Drip as drip:
            self._send(drip.answer, pause=drip.pause)
        except _Hang as hang:
            owner._closed.wait(hang.seconds)  # noqa: SLF001 one server in two classes
            self._reset()

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815 the library's names

    def _send(self, answer: Answer, *, share: float = 1.0, pause: float = 0.0) -> None:
        owner, content = self.server.owner, answer.encoded()
        self.send_response_only(answer.status)
        self.send_header("Date", owner.date())
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(content)))
        for name, text in answer.headers.items():
            self.send_header(name, text)
        self.end_headers()
        if pause:
            for position in range(len(content)):
                self.wfile.write(content[position : position + 1])
                self.wfile.flush()
                if owner._closed.wait(pause):  # noqa: SLF001
                    break
        else:
            self.wfile.write(content[: int(len(content) * share)])
        self.wfile.flush()
        if share < 1:
            self.close_connection = True

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _shut(connection: socket.socket) -> None:
    import contextlib

    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
