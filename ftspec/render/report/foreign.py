"""Foreign text as the page shows it: visible, keyless, not endless. Escaping is the template engine's business."""

from __future__ import annotations

from typing import Final

from ftspec.printable import printable, redacted

_LONGEST: Final = 4_000


def text(value: str) -> str:
    """Return foreign text as the page shows it."""
    shown = printable(redacted(value), newlines=True)
    return shown if len(shown) <= _LONGEST else shown[:_LONGEST] + "…"
