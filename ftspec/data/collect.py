"""Collect calls of the `openai` client into a dataset, without breaking or slowing them.

    client = ftspec.collect(OpenAI(), "tickets")
    client.responses.create(...)                     # as before; also chat completions, async and streamed

The given client is not touched: a shallow copy of it collects, of the same class and with the same connections.
Only its `post` and `get`, which every resource of the SDK goes through, are looked at, so that `create`, `parse`,
`stream`, `beta`, `with_raw_response`, `with_streaming_response`, `with_options` and any way to them behave as before.

Each finished call becomes a row of `data/collected/tickets.jsonl`, in the form of a chat dataset with `metadata`
(model, time, id, digest of the system prompt, tags). The caller only pays for a shallow look at what it asks and for
putting a reference into a queue; a thread of this process makes the row and appends it under a file lock, so many
threads and processes can collect into one file. Whatever goes wrong while collecting is dropped and counted
(`collected`), never raised. Answers that were cut off, refused or broken off are not collected, nor are turns that
lean on something that only the server has; they are counted by their reason.
"""

from __future__ import annotations

import copy
import functools
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, cast

from ftspec.data.collect_writer import Collected, Noted, Wish, writer

C = TypeVar("C")

FOLDER = Path("data") / "collected"
"""Where rows go unless `folder` or the variable `FTSPEC_COLLECT` says otherwise."""

