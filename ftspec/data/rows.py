"""Rows of a dataset file: from bytes on disk to a JSON object and its canonical bytes.

A dataset is a regular file of UTF-8 JSON Lines inside the project (or inside a folder that
the user, never a spec, added). It is read in blocks, so memory does not grow with the file,
and lines end at LF only: U+2028 or U+0085 in a prompt never cuts a row. Everything that is
wrong with a file or a row is a `BadFile` or `BadRow` with a fixed code; none of them holds
any of the row's content.

The canonical bytes of a row are those of `fingerprint.canonical_json`. msgspec writes the
same bytes five times faster for rows without floats, and those are what the fast path is for.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import msgspec

from ftspec.fingerprint import canonical_json

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from ftspec.experiment import DesiredDataset

BLOCK = 1 << 18
"""How many bytes are read at once: what is made of them still fits a processor's own cache, which is a fifth faster than a mebibyte."""

SNIFFED = 1 << 16
"""How much of a file's start tells what it is."""

MAX_ROW = 32 << 20
"""The longest row that is read: more than 30 times the longest context of 2026."""

_PREAD = hasattr(os, "pread")
_SAFE_FLOAT = 2.0**53
_BOM = b"\xef\xbb\xbf"
_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "a zip archive",
    b"PAR1": "Parquet",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"ARROW1": "Arrow",
    b"SQLite format 3": "a SQLite database",
    b"%PDF": "a PDF",
}


