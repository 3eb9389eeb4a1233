"""Text as the sandbox learner sees it: words with the white space in front of them.

Joining the pieces of a text gives the text back. One piece counts as one token.
"""

from __future__ import annotations

import re
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_PIECE = re.compile(r"\s*(?:\w{1,32}|[^\w\s])|\s+\Z")


def pieces(text: str) -> list[str]:
    """Return the words and signs of a text, each with its leading white space."""
    return _PIECE.findall(text)


def count(texts: Iterable[str]) -> int:
    """Return how many tokens some texts have."""
    return sum(len(pieces(text)) for text in texts)


@lru_cache(maxsize=65536)
def code(word: str) -> int:
    """Return a 32-bit number for a word, whatever its case and the space before it."""
    return zlib.crc32(word.strip().casefold().encode(errors="surrogatepass"))


def grams(text: str, size: int = 4) -> list[int]:
    """Return numbers for the distinct character sequences of a text: they see through typos."""
    flat = " ".join(["", *text.casefold().split(), ""])
    parts = sorted({flat[i : i + size] for i in range(max(len(flat) - size + 1, 1))})
    return [zlib.crc32(part.encode(errors="surrogatepass"), 1) for part in parts]
