"""Every value of a valid input replaced by every hostile value: a campaign without chance, which ends.

Where mutations may or may not meet the one pair of place and value that is not survived, the sweep meets each.
Places that differ only in an index of a list count once, those of several valid inputs of one target, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ftspec.testing.fuzz.mutate import FRAGMENTS, PIECES, TEXTS, Pairs, Path, Raw, places, tree_of, written

if TYPE_CHECKING:
    from ftspec.testing.fuzz.target import Form


def swept(seeds: Sequence[bytes], form: Form) -> Iterator[bytes]:
    """Return each valid input with one change: trees by value and by name, text (and the head of a request) by piece."""
    known: set[tuple[bytes, Path]] = set()
    for content in seeds:
        head = b""
        if form == "http":
            line, blank, content = content.partition(b"\n\n")  # noqa: PLW2901 the rest of it
            for changed in _by_piece(line):
                yield changed + blank + content
            head = line + blank
        trees = None if form == "text" else tree_of(content, form)
        if trees is None:
            yield from (head + changed for changed in _by_piece(content))
            continue
        end = b"\n" if form in {"jsonl", "yaml"} else b""
        first = head.split(b"\n")[0]
        for holding, place, path in list(places(trees)):
            if (first, path) not in known:
                known.add((first, path))
                for _ in _changes(holding, place):
                    yield head + b"\n".join(map(written, trees)) + end


def _changes(holding: list[Any], place: int) -> Iterator[None]:
    """Change one place of a tree in each way, and put it back in the end."""
    before = list(holding)
    name, value = before[place] if isinstance(holding, Pairs) else (None, before[place])

    def put(*values: Any) -> None:
        holding[:] = [*before[:place], *values, *before[place + 1 :]]

    def member(new: Any, called: str | None = name) -> Any:
        return new if called is None else (called, new)

    put()
    yield
    for fragment in FRAGMENTS:
        put(member(Raw(fragment)))
        yield
    for wrapped in ([value], Pairs([("x", value)])):
        put(member(wrapped))
        yield
    if name is not None:
        put(before[place], before[place])
        yield
        for text in TEXTS:
            put(member(value, text))
            yield
    holding[:] = before


def _by_piece(content: bytes) -> Iterator[bytes]:
    """Yield a text with each piece at the start, the end and each border of a word, and cut off there."""
    borders = sorted({0, len(content), *(found.end() for found in re.finditer(rb"\b", content))})
    for border in borders:
        yield content[:border]
        for piece in PIECES:
            yield content[:border] + piece + content[border:]
