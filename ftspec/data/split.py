"""Dealing rows to the parts of a split.

A row's part is decided by a hash of the seed and the row (or of the value of `group_by`), and
by nothing else: rows keep their part when others are added, removed or reordered. Parts own
intervals of the hash in alphabetical order, so that the layout of the spec does not matter,
and changing a share moves no more rows than it must.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from ftspec.fingerprint import canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping

_SPACE = 1 << 64
_MISSING = object()


class Dealer:
    """Says which part of a split a row belongs to."""

    def __init__(self, shares: Mapping[str, float], *, seed: int = 0, group_by: str | None = None) -> None:
        self.parts = sorted(shares)
        self.group_by = group_by
        self._steps = group_by.split(".") if group_by else []
        total = sum(shares.values())
        bounds: list[int] = []
        reached = 0.0
        for part in self.parts[:-1]:
            reached += shares[part]
            bounds.append(round(reached / total * _SPACE))
        self._bounds = bounds
        self._seeded = hashlib.blake2b(f"split {seed}\n".encode(), digest_size=8)

    def part(self, row: Mapping[str, Any], canonical: bytes) -> str:
        """Return the part of a row; a row without the `group_by` field is dealt by itself."""
        if self._steps:
            value = self.group(row)
            if value is not None:
                canonical = value
        hashed = self._seeded.copy()
        hashed.update(canonical)
        return self.parts[bisect_right(self._bounds, int.from_bytes(hashed.digest(), "big"))]

    def group(self, row: Mapping[str, Any]) -> bytes | None:
        """Return the canonical bytes of the row's group, or `None` where it has none."""
        value = field_of(row, self._steps)
        return None if value is None else canonical_json(value)


def field_of(row: Mapping[str, Any], steps: list[str]) -> Any:
    """Return the value at a dotted path (or under a key with dots in it), or `None`."""
    whole = row.get(".".join(steps), _MISSING)
    if whole is not _MISSING:
        return whole
    value: Any = row
    for step in steps:
        if not isinstance(value, dict) or step not in value:
            return None
        value = value[step]
    return value
