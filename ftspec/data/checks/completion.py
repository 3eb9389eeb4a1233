"""Rules about completion rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ftspec.data.checks.base import COMPLETION, RowCheck


class BadCompletion(RowCheck):
    """`prompt` or `completion` is missing, empty or not a text.

    Why: the engine refuses the file, or learns to say nothing.
    Fix: `{"prompt": "...", "completion": "..."}`.
    """

    code = "bad-completion"
    formats = COMPLETION
    help = 'write `{"prompt": "...", "completion": "..."}`'

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look at both texts."""
        for key in ("prompt", "completion"):
            text = row.get(key)
            if not isinstance(text, str):
                yield f"`{key}` is missing or not a text"
            elif not text and key == "completion":
                yield "`completion` is empty"
