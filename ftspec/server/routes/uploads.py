"""`/v1/uploads`: a large file in parts, in any order, one file at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from anyio.to_thread import run_sync
from pydantic import Field
from starlette.responses import JSONResponse
from starlette.routing import Route

from ftspec.server.context import project_of, server_of
from ftspec.server.multipart import receive
from ftspec.server.routes.files import checked_purpose, wire_file
from ftspec.server.store import StoredFile
from ftspec.server.uploads import LIFETIME_SECONDS, StoredPart, StoredUpload
from ftspec.server.wire import ApiError, Body, checked, new_id, read_json

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ftspec.server.context import Server

_PART_BYTES = 64 * 1024 * 1024
_TOTAL_BYTES = 8 * 1024**3


class _ExpiresAfter(Body):
    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=3600, le=2_592_000)]


class _Create(Body):
    bytes: Annotated[int, Field(ge=1, le=_TOTAL_BYTES)]
    filename: Annotated[str, Field(min_length=1, max_length=512)]
    mime_type: Annotated[str, Field(min_length=1, max_length=255)]
    purpose: str
    expires_after: _ExpiresAfter | None = None


class _Complete(Body):
    part_ids: Annotated[list[str], Field(min_length=1)]
    md5: str | None = None


def _wire_upload(server: Server, upload: StoredUpload) -> dict[str, Any]:
    file = server.store.file(upload.project, upload.file_id, now=server.time) if upload.file_id else None
    return {
        "id": upload.id,
        "object": "upload",
        "bytes": upload.bytes,
        "created_at": upload.created_at,
        "expires_at": upload.expires_at,
        "filename": upload.filename,
        "purpose": upload.purpose,
        "status": upload.status,
        "file": wire_file(file) if file else None,
    }


def _found(request: Request) -> StoredUpload:
    server, upload_id = server_of(request), request.path_params["upload_id"]
    upload = server.store.uploads.get(project_of(request), upload_id, now=server.time)
    if upload is None:
        raise ApiError(404, f"No such Upload object: {upload_id}", param="upload_id", code="upload_not_found")
    return upload


def _pending(request: Request) -> StoredUpload:
    upload = _found(request)
    if upload.status != "pending":
        raise _over(upload.status)
    return upload


def _over(status: str) -> ApiError:
    return ApiError(400, f"The upload is {status}: it takes nothing more.", param="upload_id", code="invalid_upload_status")


async def create(request: Request) -> Response:
    """Begin an upload."""
    server, body = server_of(request), checked(_Create, await read_json(request))
    upload = StoredUpload(
        id=new_id("upload_"),
        project=project_of(request),
        filename=body.filename,
        purpose=checked_purpose(body.purpose),
        bytes=body.bytes,
        created_at=server.time,
        expires_at=server.time + LIFETIME_SECONDS,
        expires_after=body.expires_after.seconds if body.expires_after else None,
    )
    server.store.uploads.create(upload)
    return JSONResponse(_wire_upload(server, upload))


async def add_part(request: Request) -> Response:
    """Take a part of an upload."""
    server, upload = server_of(request), _pending(request)
    with server.store.incoming() as incoming:
        await receive(request, incoming, file_field="data", max_bytes=_PART_BYTES)
        await run_sync(incoming.finish)
        part = StoredPart(id=new_id("part_"), upload_id=upload.id, sha256=incoming.sha256, bytes=incoming.size, created_at=server.time)
        if not server.store.uploads.add_part(part, incoming):
            raise _over("over")
    return JSONResponse({"id": part.id, "object": "upload.part", "created_at": part.created_at, "upload_id": upload.id})


async def complete(request: Request) -> Response:
    """Make the parts one file; asked again, answer with the same file."""
    server, upload, body = server_of(request), _found(request), checked(_Complete, await read_json(request))
    if upload.status == "completed":
        return JSONResponse(_wire_upload(server, upload))
    if upload.status != "pending":
        raise _over(upload.status)
    known = server.store.uploads.parts(upload.id)
    missing = [part_id for part_id in body.part_ids if part_id not in known]
    if missing or len(set(body.part_ids)) != len(body.part_ids):
        raise ApiError(400, "Invalid value for 'part_ids': expected each part of this upload once.", param="part_ids", code="invalid_value")
    with server.store.incoming() as incoming:
        await run_sync(server.store.uploads.join, [known[part_id] for part_id in body.part_ids], incoming)
        if incoming.size != upload.bytes:
            message = f"The parts hold {incoming.size} bytes where the upload promised {upload.bytes}."
            raise ApiError(400, message, param="part_ids", code="invalid_upload_size")
        if body.md5 is not None and body.md5.lower() != incoming.md5:
            raise ApiError(400, "The md5 checksum of the parts is another one.", param="md5", code="invalid_checksum")
        file = StoredFile(
            id=new_id("file-"),
            project=upload.project,
            filename=upload.filename,
            purpose=upload.purpose,
            bytes=incoming.size,
            sha256=incoming.sha256,
            created_at=server.time,
            expires_at=server.time + upload.expires_after if upload.expires_after else None,
        )
        server.store.complete_upload(upload, file, incoming)
    return JSONResponse(_wire_upload(server, _found(request)))


async def cancel(request: Request) -> Response:
    """Give an upload up."""
    server, upload = server_of(request), _pending(request)
    server.store.uploads.end(upload, "cancelled")
    server.store.uploads.sweep(upload)
    return JSONResponse(_wire_upload(server, _found(request)))


routes = [
    Route("/v1/uploads", create, methods=["POST"]),
    Route("/v1/uploads/{upload_id}/parts", add_part, methods=["POST"]),
    Route("/v1/uploads/{upload_id}/complete", complete, methods=["POST"]),
    Route("/v1/uploads/{upload_id}/cancel", cancel, methods=["POST"]),
]
