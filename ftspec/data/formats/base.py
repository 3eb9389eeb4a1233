"""What a format is: a likeness to tell it by, and the texts of a row with the part each plays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


class Piece(NamedTuple):
    """A text of a row: the role it has, and whether the model learns to write it."""

    role: str
    text: str
    trained: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One dataset format.

    `likeness` is 0 where a row cannot be of it, and larger the surer it is. `pieces` are the
    texts that are tokenised; it takes any row, also a wrong one. `prompt` is what the model is
    given and `target` what it should answer, both as values to compare and hash (`None`: none).
    """

    name: str
    likeness: Callable[[Mapping[str, Any]], int]
    pieces: Callable[[Mapping[str, Any]], Iterable[Piece]]
    prompt: Callable[[Mapping[str, Any]], Any]
    target: Callable[[Mapping[str, Any]], Any]
