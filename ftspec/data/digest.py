"""Digests: what a dataset is, in one streaming pass.

The key of a dataset part is the SHA-256 of its canonical rows after transforms, each followed
by LF, in order. Equal rows have equal keys, whatever the path, the layout of the file or the
way the rows came together; and exactly these bytes are what is uploaded.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from ftspec.actions import DatasetFacts
from ftspec.data.checks.base import Setting
from ftspec.data.findings import Findings
from ftspec.data.formats import detect
from ftspec.data.rows import BadFile, BadRow, RowFile, RowReader, sniff
from ftspec.data.scan import Row, Scanner
from ftspec.diagnostics import Diagnostic, FtspecError, Severity
from ftspec.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ftspec.data.cache import DigestCache
    from ftspec.experiment import DesiredDataset

_HEAD = 1 << 16
_VOTERS = 100


class DatasetChanged(FtspecError):
    """The rows are not the ones that were planned."""

    exit_code = 3


def digest(
    dataset: DesiredDataset, *, root: Path, cache: DigestCache | None = None, data_roots: Sequence[Path] = ()
) -> tuple[dict[str, DatasetFacts], list[Diagnostic]]:
    """Return what is known of a dataset and of each part, by reference, and everything that is wrong with its rows.

    No facts are returned for a file that cannot be read to its end. Diagnostics have lines and
    never hold row content.
    """
    if cache is not None and (known := cache.get(dataset, root=root, data_roots=data_roots)) is not None:
        return known
    read_at = cache.now() if cache is not None else 0
    try:
        with RowFile(dataset.path, root=root, data_roots=data_roots) as file:
            facts, found = _read(dataset, file)
            file.finish()
    except BadFile as problem:
        findings = Findings()
        findings.add(problem.code, f"dataset `{dataset.name}`: {problem.message}")
        return {}, findings.diagnostics(printable(dataset.path))
    result = facts, found
    if cache is not None:
        cache.put(dataset, result, stamp=file.stamp, read_at=read_at)
    return result


def open_rows(dataset: DesiredDataset, ref: str, *, root: Path, data_roots: Sequence[Path] = ()) -> Iterator[bytes]:
    """Yield the rows of a dataset part exactly as they are uploaded: canonical, with LF.

    Raises `FtspecError` where the file, or a row of it, cannot be read.
    """
    part = part_of(dataset, ref)
    try:
        with RowFile(dataset.path, root=root, data_roots=data_roots) as file:
            scanner = Scanner(Setting(), split=dataset.split, check=False)
            for row in scanner.rows(file.blocks()):
                if not part or row.part == part:
                    yield row.canonical + b"\n"
            file.finish()
    except BadFile as problem:
        raise FtspecError(f"dataset `{ref}`: {problem.message}", help=f"look at `{printable(dataset.path)}`") from problem
    problems = [one for one in scanner.findings.diagnostics(printable(dataset.path)) if one.severity is Severity.ERROR]
    if problems:
        raise FtspecError(f"dataset `{ref}` has rows that cannot be read", diagnostics=problems)


def materialise(
    dataset: DesiredDataset, ref: str, *, root: Path, into: Path, data_roots: Sequence[Path] = (), expect: str | None = None
) -> tuple[Path, str, int, int]:
    """Write a dataset part for upload and return its path, SHA-256, rows and bytes, all taken from what was written.

    No cache is trusted here. With `expect` (the key that was planned) `DatasetChanged` is
    raised, and nothing left behind, when the rows are others by now.
    """
    into.mkdir(parents=True, exist_ok=True)
    target = into / f"{ref}.jsonl.part"
    hashed, rows, size = hashlib.sha256(), 0, 0
    try:
        with target.open("wb") as out:
            for line in open_rows(dataset, ref, root=root, data_roots=data_roots):
                hashed.update(line)
                rows += 1
                size += len(line)
                out.write(line)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    key = hashed.hexdigest()
    if expect is not None and key != expect:
        target.unlink()
        raise DatasetChanged(f"dataset `{ref}` changed since it was planned", help="run `ftspec plan` again")
    final = into / f"{ref}.{key[:12]}.jsonl"
    target.replace(final)
    return final, key, rows, size


def part_of(dataset: DesiredDataset, ref: str) -> str:
    """Return the part that a reference names, "" for the whole dataset."""
    if ref not in dataset.refs():
        raise FtspecError(f"dataset `{dataset.name}` has no part `{printable(ref)}`", help=f"it has: {', '.join(dataset.refs())}")
    return ref.removeprefix(dataset.name).removeprefix(".")


def format_of(file: RowFile) -> str:
    """Return the format that the first rows of a file look like; `BadFile` where it is no JSON Lines."""
    head = file.head(_HEAD)
    sniff(head)
    reader, rows = RowReader(), []
    for raw in head.removeprefix(b"\xef\xbb\xbf").split(b"\n")[:_VOTERS]:
        try:
            rows.append(reader.decode(raw)[0])
        except BadRow:
            continue
    if not rows and len(head) == _HEAD:
        rows = _first_row(file, reader)
    return detect(rows)


def _first_row(file: RowFile, reader: RowReader) -> list[dict[str, object]]:
    """Decode a first row that is longer than the head."""
    for block in file.blocks():
        try:
            return [reader.decode(block.split(b"\n", 1)[0])[0]]
        except BadRow:
            break
    return []


class _Tally:
    """The running digest of one reference."""

    def __init__(self) -> None:
        self.hashed = hashlib.sha256()
        self.rows = 0
        self.bytes = 0

    def add(self, rows: list[bytes]) -> None:
        if rows:
            rows.append(b"")
            joined = b"\n".join(rows)
            self.hashed.update(joined)
            self.rows += len(rows) - 1
            self.bytes += len(joined)


def _read(dataset: DesiredDataset, file: RowFile) -> tuple[dict[str, DatasetFacts], list[Diagnostic]]:
    format_name = dataset.format or format_of(file)
    columns = frozenset(filter(None, [dataset.split.group_by if dataset.split else None]))
    scanner = Scanner(Setting(format=format_name, columns=columns), split=dataset.split)
    tallies = {"": _Tally(), **{part: _Tally() for part in (dataset.split.shares if dataset.split else ())}}
    for batch in _batches(scanner.rows(file.blocks())):
        tallies[""].add([row.canonical for row in batch])
        if dataset.split:
            for part in dataset.split.shares:
                tallies[part].add([row.canonical for row in batch if row.part == part])
    findings = scanner.findings
    if not tallies[""].rows:
        findings.add("empty-file", f"dataset `{dataset.name}` has no rows")
    for part, tally in tallies.items():
        if not tally.rows and tallies[""].rows:
            findings.add("empty-part", f"part `{dataset.name}.{part}` of the split has no rows")
    path = printable(dataset.path)
    facts = {
        ref: DatasetFacts(ref=ref, key=tally.hashed.hexdigest(), rows=tally.rows, bytes=tally.bytes, format=format_name, path=dataset.path)
        for ref, tally in ((f"{dataset.name}.{part}" if part else dataset.name, tally) for part, tally in tallies.items())
    }
    return facts, findings.diagnostics(path)


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(row.canonical)
        if size > 1 << 20:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
