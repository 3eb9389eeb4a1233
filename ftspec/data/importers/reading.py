"""Records of export files: JSON Lines, one JSON value, CSV, each also gzipped."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from ftspec.data.importers.normal import decoded
from ftspec.diagnostics import FtspecError
from ftspec.printable import printable

_LONG = 64 << 20


class Unreadable(FtspecError):
    """A file is not in a form that records can be read from."""


def records_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of an export file, whatever form it has (`Unreadable`)."""
    try:
        with path.open("rb") as file:
            stream: IO[bytes] = cast("IO[bytes]", gzip.GzipFile(fileobj=file)) if path.suffix == ".gz" else file
            yield from _records(stream, path)
    except (OSError, EOFError, zlib.error) as error:
        raise Unreadable(f"`{printable(path.name)}` cannot be read ({getattr(error, 'strerror', None) or 'not gzip'})") from error
    except UnicodeDecodeError as error:
        raise Unreadable(f"`{printable(path.name)}` is not UTF-8") from error
    except csv.Error as error:
        raise Unreadable(f"`{printable(path.name)}` is not CSV ({error})") from error


def _records(stream: IO[bytes], path: Path) -> Iterator[dict[str, Any]]:
    name = path.name.removesuffix(".gz")
    if name.endswith(".csv"):
        csv.field_size_limit(_LONG)
        with io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
            yield from csv.DictReader(text)
        return
    first = _first_line(stream)
    if first is None:
        return
    value = _decoded(first)
    rest = stream
    if value is None or isinstance(value, list):
        yield from _objects(_whole(first + rest.read(), path))
        return
    yield from _objects(value)
    yield from json_lines(rest, name=path.name, start=2)


def _first_line(stream: IO[bytes]) -> bytes | None:
    for line in stream:
        cleaned = line.removeprefix(b"\xef\xbb\xbf")
        if cleaned.strip():
            return cleaned
    return None


def _decoded(line: bytes) -> Any:
    try:
        return decoded(line)
    except ValueError:
        return None


def _whole(data: bytes, path: Path) -> Any:
    try:
        return decoded(data)
    except ValueError as error:
        raise Unreadable(f"`{printable(path.name)}` is neither JSON Lines nor JSON") from error


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, dict):
            yield one


def json_lines(lines: Iterable[bytes], *, name: str, start: int = 1) -> Iterator[dict[str, Any]]:
    """Yield the objects of JSON Lines (`Unreadable` names the line that is none)."""
    for number, line in enumerate(lines, start=start):
        if not line.strip():
            continue
        value = _decoded(line)
        if value is None:
            raise Unreadable(f"`{printable(name)}`, line {number}, is not JSON", help="was the file written to its end?")
        yield from _objects(value)
