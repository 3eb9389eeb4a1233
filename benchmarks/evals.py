"""How fast an eval runs, against a bare asyncio loop over the same SDK.

    python benchmarks/evals.py [--samples N] [--connections N] [--rounds N]

One process asks one server in another process, which answers at once. CPU seconds of this
process; rounds alternate and the best of each counts, so that the ratio holds where seconds do
not. SPEED wants at most 1.3, and memory that does not grow with the samples.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import resource
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ftspec.engines.account import Account
from ftspec.engines.client import WireEngine
from ftspec.engines.origin import parse_base_url
from ftspec.engines.profiles import load_profiles
from ftspec.evals.items import eval_items
from ftspec.evals.runner import EvalTask, RunOptions, run_eval
from ftspec.evals.samples import SampleStore
from ftspec.experiment import DesiredEval

EXACT = {"type": "string_check", "operation": "eq", "input": "{{sample.output_text}}", "reference": "{{item.reference}}"}
COMPLETION = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "logprobs": None, "message": {"role": "assistant", "content": "a0", "refusal": None}}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10},
}  # fmt: skip


def rows(samples: int) -> Iterator[bytes]:
    for i in range(samples):
        messages = [
            {"role": "user", "content": f"Question number {i}, of a usual length for a support ticket"},
            {"role": "assistant", "content": f"a{i % 3}"},
        ]
        yield json.dumps({"messages": messages}).encode()


def serve(port: Any) -> None:
    """Answer every request with the same completion."""
    body = json.dumps(COMPLETION).encode()
    reply = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    port.put(listener.getsockname()[1])

    def answer(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                received = connection.recv(2**16)
                if not received:
                    return
                data += received
            head, _, rest = data.partition(b"\r\n\r\n")
            length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
            while len(rest) < length:
                rest += connection.recv(2**16)
            data = rest[length:]
            connection.sendall(reply)

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


async def bare(base_url: str, samples: int, connections: int) -> int:
    """Ask every question with the SDK alone and compare the answers."""
    import openai

    client = openai.AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0)
    source, right = rows(samples), 0

    async def worker() -> None:
        nonlocal right
        for line in source:
            *messages, answer = json.loads(line)["messages"]
            reply = await client.chat.completions.create(model="m", messages=messages, temperature=0)
            right += reply.choices[0].message.content == answer["content"]

    await asyncio.gather(*(worker() for _ in range(connections)))
    await client.close()
    return right


async def ours(base_url: str, samples: int, connections: int) -> int:
    """Run the same as an eval: every sample on disk, with intervals at the end."""
    origin, _ = parse_base_url(base_url)
    engine = WireEngine(Account(origin=origin, base_url=base_url), profile=load_profiles()["openai-compatible"], scope="benchmark")
    given = DesiredEval(name="e", dataset="d", graders={"exact": EXACT}, sampling={"temperature": 0})
    with tempfile.TemporaryDirectory() as folder:
        task = EvalTask(eval=given, key="k", items=lambda: eval_items(rows(samples)), engine=engine, model="m", identity={"name": "m"})
        result = await run_eval(task, store=SampleStore(Path(folder)), options=RunOptions(connections=connections))
    await engine.aclose()
    return round(result.summary.scores["exact"]["mean"] * samples)


def timed(run: Any, *given: Any) -> tuple[float, int]:
    before = time.process_time()
    right = asyncio.run(run(*given))
    return time.process_time() - before, right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    port: Any = multiprocessing.Queue()
    server = multiprocessing.Process(target=serve, args=(port,), daemon=True)
    server.start()
    base_url = f"http://127.0.0.1:{port.get()}/v1"
    for run in (bare, ours):
        asyncio.run(run(base_url, 20, given.connections))
    seconds: dict[str, list[float]] = {"bare": [], "ours": []}
    for _ in range(given.rounds):
        for name, run in (("bare", bare), ("ours", ours)):
            cpu, right = timed(run, base_url, given.samples, given.connections)
            seconds[name].append(cpu)
            if right != -(-given.samples // 3):
                raise SystemExit(f"{name} found {right} right answers")
    ratio = min(seconds["ours"]) / min(seconds["bare"])
    print(
        f"{given.samples} samples    ours {min(seconds['ours']):.2f} s    bare SDK loop {min(seconds['bare']):.2f} s    ratio {ratio:.2f} (CPU)"
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    asyncio.run(ours(base_url, given.samples * 5, given.connections))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"{given.samples * 5} samples    grew {grown / 1024:.1f} MiB")
    server.kill()


if __name__ == "__main__":
    main()
