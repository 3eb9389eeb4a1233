"""What somebody probably meant: the nearest known word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftspec.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LONGEST = 64
_CANDIDATES = 2_000


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that `word` resembles, if any does."""
    from difflib import get_close_matches
    from itertools import islice

    if len(word) > _LONGEST:
        return None
    candidates = {one.lower(): one for one in islice(known, _CANDIDATES)}
    found = get_close_matches(word.lower(), candidates, n=1, cutoff=0.6)
    return candidates[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str], *, others: Mapping[str, str] | None = None) -> str | None:
    """Return a help sentence: the nearest word, else the known words where they are few.

    `others` maps words of other tools to ours (`sft` to `supervised`).
    """
    known = list(known)
    best = (others or {}).get(word) or nearest(word, known)
    if best is not None:
        return f"did you mean `{printable(best)}`?"
    if 0 < len(known) <= 12:
        return "known: " + ", ".join(f"`{printable(one)}`" for one in known)
    return None
