"""Chats with local models, from a process that loads none: a child (`answer.py`), started with the first chat, answers.

It ends with us. When it ends before, what was asked of it is asked once more, of another child; an
answer that had begun is broken off, and whoever asked may ask again.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import queue
import subprocess
import threading
from typing import TYPE_CHECKING, Any

from ftspec.server.trainers.base import ChatToken, Completion, Problem, TrainerRefusal
from ftspec.server.trainers.local.executors.local import inherited

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from ftspec.server.trainers.base import ChatRequest
    from ftspec.server.trainers.local.settings import Base

log = logging.getLogger("ftspec.server.local")

_FIRST_SECONDS = 600
"""How long loading a model may take."""
_NEXT_SECONDS = 300


class AnswererGone(Exception):
    """The process that answers ended: asking again starts another one."""


def _gone() -> TrainerRefusal:
    message = "The process that answers chats ended; `answers.log` of the server may say why."
    return TrainerRefusal(Problem(message=message, code="answerer_gone", status=503))


class Answerer:
    """One child that answers, shared by all threads."""

    def __init__(self, python: str, *, threads: int, log_file: Path) -> None:
        self._python = python
        self._threads = threads
        self._log_file = log_file
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._ids = itertools.count(1)
        self._boxes: dict[str, tuple[subprocess.Popen[bytes], queue.SimpleQueue[dict[str, Any] | None]]] = {}

    def complete(self, request: ChatRequest, *, base: Base, adapter: Path | None, model: Path | None) -> Completion:
        """Begin an answer of `base` (with `adapter`), or of the whole `model`."""
        try:
            return self._begin(request, base=base, adapter=adapter, model=model)
        except AnswererGone:
            pass
        try:
            return self._begin(request, base=base, adapter=adapter, model=model)
        except AnswererGone:
            raise _gone() from None

    def _begin(self, request: ChatRequest, *, base: Base, adapter: Path | None, model: Path | None) -> Completion:
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
            try:
                child = self._child = self._child or self._started()
                assert child.stdin is not None  # noqa: S101 a pipe
                self._boxes[number] = child, box
                child.stdin.write(json.dumps(content).encode() + b"\n")
                child.stdin.flush()
            except OSError:
                self._boxes.pop(number, None)
                raise AnswererGone from None

    def _started(self) -> subprocess.Popen[bytes]:
        environment = {
            "OMP_WAIT_POLICY": "PASSIVE",
            **inherited(os.environ),
            "OMP_NUM_THREADS": str(self._threads),
            "PYTHONUNBUFFERED": "1",
        }
        with self._log_file.open("ab") as errors:
            child = subprocess.Popen(  # noqa: S603 the user's interpreter
                [self._python, "-P", "-m", "ftspec.server.trainers.local.answer"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
            )
        threading.Thread(target=self._read, args=(child,), daemon=True).start()
        return child

    def _read(self, child: subprocess.Popen[bytes]) -> None:
        """Hand out what a child says until it ends; then tell those who still wait for it."""
        assert child.stdout is not None  # noqa: S101 a pipe
        assert child.stdin is not None  # noqa: S101 a pipe
        for line in child.stdout:
            try:
                content = json.loads(line)
            except ValueError:
                break  # it was killed within a line
            known = (self._boxes.pop if "finish" in content else self._boxes.get)(content["id"], None)
            if known is not None:
                known[1].put(content)
        with self._lock:
            if self._child is child:
                self._child = None
            child.stdout.close()
            with contextlib.suppress(OSError):
                child.stdin.close()
            left = [number for number, (whose, _) in self._boxes.items() if whose is child]
            for number in left:
                self._boxes.pop(number)[1].put(None)
        child.wait()

    def _wait(self, number: str, box: queue.SimpleQueue[dict[str, Any] | None], seconds: float) -> dict[str, Any]:
        try:
            content = box.get(timeout=seconds)
        except queue.Empty:
            content = None
        if content is None:
            self._boxes.pop(number, None)
            raise AnswererGone
        if "error" in content:
            self._boxes.pop(number, None)
            raise TrainerRefusal(Problem(message=content["error"], param="messages", code=content.get("code", "invalid_value")))
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
        except AnswererGone:
            raise _gone() from None
        finally:
            if self._boxes.pop(number, None) is not None:
                self._forget(number)

    def _forget(self, number: str) -> None:
        with self._lock:
            if self._child is not None and self._child.stdin is not None:
                with contextlib.suppress(OSError):
                    self._child.stdin.write(json.dumps({"forget": number}).encode() + b"\n")
                    self._child.stdin.flush()