LONGEST = 64 << 20
"""Bytes of one streamed answer that are kept; a longer one is dropped and counted."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}\Z")
_CALL = re.compile(r"(?:^|/)(?:chat/completions|responses)/?(?:\?|\Z)")
_OTHER_CALL = re.compile(r"(?:^|/)(?:completions|threads/runs|threads/[^/?]+/runs)/?(?:\?|\Z)")
_RETRIEVED = re.compile(r"(?:^|/)responses/[^/?]+/?(?:\?|\Z)")
_EVENT = re.compile(rb"(?<=\n\n)|(?<=\r\n\r\n)")
_BLANK = (b"\n\n", b"\r\n\r\n")
_LAST = re.compile(rb'[{,]\s*"(?:finish_reason"\s*:\s*"|type"\s*:\s*"response\.(?:completed|incomplete|failed)")')
"""In the event that ends an answer. Inside a text the quotes would be escaped."""
_REQUEST = (
    *("model", "n", "messages", "input", "instructions", "tools", "functions", "parallel_tool_calls"),
    *("previous_response_id", "conversation", "prompt", "store"),
)


def collect(
    client: C,
    dataset: str,
    *,
    folder: str | os.PathLike[str] | None = None,
    tags: Sequence[str] = (),
    metadata: Mapping[str, Any] | None = None,
    redact: bool = False,
    reasoning: bool = False,
    keep: Callable[[dict[str, Any]], bool] | None = None,
) -> C:
    """Return a copy of an `OpenAI`, `AsyncOpenAI` or Azure client whose calls are collected under a dataset's name.

    `tags` and `metadata` are noted with each row; `redact` replaces secrets and personal data;
    `reasoning` keeps what the model is told to have thought, as `reasoning_content`;
    `keep` gets each row and says whether it is written (it runs in the collecting thread).
    """
    if not _NAME.match(dataset):
        raise ValueError("a dataset's name consists of letters, digits, `_`, `.` and `-`, and starts with a letter")
    if isinstance(client, type) or not callable(getattr(client, "post", None)):
        raise TypeError("`collect` takes a client of the openai package, for example `OpenAI()`")
    path = (_home(folder) / f"{dataset}.jsonl").absolute()
    wish = Wish(path=path, tags=tuple(tags), metadata=dict(metadata or {}), redact=redact, reasoning=reasoning, keep=keep)
    return _collecting(client, wish)


def collected_datasets(folder: str | os.PathLike[str] | None = None) -> dict[str, Path]:
    """Return the files that were collected, by dataset name."""
    return {path.stem: path for path in sorted(_home(folder).glob("*.jsonl"))}


def collected() -> Collected:
    """Return what became of the calls of this process so far."""
    return writer.counts()


def flush(timeout: float = 5.0) -> bool:
    """Wait until every call so far is written; return whether that was so within `timeout` seconds."""
    return writer.wait(timeout)


def _home(folder: str | os.PathLike[str] | None) -> Path:
    return Path(folder) if folder is not None else Path(os.environ.get("FTSPEC_COLLECT") or FOLDER)


def _collecting(client: C, wish: Wish) -> C:
    clone: Any = copy.copy(client)
    mine = vars(clone)
    for name in [name for name in mine if isinstance(getattr(type(clone), name, None), functools.cached_property)]:
        del mine[name]  # resources that were made already go through the given client
    origin = str(getattr(clone, "base_url", ""))
    mine["post"] = _watched(clone.post, _asked, wish, origin)
    if callable(getattr(clone, "get", None)):
        mine["get"] = _watched(clone.get, _asked_before, wish, origin)
    for name in ("copy", "with_options"):
        if callable(again := getattr(clone, name, None)):
            mine[name] = _copying(again, wish)
    return cast("C", clone)


def _copying(function: Callable[..., Any], wish: Wish) -> Callable[..., Any]:
    @functools.wraps(function)
    def copied(*args: Any, **kwargs: Any) -> Any:
        return _collecting(function(*args, **kwargs), wish)

    return copied


def _watched(send: Callable[..., Any], asked_of: Callable[[str, Mapping[str, Any]], Any], wish: Wish, origin: str) -> Callable[..., Any]:
    """Return a method of the client that sends, with a look at what it was given and what it returned."""
    import inspect

    if inspect.iscoroutinefunction(inspect.unwrap(send)):

        @functools.wraps(send)
        async def sent_async(path: str, *args: Any, **kwargs: Any) -> Any:
            asked = asked_of(path, kwargs)
            answer = await send(path, *args, **kwargs)
            if asked is not None:
                _hear(answer, Noted(asked=asked, wish=wish, origin=origin, streamed=bool(kwargs.get("stream"))))
            return answer

        return sent_async

    @functools.wraps(send)
    def sent(path: str, *args: Any, **kwargs: Any) -> Any:
        asked = asked_of(path, kwargs)
        answer = send(path, *args, **kwargs)
        if asked is not None:
            _hear(answer, Noted(asked=asked, wish=wish, origin=origin, streamed=bool(kwargs.get("stream"))))
        return answer

    return sent


@contextmanager
def _unnoticed() -> Iterator[None]:
    """Let no trouble of collecting reach the caller."""
    try:
        yield
    except Exception:  # noqa: BLE001 whatever it is
        writer.drop()


def _asked(path: str, given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a call asks, `None` where it asks no model: the caller may change its messages while they are sent."""
    with _unnoticed():
        if _CALL.search(path):
            body = given.get("body")
            extra = (given.get("options") or {}).get("extra_json")
            body = {**(body if isinstance(body, Mapping) else {}), **(extra if isinstance(extra, Mapping) else {})}
            return {name: _copied(body[name]) for name in _REQUEST if name in body}
        if _OTHER_CALL.search(path):
            return {}
    return None


