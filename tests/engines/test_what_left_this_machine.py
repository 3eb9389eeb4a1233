"""What can have been seen of a request that failed, and what is not believed or read of an answer."""

import asyncio
import gzip
import shutil
import socket
import ssl
import subprocess
import threading
from dataclasses import dataclass

import pytest

from ftspec.engines.base import EngineError, JobRequest, NotSent, Refused, UnknownOutcome
from ftspec.engines.outcome import Lost, Reply, Unreachable, outcome
from ftspec.engines.transport import _failure, http_library
from ftspec.testing.tinyapi import Answer, TinyApi

NEVER_LEFT = {"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol"}


def failures(kind):
    """Yield a kind of error of the HTTP library and all kinds of it."""
    yield kind
    for one in kind.__subclasses__():
        yield from failures(one)


def test_only_without_a_connection_nothing_was_sent():
    """Of everything that the HTTP library raises, four kinds prove that no byte of a request left; a write that failed is none of them."""
    kinds = {kind.__name__: kind for kind in failures(http_library().TransportError)}
    assert {"ReadTimeout", "WriteTimeout", "ReadError", "WriteError", "RemoteProtocolError", *NEVER_LEFT} <= kinds.keys()
    unreachable = {name for name, kind in kinds.items() if isinstance(_failure(kind("said so")), Unreachable)}
    assert unreachable == NEVER_LEFT
    assert isinstance(_failure(RuntimeError("whatever")), Lost)


def meaning(status, json=None):
    """Return what an answer to a purchase means."""
    content = b"" if json is None else b"{}"
    return type(outcome(Reply(status=status, content=content), clean=str, json=json))


ERROR = {"error": {"message": "no", "type": "invalid_request_error", "code": "no"}}


@pytest.mark.parametrize("status", [100, 204, 301, 302, 304, 307, 308, 408, 409, 425, 499, 500, 502, 503, 504, 520, 599])
def test_a_status_that_does_not_say_no_is_unknown_even_with_an_error_in_its_form(status):
    """Timeouts, conflicts, requests that were too early or whose client had gone, and everything that servers and proxies say of themselves."""
    assert meaning(status, ERROR) is UnknownOutcome


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 413, 415, 422, 429, 451])
def test_a_status_that_says_no_is_a_refusal_only_in_the_engines_own_form(status):
    """A page of a proxy with the same status proves nothing."""
    assert meaning(status, ERROR) is Refused
    assert meaning(status) is UnknownOutcome
    assert meaning(status, {"detail": "no"}) is UnknownOutcome


@dataclass(kw_only=True)
class Insisting(TinyApi):
    """A server that asks its clients to send a purchase again."""

    status: int

    def handle(self, request):
        if request.name != "POST /fine_tuning/jobs":
            return super().handle(request)
        return Answer(status=self.status, value=ERROR, headers={"x-should-retry": "true", "retry-after": "0"})


@pytest.mark.parametrize(("status", "kind"), [(400, Refused), (409, UnknownOutcome), (429, Refused), (500, UnknownOutcome)])
def test_no_header_makes_a_purchase_be_sent_again(serve, engine_at, asking, status, kind):
    """`x-should-retry` is an order that the SDK would obey, even for a status that says no."""
    server = serve(api=Insisting(now=lambda: 0.0, status=status))
    with pytest.raises(kind):
        asking(engine_at(server.base_url), lambda engine: engine.create_job(JobRequest(key="a" * 64, attempt=1, body={})))
    assert server.posts == 1


class Packed(TinyApi):
    """A server that compresses what nobody asked it to compress."""

    def handle(self, request):
        answer = super().handle(request)
        return Answer(status=answer.status, content=gzip.compress(answer.encoded()), headers={"Content-Encoding": "gzip"})


def test_a_compressed_answer_is_not_unpacked(serve, engine_at, asking):
    """We ask for `identity`; a few bytes that become gigabytes are never made."""
    server = serve(api=Packed(now=lambda: 0.0))
    with pytest.raises(EngineError, match="compressed, which was not asked for"):
        asking(engine_at(server.base_url), lambda engine: engine.job("ftjob-1"))
    assert {request.headers["accept-encoding"] for request in server.requests} == {"identity"}


def test_an_answer_is_read_to_its_limit_and_no_further(serve, engine_at, asking):
    """A valid answer that is too long is a lost one."""

    async def scenario(engine):
        whole = await engine._wire.send("GET", "/models", seconds=5)
        with pytest.raises(Lost, match=f"longer than {len(whole.content) - 1} bytes"):
            await engine._wire.send("GET", "/models", seconds=5, limit=len(whole.content) - 1)
        return whole, await engine._wire.send("GET", "/models", seconds=5, limit=len(whole.content))

    first, second = asking(engine_at(serve().base_url), scenario)
    assert first.content == second.content != b""


def test_the_sdk_never_holds_the_key(engine_at, canary):
    """It holds a placeholder, and so does every request that it makes, logs or puts into an exception."""

    async def held():
        engine = engine_at("https://api.openai.com/v1", profile="openai")
        sdk = engine._wire.sdk()
        found = sdk.api_key, dict(sdk.default_headers)
        await engine.aclose()
        return found

    assert canary not in str(asyncio.run(held()))


@pytest.fixture
def impostor(tmp_path):
    """Return the port of a server with a certificate of its own making, and what it heard after the greeting."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))
    heard = []

    def listen():
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            plain.settimeout(5)
            try:
                with context.wrap_socket(plain, server_side=True) as connection:
                    heard.append(connection.recv(65536))
            except OSError:
                heard.append(b"")

    thread = threading.Thread(target=listen)
    thread.start()
    yield listener.getsockname()[1], heard
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@pytest.mark.parametrize("helpful", [False, True], ids=["alone", "with a variable that names its certificate"])
def test_a_server_without_a_certificate_that_is_believed_hears_nothing(impostor, engine_at, asking, tmp_path, monkeypatch, helpful):
    """Neither a key nor a request, also not where the environment vouches for it."""
    port, heard = impostor
    if helpful:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    engine = engine_at(f"https://127.0.0.1:{port}/v1")
    engine._patience = 0.0
    with pytest.raises(NotSent, match="certificate"):
        asking(engine, lambda engine: engine.job("ftjob-1"))
    assert set(heard) == {b""}
