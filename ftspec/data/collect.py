"""Collect calls of the `openai` client into a dataset, without breaking or slowing them.

    client = ftspec.collect(OpenAI(), "tickets")
    client.chat.completions.create(...)              # as before; also async and streamed

The given client is not touched: a copy of it collects. Each finished call becomes a row of
`data/collected/tickets.jsonl`, in the form of a chat dataset with `metadata` (model, time, id,
digest of the system prompt, tags). The caller only pays for putting a reference into a queue; a
thread of this process makes the row and appends it under a file lock, so many threads and processes can
collect into one file. Whatever goes wrong while collecting is dropped and counted
(`collected`), never raised. Answers that were cut off, refused or broken off are not collected.
"""

from __future__ import annotations

import atexit
import copy
import datetime as dt
import functools
import hashlib
import os
import queue
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from ftspec.data.importers.messages import messages_of
from ftspec.data.importers.normal import tools_of

C = TypeVar("C")

FOLDER = Path("data") / "collected"
"""Where rows go unless `folder` or the variable `FTSPEC_COLLECT` says otherwise."""

WAITING = 10_000
"""How many calls may wait for the thread; further ones are dropped and counted."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}\Z")
_GOOD_ENDS = {"stop", "tool_calls", "function_call", None}
_REQUEST = ("messages", "tools", "parallel_tool_calls")


@dataclass(slots=True)
class Collected:
    """What became of the calls of this process: rows written, calls that are no rows, calls lost to trouble."""

    written: int = 0
    skipped: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    path: Path
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    redact: bool = False
    keep: Callable[[dict[str, Any]], bool] | None = None


def collect(
    client: C,
    dataset: str,
    *,
    folder: str | os.PathLike[str] | None = None,
    tags: Sequence[str] = (),
    metadata: Mapping[str, Any] | None = None,
    redact: bool = False,
    keep: Callable[[dict[str, Any]], bool] | None = None,
) -> C:
    """Return a copy of an `OpenAI` or `AsyncOpenAI` client whose chat calls are collected under a dataset's name.

    `tags` and `metadata` are noted with each row; `redact` replaces secrets and personal data;
    `keep` gets each row and says whether it is written (it runs in the collecting thread).
    """
    if not _NAME.match(dataset):
        raise ValueError("a dataset's name consists of letters, digits, `_`, `.` and `-`, and starts with a letter")
    home = Path(folder) if folder is not None else Path(os.environ.get("FTSPEC_COLLECT") or FOLDER)
    path = (home / f"{dataset}.jsonl").absolute()
    return _collecting(client, _Wish(path=path, tags=tuple(tags), metadata=dict(metadata or {}), redact=redact, keep=keep))


def collected_datasets(folder: str | os.PathLike[str] | None = None) -> dict[str, Path]:
    """Return the files that were collected, by dataset name."""
    home = Path(folder) if folder is not None else Path(os.environ.get("FTSPEC_COLLECT") or FOLDER)
    return {path.stem: path for path in sorted(home.glob("*.jsonl"))}


def collected() -> Collected:
    """Return what became of the calls of this process so far."""
    return _counts


def flush(timeout: float = 5.0) -> bool:
    """Wait until every call so far is written; return whether that was so within `timeout` seconds."""
    return _writer.wait(timeout)


def _collecting(client: C, wish: _Wish) -> C:
    make_copy = getattr(client, "copy", None)
    clone: Any = make_copy() if callable(make_copy) else copy.copy(client)
    chat: Any = copy.copy(clone.chat)
    completions: Any = copy.copy(chat.completions)
    for name in ("create", "parse"):
        if (function := getattr(completions, name, None)) is not None:
            setattr(completions, name, _watched(function, wish))
    for shadow in ("with_raw_response", "with_streaming_response"):
        chat.__dict__.pop(shadow, None)
        completions.__dict__.pop(shadow, None)
    chat.__dict__["completions"] = completions
    clone.__dict__["chat"] = chat
    for name in ("copy", "with_options"):
        if (again := getattr(clone, name, None)) is not None:
            clone.__dict__[name] = _copying(again, wish)
    return cast("C", clone)


def _copying(function: Callable[..., Any], wish: _Wish) -> Callable[..., Any]:
    @functools.wraps(function)
    def copied(*args: Any, **kwargs: Any) -> Any:
        return _collecting(function(*args, **kwargs), wish)

    return copied


def _watched(function: Callable[..., Any], wish: _Wish) -> Callable[..., Any]:
    """Return the method of the client, with a look at what it was given and what it returned."""
    import inspect

    if inspect.iscoroutinefunction(inspect.unwrap(function)):

        @functools.wraps(function)
        async def asked_async(*args: Any, **kwargs: Any) -> Any:
            asked = _snapshot(kwargs)
            return _note(await function(*args, **kwargs), asked, wish)

        return asked_async

    @functools.wraps(function)
    def asked_sync(*args: Any, **kwargs: Any) -> Any:
        asked = _snapshot(kwargs)
        return _note(function(*args, **kwargs), asked, wish)

    return asked_sync


def _snapshot(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return what the call is about to ask: the caller may change its messages while or after it is sent."""
    with suppress(Exception):
        if not isinstance(kwargs.get("messages"), (list, tuple)) and "messages" in kwargs:
            kwargs["messages"] = list(kwargs["messages"])
        asked = {name: kwargs[name] for name in _REQUEST if name in kwargs}
        asked["messages"] = [dict(one) if isinstance(one, dict) else one for one in asked["messages"]]
        return asked
    return {}


