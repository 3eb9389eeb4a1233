"""How fast the client is, against the same SDK used as its documentation shows.

    python benchmarks/client.py [--jobs N] [--mebibytes N]

Everything in one run, in one process, against one in-memory server on loopback: ratios hold
where seconds do not. Prints what SPEED wants: buying, refreshing by pages, uploading, memory.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import resource
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from ftspec.engines.account import Account
from ftspec.engines.base import JobRequest
from ftspec.engines.client import WireEngine
from ftspec.engines.origin import parse_base_url
from ftspec.engines.profiles import load_profiles


class Server:
    """Answers from memory as fast as a thread and a socket can: no parsing beyond lengths."""

    def __init__(self, jobs: int) -> None:
        job = {"id": "ftjob-0", "object": "fine_tuning.job", "model": "m", "created_at": 1, "finished_at": None, "fine_tuned_model": None}
        job |= {
            "organization_id": "o",
            "result_files": [],
            "status": "succeeded",
            "validation_file": None,
            "training_file": "file-1",
            "error": {},
        }
        job |= {
            "hyperparameters": {"n_epochs": 3, "batch_size": 1},
            "trained_tokens": 1000,
            "seed": 1,
            "metadata": {"ftspec_key": "k" * 64},
        }
        job |= {"method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}}}
        pages = [[{**job, "id": f"ftjob-{number}"} for number in range(start, min(start + 100, jobs))] for start in range(0, jobs, 100)]
        self.pages = [_reply({"object": "list", "data": page, "has_more": number + 1 < len(pages)}) for number, page in enumerate(pages)]
        self.job = _reply(job)
        self.file = _reply(
            {"id": "file-1", "object": "file", "bytes": 1, "filename": "a", "purpose": "fine-tune", "created_at": 1, "status": "processed"}
        )
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def base_url(self) -> str:
        """What clients are given."""
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}/v1"

    def _accept(self) -> None:
        while True:
            connection, _ = self.listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        data, buffer = b"", bytearray(2**20)
        while True:
            while b"\r\n\r\n" not in data:
                received = connection.recv(2**16)
                if not received:
                    return
                data += received
            head, _, rest = data.partition(b"\r\n\r\n")
            length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
            left = length - len(rest)
            while left > 0:
                left -= connection.recv_into(buffer, min(len(buffer), left))
            data = rest[length:] if len(rest) > length else b""
            connection.sendall(self._answer(head.split(b"\r\n")[0]))

    def _answer(self, line: bytes) -> bytes:
        if line.startswith(b"POST /v1/files"):
            return self.file
        if line.startswith(b"GET /v1/fine_tuning/jobs?"):
            after = line.partition(b"after=ftjob-")[2].split(b" ")[0].split(b"&")[0]
            return self.pages[(int(after) + 1) // 100 if after else 0]
        return self.job


def _reply(value: Any) -> bytes:
    import json

    body = json.dumps(value).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


def engine_at(server: Server) -> WireEngine:
    origin, _ = parse_base_url(server.base_url)
    return WireEngine(Account(origin=origin, base_url=server.base_url), profile=load_profiles()["openai-compatible"], scope="benchmark")


class Clock:
    """Wall and CPU seconds of a block, the server's threads included in the latter."""

    def __enter__(self) -> Clock:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall, self.cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu


async def buying(server: Server, jobs: int) -> tuple[Clock, Clock]:
    import openai

    body = {"model": "m", "training_file": "file-1", "metadata": {"ftspec_key": "k" * 64}}
    engine, sdk = engine_at(server), openai.AsyncOpenAI(base_url=server.base_url, api_key="none", max_retries=0)
    await engine.create_job(JobRequest(key="k" * 64, attempt=1, body=body))
    await sdk.fine_tuning.jobs.create(**body)
    with Clock() as ours:
        for _ in range(jobs):
            await engine.create_job(JobRequest(key="k" * 64, attempt=1, body=body))
    with Clock() as theirs:
        for _ in range(jobs):
            await sdk.fine_tuning.jobs.create(**body)
    await engine.aclose()
    await sdk.close()
    return ours, theirs


async def refreshing(server: Server) -> tuple[Clock, Clock, int]:
    import openai

    engine, sdk = engine_at(server), openai.AsyncOpenAI(base_url=server.base_url, api_key="none", max_retries=0)
    await engine.job("ftjob-0")
    await sdk.fine_tuning.jobs.retrieve("ftjob-0")
    with Clock() as ours:
        listing = await engine.find_jobs()
    with Clock() as theirs:
        found = [job.id async for job in sdk.fine_tuning.jobs.list(limit=100)]
    if [job.id for job in listing.items] != found:
        sys.exit("the two clients found different jobs")
    await engine.aclose()
    await sdk.close()
    return ours, theirs, len(found)


async def uploading(server: Server, path: Path) -> tuple[Clock, Clock, int]:
    import hashlib

    import openai

    engine, sdk = engine_at(server), openai.AsyncOpenAI(base_url=server.base_url, api_key="none", max_retries=0)
    await engine.upload(name="a.jsonl", content=io.BytesIO(b"x"), purpose="fine-tune")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    digest = hashlib.sha256()

    class Hashing(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:  # type: ignore[override]
            block = super().read(size if size is not None else -1) or b""
            digest.update(block)
            return block

    with Clock() as ours, Hashing(path) as file:
        await engine.upload(name="a.jsonl", content=file, purpose="fine-tune")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    with Clock() as theirs, path.open("rb") as file:
        await sdk.files.create(file=file, purpose="fine-tune")
    await engine.aclose()
    await sdk.close()
    return ours, theirs, grown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=10_000, help="jobs in the list that is refreshed")
    parser.add_argument("--mebibytes", type=int, default=480, help="size of the upload (one request)")
    given = parser.parse_args()
    with Clock() as importing:
        import openai  # noqa: F401 to be timed
    server = Server(given.jobs)
    print(f"import openai           {importing.wall:6.2f} s")
    ours, theirs = asyncio.run(buying(server, 500))
    print(f"buy one after another   {500 / ours.wall:6.0f} /s   SDK {500 / theirs.wall:6.0f} /s   ratio {theirs.wall / ours.wall:.2f}")
    ours, theirs, found = asyncio.run(refreshing(server))
    print(
        f"refresh {found:6} jobs     {ours.cpu:6.2f} s    SDK {theirs.cpu:6.2f} s    ratio {ours.cpu / theirs.cpu:.2f} (CPU, server included)"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl"
        with path.open("wb") as file:
            for _ in range(given.mebibytes):
                file.write(b"x" * 2**20)
        ours, theirs, grown = asyncio.run(uploading(server, path))
    print(
        f"upload {given.mebibytes} MiB          {given.mebibytes / ours.wall:6.0f} MiB/s, SHA-256 included; grew {grown / 1024:.0f} MiB"
        f"   SDK {given.mebibytes / theirs.wall:6.0f} MiB/s without   ratio {ours.wall / theirs.wall:.2f}"
    )


if __name__ == "__main__":
    main()
