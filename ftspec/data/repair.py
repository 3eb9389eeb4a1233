"""`data check --fix`: a new file without what can be put right by itself; the old one stays.

Removed: byte order mark, CR, blank lines, repeated rows, and members of messages that hold
nothing (`"tool_calls": null`, as SDKs write them). Changed: answers are trimmed, older names of
preference outputs replaced, and, when asked for, secrets and personal data replaced.
Lines that cannot be read go, as they are, to a file beside the new one: nothing is lost. Rows
that need no change keep their bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ftspec.data import safety
from ftspec.data.formats.preference import OUTPUTS
from ftspec.data.messages import role_of
from ftspec.data.rows import SNIFFED, BadRow, RowReader, sniff
from ftspec.diagnostics import FtspecError
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.data.rows import RowFile

_BOM = b"\xef\xbb\xbf"


@dataclass(slots=True)
class Repaired:
    """What was done: how many rows were written, and how often each change was made."""

    rows: int = 0
    rejected: int = 0
    changes: dict[str, int] = field(default_factory=dict)

    def note(self, change: str, times: int = 1) -> None:
        """Count a change."""
        if times:
            self.changes[change] = self.changes.get(change, 0) + times


def repair(file: RowFile, out: Path, *, redact: bool = False) -> Repaired:
    """Write a repaired copy of a dataset file to `out`, unreadable lines to `<out>.rejected`.

    Neither file may exist yet, and one line at least must be a row (`FtspecError`); `BadFile` where
    the file is no JSON Lines at all. Both appear only when complete.
    """
    sniff(file.head(SNIFFED))
    rejects = out.with_name(f"{out.name}.rejected")
    for path in (out, rejects):
        if path.exists():
            raise FtspecError(f"`{path.name}` exists already", help="remove it, or name another file with `-o FILE`")
    done = Repaired()
    part, rejected_part = (path.with_name(f"{path.name}.part") for path in (out, rejects))
    try:
        with part.open("wb") as good, rejected_part.open("wb") as bad:
            for line in _repaired(file, done, bad.write, redact=redact):
                good.write(line + b"\n")
                done.rows += 1
        file.finish()
        if not done.rows:
            raise FtspecError(f"no line of `{printable(file.path)}` is a row, so nothing was written")
        part.replace(out)
        if done.rejected:
            rejected_part.replace(rejects)
    finally:
        part.unlink(missing_ok=True)
        rejected_part.unlink(missing_ok=True)
    return done


def _repaired(file: RowFile, done: Repaired, reject: Any, *, redact: bool) -> Iterator[bytes]:
    reader = RowReader()
    encode = msgspec.json.Encoder().encode
    seen: set[bytes] = set()
    for number, raw in enumerate(lines_of(file), start=1):
        line = raw.removeprefix(_BOM) if number == 1 else raw
        done.note("byte order mark removed", len(line) < len(raw))
        if line.endswith(b"\r"):
            line = line.rstrip(b"\r")
            done.note("CR removed")
        if not line.strip():
            done.note("blank line removed")
            continue
        try:
            value, canonical = reader.decode(line)
        except BadRow:
            done.rejected += 1
            reject(raw + b"\n")
            continue
        changed = _changed(value, done, redact=redact)
        if changed != value:
            line, canonical = encode(changed), reader.canonical(changed)
        key = hashlib.blake2b(canonical, digest_size=16).digest()
        if key in seen:
            done.note("repeated row removed")
            continue
        seen.add(key)
        yield line


def _changed(row: dict[str, Any], done: Repaired, *, redact: bool) -> dict[str, Any]:
    made = dict(row)
    for new, old in OUTPUTS.items():
        if "input" in made and old in made and new not in made:
            made = {new if key == old else key: value for key, value in made.items()}
            done.note(f"{old} renamed to {new}")
    for key in ("messages", *OUTPUTS):
        if isinstance(made.get(key), list):
            made[key] = [_without_empty(message, done) for message in made[key]]
    if isinstance(asked := made.get("input"), dict) and isinstance(asked.get("messages"), list):
        made["input"] = asked | {"messages": [_without_empty(message, done) for message in asked["messages"]]}
    if isinstance(made.get("messages"), list):
        made["messages"] = [_trimmed(message, done) for message in made["messages"]]
    if redact:
        made, times = redacted_row(made)
        done.note("secret or personal data replaced", times)
    return made


def _without_empty(message: Any, done: Repaired) -> Any:
    """Return a message without members that hold nothing; `content` may be `null` on purpose."""
    if not isinstance(message, dict):
        return message
    kept = {key: value for key, value in message.items() if key in {"role", "content"} or (value is not None and value != [])}
    done.note("empty member of a message removed", len(message) - len(kept))
    return kept


def _trimmed(message: Any, done: Repaired) -> Any:
    if not isinstance(message, dict) or role_of(message) != "assistant" or not isinstance(message.get("content"), str):
        return message
    text = message["content"].strip()
    if not text or text == message["content"]:
        return message
    done.note("answer trimmed")
    return {**message, "content": text}


def redacted_row(value: Any) -> tuple[Any, int]:
    """Return a JSON value with everything in its texts that looks secret or personal replaced, and how often."""
    if isinstance(value, str):
        return safety.redact(value)
    if isinstance(value, dict):
        pairs = {key: redacted_row(inner) for key, inner in value.items()}
        return {key: inner for key, (inner, _) in pairs.items()}, sum(times for _, times in pairs.values())
    if isinstance(value, list):
        items = [redacted_row(inner) for inner in value]
        return [inner for inner, _ in items], sum(times for _, times in items)
    return value, 0


def lines_of(file: RowFile) -> Iterator[bytes]:
    """Yield the lines of a file without their LF."""
    for block in file.blocks():
        lines = block.split(b"\n")
        if not lines[-1]:
            lines.pop()
        yield from lines
