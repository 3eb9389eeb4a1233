"""The proof of an engine: what the executor relies on, asked of a real one.

    class TestMine(EngineConformance):
        base_model = "my-model"

        @pytest.fixture
        def engine(self) -> Engine: ...

The fixture returns an engine that was not asked anything yet; each test asks it in an event loop
of its own and closes it. Tests buy a few very small jobs. What the profile does not promise is
not asked for.
"""

# ruff: noqa: S101 a conformance suite is made of assertions

from __future__ import annotations

import contextlib
import io
import json
import secrets
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from ftspec.engines.base import JobRequest, Refused
from ftspec.engines.request import ATTEMPT, KEY, PROJECT, job_body
from ftspec.experiment import DesiredJob
from ftspec.record import JobStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ftspec.engines.base import Engine, ObservedFile, ObservedJob

_ANSWERS = {"refund": ["money back", "return my payment"], "bug": ["it crashes", "an error appears"]}


def chat_rows(count: int = 12) -> bytes:
    """Return a small supervised dataset."""
    rows = []
    for number in range(count):
        label = list(_ANSWERS)[number % 2]
        asked = f"{_ANSWERS[label][number // 2 % 2]}, please ({number})"
        rows.append({"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": label}]})
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


class EngineConformance:
    """Subclass it and provide the fixture `engine`."""

    base_model = "base-small"
    hyperparameters: ClassVar[dict[str, Any]] = {"n_epochs": 1}
    rows: bytes = chat_rows()
    seconds = 60.0
    """How long a job may take."""

    def test_a_file_is_found_by_name_and_read_back_unchanged(self, engine: Engine) -> None:
        """What was uploaded is listed under its name, known by its id, and has the same bytes."""

        async def scenario() -> None:
            file = await self._upload(engine)
            assert file.bytes in {None, len(self.rows)}
            found = await engine.find_files(name=file.name, purpose="fine-tune")
            assert found.complete
            assert file.id in [one.id for one in found.items]
            again = await engine.file(file.id)
            assert again is not None
            assert again.name == file.name
            assert await engine.content(file.id) == self.rows
            assert not (await engine.find_files(name=f"{file.name}.other", purpose="fine-tune")).items

        run(engine, scenario)

    def test_what_does_not_exist_is_none(self, engine: Engine) -> None:
        """An id that the engine does not know is no error."""

        async def scenario() -> None:
            assert await engine.file("file-doesnotexist0000000000") is None
            assert await engine.job("ftjob-doesnotexist0000000000") is None

        run(engine, scenario)

    def test_a_job_says_what_was_asked_for(self, engine: Engine) -> None:
        """A bought job echoes model, file, seed, suffix and labels, and is found by key and by time."""

        async def scenario() -> None:
            request = await self._request(engine)
            job = await engine.create_job(request)
            assert job.base_model.startswith(self.base_model)
            assert job.training_file == request.body["training_file"]
            if engine.profile.seed:
                assert job.seed == request.body["seed"]
            if engine.profile.suffix_max:
                assert job.suffix in {None, request.body["suffix"]}
            same = await engine.job(job.id)
            assert same is not None
            assert same.id == job.id
            assert job.id in [one.id for one in (await engine.find_jobs(since=job.created_at)).items]
            if engine.profile.metadata:
                assert job.metadata == request.body["metadata"]
                assert set(job.metadata) == {KEY, PROJECT, ATTEMPT}
                found = await engine.find_jobs(key=request.key)
                assert found.complete
                assert [one.id for one in found.items] == [job.id]
                nothing = await engine.find_jobs(key=secrets.token_hex(32))
                assert nothing.complete
                assert not nothing.items
            await self._dropped(engine, job)

        run(engine, scenario)

    def test_a_repeated_post_buys_nothing_twice_where_that_is_promised(self, engine: Engine) -> None:
        """An engine with unique keys or idempotency answers a repeated POST with the first job."""

        async def scenario() -> None:
            request = await self._request(engine)
            first = await engine.create_job(request)
            if engine.profile.unique_keys or engine.profile.idempotency_key:
                assert (await engine.create_job(request)).id == first.id
            assert [one.id for one in (await engine.find_jobs(key=request.key)).items] == ([first.id] if engine.profile.metadata else [])
            await self._dropped(engine, first)

        run(engine, scenario)

    def test_a_job_without_a_file_is_refused(self, engine: Engine) -> None:
        """A file that is not there is a refusal in the engine's own words, and buys nothing."""

        async def scenario() -> None:
            request = await self._request(engine, training_file="file-doesnotexist0000000000")
            with pytest.raises(Refused) as refused:
                await engine.create_job(request)
            assert refused.value.message
            assert refused.value.quota is None
            assert not (await engine.find_jobs(key=request.key)).items

        run(engine, scenario)

    def test_a_job_becomes_a_model(self, engine: Engine) -> None:
        """A job succeeds: model, tokens, events oldest first, checkpoints by step, results as CSV, and the model answers."""

        async def scenario() -> None:
            job = await self._finished(engine, await engine.create_job(await self._request(engine)))
            assert job.status is JobStatus.SUCCEEDED, job.error
            assert job.error is None
            assert job.model
            assert job.finished_at is not None
            events = await engine.events(job.id)
            assert events.complete
            assert events.items
            times = [event.time for event in events.items]
            assert times == sorted(times)
            steps = [event.data["step"] for event in events.items if event.type == "metrics"]
            assert steps == sorted(steps)
            checkpoints = await engine.checkpoints(job.id)
            assert [one.step for one in checkpoints] == sorted({one.step for one in checkpoints})
            for name in job.result_files:
                assert (await engine.content(name)).partition(b",")[0] == b"step"
            if engine.profile.deployment is None:
                await self._answers(engine, job.model)

        run(engine, scenario)

    def test_a_job_can_be_cancelled(self, engine: Engine) -> None:
        """A cancelled job ends as cancelled; one that was faster is refused."""

        async def scenario() -> None:
            bought = await engine.create_job(await self._request(engine))
            try:
                await engine.cancel(bought.id)
            except Refused:
                expected = {JobStatus.SUCCEEDED}
            else:
                expected = {JobStatus.CANCELLED, JobStatus.SUCCEEDED}
            assert (await self._finished(engine, bought)).status in expected

        run(engine, scenario)

    def test_a_paused_job_goes_on(self, engine: Engine) -> None:
        """A job that was paused and resumed ends like any other."""

        async def scenario() -> None:
            bought = await engine.create_job(await self._request(engine))
            if engine.profile.pause:
                with contextlib.suppress(Refused):
                    assert not (await engine.pause(bought.id)).status.terminal
                    await engine.resume(bought.id)
            assert (await self._finished(engine, bought)).status is JobStatus.SUCCEEDED

        run(engine, scenario)

    async def _upload(self, engine: Engine) -> ObservedFile:
        name = f"conformance.{secrets.token_hex(6)}.jsonl"
        return await engine.upload(name=name, content=io.BytesIO(self.rows), purpose="fine-tune")

    async def _request(self, engine: Engine, *, training_file: str | None = None) -> JobRequest:
        key = secrets.token_hex(32)
        job = DesiredJob(
            address="conformance",
            experiment="conformance",
            engine=engine.profile.name,
            scope=engine.scope,
            base_model=self.base_model,
            train="conformance",
            hyperparameters=dict(self.hyperparameters),
            seed=7 if engine.profile.seed else None,
            suffix="conformance" if engine.profile.suffix_max else None,
        )
        body = job_body(
            job,
            profile=engine.profile,
            base_model_name=self.base_model,
            training_file=training_file or (await self._upload(engine)).id,
            validation_file=None,
            project="conformance",
            key=key,
            attempt=1,
        )
        return JobRequest(key=key, attempt=1, body=body)

    async def _dropped(self, engine: Engine, job: ObservedJob) -> None:
        """Train no further what nobody waits for."""
        with contextlib.suppress(Refused):
            await engine.cancel(job.id)

    async def _finished(self, engine: Engine, job: ObservedJob) -> ObservedJob:
        import asyncio

        async with asyncio.timeout(self.seconds):
            while True:
                seen = await engine.job(job.id)
                assert seen is not None
                if seen.status.terminal:
                    return seen
                await asyncio.sleep(0.05)

    async def _answers(self, engine: Engine, model: str) -> None:
        messages = [{"role": "user", "content": "it crashes, please"}]
        answer = await engine.chat(model=model, messages=messages, temperature=0, max_tokens=8)
        assert answer.text
        assert answer.finish_reason in {"stop", "length"}
        streamed = [piece async for piece in engine.chat_stream(model=model, messages=messages, temperature=0, max_tokens=8)]
        assert "".join("".join(streamed).split()) == "".join(answer.text.split())
        assert model in [one["id"] for one in await engine.models()]


def run(engine: Engine, scenario: Callable[[], Awaitable[None]]) -> None:
    """Run a scenario in an event loop of its own and close the engine."""
    import asyncio

    async def whole() -> None:
        try:
            await scenario()
        finally:
            await engine.aclose()

    asyncio.run(whole())
