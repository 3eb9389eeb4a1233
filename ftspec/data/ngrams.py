"""An index of word n-grams: which of many items a text has most n-grams in common with.

Many texts are looked up at once, so that all work on single n-grams is numpy's. N-grams are told
apart by 64 bits of hash, good for this process only; items have at least three that count, so that
two that are taken for one make no near duplicate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np  # noqa: TID253 loaded only where near duplicates are searched for

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Hashes: TypeAlias = NDArray[np.uint64]

NEAR = 0.6
"""Share of an item's n-grams in one text from which it counts as a near duplicate."""
SHORT = 8
"""Items of fewer words have too few n-grams to tell."""
LONG = 40
"""Items of at least so many words are compared by n-grams of 5 words, shorter ones of 3."""
COMMON = 8
"""An n-gram that more items than this have is a phrase of the task, not of an item."""
FEWEST = 3
"""How many n-grams of its own an item needs to be compared."""

_MIX = np.uint64(0x9E3779B97F4A7C15)
_BETWEEN = ""
"""Stands between texts; no n-gram of an item has it."""


class NGrams:
    """The n-grams of items. `add` them all, `close`, then ask which are `near` some texts."""

    def __init__(self) -> None:
        self._added: dict[int, list[tuple[int, Hashes]]] = {3: [], 5: []}
        self._tables: list[_Table] = []
        self._totals: NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        """How many n-grams of items there are."""
        return sum(len(grams) for added in self._added.values() for _, grams in added) + sum(len(one.grams) for one in self._tables)

    def add(self, item: int, words: Sequence[str]) -> None:
        """Add an item with a number of its own."""
        if len(words) < SHORT:
            return
        size = 5 if len(words) >= LONG else 3
        self._added[size].append((item, np.unique(_of_grams(_of_words(words), size))))

    def close(self) -> None:
        """Leave out n-grams that many items share, and make what is left ready to be searched."""
        tables = [_Table(size, added) for size, added in self._added.items() if added]
        self._tables = [one for one in tables if len(one.grams)]
        self._added = {}
        self._totals = np.zeros(max((int(one.items.max()) for one in self._tables), default=0) + 1, dtype=np.int64)
        for table in self._tables:
            self._totals += np.bincount(table.items, minlength=len(self._totals))

    def near(self, texts: Sequence[Sequence[str]]) -> Iterator[tuple[int, int, float]]:
        """Yield (number of the text, item, share of its n-grams) for each item that a text is near to."""
        if not self._tables:
            return
        flat: list[str] = []
        ends: list[int] = []
        for words in texts:
            flat += words
            flat.append(_BETWEEN)
            ends.append(len(flat))
        hashed = _of_words(flat)
        width = len(self._totals)
        shared = [table.shared(_of_grams(hashed, table.size), np.array(ends), width) for table in self._tables]
        pairs, counts = np.unique(np.concatenate(shared), return_counts=True)
        totals = self._totals[pairs % width]
        near = (totals >= FEWEST) & (counts >= NEAR * totals)
        for pair, share in zip(pairs[near].tolist(), (counts[near] / totals[near]).tolist(), strict=True):
            yield *divmod(pair, width), share


class _Table:
    """The n-grams of one size, sorted by hash, with the item of each."""

    def __init__(self, size: int, added: Sequence[tuple[int, Hashes]]) -> None:
        self.size = size
        grams = np.concatenate([one for _, one in added])
        items = np.repeat(np.array([item for item, _ in added], dtype=np.uint32), [len(one) for _, one in added])
        order = np.argsort(grams)
        grams, items = grams[order], items[order]
        _, counts = np.unique(grams, return_counts=True)
        own = np.repeat(counts <= COMMON, counts)
        self.grams: Hashes = grams[own]
        self.items = items[own]
        bits = len(self.grams).bit_length() + 4
        self._shift = np.uint64(64 - bits)
        self._maybe = np.zeros(1 << bits, dtype=bool)
        self._maybe[self.grams >> self._shift] = True

    def shared(self, grams: Hashes, ends: NDArray[np.int64], width: int) -> NDArray[np.int64]:
        """Return `text * width + item` once for each n-gram that both have; text after text ends at a place of `ends`."""
        places = np.flatnonzero(self._maybe[grams >> self._shift])
        firsts = np.searchsorted(self.grams, grams[places])
        known = self.grams.take(firsts, mode="clip") == grams[places]
        texts = np.searchsorted(ends, places[known], side="right")
        texts, firsts = np.divmod(np.unique(texts * len(self.grams) + firsts[known]), len(self.grams))
        numbers = np.searchsorted(self.grams, self.grams[firsts], side="right") - firsts
        after = np.cumsum(numbers)
        items = self.items[np.repeat(firsts - after + numbers, numbers) + np.arange(numbers.sum())]
        pairs: NDArray[np.int64] = np.repeat(texts, numbers) * width + items
        return pairs


def _of_words(words: Sequence[str]) -> Hashes:
    return np.fromiter(map(hash, words), dtype=np.int64, count=len(words)).view(np.uint64)


def _of_grams(words: Hashes, size: int) -> Hashes:
    """Return a hash of each n-gram of words that are hashed themselves, in their order."""
    made = np.zeros(max(len(words) - size + 1, 0), dtype=np.uint64)
    for start in range(size):
        made = (made + words[start : start + len(made)]) * _MIX
    return made
