"""Colour as a value: a `Style` turns a piece of text and the role it plays into the text to print.

`plain` leaves everything as it is; `ansi` uses the sixteen colours every terminal has. What is
said never depends on colour.
"""

from __future__ import annotations

from typing import Literal, Protocol

Role = Literal["add", "change", "remove", "good", "bad", "warn", "note", "dim", "strong"]

_CODES: dict[Role, str] = {
    "add": "32",
    "change": "33",
    "remove": "31",
    "good": "32",
    "bad": "1;31",
    "warn": "1;33",
    "note": "36",
    "dim": "2",
    "strong": "1",
}


class Style(Protocol):
    """Paints text for where it will be shown."""

    def __call__(self, text: str, role: Role) -> str:
        """Return `text` as it looks in this role."""
        ...


def plain(text: str, role: Role) -> str:  # noqa: ARG001 the protocol's parameter
    """Return the text as it is."""
    return text


def ansi(text: str, role: Role) -> str:
    """Return the text between ANSI colour codes."""
    return f"\x1b[{_CODES[role]}m{text}\x1b[0m" if text else text


def style_for(*, color: bool) -> Style:
    """Return the style of a stream that shows colour, or does not."""
    return ansi if color else plain
