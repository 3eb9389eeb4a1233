"""Chats with local models, from a process that loads none: a child that answers, or a server elsewhere.

The child (`answer.py`) is started with the first chat and ends with us. Where `serve_url` is set,
that server (vLLM, ...) is asked instead; it never gets a key.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import queue
import subprocess
import threading
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from ftspec.server.trainers.base import ChatToken, Completion, Problem, TrainerRefusal
from ftspec.server.trainers.local.executors.local import inherited

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from ftspec.server.trainers.base import ChatRequest, ModelSource
    from ftspec.server.trainers.local.settings import Base

log = logging.getLogger("ftspec.server.local")

_FIRST_SECONDS = 600
"""How long loading a model may take."""
_NEXT_SECONDS = 300


class AnswererGone(Exception):
    """The process that answers ended: asking again starts another one."""


class Answerer:
    """One child that answers, shared by all threads."""

    def __init__(self, python: str, *, threads: int, log_file: Path) -> None:
        self._python = python
        self._threads = threads
        self._log_file = log_file
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._ids = itertools.count(1)
        self._queues: dict[str, queue.SimpleQueue[dict[str, Any] | None]] = {}

    def complete(self, request: ChatRequest, *, base: Base, adapter: Path | None, model: Path | None) -> Completion:
        """Begin an answer of `base` (with `adapter`), or of the whole `model`."""
        if request.options:
            name = next(iter(request.options))
            raise TrainerRefusal(Problem(message=f"The local engine does not support '{name}'.", param=name, code="unsupported_parameter"))
        number = f"{next(self._ids)}"
        box: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._send(
            number,
            box,
            {
                "id": number,
                "base": base.wire(),
                "adapter": str(adapter) if adapter else None,
                "model": str(model) if model else None,
                "messages": [dict(message) for message in request.messages],
                "tools": [dict(tool) for tool in request.tools],
                "temperature": request.temperature,
                "top_p": request.top_p,
                "max_tokens": request.max_tokens,
                "seed": request.seed,
                "top": request.top_logprobs or 0,
            },
        )
        first = self._wait(number, box, _FIRST_SECONDS)
        return Completion(prompt_tokens=first["prompt_tokens"], fingerprint=first["fingerprint"], tokens=self._tokens(number, box))

    def close(self) -> None:
        """End the child."""
        with self._lock:
            child, self._child = self._child, None
        if child is not None:
            child.terminate()
            child.wait()

    def _send(self, number: str, box: queue.SimpleQueue[dict[str, Any] | None], content: Mapping[str, Any]) -> None:
        with self._lock:
            if self._child is None or self._child.poll() is not None:
                self._start()
            assert self._child is not None  # noqa: S101 just started
            assert self._child.stdin is not None  # noqa: S101 a pipe
            self._queues[number] = box
            try:
                self._child.stdin.write(json.dumps(content).encode() + b"\n")
                self._child.stdin.flush()
            except OSError:
                self._queues.pop(number, None)
                raise AnswererGone from None

    def _start(self) -> None:
        environment = {**inherited(os.environ), "OMP_NUM_THREADS": str(self._threads), "PYTHONUNBUFFERED": "1"}
        with self._log_file.open("ab") as errors:
            self._child = subprocess.Popen(  # noqa: S603 the user's interpreter
                [self._python, "-m", "ftspec.server.trainers.local.answer"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
            )
        threading.Thread(target=self._read, args=(self._child,), daemon=True).start()

    def _read(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stdout is not None  # noqa: S101 a pipe
        for line in child.stdout:
            content = json.loads(line)
            box = self._queues.get(content["id"])
            if box is not None:
                box.put(content)
        with self._lock:
            for number in list(self._queues):
                self._queues.pop(number).put(None)
        child.stdout.close()
        if child.stdin is not None:
            child.stdin.close()
        child.wait()

    def _wait(self, number: str, box: queue.SimpleQueue[dict[str, Any] | None], seconds: float) -> dict[str, Any]:
        try:
            content = box.get(timeout=seconds)
        except queue.Empty:
            content = None
        if content is None:
            self._queues.pop(number, None)
            raise AnswererGone
        if "error" in content:
            self._queues.pop(number, None)
            raise TrainerRefusal(Problem(message=content["error"], param="messages", code="invalid_value"))
        return content

    def _tokens(self, number: str, box: queue.SimpleQueue[dict[str, Any] | None]) -> Generator[ChatToken, None, None]:
        try:
            while True:
                content = self._wait(number, box, _NEXT_SECONDS)
                if "finish" in content:
                    yield ChatToken(text="", finish=content["finish"])
                    return
                top = [(text, value) for text, value in content["top"]]
                yield ChatToken(text=content["text"], logprob=content["logprob"], top=top)
        finally:
            if self._queues.pop(number, None) is not None:
                self._forget(number)

    def _forget(self, number: str) -> None:
        with self._lock:
            if self._child is not None and self._child.stdin is not None and self._child.poll() is None:
                try:
                    self._child.stdin.write(json.dumps({"forget": number}).encode() + b"\n")
                    self._child.stdin.flush()
                except (OSError, ValueError):
                    return


def ask_elsewhere(url: str, source: ModelSource, request: ChatRequest) -> Completion:
    """Return an answer of the server at `url`; bases and adapters have their names there."""
    body: dict[str, Any] = {
        "model": source.name,
        "messages": [dict(message) for message in request.messages],
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stream": True,
        "stream_options": {"include_usage": True},
        **({"max_tokens": request.max_tokens} if request.max_tokens else {}),
        **({"seed": request.seed} if request.seed is not None else {}),
        **({"stop": list(request.stop)} if request.stop else {}),
        **({"tools": [dict(tool) for tool in request.tools]} if request.tools else {}),
        **({"logprobs": True, "top_logprobs": request.top_logprobs} if request.top_logprobs is not None else {}),
        **request.options,
    }
    post = urllib.request.Request(  # noqa: S310 the settings allow http and https only
        f"{url}/chat/completions", data=json.dumps(body).encode(), headers={"content-type": "application/json"}
    )
    try:
        response = _OPENER.open(post, timeout=_FIRST_SECONDS)
    except urllib.error.HTTPError as error:
        with error:
            message = f"The server behind `serve_url` refused ({error.code}): does it serve `{source.name}`?"
        raise TrainerRefusal(Problem(message=message, param="model", code="serve_url_refused")) from None
    except OSError as error:
        raise TrainerRefusal(
            Problem(message=f"The server behind `serve_url` does not answer ({type(error).__name__}).", code="serve_url_unreachable")
        ) from None
    return Completion(prompt_tokens=0, fingerprint=f"fp_{source.name}"[:64], tokens=_streamed(response))


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A server that sends us elsewhere is not the one that was configured."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow nothing."""


_OPENER = urllib.request.build_opener(_NoRedirects, urllib.request.ProxyHandler({}))


def _streamed(response: Any) -> Generator[ChatToken, None, None]:
    finish = "stop"
    with response:
        for line in response:
            if not line.startswith(b"data: ") or line.strip() == b"data: [DONE]":
                continue
            for choice in json.loads(line[6:]).get("choices") or ():
                yield from _pieces(choice)
                finish = choice.get("finish_reason") or finish
    yield ChatToken(text="", finish="length" if finish == "length" else "stop")


def _pieces(choice: Mapping[str, Any]) -> Generator[ChatToken, None, None]:
    known = (choice.get("logprobs") or {}).get("content")
    if known:
        for token in known:
            top = [(one["token"], one["logprob"]) for one in token.get("top_logprobs") or ()]
            yield ChatToken(text=token["token"], logprob=token["logprob"], top=top)
    elif text := (choice.get("delta") or {}).get("content"):
        yield ChatToken(text=text)
