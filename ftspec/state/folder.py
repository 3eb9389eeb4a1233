"""Reads a state folder, in an order in which no fact can be missed.

Segments come first: compaction moves facts from segments to base files and removes segments only
when the base files are durable, so what is gone from the log by then is in the base files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from ftspec.diagnostics import Diagnostic, Place, error, warning
from ftspec.printable import printable
from ftspec.state.basefile import BASE_FILES, read_base
from ftspec.state.disk import Disk
from ftspec.state.ledger import Ledger
from ftspec.state.lines import Segment, bad_line, numbered_lines, read_segment, unreadable
from ftspec.state.process import without_collection

LOG: Final = "log"
HISTORY: Final = "history.jsonl"
TEMPORARY: Final = ".tmp"
_RESTORE: Final = f"restore the file from version control; if it is meant to be gone, remove `{HISTORY}` too"


class Loaded(msgspec.Struct):
    """Everything read from a folder."""

    ledger: Ledger = msgspec.field(default_factory=Ledger)
    segments: list[Segment] = []
    bases: dict[str, bytes] = {}
    problems: list[Diagnostic] = []


@without_collection()
def load(disk: Disk, folder: int, *, name: str, strict: bool = False, checked: Mapping[str, bytes] | None = None) -> Loaded:
    """Read an open state folder that people know as `name`; base files that were `checked` need no strict look again."""
    checked = checked or {}
    loaded = Loaded()
    for segment_name, data in _segments(disk, folder):
        segment = read_segment(segment_name, data, place=f"{name}/{LOG}/{segment_name}")
        loaded.segments.append(segment)
        loaded.problems += segment.problems
        loaded.ledger.lenient |= segment.newer
        for fact in segment.facts:
            loaded.ledger.add_fact(fact)
        loaded.ledger.count(data)
    for base in (*BASE_FILES, HISTORY):
        try:
            loaded.bases[base] = disk.read(folder, base)
        except FileNotFoundError:
            continue
    for base, kind in BASE_FILES.items():
        if base in loaded.bases:
            data = loaded.bases[base]
            problems = read_base(loaded.ledger, kind, data, place=f"{name}/{base}", strict=strict and checked.get(base) != data)
            loaded.problems += problems
    for line in numbered_lines(loaded.bases.get(HISTORY, b"")):
        if (wrong := wrong_in_history(line.content)) is not None:
            loaded.problems.append(bad_line(line, wrong, place=f"{name}/{HISTORY}"))
    if _blank(loaded, "jobs.jsonl") and HISTORY in loaded.bases:
        loaded.problems += _lost_records(loaded, name)
    return loaded


def _lost_records(loaded: Loaded, name: str) -> list[Diagnostic]:
    """Return what is odd about a folder without records of jobs whose history names commands that wrote records."""
    facts = sum(entry.get("facts") or 0 for entry in history(loaded) if entry["compacted"])
    if not facts:
        return []
    at = Place(path=printable(f"{name}/jobs.jsonl"))
    if not all(_blank(loaded, base) for base in BASE_FILES):
        return [warning("missing-records", "no job is recorded, although commands have written records", at=at, help=_RESTORE)]
    return [error("missing-records", f"the records of {facts} facts that commands have written are gone", at=at, help=_RESTORE)]


def _blank(loaded: Loaded, base: str) -> bool:
    data = loaded.bases.get(base)
    return not data or data.isspace()


class _Command(msgspec.Struct):
    segment: str


_COMMAND: Final = msgspec.json.Decoder(_Command)


def wrong_in_history(content: bytes) -> str | None:
    """Return why a line cannot be one of the history, if so."""
    try:
        _COMMAND.decode(content)
    except (ValueError, RecursionError) as problem:
        return unreadable(content, problem)
    return None


def torn_line(folder: str, segment: Segment) -> Diagnostic:
    """Return the diagnostic of an unfinished last line."""
    path = printable(f"{folder}/{LOG}/{segment.name}")
    return warning(
        "torn-line",
        f"the last line of `{path}` was never finished; it is left out",
        at=Place(path=path),
        help="nothing was bought on its account; the next command that writes sets it aside",
    )


def history(loaded: Loaded) -> list[dict[str, Any]]:
    """Return who did what, when, oldest first: compacted segments and those still in the log."""
    entries: dict[str, dict[str, Any]] = {}
    for line in numbered_lines(loaded.bases.get(HISTORY, b"")):
        if wrong_in_history(line.content) is None:
            entry = msgspec.json.decode(line.content)
            entries[entry["segment"]] = entry | {"compacted": True}
    for segment in loaded.segments:
        if segment.header is not None:
            entries[segment.name] = msgspec.json.decode(history_line(segment)) | {"compacted": False}
    return [entry for _, entry in sorted(entries.items())]


def history_line(segment: Segment) -> bytes:
    """Return what is kept of a segment when its facts are in the base files: who did what, when."""
    assert segment.header is not None  # noqa: S101 asked by the caller
    line = {"segment": segment.name} | msgspec.to_builtins(segment.header) | {"facts": len(segment.facts)}
    del line["fact"]
    return msgspec.json.encode(line)


def _segments(disk: Disk, folder: int) -> Iterator[tuple[str, bytes]]:
    try:
        log = disk.open_folder(Path(LOG), inside=folder)
    except FileNotFoundError:
        return
    try:
        for name in disk.names(log):
            if name.endswith(".jsonl"):
                try:
                    yield name, disk.read(log, name)
                except FileNotFoundError:  # compacted since: its facts are in the base files
                    continue
    finally:
        disk.close(log)


def write_new(disk: Disk, folder: int, name: str, data: bytes) -> None:
    """Write a new file, durably but for its name."""
    fd = disk.create(folder, name)
    try:
        disk.write(fd, data)
        disk.sync(fd)
    finally:
        disk.close(fd)


def replace(disk: Disk, folder: int, name: str, data: bytes, *, temporary: str) -> None:
    """Give a file new content in one step, durable when the folder is synced."""
    write_new(disk, folder, temporary, data)
    disk.rename(folder, temporary, name)
