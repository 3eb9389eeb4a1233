"""Which of a few fixed words occur in some bytes, in one search instead of one for each word."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby


class Words:
    """Fixed byte strings, none of them empty."""

    def __init__(self, words: Iterable[bytes]) -> None:
        listed = sorted(set(words), reverse=True)  # a longer word before the shorter ones that it starts with
        self._starts = {word: {one for one in listed if word.startswith(one)} for word in listed}
        # A search jumps to where a word may start, and looks ahead there, so that words may overlap.
        self._patterns = [
            (first, re.compile(re.escape(first) + b"(?=(" + b"|".join(re.escape(word[1:]) for word in group) + b"))", re.DOTALL))
            for first, group in groupby(listed, key=lambda word: word[:1])
        ]

    def within(self, data: bytes) -> set[bytes]:
        """Return the words that occur."""
        found = {first + rest for first, pattern in self._patterns for rest in set(pattern.findall(data))}
        return set().union(*[self._starts[word] for word in found])