class BadFile(Exception):
    """The file cannot be read as a dataset; `code` names the rule in `checks/file.py`."""

    def __init__(self, code: str, message: str, *, line: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.line = line


class BadRow(Exception):
    """The row is not one JSON object with one meaning; `column` counts code points from 1."""

    def __init__(self, code: str, message: str, *, column: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.column = column


class Stamp(msgspec.Struct, frozen=True):
    """What `stat` says of a file's content; equal stamps mean, git's racy rule aside, equal bytes."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """Return the stamp in a `stat` result."""
        return cls(size=status.st_size, mtime_ns=status.st_mtime_ns, ctime_ns=status.st_ctime_ns, inode=status.st_ino)


class RowFile:
    """A dataset file, open for reading. `BadFile` if it is none, or changes while it is read.

    `path` is relative to the root; the file must lie in it or in one of `data_roots`, also
    after symbolic links are followed. A worker process gets the descriptor of a file that
    was opened and checked by another.
    """

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self.stamp = Stamp.of(os.fstat(descriptor))

    @classmethod
    def open(cls, path: str, *, root: Path, data_roots: Sequence[Path] = ()) -> RowFile:
        """Open a file of the project."""
        return cls(path, _open_inside(path, root, data_roots))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self.descriptor)

    def blocks(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the bytes of `[start, end)` in blocks that end with LF, the last one maybe without.

        Whole rows belong to the range in which they start: a range that starts inside a row
        skips the rest of it, and goes on past `end` to finish its last row.
        """
        position = max(start - 1, 0)
        skipping = start > 0
        pending: list[bytes] = []
        held = 0
        while end is None or position < end:
            block = self._read(position, BLOCK if end is None else min(BLOCK, end - position))
            if not block:
                break
            position += len(block)
            if skipping:
                cut = block.find(b"\n") + 1
                if not cut:
                    continue
                block, skipping = block[cut:], False
            cut = block.rfind(b"\n") + 1
            if cut:
                yield b"".join([*pending, block[:cut]])
                pending, held = [], 0
            if cut < len(block):
                pending.append(block[cut:])
                held += len(block) - cut
                _refuse_long(held)
        while pending and end is not None:
            block = self._read(position, BLOCK)
            position += len(block)
            cut = block.find(b"\n") + 1
            pending.append(block[:cut] if cut else block)
            held += len(pending[-1])
            _refuse_long(held)
            if cut or not block:
                break
        if pending:
            yield b"".join(pending)

    def head(self, size: int) -> bytes:
        """Return the first bytes of the file."""
        return self._read(0, size)

    def _read(self, position: int, size: int) -> bytes:
        try:
            if _PREAD:
                return os.pread(self.descriptor, size, position)
            os.lseek(self.descriptor, position, os.SEEK_SET)
            return os.read(self.descriptor, size)
        except OSError as error:
            raise BadFile("file-unreadable", f"the file cannot be read ({os.strerror(error.errno or 0)})") from error

    def finish(self) -> None:
        """Raise `BadFile` if the file is not the one that was opened any more."""
        if Stamp.of(os.fstat(self.descriptor)) != self.stamp:
            raise BadFile("changed-while-read", "the file changed while it was read")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where datasets lie: the project, folders that the user added, and the other datasets of the spec."""

    root: Path
    data_roots: Sequence[Path] = ()
    datasets: Mapping[str, DesiredDataset] = {}

    def open(self, path: str) -> RowFile:
        """Open a file of the project (`BadFile`)."""
        return RowFile.open(path, root=self.root, data_roots=self.data_roots)


def _refuse_long(held: int) -> None:
    if held > MAX_ROW:
        raise BadFile("row-too-long", f"a row is longer than {MAX_ROW >> 20} MiB, so this is hardly JSON Lines")


def _open_inside(path: str, root: Path, data_roots: Sequence[Path]) -> int:
    """Open a regular file without leaving the allowed folders, whatever is swapped meanwhile."""
    if "\0" in path or not path:
        raise BadFile("file-missing", "there is no such file")
    try:
        target = (root / path).resolve()
        allowed = [folder.resolve() for folder in (root, *data_roots)]
    except (OSError, RuntimeError) as error:
        raise BadFile("file-unreadable", "the path cannot be followed (a loop of symbolic links?)") from error
    base = next((folder for folder in allowed if target != folder and target.is_relative_to(folder)), None)
    if base is None:
        if target in allowed:
            raise BadFile("not-a-file", "the path is a folder")
        raise BadFile("outside-project", "the file lies outside the project")
    descriptor = _walk(base, target.relative_to(base).parts)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise BadFile("not-a-file", f"the path is {_kind(mode)}")
    return descriptor


def _walk(base: Path, parts: tuple[str, ...]) -> int:
    """Open `base/parts`, following no link: `resolve` already did, so a link now is an attack or an edit."""
    flags = (
        os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    )
    try:
        if os.open not in os.supports_dir_fd:
            return os.open(base.joinpath(*parts), flags)
        folder = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parts[:-1]:
                inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
                os.close(folder)
                folder = inner
            return os.open(parts[-1], flags, dir_fd=folder)
        finally:
            os.close(folder)
    except FileNotFoundError as error:
        raise BadFile("file-missing", "there is no such file") from error
    except OSError as error:
        if error.errno in {errno.ENXIO, errno.EISDIR}:
            raise BadFile("not-a-file", "the path is not a regular file") from error
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:
            raise BadFile("file-missing", "a part of the path is no folder") from error
        raise BadFile("file-unreadable", f"the file cannot be read ({os.strerror(error.errno or 0)})") from error


def _kind(mode: int) -> str:
    kinds = {
        stat.S_ISDIR: "a folder",
        stat.S_ISFIFO: "a named pipe",
        stat.S_ISSOCK: "a socket",
        stat.S_ISCHR: "a device",
        stat.S_ISBLK: "a device",
    }
    return next((name for test, name in kinds.items() if test(mode)), "not a regular file")


def sniff(head: bytes) -> None:
    """Raise `BadFile` if the first bytes of a file show that it is no UTF-8 JSON Lines at all."""
    for magic, name in _MAGIC.items():
        if head.startswith(magic):
            raise BadFile("binary-file", f"the file is {name}, not JSON Lines")
    if head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        raise BadFile("not-utf8", "the file is UTF-32, not UTF-8")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or (len(head) > 3 and 0 in head[:2] and head[:4].count(0) == 2):
        raise BadFile("not-utf8", "the file is UTF-16, not UTF-8")
    if b"\0" in head:
        raise BadFile("binary-file", "the file holds NUL bytes, so it is not text")
    stripped = head.removeprefix(_BOM).lstrip()
    if stripped.startswith(b"["):
        raise BadFile("json-array", "the file is one JSON array, not one object a line")
    if stripped.startswith(b"{") and stripped[1:].lstrip(b" \t\r").startswith(b"\n"):
        raise BadFile("json-pretty", "the file is pretty-printed JSON, not one object a line")


class RowReader:
    """Decodes rows. One instance per thread; it reuses msgspec's buffers."""

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder(float_hook=self._float).decode
        self._encode = msgspec.json.Encoder(order="sorted").encode
        self._odd = False

    def _float(self, text: str) -> float | int:
        value = float(text)
        if value.is_integer() and abs(value) < _SAFE_FLOAT:
            return int(value)
        self._odd = True
        return value

    def decode(self, raw: bytes) -> tuple[dict[str, Any], bytes]:
        """Return a row and its canonical bytes (`BadRow` where it is not one JSON object with one meaning)."""
        self._odd = False
        try:
            value = self._decode(raw)
            canonical = self._encode(value) if not self._odd else canonical_json(value)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise explain(raw) from error
        if type(value) is not dict:
            raise BadRow("not-an-object", f"the row is {_json_kind(value)}, not an object")
        if may_repeat_keys(raw, canonical) and (problem := explain(raw)).code == "duplicate-key":
            raise problem
        return value, canonical

    def canonical(self, value: Any) -> bytes:
        """Return the canonical bytes of a row that a transform made."""
        return canonical_json(value) if _has_float(value) else self._encode(value)


def _has_float(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_float, value.values()))
    if isinstance(value, list):
        return any(map(_has_float, value))
    return isinstance(value, float)


def _json_kind(value: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "`null`"}
    return names.get(type(value), "a number")


def may_repeat_keys(raw: bytes, canonical: bytes) -> bool:
    """Whether an object in (valid) rows may have the same key twice.

    A member that is given twice leaves its colon out of the canonical bytes; only a colon that is
    written as an escape could make up for that.
    """
    if _colons(raw) != _colons(canonical):
        return True
    return b"\\" in raw and b"\\u003" in raw and (b"\\u003a" in raw or b"\\u003A" in raw)


def _colons(data: bytes) -> int:
    return len(data) - len(data.replace(b":", b""))  # three times as fast as `count`


class _NotFinite(ValueError):
    """A number that JSON cannot hold."""


def explain(raw: bytes) -> BadRow:
    """Return why `RowReader.decode` refused a row, with the column; slow, for bad rows only."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        return BadRow("not-utf8", "the row is not UTF-8", column=len(raw[: error.start].decode()) + 1)
    repeated: list[bool] = []

    def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(members)
        if len(made) != len(members):
            repeated.append(True)
        return made

    try:
        value = json.loads(text, object_pairs_hook=pairs, parse_constant=_refuse_constant, parse_float=_finite)
    except _NotFinite:
        return BadRow("not-finite", "the row holds `NaN`, `Infinity` or a number beyond a double, which JSON does not have")
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
            return BadRow("torn-row", "the row ends in the middle: it was written only in part", column=error.colno)
        return BadRow("bad-json", f"the row is not JSON ({_reason(error, text)})", column=error.colno)
    except RecursionError:
        return BadRow("too-deep", "the row is nested too deeply")
    except ValueError:
        return BadRow("not-finite", "the row holds a number with thousands of digits")
    if repeated:
        return BadRow("duplicate-key", "an object of the row has the same key twice")
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return BadRow("lone-surrogate", r"the row holds half of a surrogate pair (`\ud800` to `\udfff` alone), which is no text")
    except RecursionError:
        return BadRow("too-deep", "the row is nested too deeply")
    return BadRow("bad-json", "the row is not JSON")


_HABITS: Mapping[str, str] = {"'": "a single quote: this is how Python prints a dict", "#": "a comment", "/": "a comment"}
"""What people write for JSON, by the character at which it is none."""


def _reason(error: json.JSONDecodeError, text: str) -> str:
    """Return why a text is not JSON, in words for people who did not write a parser."""
    if error.msg == "Extra data":
        rest = text[error.pos :].lstrip()
        return "a comma after the object" if rest == "," else "several objects in one line" if rest[:1] == "{" else "more after its end"
    habit = _HABITS.get(text[error.pos : error.pos + 1])
    message = error.msg.split(":")[0].removesuffix(" at")
    return habit or f"{message[:1].lower()}{message[1:]}"


def _refuse_constant(name: str) -> float:
    raise _NotFinite(name)


def _finite(text: str) -> float:
    value = float(text)
    if value - value != 0:
        raise _NotFinite(text)
    return value


def project_path(path: Path, root: Path) -> str:
    """Return how a file is called in messages: relative to the project where it lies in it."""
    try:
        return PurePosixPath(path.resolve().relative_to(root.resolve())).as_posix()
    except ValueError:
        return path.as_posix()