def _note(answer: Any, asked: dict[str, Any], wish: _Wish) -> Any:
    """Have an answer collected and return it. Nothing in here may disturb the caller."""
    with suppress(Exception):
        inner = getattr(answer, "_iterator", None)
        if inner is not None:
            tee = _async_tee(inner, asked, wish) if hasattr(inner, "__anext__") else _tee(inner, asked, wish)
            answer._iterator = tee  # noqa: SLF001 so that the stream stays an openai.Stream
        elif hasattr(answer, "choices"):
            _writer.put(_Noted(asked, answer, wish, time.time()))
    return answer


def _tee(chunks: Iterator[Any], asked: dict[str, Any], wish: _Wish) -> Iterator[Any]:
    seen = []
    for chunk in chunks:
        seen.append(chunk)
        yield chunk
    _writer.put(_Noted(asked, seen, wish, time.time()))


async def _async_tee(chunks: AsyncIterator[Any], asked: dict[str, Any], wish: _Wish) -> AsyncIterator[Any]:
    seen = []
    async for chunk in chunks:
        seen.append(chunk)
        yield chunk
    _writer.put(_Noted(asked, seen, wish, time.time()))


@dataclass(frozen=True, slots=True)
class _Noted:
    asked: dict[str, Any]
    answer: Any
    """A completion, or the chunks of a stream."""
    wish: _Wish
    at: float


class _Writer:
    """The thread of this process that turns calls into rows. It starts with the first call, again after a fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Start anew: a forked process has neither the thread nor the right to its parent's calls."""
        self._lock = threading.Lock()
        self._queue: queue.Queue[_Noted] = queue.Queue(maxsize=WAITING)
        self._thread: threading.Thread | None = None

    def put(self, noted: _Noted) -> None:
        with suppress(Exception):
            if self._thread is None:
                self._start()
            try:
                self._queue.put_nowait(noted)
            except queue.Full:
                _counts.dropped += 1

    def wait(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while self._queue.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.005)
        return not self._queue.unfinished_tasks

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, args=(self._queue,), name="ftspec-collect", daemon=True)
                self._thread.start()

    def _run(self, calls: queue.Queue[_Noted]) -> None:
        while True:
            noted = calls.get()
            try:
                row = _row(noted)
                if row is None:
                    _counts.skipped += 1
                else:
                    _append(noted.wish.path, msgspec.json.encode(row) + b"\n")
                    _counts.written += 1
            except Exception:  # noqa: BLE001 whatever it is, it must not reach the caller
                _counts.dropped += 1
            finally:
                calls.task_done()
                del noted


