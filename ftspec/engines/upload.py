"""Sending files: streamed from an open handle, never read into memory as a whole.

One POST below `PART_THRESHOLD`; above it the `/uploads` protocol, where only the last request
(`complete`) makes a file, so that parts may be sent again and a failure before it bought nothing.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, TypeVar

from ftspec.engines import wire
from ftspec.engines.base import EngineError, NotSent, UnknownOutcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from typing import BinaryIO

    from ftspec.engines.base import ObservedFile
    from ftspec.engines.client import WireEngine

T = TypeVar("T")

PART_THRESHOLD = 512 * 10**6
"""What one request may hold at OpenAI and Foundry."""
PART = 16 * 2**20
BLOCK = 2**20
_PARTS_AT_ONCE = 4
_PART_TRIES = 4
_SLOWEST = 64 * 2**10
"""Bytes a second below which a connection counts as broken."""


async def upload(
    engine: WireEngine, *, name: str, content: BinaryIO, purpose: str, progress: Callable[[int], None] | None = None
) -> ObservedFile:
    """Send a file. Raises the outcomes of a purchase, and unchanged whatever reading `content` raises."""
    size = _size(content)
    if size > PART_THRESHOLD:
        return await _in_parts(engine, name=name, content=content, size=size, purpose=purpose, progress=progress)
    form = _Form(fields={"purpose": purpose}, filename=name, part="file", size=size)
    return await _post(engine, "/files", _Body(form, content, progress), lambda value: wire.file(value, clean=engine.clean))


class _Form:
    """A multipart form with one file at its end."""

    def __init__(self, *, fields: dict[str, str], filename: str, part: str, size: int) -> None:
        import secrets

        boundary = f"ftspec-{secrets.token_hex(16)}"
        lines = "".join(f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in fields.items())
        lines += f'--{boundary}\r\nContent-Disposition: form-data; name="{part}"; filename="{_header_safe(filename)}"\r\n'
        self.head = (lines + "Content-Type: application/octet-stream\r\n\r\n").encode()
        self.tail = f"\r\n--{boundary}--\r\n".encode()
        self.size = size
        self.headers = {
            "content-type": f"multipart/form-data; boundary={boundary}",
            "content-length": str(len(self.head) + size + len(self.tail)),
        }


class _Body:
    """The bytes of a form as they are sent; keeps what went wrong on our side."""

    def __init__(self, form: _Form, content: BinaryIO, progress: Callable[[int], None] | None) -> None:
        self.form = form
        self.failure: BaseException | None = None
        self._content = content
        self._progress = progress

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.form.head
        left = self.form.size
        while left:
            try:
                block = self._content.read(min(BLOCK, left))
                if not block:
                    msg = "the file became shorter while it was sent"
                    raise OSError(msg)  # noqa: TRY301 reading failed, whoever noticed
            except BaseException as error:
                self.failure = error
                raise
            left -= len(block)
            yield block
            if self._progress is not None:
                self._progress(len(block))
        yield self.form.tail


async def _post(engine: WireEngine, path: str, body: _Body, parse: Callable[[Any], T]) -> T:
    try:
        return await engine.purchase(
            path,
            parse,
            doing="the upload",
            seconds=engine.timeouts.upload + body.form.size / _SLOWEST,
            content=body,
            headers=body.form.headers,
        )
    except EngineError:
        if body.failure is not None:
            raise body.failure from None
        raise


async def _in_parts(
    engine: WireEngine, *, name: str, content: BinaryIO, size: int, purpose: str, progress: Callable[[int], None] | None
) -> ObservedFile:
    import asyncio
    import hashlib

    opened = {"filename": name, "bytes": size, "purpose": purpose, "mime_type": "application/jsonl"}
    upload_id = await _before_purchase(
        engine.purchase("/uploads", _upload_id, doing="the upload", seconds=engine.timeouts.upload, body=opened)
    )
    path = f"/uploads/{upload_id}"
    checksum = hashlib.md5(usedforsecurity=False)
    turns = asyncio.Semaphore(_PARTS_AT_ONCE)

    async def send(data: bytes) -> str:
        try:
            return await _part(engine, path, data, progress)
        finally:
            turns.release()

    try:
        async with asyncio.TaskGroup() as group:
            parts = []
            left = size
            while left:
                await turns.acquire()
                data = _exactly(content, min(PART, left))
                checksum.update(data)
                left -= len(data)
                parts.append(group.create_task(send(data)))
    except BaseExceptionGroup as errors:
        await _give_up(engine, path)
        raise errors.exceptions[0] from None
    complete = {"part_ids": [part.result() for part in parts], "md5": checksum.hexdigest()}
    return await engine.purchase(
        f"{path}/complete", lambda value: _completed(value, engine), doing="the upload", seconds=engine.timeouts.upload, body=complete
    )


async def _part(engine: WireEngine, path: str, data: bytes, progress: Callable[[int], None] | None) -> str:
    """Send one part, again if need be: a part that nobody completes buys nothing."""
    form = _Form(fields={}, filename="part", part="data", size=len(data))
    tries = 0
    while True:
        tries += 1
        try:
            found = await _before_purchase(_post(engine, f"{path}/parts", _Body(form, io.BytesIO(data), None), _part_id))
        except NotSent:
            if tries == _PART_TRIES:
                raise
            await engine.pause_before_retry(tries)
        else:
            break
    if progress is not None:
        progress(len(data))
    return found


async def _before_purchase(request: Awaitable[T]) -> T:
    """Await a request that buys nothing yet: a lost answer leaves nothing behind."""
    try:
        return await request
    except UnknownOutcome as error:
        raise NotSent(error.message, status=error.status) from None


async def _give_up(engine: WireEngine, path: str) -> None:
    """Tell the engine that the upload will not be completed; it forgets it after an hour anyway."""
    import contextlib

    with contextlib.suppress(EngineError):
        await engine.purchase(f"{path}/cancel", _upload_id, doing="the upload", seconds=engine.timeouts.upload)


def _upload_id(value: Any) -> str:
    return _id_of(value, "upload")


def _part_id(value: Any) -> str:
    return _id_of(value, "upload.part")


def _id_of(value: Any, kind: str) -> str:
    found = wire.row_id(value)
    if found is None or value.get("object", kind) != kind:
        raise wire.NotIt
    return found


def _completed(value: Any, engine: WireEngine) -> ObservedFile:
    if not isinstance(value, dict):
        raise wire.NotIt
    return wire.file(value.get("file"), clean=engine.clean, listed=True)


def _size(content: BinaryIO) -> int:
    start = content.tell()
    size = content.seek(0, io.SEEK_END) - start
    content.seek(start)
    return size


def _exactly(content: BinaryIO, size: int) -> bytes:
    pieces = []
    while size:
        piece = content.read(size)
        if not piece:
            msg = "the file became shorter while it was sent"
            raise OSError(msg)
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _header_safe(name: str) -> str:
    return name.replace("%", "%25").replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
