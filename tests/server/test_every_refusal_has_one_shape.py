"""Whatever is wrong with a request, the answer is `{"error": {message, type, param, code}}` with the common headers."""

from __future__ import annotations

import logging

import pytest

from ftspec.server.app import create_app
from ftspec.server.inprocess import sandbox_app
from ftspec.server.store import Store
from ftspec.server.trainers.sandbox import SandboxTrainer


@pytest.mark.parametrize(
    ("method", "path", "more", "status", "code"),
    [
        ("GET", "/v1/nothing", {}, 404, "unknown_url"),
        ("GET", "/v1/files/", {}, 404, "unknown_url"),
        ("GET", "/", {}, 404, "unknown_url"),
        ("PUT", "/v1/files", {}, 405, "method_not_allowed"),
        ("DELETE", "/v1/fine_tuning/jobs/ftjob-1", {}, 405, "method_not_allowed"),
        ("POST", "/v1/fine_tuning/jobs", {"content": b"{"}, 400, "invalid_json"),
        ("POST", "/v1/fine_tuning/jobs", {"content": b"[]"}, 400, "invalid_json"),
        ("POST", "/v1/fine_tuning/jobs", {"content": b'{"seed": NaN}'}, 400, "invalid_json"),
        ("POST", "/v1/fine_tuning/jobs", {"content": b"[" * 100_000}, 400, "invalid_json"),
        ("POST", "/v1/fine_tuning/jobs", {"content": b"\xff"}, 400, "invalid_json"),
        ("POST", "/v1/chat/completions", {"content": b'{"model": "\\uD800"}'}, 400, "invalid_json"),
        ("POST", "/v1/chat/completions", {"content": b'{"model": "\\ud83d\\ude00"}'}, 400, "missing_required_parameter"),
        (
            "POST",
            "/v1/files",
            {"headers": {"idempotency-key": "k" * 256}, "files": {"file": b"x"}, "data": {"purpose": "batch"}},
            400,
            "invalid_value",
        ),
        ("POST", "/v1/fine_tuning/jobs", {}, 400, "missing_required_parameter"),
        ("POST", "/v1/fine_tuning/jobs", {"content": b" " * (16 * 2**20 + 1)}, 413, "request_too_large"),
        ("GET", "/v1/fine_tuning/jobs?limit=x", {}, 400, "invalid_value"),
        ("GET", "/v1/models/a%2Fb%3Ac", {}, 404, "model_not_found"),
    ],
)
def test_refusals_have_one_shape(caller, method, path, more, status, code):
    """Unknown URLs, wrong methods, broken and oversized bodies are told in the protocol's form."""
    answer = caller.call(method, path, **more)
    assert (answer.status, answer.error["code"]) == (status, code)
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["date"].endswith("GMT")


def test_a_wrong_method_is_told_the_right_ones(caller):
    """A 405 lists every method of the path."""
    assert caller.call("PUT", "/v1/files").headers["allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize(
    ("header", "code"),
    [(None, None), ("Bearer ", None), ("Basic abc", None), ("Bearer wrong", "invalid_api_key"), ("Bearer é", "invalid_api_key")],
)
def test_without_a_known_key_nobody_is_let_in(tmp_path, calling, header, code):
    """A missing or wrong key is a 401 that does not repeat the key; health needs none."""
    with sandbox_app(tmp_path / "s", api_keys={"a-key-that-is-known": "p"}) as app:
        caller = calling(app)
        headers = {} if header is None else {"authorization": header.encode()}
        answer = caller.get("/v1/models", headers=headers)
        assert (answer.status, answer.error["code"]) == (401, code)
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "wrong" not in answer.error["message"]
        assert caller.get("/healthz").json["status"] == "ok"
        assert caller.get("/v1/models", headers={"authorization": "Bearer a-key-that-is-known"}).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "127.0.0.1:8080"}, 200),
        ({"host": "localhost"}, 200),
        ({"host": "[::1]:1"}, 200),
        ({"host": "localhost:1", "origin": "http://localhost:3000"}, 200),
        ({"host": "rebound.example"}, 403),
        ({"host": "127.0.0.1.example"}, 403),
        ({"host": "localhost", "origin": "https://page.example"}, 403),
        ({"host": "localhost", "origin": "null"}, 403),
    ],
)
def test_web_pages_are_turned_away_from_an_open_server(tmp_path, calling, headers, status):
    """Without keys only programs that name this machine are answered: no DNS rebinding, no foreign origin."""
    with sandbox_app(tmp_path / "s", local_only=True) as app:
        assert calling(app).get("/v1/models", headers=headers).status == status


def test_a_crash_is_a_500_that_tells_no_secrets(tmp_path, calling, caplog):
    """An unexpected error becomes the protocol's server error with the request's id; the cause is in the log only."""

    class Broken(SandboxTrainer):
        def base_models(self):
            msg = "SECRET"
            raise RuntimeError(msg)

    store = Store(tmp_path / "s")
    trainer = Broken(tmp_path / "s" / "runs")
    with caplog.at_level(logging.CRITICAL, logger="ftspec.server"):
        answer = calling(create_app(store, trainer)).get("/v1/models")
    trainer.close()
    store.close()
    assert (answer.status, answer.error["type"]) == (500, "server_error")
    assert answer.headers["x-request-id"] in answer.error["message"]
    assert "SECRET" not in answer.error["message"]
