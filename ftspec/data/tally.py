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

from ftspec.data.batch import Batch
from ftspec.data.boring import PlainChat, PlainMessage
from ftspec.data.checks.chat import LABEL_LENGTH
from ftspec.data.findings import Finding
from ftspec.data.formats import all_formats
from ftspec.data.formats.base import Piece
from ftspec.data.formats.preference import OUTPUTS, output_of
from ftspec.data.scan import Order
from ftspec.data.tokens import IMAGE_ERROR, IMAGE_HIGH, IMAGE_LOW, PER_MESSAGE, PER_ROW, Counter, counter
from ftspec.data.transforms import source_of

_MASK = (1 << 64) - 1

LABELS = 1000
"""With more different short answers than this they are no labels."""
TOOLS = 500
IMAGES = "images"
"""The role under which the tokens of images are counted."""


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


def error_of(counts: Counts, counted_by: Counter) -> float:
    """Return how wrong the tokens of a part can be, as a share; 0 where they are exact. What images cost is never sure."""
    images = counts.roles.get(IMAGES, 0) / counts.tokens if counts.tokens else 0.0
    return counted_by.error * (1 - images) + IMAGE_ERROR * images


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
        self._counts_of = {part: [self._counts[one] for one in dict.fromkeys(("", part))] for part in self._counts}
        self._kept: dict[str, list[bytes]] = {part: [] for part in self._counts}
        self._hashes, self._places = array("Q"), array("Q")

    def add(self, batch: Batch) -> None:
        """Count rows."""
        self._measure("", len(batch), batch.canonical)
        for part in self._parts:
            self._measure(part, *batch.of_part(part))
        if self._counter is not None or self._order.statistics:
            for value, part in zip(batch.values, batch.parts, strict=True):
                self._look(value, part, batch)
        if self._order.hashes:
            self._hash(batch)

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

    def _measure(self, part: str, rows: int, canonical: bytes) -> None:
        if not rows:
            return
        counts = self._counts[part]
        counts.rows += rows
        counts.bytes += len(canonical)
        if self._order.keep:
            self._kept[part].append(canonical)

    def _look(self, value: Any, part: str, batch: Batch) -> None:
        """Count the tokens of a row, and what statistics want."""
        seen: _Seen | None = None
        if isinstance(value, PlainChat):
            roles, loss, extra = self._plain_tokens(value.messages)
            if self._order.statistics:
                seen = _seen_in_plain(value.messages)
        else:
            pieces = list(self._form.pieces(value))
            roles, loss, extra = self._tokens(value, pieces, pictured=batch.pictured)
            if self._order.statistics:
                seen = self._seen(value, pieces)
        total = sum(roles.values()) + extra
        for counts in self._counts_of[part]:
            counts.tokens += total
            counts.loss_tokens += loss
            counts.lengths[total] = counts.lengths.get(total, 0) + 1
            for role, tokens in roles.items():
                counts.roles[role] = counts.roles.get(role, 0) + tokens
            if seen is not None:
                _characterise(counts, seen)

    def _plain_tokens(self, messages: list[PlainMessage]) -> tuple[dict[str, int], int, int]:
        """Return what `_tokens` does for a row of roles and texts."""
        roles: dict[str, int] = {}
        if self._counter is None:
            return roles, 0, 0
        count = self._counter.count
        for one in messages:
            roles[one.role] = roles.get(one.role, 0) + count(one.content)
        return roles, roles.get("assistant", 0), PER_MESSAGE * len(messages) + PER_ROW if self._counter.overhead else 0

    def _tokens(self, value: Mapping[str, Any], pieces: list[Piece], *, pictured: bool) -> tuple[dict[str, int], int, int]:
        """Return the tokens of a row by role, how many of them are learned, and how many are in none of its texts."""
        roles: dict[str, int] = {}
        if self._counter is None:
            return roles, 0, 0
        loss = extra = 0
        for role, text, trained in pieces:
            tokens = self._counter.count(text)
            roles[role] = roles.get(role, 0) + tokens
            loss += tokens if trained else 0
        if self._counter.overhead:
            if pictured and (tokens := _image_tokens(value)):
                roles[IMAGES] = roles.get(IMAGES, 0) + tokens
            if self._form.name not in {"completion", "eval"}:
                extra = PER_MESSAGE * len(pieces) + PER_ROW
        return roles, loss, extra

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

    def _hash(self, batch: Batch) -> None:
        pairs = self._form.name == "preference"
        hashes = self._hashes
        for value, canonical in zip(batch.values, batch.each, strict=True):
            prompt, target, other = b"null", b"null", b"null"
            if isinstance(value, PlainChat):
                ends = value.messages[-1].role == "assistant"
                prompt = plain_json(value.messages[:-1] if ends else value.messages)
                target = plain_json(value.messages[-1]) if ends else target
            else:
                prompt, target = sorted_json(self._form.prompt(value)), sorted_json(self._form.target(value))
                other = sorted_json(output_of(value, "non_preferred_output")) if pairs else other
            hashes.extend((hash64(canonical), hash64(prompt), hash64(target), hash64(other)))
        self._places.extend(batch.lines)


class _Seen(NamedTuple):
    """What statistics want to know of a row; `value` where it may hold tools."""

    target: str | None
    source: str | None
    system: bool
    images: int
    preferred: int = 0
    other: int = 0
    value: Mapping[str, Any] | None = None


def _seen_in_plain(messages: list[PlainMessage]) -> _Seen:
    last = messages[-1]
    target = last.content.strip() if last.role == "assistant" else None
    return _Seen(target, None, "system" in [one.role for one in messages], 0)


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


plain_json = msgspec.json.Encoder().encode
"""The same for (lists of) the messages of a `PlainChat`, whose members are in order."""


def hash64(data: bytes) -> int:
    """Return 64 bits of Python's own hash: the same in all processes of a pass (`sharing` sees to it), and no longer."""
    return hash(data) & _MASK


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
    for messages in (holder.get("messages"), *(output_of(value, key) for key in OUTPUTS)):
        for call in (call for message in messages_of(messages) for call in calls_of(message)):
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
