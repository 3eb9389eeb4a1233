"""The server in process and over a port, against the same SDK calls to an app that does nothing.

    python benchmarks/server.py

Prints ratios measured in one run: how much the real server adds to a call of the SDK, how an
upload compares with writing and hashing the bytes, and how long a grid of twelve jobs trains.
"""
# ruff: noqa: TID253, S311, ASYNC110 a script: it imports what it measures, and polls as clients do

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import openai
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from ftspec.server.inprocess import BASE_URL, sandbox_app

CALLS = 300
UPLOAD_MIB = 64
WORDS = {
    "Billing": "card invoice refund charge",
    "Login": "password locked account sign",
    "Bug": "crash error screen blank",
    "Praise": "love great thanks best",
}
JOB = {
    "id": "ftjob-1",
    "object": "fine_tuning.job",
    "created_at": 1,
    "model": "m",
    "status": "queued",
    "organization_id": "o",
    "result_files": [],
    "seed": 1,
    "training_file": "f",
    "hyperparameters": {},
}


def bare_app() -> Starlette:
    content = json.dumps(JOB).encode()

    async def answer(_: Any) -> Response:
        return Response(content, media_type="application/json")

    return Starlette(routes=[Route("/v1/fine_tuning/jobs", answer, methods=["POST"]), Route("/v1/fine_tuning/jobs/{job_id}", answer)])


def client(app: Any) -> openai.AsyncOpenAI:
    transport = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app))
    return openai.AsyncOpenAI(api_key="none", base_url=BASE_URL, http_client=transport, max_retries=0)


async def per_call(call: Callable[[int], Awaitable[Any]]) -> float:
    await call(-1)
    times = []
    for block in range(3):
        started = time.perf_counter()
        for number in range(CALLS):
            await call(block * CALLS + number)
        times.append((time.perf_counter() - started) / CALLS)
    return min(times)


def rows(count: int, seed: int) -> bytes:
    chance, labels, words = random.Random(seed), list(WORDS), [word for words in WORDS.values() for word in words.split()]
    lines = []
    for _ in range(count):
        label = chance.choice(labels)
        text = " ".join([*chance.sample(WORDS[label].split(), 2), *chance.sample(words, 3)])
        messages = [{"role": "user", "content": text}, {"role": "assistant", "content": label}]
        lines.append(json.dumps({"messages": messages}))
    return "\n".join(lines).encode()


async def calls(sdk: openai.AsyncOpenAI, bare: openai.AsyncOpenAI) -> None:
    file = await sdk.files.create(file=("rows.jsonl", rows(12, 1)), purpose="fine-tune")
    job = await sdk.fine_tuning.jobs.create(model="sandbox-nano", training_file=file.id, hyperparameters={"n_epochs": 1})
    while (await sdk.fine_tuning.jobs.retrieve(job.id)).status != "succeeded":
        await asyncio.sleep(0.01)
    base = await per_call(lambda _: bare.fine_tuning.jobs.retrieve("ftjob-1"))
    real = await per_call(lambda _: sdk.fine_tuning.jobs.retrieve(job.id))
    print(f"retrieve, in process: {1e3 * real:.2f} ms, {real / base:.2f} x an app that does nothing ({1e3 * base:.2f} ms)")
    base = await per_call(lambda _: bare.fine_tuning.jobs.create(model="m", training_file="f"))
    repeat = {"metadata": {"ftspec_key": "k"}}
    real = await per_call(lambda _: sdk.fine_tuning.jobs.create(model="sandbox-nano", training_file=file.id, **repeat))
    print(f"create, repeated, in process: {1e3 * real:.2f} ms, {real / base:.2f} x an app that does nothing ({1e3 * base:.2f} ms)")
    started = time.perf_counter()
    for number in range(50):
        await sdk.fine_tuning.jobs.create(
            model="sandbox-nano", training_file=file.id, hyperparameters={"n_epochs": 1}, metadata={"ftspec_key": f"new {number}"}
        )
    print(f"create, new and durable, in process, with training under way: {(time.perf_counter() - started) / 50 * 1e3:.2f} ms")
    question = [{"role": "user", "content": "card refund"}]
    answer = await per_call(lambda _: sdk.chat.completions.create(model="sandbox-nano", messages=question))
    print(f"chat completion, in process: {1e3 * answer:.2f} ms")


async def upload(sdk: openai.AsyncOpenAI, folder: Path) -> None:
    source = folder / "large.jsonl"
    source.write_bytes(os.urandom(1 << 20) * UPLOAD_MIB)
    started = time.perf_counter()
    digest = hashlib.sha256()
    with source.open("rb") as read, (folder / "copy").open("wb") as write:
        while block := read.read(1 << 20):
            digest.update(block)
            write.write(block)
        os.fsync(write.fileno())
    base = time.perf_counter() - started
    started = time.perf_counter()
    with source.open("rb") as read:
        await sdk.files.create(file=("large.jsonl", read), purpose="fine-tune")
    real = time.perf_counter() - started
    print(f"upload of {UPLOAD_MIB} MiB, in process: {UPLOAD_MIB / real:.0f} MiB/s, {real / base:.1f} x hash, write and sync of the bytes")


async def grid(sdk: openai.AsyncOpenAI) -> None:
    training, validation = [
        await sdk.files.create(file=("rows.jsonl", rows(count, seed)), purpose="fine-tune") for count, seed in ((250, 1), (30, 2))
    ]
    started = time.perf_counter()
    jobs = [
        await sdk.fine_tuning.jobs.create(
            model=model, training_file=training.id, validation_file=validation.id, seed=seed, hyperparameters={"n_epochs": epochs}
        )
        for model in ("sandbox-mini", "sandbox-small")
        for epochs in (1, 3)
        for seed in (1, 2, 3)
    ]
    while not all([(await sdk.fine_tuning.jobs.retrieve(job.id)).status == "succeeded" for job in jobs]):
        await asyncio.sleep(0.05)
    print(f"grid of 12 jobs, 250 rows, 1 and 3 epochs: {time.perf_counter() - started:.2f} s from the first request to the last result")


def over_a_port(root: Path) -> None:
    serve = "from ftspec.cli.serve import command; command()"
    arguments = [sys.executable, "-c", serve, "--no-auth", "--port", "0", "--root", str(root)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    with openai.OpenAI(api_key="none", base_url=process.stdout.readline().strip(), max_retries=0) as sdk:
        sdk.models.list()
        started = time.perf_counter()
        for _ in range(CALLS):
            sdk.models.retrieve("sandbox-nano")
        each = (time.perf_counter() - started) / CALLS
    print(f"retrieve a model, over a port: {1 / each:.0f} calls a second, one after another (25 with Nagle's algorithm)")
    process.terminate()
    process.wait()


async def main(root: Path) -> None:
    with sandbox_app(root / "server") as app:
        sdk = client(app)
        await calls(sdk, client(bare_app()))
        await upload(sdk, root)
        await grid(sdk)
    over_a_port(root / "port")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder)))
