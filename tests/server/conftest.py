"""What the tests of the server share: a caller without a port, datasets, and a strict reader of answers."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ftspec.server.inprocess import EngineApp, sandbox_app

PHRASES = {
    "Billing": ["I was charged twice", "the invoice is wrong", "refund my payment please", "my card was declined"],
    "Login": ["I cannot sign in", "password reset mail never arrives", "my account is locked", "two factor code is rejected"],
    "Shipping": ["where is my parcel", "the package never arrived", "tracking shows nothing", "delivery is late again"],
    "Bug": ["the app crashes on start", "export gives an error", "the screen stays blank", "search finds wrong things"],
    "Praise": ["you do great work", "I love this product", "thanks for the quick help", "best support ever"],
    "Cancel": ["close my account please", "please stop my plan", "how do I unsubscribe", "end my contract"],
}
NOISE = ["I write from Berlin.", "We bought it last week.", "Order 4711.", "It is raining here.", "We use the pro plan."]


def tickets(count: int, *, seed: int) -> list[dict[str, Any]]:
    """Chat rows: a ticket with typos and chatter, and its class."""
    chance, rows = random.Random(seed), []  # noqa: S311 reproducible rows
    for _ in range(count):
        label = chance.choice(sorted(PHRASES))
        words = [typo(word, chance) if chance.random() < 0.15 else word for word in chance.choice(PHRASES[label]).split()]
        parts = [" ".join(words), *chance.sample(NOISE, chance.randrange(3))]
        chance.shuffle(parts)
        rows.append({"messages": [{"role": "user", "content": " ".join(parts)}, {"role": "assistant", "content": label}]})
    return rows


def typo(word: str, chance: random.Random) -> str:
    if len(word) < 4:
        return word
    place = chance.randrange(len(word) - 1)
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


class Answer:
    """An answer of the server."""

    def __init__(self, response: Any) -> None:
        self.status: int = response.status_code
        self.headers = response.headers
        self.content: bytes = response.content

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def error(self) -> dict[str, Any]:
        assert set(self.json) == {"error"}
        assert set(self.json["error"]) == {"message", "type", "param", "code"}
        error: dict[str, Any] = self.json["error"]
        return error


class Caller:
    """Speaks to an app in this process, without a port; several at once with `together`."""

    def __init__(self, app: Any, **headers: str) -> None:
        import httpx2

        self._loop = asyncio.Runner()
        self._client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://test", headers=headers)

    def call(self, method: str, path: str, **more: Any) -> Answer:
        return Answer(self._loop.run(self._client.request(method, path, **more)))

    def get(self, path: str, **more: Any) -> Answer:
        return self.call("GET", path, **more)

    def post(self, path: str, **more: Any) -> Answer:
        return self.call("POST", path, **more)

    def delete(self, path: str, **more: Any) -> Answer:
        return self.call("DELETE", path, **more)

    def together(self, count: int, method: str, path: str, **more: Any) -> list[Answer]:
        async def all_at_once() -> list[Any]:
            return list(await asyncio.gather(*(self._client.request(method, path, **more) for _ in range(count))))

        return [Answer(response) for response in self._loop.run(all_at_once())]

    def upload(self, rows: list[dict[str, Any]] | bytes, *, name: str = "rows.jsonl", purpose: str = "fine-tune", **more: Any) -> str:
        content = rows if isinstance(rows, bytes) else jsonl(rows)
        answer = self.post("/v1/files", files={"file": (name, content)}, data={"purpose": purpose}, **more)
        assert answer.status == 200, answer.content
        file_id: str = answer.json["id"]
        return file_id

    def create(self, **body: Any) -> dict[str, Any]:
        answer = self.post("/v1/fine_tuning/jobs", json={"model": "sandbox-nano", **body})
        assert answer.status == 200, answer.content
        job: dict[str, Any] = answer.json
        return job

    def job(self, job_id: str) -> dict[str, Any]:
        job: dict[str, Any] = self.get(f"/v1/fine_tuning/jobs/{job_id}").json
        return job

    def finished(self, job_id: str, *, status: str = "succeeded") -> dict[str, Any]:
        end = time.monotonic() + 60
        while (job := self.job(job_id))["finished_at"] is None:
            assert time.monotonic() < end, job
            time.sleep(0.01)
        assert job["status"] == status, job
        return job

    def train(self, **body: Any) -> dict[str, Any]:
        return self.finished(self.create(**body)["id"])

    def last_metrics(self, job_id: str) -> dict[str, float]:
        events = self.get(f"/v1/fine_tuning/jobs/{job_id}/events?limit=1000").json["data"]
        return next(event["data"] for event in events if event["type"] == "metrics")

    def ask(self, model: str, content: str, **more: Any) -> str:
        body = {"model": model, "messages": [{"role": "user", "content": content}], "temperature": 0, **more}
        answer = self.post("/v1/chat/completions", json=body)
        assert answer.status == 200, answer.content
        text: str = answer.json["choices"][0]["message"]["content"]
        return text

    def close(self) -> None:
        self._loop.run(self._client.aclose())
        self._loop.close()


@pytest.fixture
def app(tmp_path: Path) -> Iterator[EngineApp]:
    with sandbox_app(tmp_path / "server") as app:
        yield app


@pytest.fixture
def caller(app: EngineApp) -> Iterator[Caller]:
    caller = Caller(app)
    yield caller
    caller.close()


@pytest.fixture
def calling() -> Iterator[Any]:
    """Make callers of other apps, or with headers of their own."""
    made: list[Caller] = []

    def call(app: Any, **headers: str) -> Caller:
        made.append(Caller(app, **headers))
        return made[-1]

    yield call
    for caller in made:
        caller.close()


@pytest.fixture
def rows() -> Any:
    """The ticket rows: `rows(count, seed=...)`."""
    return tickets


def strict(kind: Any, content: bytes, *, members: str = "") -> Any:
    """Read an answer as a type of the openai package, converting nothing; `members` must all be there."""
    from pydantic import TypeAdapter

    raw = json.loads(content)
    missing = set(members.split()) - set(raw)
    assert not missing, f"{kind.__name__} lacks {missing}"
    return TypeAdapter(kind).validate_json(json.dumps(raw), strict=True)


@pytest.fixture
def strictly() -> Any:
    return strict
