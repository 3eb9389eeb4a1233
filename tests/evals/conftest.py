"""What the eval tests share: a scripted engine, a virtual clock, rows and evals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ftspec.engines.base import ChatAnswer
from ftspec.evals.items import eval_items
from ftspec.evals.result import EvalResult
from ftspec.evals.runner import EvalTask, Progress, RunOptions, run_eval
from ftspec.evals.samples import SampleStore
from ftspec.experiment import DesiredEval

EXACT = {"type": "string_check", "operation": "eq", "input": "{{sample.output_text}}", "reference": "{{item.reference}}"}


def answer(text: str, **rest: Any) -> ChatAnswer:
    return ChatAnswer(text=text, **{"finish_reason": "stop", "input_tokens": 10, "output_tokens": 2, **rest})


@dataclass
class Scripted:
    """An engine that answers by a function of (model, last message, how often it was asked)."""

    reply: Callable[[str, str, int], ChatAnswer | BaseException]
    asked: list[tuple[str, str]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    most: int = 0
    _now: int = 0

    async def chat(self, *, model: str, messages: Any, **sampling: Any) -> ChatAnswer:
        question = messages[-1]["content"]
        times = self.asked.count((model, question))
        self.asked.append((model, question))
        self.requests.append({"model": model, "messages": messages, **sampling})
        self._now += 1
        self.most = max(self.most, self._now)
        await asyncio.sleep(0)
        self._now -= 1
        reply = self.reply(model, question, times)
        if isinstance(reply, BaseException):
            raise reply
        return reply


class VirtualClock:
    """Sleeping only moves the hands."""

    def __init__(self) -> None:
        self.time = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds
        await asyncio.sleep(0)


def chat_rows(pairs: Iterable[tuple[str, str]], **extra: Any) -> list[bytes]:
    return [
        json.dumps({"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": reference}], **extra}).encode()
        for question, reference in pairs
    ]


ROWS = chat_rows((f"q{i}", f"a{i}") for i in range(6))


@dataclass
class Bench:
    """Runs evals on scripted engines, in a folder of its own."""

    folder: Path
    clock: VirtualClock = field(default_factory=VirtualClock)

    @property
    def store(self) -> SampleStore:
        return SampleStore(self.folder)

    def run(
        self,
        engine: Any,
        *,
        rows: list[bytes] = ROWS,
        key: str = "k1",
        identity: dict[str, Any] | None = None,
        model: str = "m",
        progress: Callable[[Progress], None] | None = None,
        how: RunOptions | None = None,
        judges: dict[str, Any] | None = None,
        price: Any = None,
        **about: Any,
    ) -> EvalResult:
        given = DesiredEval(**{"name": "holdout", "dataset": "rows", "graders": {"exact": EXACT}, **about})
        task = EvalTask(
            eval=given,
            key=key,
            items=lambda: eval_items(rows, prompt=given.prompt),
            engine=engine,
            model=model,
            identity=identity or {"scope": "s", "name": "m"},
            judge_engines=judges or {},
            started_at="2026-11-20T12:00:00.000Z",
            price=price,
        )
        return asyncio.run(run_eval(task, store=self.store, clock=self.clock, progress=progress, options=how))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return a bench in an empty folder."""
    return Bench(tmp_path / "evals")
