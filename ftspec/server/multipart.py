"""Multipart forms, streamed: one file part goes straight to disk while it is hashed.

Starlette's own form parser would spool the file first and read it a second time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from ftspec.server.wire import ApiError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks
    from starlette.requests import Request

    from ftspec.server.blobs import Incoming

_MAX_FIELD_BYTES = 64 * 1024
_MAX_FIELDS = 32


@dataclass(slots=True)
class Form:
    """What came: the plain fields, and the file's name (`None`: there was no file part)."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None


class _Reader:
    """Callbacks of the parser: one part after another."""

    def __init__(self, file_field: str, incoming: Incoming, max_bytes: int) -> None:
        self.form = Form()
        self._file_field = file_field
        self._incoming = incoming
        self._max_bytes = max_bytes
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._name = ""
        self._filename: str | None = None
        self._value = bytearray()

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header_name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header_value.extend(data[start:end]),
            "on_header_end": self._header,
            "on_part_data": self._data,
            "on_part_end": self._end,
        }

    def _begin(self) -> None:
        self._name, self._filename = "", None
        self._value.clear()

    def _header(self) -> None:
        name, value = self._header_name.decode("latin-1").lower(), bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()
        if name != "content-disposition":
            return
        options = parse_options_header(value)[1]
        self._name = options.get(b"name", b"").decode(errors="replace")
        if b"filename" in options:
            self._filename = options[b"filename"].decode(errors="replace")

    @property
    def _is_file(self) -> bool:
        return self._name == self._file_field

    def _data(self, data: bytes, start: int, end: int) -> None:
        chunk = data[start:end]
        if self._is_file:
            self._incoming.write(chunk)
            if self._incoming.size > self._max_bytes:
                raise ApiError(413, f"The file is larger than {self._max_bytes} bytes.", param=self._file_field, code="file_too_large")
            return
        self._value += chunk
        if len(self._value) > _MAX_FIELD_BYTES:
            raise ApiError(413, f"The form field '{self._name[:64]}' is too long.", param=self._name[:64], code="request_too_large")

    def _end(self) -> None:
        if self._is_file:
            if self.form.filename is not None:
                raise ApiError(400, f"There must be one '{self._file_field}' only.", param=self._file_field, code="invalid_value")
            self.form.filename = self._filename or self._file_field
            return
        if len(self.form.fields) >= _MAX_FIELDS:
            raise ApiError(400, "The form has too many fields.", code="invalid_value")
        self.form.fields[self._name] = self._value.decode(errors="replace")


async def receive(request: Request, incoming: Incoming, *, file_field: str, max_bytes: int) -> Form:
    """Read the form in the request; the bytes of `file_field` are in `incoming`, not yet finished."""
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise ApiError(400, "Expected a multipart/form-data request with a boundary.", code="invalid_content_type")
    reader = _Reader(file_field, incoming, max_bytes)
    try:
        parser = MultipartParser(boundary, reader.callbacks())
        async for chunk in request.stream():
            parser.write(chunk)
        parser.finalize()
    except FormParserError:
        raise ApiError(400, "We could not parse the multipart body of your request.", code="invalid_multipart") from None
    if reader.form.filename is None:
        raise ApiError(400, f"Missing required parameter: '{file_field}'.", param=file_field, code="missing_required_parameter")
    return reader.form