def _asked_before(path: str, _given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return that a response is fetched that may have been asked for earlier (`background`), `None` for anything else."""
    with _unnoticed():
        if writer.is_waited_for and _RETRIEVED.search(path):
            return {"retrieved": True}
    return None


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copied(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copied(inner) for inner in value]
    dump = getattr(value, "model_dump", None)
    return dump(mode="json", exclude_none=True) if callable(dump) else value


def _hear(answer: Any, noted: Noted) -> None:
    """Have an answer collected: an object at once, a stream or an unread answer when its bytes have been read."""
    with _unnoticed():
        if callable(getattr(answer, "model_dump", None)):
            writer.put(noted.with_answer(answer))
            return
        response = getattr(answer, "http_response", None) or getattr(answer, "response", None)
        if response is None:
            writer.put(noted.with_answer(None))
        elif response.is_stream_consumed or response.is_closed:
            writer.put(noted.with_answer([response.content]))
        else:
            _Listener(response, noted)


class _Listener:
    """Hears the bytes of one answer while the caller reads them, by whichever way: as events, lines, text or JSON.

    Every way of reading a response goes through `iter_bytes` (or `aiter_bytes`) of that one object. What was heard
    is told with the event that ends the answer (many callers stop there), when the bytes have ended, or when the
    caller closes or forgets the answer before.
    """

    def __init__(self, response: Any, noted: Noted) -> None:
        self._noted: Noted | None = noted
        self._heard: list[bytes] = []
        self._event: list[bytes] = []
        self._size = 0
        self._reading = False
        self._response = response
        ways: dict[str, Callable[..., Any]] = {
            "iter_bytes": self._iter,
            "aiter_bytes": self._aiter,
            "close": self._close,
            "aclose": self._aclose,
        }
        self._ways = {name: functools.partial(listening, getattr(response, name)) for name, listening in ways.items()}
        vars(response).update(self._ways)

    def _iter(self, original: Callable[..., Iterator[bytes]], *args: Any, **kwargs: Any) -> Iterator[bytes]:
        chunks = iter(original(*args, **kwargs))
        try:
            while True:
                self._reading = True
                try:
                    chunk = next(chunks)
                except StopIteration:
                    return
                finally:
                    self._reading = False
                for piece in self._pieces(chunk, args, kwargs):
                    self._hear(piece)
                    yield piece
        finally:
            self._tell()

    async def _aiter(self, original: Callable[..., AsyncIterator[bytes]], *args: Any, **kwargs: Any) -> AsyncIterator[bytes]:
        chunks = aiter(original(*args, **kwargs))
        try:
            while True:
                self._reading = True
                try:
                    chunk = await anext(chunks)
                except StopAsyncIteration:
                    return
                finally:
                    self._reading = False
                for piece in self._pieces(chunk, args, kwargs):
                    self._hear(piece)
                    yield piece
        finally:
            self._tell()

    def _close(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self._tell_unless_reading()
        return original(*args, **kwargs)

    async def _aclose(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self._tell_unless_reading()
        return await original(*args, **kwargs)

    def _tell_unless_reading(self) -> None:
        if not self._reading:  # a response closes itself when its last byte came in, before that byte is handed out
            self._tell()

    def _pieces(self, chunk: bytes, *given: Any) -> list[bytes]:
        """Return one event at a time, so that no more is heard than the caller was given before it went away."""
        split = self._noted is not None and self._noted.streamed and not any(given) and isinstance(chunk, bytes)
        return [piece for piece in _EVENT.split(chunk) if piece] if split else [chunk]

    def _hear(self, piece: bytes) -> None:
        noted = self._noted
        if noted is None:
            return
        try:
            self._size += len(piece)
            self._heard.append(piece)
            if noted.streamed and noted.asked.get("n") in (None, 1) and self._ends(piece):
                self._tell()
        except Exception:  # noqa: BLE001 whatever it is, the caller reads on
            self._size = LONGEST + 1
        if self._size > LONGEST and self._noted is not None:
            self._noted, self._heard = None, []
            writer.drop()

    def _ends(self, piece: bytes) -> bool:
        """Return whether a piece completes the event that ends the answer."""
        self._event.append(piece)
        if not piece.endswith(_BLANK):
            return False
        event = b"".join(self._event)
        self._event = []
        return _LAST.search(event) is not None

    def _tell(self) -> None:
        noted, self._noted = self._noted, None
        with _unnoticed():
            mine = vars(self._response)
            for name, way in self._ways.items():
                if mine.get(name) is way:
                    del mine[name]
            if noted is not None:
                writer.put(noted.with_answer(self._heard))


with suppress(AttributeError):
    os.register_at_fork(after_in_child=writer.forget)
