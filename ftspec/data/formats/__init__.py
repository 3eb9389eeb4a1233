"""One file per dataset format, found by name: how its rows are recognised and which texts they hold."""

from __future__ import annotations

import functools
import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ftspec.data.formats.base import Format

EVAL = "eval"
"""The format of rows that only graders read: any object."""


@functools.cache
def all_formats() -> dict[str, Format]:
    """Return every format by name."""
    modules = (import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__) if found.name != "base")
    return {module.format.name: module.format for module in modules}


def detect(rows: Iterable[Mapping[str, Any]], *, wanted: str | None = None) -> str:
    """Return the format that most of these rows look like, `eval` where none fits; `wanted` decides between equals."""
    votes = dict.fromkeys(all_formats(), 0)
    for row in rows:
        likeness = {name: 2 * one.likeness(row) for name, one in all_formats().items()}
        if wanted is not None and likeness[wanted]:
            likeness[wanted] += 3
        best = max(likeness, key=lambda name: likeness[name])
        votes[best if likeness[best] else EVAL] += 1
    return max(votes, key=lambda name: votes[name]) if any(votes.values()) else EVAL
