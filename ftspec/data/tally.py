"""What a pass counts: digests, sizes, tokens, statistics, by part of the dataset.

`Tally.add` takes rows in order; `Tally.report` hands over what was counted since the last
report and starts anew, so that another process can send it; `Totals` adds reports up, in order.
The whole dataset is the part "". Memory does not grow with the rows, except for the hashes
that the search for duplicates asks for (40 bytes a row).
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from ftspec.data.boring import PlainChat, as_dict
from ftspec.data.checks.chat import LABEL_LENGTH
from ftspec.data.findings import Finding
from ftspec.data.formats import all_formats
from ftspec.data.formats.base import Piece
from ftspec.data.formats.preference import output_of
from ftspec.data.scan import Order
from ftspec.data.tokens import IMAGE_HIGH, IMAGE_LOW, PER_MESSAGE, PER_ROW, counter
from ftspec.data.transforms import Row, source_of

LABELS = 1000
"""With more different short answers than this they are no labels."""
TOOLS = 500


class Counts(msgspec.Struct, kw_only=True):
    """What was counted in one part."""

    rows: int = 0
    bytes: int = 0
    tokens: int = 0
    loss_tokens: int = 0
    roles: dict[str, int] = {}
    lengths: dict[int, int] = {}
    """Tokens of a row to number of rows."""
    labels: dict[str, int] = {}
    sources: dict[str, int] = {}
    with_system: int = 0
    with_tools: int = 0
    with_images: int = 0
    images: int = 0
    declared: dict[str, int] = {}
    called: dict[str, int] = {}
    tool_sets: dict[str, int] = {}
    preferred_longer: int = 0
    other_longer: int = 0

    def add(self, other: Counts) -> None:
        """Add what was counted further on."""
        for name in self.__struct_fields__:
            mine, theirs = getattr(self, name), getattr(other, name)
            if isinstance(mine, int):
                setattr(self, name, mine + theirs)
            else:
                for key, value in theirs.items():
                    mine[key] = mine.get(key, 0) + value
                if len(mine) > _BOUNDS.get(name, len(mine)):
                    for key in list(mine)[_BOUNDS[name] :]:
                        del mine[key]


_BOUNDS = {"labels": LABELS + 1, "declared": TOOLS, "called": TOOLS, "tool_sets": TOOLS, "sources": TOOLS}


class Report(msgspec.Struct, kw_only=True):
    """What one stretch of a file gave."""

    lines: int = 0
    findings: list[Finding] = []
    counts: dict[str, Counts] = {}
    canonical: dict[str, bytes] = {}
    hashes: bytes = b""
    """Per row: its hash, its prompt's, its answer's and that of the answer not preferred (8 bytes each), where asked for."""
    places: bytes = b""
    """Per row: its line (8 bytes), where hashes were asked for."""


class Tally:
    """Counts rows."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._form = all_formats()[order.setting.format]
        self._counter = counter(order.tokenizer, large=order.large) if order.tokenizer else None
        self._parts = order.parts
        self._fresh()

    def _fresh(self) -> None:
        self._counts = {part: Counts() for part in ("", *self._parts)}
        self._kept: dict[str, list[bytes]] = {part: [] for part in self._counts}
        self._hashes, self._places = array("Q"), array("Q")

    def add(self, rows: Iterable[Row]) -> None:
        """Count rows."""
        listed = list(rows)
        self._measure("", listed)
        for part in self._parts:
            self._measure(part, [row for row in listed if row.part == part])
        if self._counter is not None or self._order.statistics:
            for row in listed:
                self._look(row)
        if self._order.hashes:
            for row in listed:
                self._hash(row)

    def report(self) -> Report:
        """Return what was counted since the last report."""
        made = Report(
            counts=self._counts,
            canonical={part: b"".join(kept) for part, kept in self._kept.items()} if self._order.keep else {},
            hashes=self._hashes.tobytes(),
            places=self._places.tobytes(),
        )
        self._fresh()
        return made

    def _measure(self, part: str, rows: list[Row]) -> None:
        if not rows:
            return
        pieces = [row.canonical for row in rows]
        pieces.append(b"")
        joined = b"\n".join(pieces)
        counts = self._counts[part]
        counts.rows += len(rows)
        counts.bytes += len(joined)
        if self._order.keep:
            self._kept[part].append(joined)

    def _look(self, row: Row) -> None:
        """Count the tokens of a row, and what statistics want."""
        value = row.value
        plain = isinstance(value, PlainChat)
        pieces: list[Piece] = (
            [Piece(one.role, one.content, one.role == "assistant") for one in value.messages] if plain else list(self._form.pieces(value))
        )
        roles: dict[str, int] = {}
        loss = extra = 0
        if self._counter is not None:
            count = self._counter.count
            for role, text, trained in pieces:
                tokens = count(text)
                roles[role] = roles.get(role, 0) + tokens
                loss += tokens if trained else 0
            extra = self._extra(row, pieces)
        total = sum(roles.values()) + extra
        seen = (_seen_in_plain(value) if plain else self._seen(value, pieces)) if self._order.statistics else None
        for part in {"", row.part}:
            counts = self._counts[part]
            counts.tokens += total
            counts.loss_tokens += loss
            counts.lengths[total] = counts.lengths.get(total, 0) + 1
            for role, tokens in roles.items():
                counts.roles[role] = counts.roles.get(role, 0) + tokens
            if seen is not None:
                _characterise(counts, seen)

    def _extra(self, row: Row, pieces: list[Piece]) -> int:
        """Return the tokens of a row that are in none of its texts."""
        if self._counter is None or not self._counter.overhead:
            return 0
        images = _image_tokens(as_dict(row.value)) if b'"image_url"' in row.canonical else 0
        chat = self._form.name not in {"completion", "eval"}
        return images + (PER_MESSAGE * len(pieces) + PER_ROW if chat else 0)

    def _seen(self, value: Mapping[str, Any], pieces: list[Piece]) -> _Seen:
        preferred = other = 0
        if self._form.name == "preference":
            preferred = sum(len(piece.text) for piece in pieces if piece.role == "preferred")
            other = sum(len(piece.text) for piece in pieces if piece.role == "non_preferred")
        return _Seen(
            target=_text_of_target(self._form.target(value)),
            source=source_of(value),
            system=any(piece.role in {"system", "developer"} for piece in pieces),
            images=sum(1 for _ in _images(value)),
            preferred=preferred,
            other=other,
            value=value,
        )

    def _hash(self, row: Row) -> None:
        value = row.value
        said: tuple[Any, Any, Any]
        if isinstance(value, PlainChat):
            ends = value.messages[-1].role == "assistant"
            said = (value.messages[:-1], value.messages[-1], None) if ends else (value.messages, None, None)
        else:
            other = output_of(value, "non_preferred_output") if self._form.name == "preference" else None
            said = (self._form.prompt(value), self._form.target(value), other)
        self._hashes.extend((hash64(row.canonical), *[hash64(sorted_json(one)) for one in said]))
        self._places.append(row.line)


