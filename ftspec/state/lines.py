r"""How state is written: one JSON object a line, UTF-8, LF.

Base files (`jobs.jsonl`, `files.jsonl`, `evals.jsonl`) hold one record a line. People review and
git merges them, so their lines carry no checksum; they only have to make sense. Segments hold
facts: `{"seq": n, ...the fact..., "crc": "8 hex digits"}`, where `crc` is the CRC-32 of all bytes
before `,"crc"`. Whatever is not a whole line of these forms is a `Diagnostic` with its number;
`\r\n` and a byte order mark are forgiven.

Lines of a format newer than `FORMAT`, and facts of a kind that is not known here, are read as far as
they can be understood; nothing may be written then.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from ftspec.diagnostics import Diagnostic, Place, error, warning
from ftspec.printable import printable
from ftspec.state.base import EvalFact, Fact, FileFact, JobFact

FORMAT: Final = 1
"""Version of base lines (`v`, left out while it is 1) and segments (in their first line)."""

_CRC: Final = re.compile(rb'^(\{.*),"crc":"([0-9a-f]{8})"\}$', re.DOTALL)
_CRC_LENGTH: Final = len(b',"crc":"00000000"}')
_CONFLICT: Final = re.compile(rb"(?:<{7}|>{7}|\|{7})(?: |$)|={7}$")
_BOM: Final = b"\xef\xbb\xbf"


class SegmentHeader(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="segment", tag_field="fact"):
    """First line of a segment: which command wrote it, where, and when it began."""

    at: str
    command: str
    by: str
    v: int = FORMAT
    ftspec: str | None = None
    commit: str | None = None
    """The git commit that was checked out."""


class _Head(msgspec.Struct):
    fact: str
    seq: int = -1
    v: int = 1


_DECODERS: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    "segment": msgspec.json.Decoder(SegmentHeader),
    "job": msgspec.json.Decoder(JobFact),
    "file": msgspec.json.Decoder(FileFact),
    "eval": msgspec.json.Decoder(EvalFact),
}
_HEAD: Final = msgspec.json.Decoder(_Head)
_ENCODER: Final = msgspec.json.Encoder(order="sorted")


class BadLine(ValueError):
    """A line that cannot be a line of state; the text says why."""


class NewerFormat(Exception):
    """A line that a newer ftspec wrote and that cannot be understood here."""


class Segment(msgspec.Struct):
    """What one segment file says. `torn` is an unfinished last line, `lines` the numbers of the facts."""

    name: str
    header: SegmentHeader | None = None
    facts: list[Fact] = []
    torn: bytes | None = None
    newer: bool = False
    problems: list[Diagnostic] = []


def encode(entry: Fact | SegmentHeader, seq: int) -> bytes:
    """Return the line of a fact, with LF."""
    body = b'{"seq":%d,%s' % (seq, _ENCODER.encode(entry)[1:-1])
    return b'%s,"crc":"%08x"}\n' % (body, zlib.crc32(body))


def decode(line: bytes, *, check: bool = True) -> tuple[int, Fact | SegmentHeader]:
    """Return the number and the fact of a segment line (`BadLine`, `NewerFormat`)."""
    if check:
        if not (match := _CRC.match(line)):
            raise BadLine(_unfinished(line))
        if zlib.crc32(match[1]) != int(match[2], 16):
            msg = "its checksum does not fit: it was changed after it was written"
            raise BadLine(msg)
    try:
        head = _HEAD.decode(line)
        decoder = _DECODERS.get(head.fact)
        if decoder is None:
            raise NewerFormat
        return head.seq, decoder.decode(line)
    except (ValueError, RecursionError) as problem:
        raise BadLine(unreadable(line, problem)) from None


def read_segment(name: str, data: bytes, *, place: str, check: bool = True) -> Segment:
    """Read a segment file. `place` is its path as people see it."""
    segment = Segment(name)
    numbers = set()
    for line in numbered_lines(data):
        try:
            seq, entry = decode(line.content, check=check)
        except NewerFormat:
            segment.newer = True
        except BadLine as problem:
            if line.unfinished:
                segment.torn = line.content
            elif not segment.newer:
                segment.problems.append(bad_line(line, str(problem), place=place))
        else:
            numbers.add(seq)
            if not isinstance(entry, SegmentHeader):
                segment.facts.append(entry)
            elif entry.v > FORMAT:
                segment.newer = True
            else:
                segment.header = segment.header or entry
    missing = max(numbers, default=-1) + 1 - sum(number >= 0 for number in numbers)
    if missing and not segment.problems and not segment.newer:
        segment.problems.append(
            warning(
                "missing-facts",
                f"`{printable(place)}` lacks {missing:,} of its lines",
                at=Place(path=place),
                help="restore the file from version control",
            )
        )
    return segment


class Line(msgspec.Struct, frozen=True):
    """A line of a file: its number, its content without line end, and whether the line end was missing."""

    number: int
    content: bytes
    unfinished: bool = False


def numbered_lines(data: bytes) -> Iterator[Line]:
    r"""Yield the lines that hold something. Only `\n` ends a line: text may hold every other separator."""
    data = without_marks(data)
    start, number = 0, 0
    while start < len(data):
        number += 1
        end = data.find(b"\n", start)
        unfinished = end < 0
        content = data[start:] if unfinished else data[start:end]
        start = len(data) if unfinished else end + 1
        if content:
            yield Line(number, content, unfinished)


def is_conflict_marker(content: bytes) -> bool:
    """Whether a line is one that git writes between the two sides of a conflict."""
    return _CONFLICT.match(content) is not None


def without_marks(data: bytes) -> bytes:
    """Return a file as it was before an editor or git gave it a byte order mark and CRLF."""
    data = data.removeprefix(_BOM)
    return data.replace(b"\r\n", b"\n") if b"\r" in data else data


def bad_line(line: Line, why: str, *, place: str) -> Diagnostic:
    """Return the diagnostic of a line that cannot be read."""
    at = Place(path=place, line=line.number)
    if is_conflict_marker(line.content):
        return error(
            "conflict-markers",
            f"`{printable(place)}` holds the conflict markers of a merge",
            at=at,
            help="run `ftspec state repair`: it keeps the records of both sides",
        )
    return error(
        "bad-state-line", f"this line of state cannot be read: {why}", at=at, help="run `ftspec state repair`: it explains each fix"
    )


def strict_object(line: bytes) -> dict[str, Any]:
    """Return the JSON object of a line, with everything refused that a writer would not write (`BadLine`)."""
    try:
        found = msgspec.json.decode(line)
        if _ENCODER.encode(found) != line:  # not as we write it: a member could be there twice
            json.loads(line, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as problem:
        raise BadLine(unreadable(line, problem)) from None
    if not isinstance(found, dict):
        msg = "it is not a JSON object"
        raise BadLine(msg)
    return found


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            msg = f"`{printable(name)}` is there twice"
            raise BadLine(msg)
        found[name] = value
    return found


def _unfinished(line: bytes) -> str:
    try:
        msgspec.json.decode(line)
    except (ValueError, RecursionError) as problem:
        return unreadable(line, problem)
    return "it has no checksum"


def unreadable(line: bytes, problem: Exception) -> str:
    """Return what is wrong with a line that could not be decoded, in words for people."""
    if b"\x00" in line:
        return "it holds NUL bytes"
    if isinstance(problem, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(problem, BadLine):
        return str(problem)
    return printable(str(problem).partition("\n")[0])