_counts = Collected()
_writer = _Writer()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_writer.forget)
atexit.register(flush)


def _append(path: Path, line: bytes) -> None:
    """Append one line in one piece, whoever else writes to the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        with suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX)
        start = os.lseek(descriptor, 0, os.SEEK_END)
        written = os.write(descriptor, line)
        if written != len(line):
            os.ftruncate(descriptor, start)  # a full disk must not leave half a row
            raise OSError("the row could not be written whole")
    finally:
        os.close(descriptor)


def _row(noted: _Noted) -> dict[str, Any] | None:
    """Return the row of a call, or `None` where there is nothing to learn from."""
    said = _assembled(noted.answer) if isinstance(noted.answer, list) else _plain(noted.answer)
    choices = said.get("choices") or [{}]
    first = choices[0]
    if first.get("finish_reason") not in _GOOD_ENDS:
        return None
    asked = messages_of([_plain(one) for one in noted.asked.get("messages", ())])
    answers = messages_of(first.get("message"), role="assistant")
    if not asked or not answers:
        return None
    row: dict[str, Any] = {"messages": [*asked, answers[-1]]}
    if tools := tools_of([_plain(one) for one in noted.asked.get("tools") or ()]):
        row["tools"] = tools
        if isinstance(parallel := noted.asked.get("parallel_tool_calls"), bool):
            row["parallel_tool_calls"] = parallel
    row["metadata"] = _about(noted, said, asked)
    if noted.wish.redact:
        from ftspec.data.repair import redacted_row

        row, _ = redacted_row(row)
    return row if noted.wish.keep is None or noted.wish.keep(row) else None


def _about(noted: _Noted, said: Mapping[str, Any], asked: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    about = {
        "model": said.get("model"),
        "id": said.get("id"),
        "time": dt.datetime.fromtimestamp(noted.at, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "tags": list(noted.wish.tags),
        **noted.wish.metadata,
    }
    prompt = next((one.get("content") for one in asked if one.get("role") in {"system", "developer"}), None)
    if isinstance(prompt, str):
        about["prompt_sha256"] = hashlib.sha256(prompt.strip().encode(errors="replace")).hexdigest()
    return {name: value for name, value in about.items() if value not in (None, [])}


def _plain(value: Any) -> Any:
    """Return a JSON value of the SDK's own objects."""
    dump = getattr(value, "model_dump", None)
    return dump(mode="json", exclude_none=True, warnings=False) if callable(dump) else value


def _assembled(chunks: Sequence[Any]) -> dict[str, Any]:
    """Return the completion that the chunks of a stream add up to."""
    said: dict[str, Any] = {}
    message: dict[str, Any] = {"role": "assistant", "content": None}
    calls: dict[int, dict[str, Any]] = {}
    reason = None
    for chunk in map(_plain, chunks):
        said |= {name: chunk[name] for name in ("id", "model") if chunk.get(name)}
        for choice in chunk.get("choices") or ():
            if choice.get("index", 0) != 0:
                continue
            reason = choice.get("finish_reason") or reason
            delta = choice.get("delta") or {}
            if delta.get("content"):
                message["content"] = (message["content"] or "") + delta["content"]
            for part in delta.get("tool_calls") or ():
                call = calls.setdefault(part.get("index", 0), {"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
                call["id"] = part.get("id") or call["id"]
                for name in ("name", "arguments"):
                    call["function"][name] += (part.get("function") or {}).get(name) or ""
    if calls:
        message["tool_calls"] = [calls[number] for number in sorted(calls)]
    ended = reason if reason is not None else "broken off"
    return {**said, "choices": [{"finish_reason": ended, "message": message}]}