class _Seen(NamedTuple):
    """What statistics want to know of a row; `value` where it may hold tools."""

    target: str | None
    source: str | None
    system: bool
    images: int
    preferred: int = 0
    other: int = 0
    value: Mapping[str, Any] | None = None


def _seen_in_plain(value: PlainChat) -> _Seen:
    last = value.messages[-1]
    target = last.content.strip() if last.role == "assistant" else None
    return _Seen(target, None, value.messages[0].role == "system", 0)


def _characterise(counts: Counts, seen: _Seen) -> None:
    if seen.target is not None and len(seen.target) <= LABEL_LENGTH and len(counts.labels) <= LABELS:
        counts.labels[seen.target] = counts.labels.get(seen.target, 0) + 1
    if seen.source is not None and len(counts.sources) < TOOLS:
        counts.sources[seen.source[:LABEL_LENGTH]] = counts.sources.get(seen.source[:LABEL_LENGTH], 0) + 1
    counts.with_system += seen.system
    counts.images += seen.images
    counts.with_images += seen.images > 0
    counts.preferred_longer += seen.preferred > seen.other
    counts.other_longer += seen.other > seen.preferred
    if seen.value is not None:
        _count_tools(counts, seen.value)


class Totals:
    """Adds reports up, in the order of the file."""

    def __init__(self, order: Order) -> None:
        self.counts = {part: Counts() for part in ("", *order.parts)}
        self.lines = 0
        self.hashes, self.places = array("Q"), array("Q")
        self._hashed = {part: hashlib.sha256() for part in self.counts}

    def add(self, report: Report) -> None:
        """Add the next report; findings are the caller's."""
        for part, counts in report.counts.items():
            self.counts[part].add(counts)
        for part, joined in report.canonical.items():
            self._hashed[part].update(joined)
        self.hashes.frombytes(report.hashes)
        places = array("Q")
        places.frombytes(report.places)
        self.places.extend(line + self.lines for line in places)
        self.lines += report.lines

    def key(self, part: str) -> str:
        """Return the digest of a part."""
        return self._hashed[part].hexdigest()


sorted_json = msgspec.json.Encoder(order="sorted").encode
"""JSON with sorted keys, to compare values of one run; not an identity (floats keep msgspec's spelling)."""


def hash64(data: bytes) -> int:
    """Return 64 bits of a hash that is the same everywhere."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


def _text_of_target(target: Any) -> str | None:
    if isinstance(target, dict):
        target = target.get("content", target.get("reference"))
    elif isinstance(target, list) and len(target) == 1 and isinstance(target[0], dict):
        target = target[0].get("content")
    return target.strip() if isinstance(target, str) else None


def _count_tools(counts: Counts, value: Mapping[str, Any]) -> None:
    from ftspec.data.checks.tools import calls_of, declared_tools, name_and_arguments
    from ftspec.data.messages import messages_of

    inner = value.get("input")
    holder: Mapping[str, Any] = inner if isinstance(inner, dict) else value
    declared = declared_tools(holder, "chat")
    if declared is None:
        return
    counts.with_tools += 1
    for name in declared:
        counts.declared[name] = counts.declared.get(name, 0) + 1
    shape = f"{hash64(sorted_json(holder['tools'])):016x}"
    counts.tool_sets[shape] = counts.tool_sets.get(shape, 0) + 1
    for message in messages_of(holder.get("messages")):
        for call in calls_of(message):
            called, _ = name_and_arguments(call)
            if called is not None:
                counts.called[called] = counts.called.get(called, 0) + 1


def _images(value: Any) -> Iterable[Mapping[str, Any]]:
    if isinstance(value, dict):
        if value.get("type") == "image_url":
            yield value
        for inner in value.values():
            yield from _images(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _images(inner)


def _image_tokens(value: Any) -> int:
    def low(part: Mapping[str, Any]) -> bool:
        image = part.get("image_url")
        return isinstance(image, dict) and image.get("detail") == "low"

    return sum(IMAGE_LOW if low(part) else IMAGE_HIGH for part in _images(value))
