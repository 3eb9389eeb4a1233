"""`/v1/files`: upload, list, retrieve, read and delete."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from anyio.to_thread import run_sync
from starlette.responses import FileResponse, JSONResponse
from starlette.routing import Route

from ftspec.server.context import project_of, server_of
from ftspec.server.multipart import receive
from ftspec.server.store import Idempotency, IdempotencyConflict, StoredFile
from ftspec.server.wire import ApiError, listing, new_id, query_int

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
_MIN_EXPIRY, _MAX_EXPIRY = 3600, 2_592_000
_LIST_MAX = 10_000


def wire_file(file: StoredFile) -> dict[str, Any]:
    """Return a file as the protocol shows it."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": file.created_at,
        "expires_at": file.expires_at,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def checked_purpose(purpose: str | None) -> str:
    """Return the purpose of a file that a client may upload."""
    if purpose is None:
        raise ApiError(400, "Missing required parameter: 'purpose'.", param="purpose", code="missing_required_parameter")
    if purpose not in PURPOSES:
        raise ApiError(400, f"Invalid value for 'purpose': expected one of {', '.join(PURPOSES)}.", param="purpose", code="invalid_value")
    return purpose


def idempotency_of(request: Request, *parts: str) -> Idempotency | None:
    """Return the client's `Idempotency-Key` with a digest of what was asked for."""
    key = request.headers.get("idempotency-key")
    if not key:
        return None
    if len(key) > 255:
        raise ApiError(400, "The Idempotency-Key header is longer than 255 characters.", code="invalid_value")
    return Idempotency(key=key, digest=hashlib.sha256("\0".join((request.url.path, *parts)).encode()).hexdigest())


def repeated_with_other_content() -> ApiError:
    """Return the answer to an `Idempotency-Key` that was used for another request."""
    message = "This Idempotency-Key was used for a request with other content. Nothing was done; use a new key for a new request."
    return ApiError(400, message, type="idempotency_error", code="idempotency_key_reused")


def _expires_at(fields: dict[str, str], created_at: int) -> int | None:
    anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise ApiError(
            400, "Invalid value for 'expires_after.anchor': expected created_at.", param="expires_after.anchor", code="invalid_value"
        )
    if seconds is None or not seconds.isascii() or not seconds.isdigit() or not _MIN_EXPIRY <= int(seconds[:12]) <= _MAX_EXPIRY:
        message = f"Invalid value for 'expires_after.seconds': expected a whole number from {_MIN_EXPIRY} to {_MAX_EXPIRY}."
        raise ApiError(400, message, param="expires_after.seconds", code="invalid_value")
    return created_at + int(seconds)


async def create(request: Request) -> Response:
    """Take a file: hashed while it is written, durable before the answer."""
    server, project, created_at = server_of(request), project_of(request), server_of(request).time
    with server.store.incoming() as incoming:
        form = await receive(request, incoming, file_field="file", max_bytes=server.max_file_bytes)
        purpose = checked_purpose(form.fields.get("purpose"))
        expires_at = _expires_at(form.fields, created_at)
        if not incoming.size:
            raise ApiError(400, "The file is empty.", param="file", code="invalid_file")
        await run_sync(incoming.finish)
        file = StoredFile(
            id=new_id("file-"),
            project=project,
            filename=form.filename or "file",
            purpose=purpose,
            bytes=incoming.size,
            sha256=incoming.sha256,
            created_at=created_at,
            expires_at=expires_at,
        )
        try:
            file = server.store.add_file(file, incoming, idempotency=idempotency_of(request, file.filename, purpose, file.sha256))
        except IdempotencyConflict:
            raise repeated_with_other_content() from None
    return JSONResponse(wire_file(file))


async def list_files(request: Request) -> Response:
    """Return a page of files."""
    server, query = server_of(request), request.query_params
    limit = query_int(request, "limit", default=_LIST_MAX, low=1, high=_LIST_MAX)
    order = query.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise ApiError(400, "Invalid value for 'order': expected asc or desc.", param="order", code="invalid_value")
    rows = server.store.files(
        project_of(request),
        purpose=query.get("purpose"),
        descending=order == "desc",
        after=query.get("after"),
        limit=limit + 1,
        now=server.time,
    )
    if rows is None:
        raise ApiError(400, "Invalid value for 'after': there is no such file.", param="after", code="invalid_cursor")
    return JSONResponse(listing(map(wire_file, rows[:limit]), has_more=len(rows) > limit))


def _found(request: Request) -> StoredFile:
    server, file_id = server_of(request), request.path_params["file_id"]
    file = server.store.file(project_of(request), file_id, now=server.time)
    if file is None:
        raise ApiError(404, f"No such File object: {file_id}", param="id", code="file_not_found")
    return file


async def retrieve(request: Request) -> Response:
    """Return one file."""
    return JSONResponse(wire_file(_found(request)))


async def content(request: Request) -> Response:
    """Return the bytes of a file."""
    return FileResponse(server_of(request).store.content(_found(request)), media_type="application/octet-stream")


async def delete(request: Request) -> Response:
    """Forget a file."""
    file = _found(request)
    server_of(request).store.delete_file(project_of(request), file.id)
    return JSONResponse({"id": file.id, "object": "file", "deleted": True})


routes = [
    Route("/v1/files", create, methods=["POST"]),
    Route("/v1/files", list_files, methods=["GET"]),
    Route("/v1/files/{file_id}", retrieve, methods=["GET"]),
    Route("/v1/files/{file_id}", delete, methods=["DELETE"]),
    Route("/v1/files/{file_id}/content", content, methods=["GET"]),
]
