"""Hostile content by name, and readers that refuse it: what somebody might commit or send to fill memory, time or a screen."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ftspec.diagnostics import FtspecError
from ftspec.testing.fuzz.targets import records, replies

MIB = 1 << 20
Reader = Callable[[bytes], str]

VALUES: dict[str, Callable[[], bytes]] = {
    "brackets": lambda: b"[" * MIB,
    "closed brackets": lambda: b"[" * 100_000 + b"]" * 100_000,
    "braces": lambda: b'{"a":' * 200_000,
    "closed braces": lambda: b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a long text": lambda: b'"' + b"x" * (8 * MIB) + b'"',
    "a long escaped text": lambda: b'"' + b"\\u0041" * MIB + b'"',
    "a long number": lambda: b"9" * MIB,
    "a long fraction": lambda: b"0." + b"9" * MIB,
    "a long exponent": lambda: b"1e" + b"9" * MIB,
    "many members": lambda: b"{" + b",".join(b'"k%d":%d' % (i, i) for i in range(100_000)) + b"}",
    "one member many times": lambda: b"{" + b'"a":1,' * 200_000 + b'"a":1}',
    "many elements": lambda: b"[" + b"0," * 500_000 + b"0]",
    "many empty objects": lambda: b"[" + b"{}," * 100_000 + b"{}]",
    "half a character": lambda: b'"\\ud800"',
    "half a character in bytes": lambda: b'"\xed\xa0\x80"',
    "NaN": lambda: b"NaN",
    "beyond a double": lambda: b"1e999",
    "an escape": lambda: b'"\\u001b[2J\\u202e::set-output name=x::y"',
    "a raw escape": lambda: b'"\x1b[2J"',
}
"""Values that stand alone, and within a valid object."""

WHOLE: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "only a byte order mark": lambda: b"\xef\xbb\xbf",
    "NUL": lambda: bytes(MIB),
    "not UTF-8": lambda: b"\xff" * MIB,
    "UTF-16": lambda: '{"a": 1}'.encode("utf-16") * 1000,
    "blank lines": lambda: b"\n" * MIB,
    "carriage returns": lambda: b"\r" * MIB,
    "many small lines": lambda: b"{}\n" * 50_000,
    "conflict markers": lambda: b"<<<<<<< a\n=======\n>>>>>>> b\n" * 20_000,
    "a long line": lambda: b"x" * (10 * MIB),
    "gzip": lambda: gzip.compress(bytes(16 * MIB)),
    "HTML": lambda: b"<!doctype html><html>" + b"<p>" * 100_000,
}

AROUND: dict[str, tuple[bytes, bytes]] = {
    "state": (b'{"key":"a","address":"x","engine":"e","scope":"s","attempts":[{"number":1,"status":"intent","requested":', b"}]}\n"),
    "facts": (b'{"seq":0,"fact":"job","key":"a","at":"2026-11-20T10:00:00.000Z","attempt":1,"values":{"requested":', b"}}\n"),
    "dataset": (b'{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y"}],"a":', b"}\n"),
    "plan file": (json.dumps({**records.PLAN, "options": {}}).encode()[:-1] + b',"options":{"var":', b"}}"),
    "lockfile": (b'{"format":1,"jobs":{"a":', b"}}"),
    "trust": (b'{"format_version":1,"origins":{"https://a.example":', b"}}"),
    "reply": (b'{"id":"ftjob-1","object":"fine_tuning.job","status":', b"}"),
    "stream": (b'data: {"choices":[{"delta":{"content":', b"}}]}\n\n"),
    "export": (b'{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":', b"}]}\n"),
    "result file": (b"step,train_loss\n1,", b"\n"),
    "request": (b'{"model":"sandbox-nano","training_file":"file-1","metadata":', b"}"),
}
"""What stands before and after a value, for each reader."""


def corpus(reader: str) -> Iterator[tuple[str, bytes]]:
    """Yield hostile content for a reader, by name; made when it is needed, so that it is not there before."""
    for name, make in WHOLE.items():
        yield name, make()
    before, after = AROUND[reader]
    for name, make in VALUES.items():
        yield name, make()
        yield f"{name}, inside", before + make() + after


def _told(*problems: Any) -> str:
    return "; ".join(f"{one.code}: {one.message}" for one in problems)[:500]


def _state(folder: Path, *, name: str, sign: Callable[[bytes], bytes] = bytes) -> Reader:
    from ftspec.state.jsonl import JsonlState

    path = folder / "state" / name
    path.parent.mkdir(parents=True)

    def read(content: bytes) -> str:
        path.write_bytes(sign(content))
        return _told(*JsonlState(folder / "state").read()[1])

    return read


def _dataset(folder: Path) -> Reader:
    from ftspec.data.digest import digest
    from ftspec.experiment import DesiredDataset

    def read(content: bytes) -> str:
        (folder / "rows.jsonl").write_bytes(content)
        return _told(*digest(DesiredDataset(name="rows", path="rows.jsonl"), root=folder)[1])

    return read


def _raising(function: Callable[[bytes], Any]) -> Reader:
    def read(content: bytes) -> str:
        try:
            function(content)
        except FtspecError as error:
            return error.message[:500]
        return ""

    return read


def _plan_file(folder: Path) -> Reader:
    from ftspec.planner.saved import load

    return _raising(load)


def _lockfile(folder: Path) -> Reader:
    from ftspec.state.lockfile import parse

    return lambda content: _told(*parse(content)[1])


def _trust(folder: Path) -> Reader:
    from ftspec.engines.trust import TrustStore

    def load(content: bytes) -> None:
        path = folder / "trust.json"
        path.write_bytes(content)
        path.chmod(0o600)
        list(TrustStore(path))

    return _raising(load)


def _export(folder: Path) -> Reader:
    from ftspec.data.importers import all_importers
    from ftspec.data.importers.collecting import Wish, collect_calls
    from ftspec.data.importers.reading import records_of

    def load(content: bytes) -> None:
        path = folder / "export.jsonl"
        path.write_bytes(content)
        wish = Wish(output=folder / "out.jsonl", force=True)
        collect_calls(all_importers()["chat"].read(records_of(path)), wish, provenance={})

    return _raising(load)


def _result(folder: Path) -> Reader:
    from ftspec.engines.result_csv import read_result

    return lambda content: f"{len(read_result(content))} steps"


class _App:
    """Answers everything with one body."""

    body = b""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": self.body})


def _reply(folder: Path, *, stream: bool = False) -> Reader:
    from ftspec.engines.base import EngineError

    app, runner = _App(), asyncio.Runner()

    async def ask() -> str:
        one = replies.engine(app)
        try:
            if stream:
                return f"{len([text async for text in one.chat_stream(model='m', messages=[])])} texts"
            return repr(await one.job("ftjob-1"))[:500]
        except EngineError as error:
            return error.message
        finally:
            await one.aclose()

    def read(content: bytes) -> str:
        app.body = content
        return str(runner.run(ask()))

    return read


def _request(folder: Path) -> Reader:
    from ftspec.server.inprocess import sandbox_app
    from ftspec.testing.fuzz.targets.requests import called

    app, runner = sandbox_app(folder / "server"), asyncio.Runner()
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "root_path": "", "client": None, "method": "POST",
        "path": "/v1/fine_tuning/jobs", "raw_path": b"", "query_string": b"", "headers": [], "server": ("127.0.0.1", 80),
    }  # fmt: skip

    def read(content: bytes) -> str:
        status, body = runner.run(called(app, scope, content))
        assert 400 <= status < 500, body[:300]
        return body[:500].decode()

    return read


READERS: dict[str, Callable[[Path], Reader]] = {
    "state": partial(_state, name="jobs.jsonl"),
    "facts": partial(_state, name="log/20261120T141121150Z-00000000.jsonl", sign=records.signed),
    "dataset": _dataset,
    "plan file": _plan_file,
    "lockfile": _lockfile,
    "trust": _trust,
    "reply": _reply,
    "stream": partial(_reply, stream=True),
    "export": _export,
    "result file": _result,
    "request": _request,
}
