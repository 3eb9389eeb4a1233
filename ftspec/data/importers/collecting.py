"""From calls to a dataset: filter, leave out repeated rows, redact, write, and say where it all came from.

The dataset is a plain JSONL file; beside it `NAME.provenance.json` says which files were read
(with their digests), what was asked for, how many calls were kept and why the others were not,
and which models wrote the answers. Both appear only when complete.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from ftspec.data.importers.base import Call, Skipped
from ftspec.data.repair import redacted_row
from ftspec.data.rows import RowReader
from ftspec.diagnostics import FtspecError
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.data.importers.where import Test

FORMAT_VERSION = 1
_LONGEST_PART = 40
_MOST_PARTS = 20
"""Each part is a file; exports know train, test and validation."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What an import did. `files` are the datasets written, by part ("": there are no parts)."""

    read: int = 0
    kept: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    redacted: int = 0
    models: Counter[str] = field(default_factory=Counter)
    first: str | None = None
    last: str | None = None
    files: dict[str, Path] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    rows: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What to do with the calls."""

    output: Path
    keep: Test = lambda _call: True
    dedupe: bool = False
    redact: bool = False
    reasoning: bool = False
    limit: int | None = None
    force: bool = False


def collect_calls(calls: Iterable[Call | Skipped], wish: Wish, *, provenance: Mapping[str, Any]) -> Outcome:
    """Write the dataset and its provenance (`FtspecError`: a file is in the way, or no call was kept)."""
    outcome = Outcome()
    with _not_too_deep(), _Writers(wish) as writers:
        seen: set[bytes] = set()
        canonical_of = RowReader().canonical
        for one in calls:
            outcome.read += 1
            row = _wanted(one, wish, outcome)
            if row is None:
                continue
            canonical = canonical_of(row)
            key = hashlib.blake2b(canonical, digest_size=16).digest()
            if wish.dedupe and key in seen:
                outcome.skipped["there already"] += 1
                continue
            seen.add(key)
            part = _named((one.part or "") if isinstance(one, Call) else "")
            writers.write(part, row, canonical)
            outcome.kept += 1
            outcome.rows[part] += 1
            if isinstance(one, Call):
                _note(one, outcome)
            if wish.limit is not None and outcome.kept >= wish.limit:
                break
        if not outcome.kept:
            reasons = ", ".join(f"{number:,} x {reason}" for reason, number in outcome.skipped.most_common(3))
            raise FtspecError(f"none of the {outcome.read:,} records was kept", help=reasons or "the files hold no records")
        outcome.files = writers.finish()
        outcome.keys = writers.keys()
    _write_provenance(wish, outcome, provenance)
    return outcome


@contextlib.contextmanager
def _not_too_deep() -> Iterator[None]:
    try:
        yield
    except RecursionError:
        raise FtspecError("a record is nested too deeply to be read", help="take it out of the file") from None


def _wanted(one: Call | Skipped, wish: Wish, outcome: Outcome) -> dict[str, Any] | None:
    if isinstance(one, Skipped):
        outcome.skipped[one.reason] += 1
        return None
    if not wish.keep(one):
        outcome.skipped["left out by --where"] += 1
        return None
    row = one.row(reasoning=wish.reasoning)
    if wish.redact:
        row, times = redacted_row(row)
        outcome.redacted += times
    return row


def _note(call: Call, outcome: Outcome) -> None:
    if call.model:
        outcome.models[printable(call.model)] += 1
    if call.time:
        outcome.first = min(outcome.first or call.time, call.time)
        outcome.last = max(outcome.last or call.time, call.time)


class _Writers:
    """The files of the parts, under other names until all is written."""

    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        self._encode = msgspec.json.Encoder().encode
        self._open: dict[str, tuple[IO[bytes], Path, Any]] = {}

    def __enter__(self) -> _Writers:
        return self

    def __exit__(self, *stopped: object) -> None:
        for stream, path, _ in self._open.values():
            stream.close()
            path.unlink(missing_ok=True)

    def write(self, part: str, row: dict[str, Any], canonical: bytes) -> None:
        if part not in self._open:
            if len(self._open) >= _MOST_PARTS:
                raise FtspecError(f"the records name more than {_MOST_PARTS} parts", help="split them afterwards: `ftspec data split`")
            path = self._target(part)
            if path.exists() and not self._wish.force:
                raise FtspecError(
                    f"`{printable(path.name)}` exists already", help="add `--force` to overwrite it, or name another file with `-o`"
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_name(f"{path.name}.part")
            self._open[part] = (fresh.open("wb"), fresh, hashlib.sha256())
        stream, _, hashed = self._open[part]
        stream.write(self._encode(row) + b"\n")
        hashed.update(canonical + b"\n")

    def finish(self) -> dict[str, Path]:
        made = {}
        for part, (stream, fresh, _) in self._open.items():
            stream.close()
            made[part] = fresh.replace(self._target(part))
        return made

    def keys(self) -> dict[str, str]:
        return {part: hashed.hexdigest() for part, (_, _, hashed) in self._open.items()}

    def _target(self, part: str) -> Path:
        output = self._wish.output
        return output.with_name(f"{output.stem}.{part}{output.suffix}") if part else output


def _named(part: str) -> str:
    """Return the name of a part as a file's name can hold it: parts that read alike there are one."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in part[:_LONGEST_PART])


def _write_provenance(wish: Wish, outcome: Outcome, provenance: Mapping[str, Any]) -> None:
    said = {
        "format_version": FORMAT_VERSION,
        **provenance,
        "records": outcome.read,
        "kept": outcome.kept,
        "skipped": dict(outcome.skipped.most_common()),
        "redacted": outcome.redacted,
        "teacher_models": dict(outcome.models.most_common()),
        "calls_from": outcome.first,
        "calls_to": outcome.last,
        "datasets": [
            {"file": path.name, "rows": outcome.rows[part], "dataset_key": outcome.keys[part]} for part, path in outcome.files.items()
        ],
    }
    target = wish.output.with_name(f"{wish.output.stem}.provenance.json")
    fresh = target.with_name(f"{target.name}.part")
    with contextlib.ExitStack() as undo:
        undo.callback(fresh.unlink, missing_ok=True)
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(said), indent=2) + b"\n")
        fresh.replace(target)


def source_files(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Return name, size and SHA-256 of each file that is imported."""
    made = []
    for path in paths:
        with path.open("rb") as stream:
            made.append({"name": path.name, "bytes": path.stat().st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()})
    return made
