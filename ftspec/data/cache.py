"""Digests of unchanged files, remembered so that planning reads no data.

An entry holds what `digest` returned, under the dataset's settings and the version of the
recipe, with the stamps (size, times, inode) of every file that was read for it. It is used
only while all stamps are the same and older than the reading by more than any file system's
clock tick, git's rule for racy entries: a file that was written while, or shortly before, it
was read is read again. What is uploaded never comes from here.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, cast

import msgspec

from ftspec.actions import DatasetFacts
from ftspec.data.rows import BadFile, Stamp
from ftspec.diagnostics import Diagnostic
from ftspec.fingerprint import digest as key_of
from ftspec.regular import read_regular, write_beside

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ftspec.data.checks.base import Setting
    from ftspec.data.rows import Place
    from ftspec.experiment import DesiredDataset

VERSION = 1
"""Raised whenever rules or recipes change what a pass over the same file returns."""

RACY_NS = 2_000_000_000
"""The coarsest clock of a file system in use (FAT: two seconds)."""

KEEP = 500
"""How many entries stay when old ones are cleared away."""

Result = tuple[dict[str, DatasetFacts], list[Diagnostic]]


class _Entry(msgspec.Struct, kw_only=True):
    read_at: int
    stamps: list[tuple[str, Stamp]]
    value: msgspec.Raw


class DigestCache:
    """A folder with one file per entry. Losing or deleting it costs time and nothing else."""

    def __init__(self, folder: Path, *, now: Callable[[], int] = time.time_ns) -> None:
        self._folder = folder
        self._written = False
        self.now = now
        self.hits = 0

    def get(self, dataset: DesiredDataset, place: Place, *, setting: Setting, tokenizer: str) -> Result | None:
        """Return what `digest` said of a dataset none of whose files changed."""
        return cast("Result | None", self.recall("data", _settings(dataset, setting, tokenizer), place, kind=Result))

    def put(
        self,
        dataset: DesiredDataset,
        result: Result,
        *,
        setting: Setting,
        tokenizer: str,
        stamps: Sequence[tuple[str, Stamp]],
        read_at: int,
    ) -> None:
        """Remember what a pass that began at `read_at` returned."""
        self.remember("data", _settings(dataset, setting, tokenizer), result, stamps=stamps, read_at=read_at)

    def recall(self, purpose: str, settings: Any, place: Place, *, kind: Any) -> Any:
        """Return a remembered value of type `kind` if none of the files behind it changed, else `None`."""
        try:
            entry = msgspec.json.decode(read_regular(self._file(purpose, settings)), type=_Entry)
            for path, stamp in entry.stamps:
                if stamp.mtime_ns + RACY_NS > entry.read_at:
                    return None
                with place.open(path) as file:
                    if file.stamp != stamp:
                        return None
            value = msgspec.json.decode(entry.value, type=kind)
        except (OSError, ValueError, RecursionError, BadFile):
            return None
        self.hits += 1
        return value

    def remember(self, purpose: str, settings: Any, value: Any, *, stamps: Sequence[tuple[str, Stamp]], read_at: int) -> None:
        """Remember a value under its settings and the files it came from. A cache that cannot be written is no error."""
        entry = _Entry(read_at=read_at, stamps=list(stamps), value=msgspec.Raw(msgspec.json.encode(value)))
        target = self._file(purpose, settings)
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_beside(target, msgspec.json.encode(entry))
            self._written = True

    def close(self) -> None:
        """Clear away the oldest entries when there are many."""
        if not self._written:
            return
        with contextlib.suppress(OSError):
            entries = sorted(self._folder.glob("data-*.json"), key=lambda path: path.stat().st_mtime_ns)
            for path in entries[:-KEEP]:
                path.unlink(missing_ok=True)

    def _file(self, purpose: str, settings: Any) -> Path:
        return self._folder / f"data-{key_of({'version': VERSION, 'purpose': purpose, 'settings': settings})[:32]}.json"


def _settings(dataset: DesiredDataset, setting: Setting, tokenizer: str) -> dict[str, Any]:
    return {
        "dataset": describe(dataset),
        "setting": msgspec.to_builtins(setting, order="sorted"),
        "tokenizer": tokenizer,
    }


def describe(dataset: DesiredDataset) -> dict[str, Any]:
    """Return everything that decides which rows a dataset has, files aside."""
    return {
        "name": dataset.name,
        "path": dataset.path,
        "format": dataset.format,
        "split": msgspec.to_builtins(dataset.split),
        "transforms": [dict(one) for one in dataset.transforms],
        "at": dataset.at.path if dataset.at else None,
    }
