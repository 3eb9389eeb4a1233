"""Every diagnostic that reading datasets can give beside the rules about rows (`checks/`), and its page for the docs."""

from __future__ import annotations

from typing import Final

_PAGES: Final = {
    "bad-transform": """A transform of a dataset cannot be applied: an unknown step, a wrong option, a dataset or file that is not there.

Fix: the message names the step and what is wrong with it.""",
}


def pages() -> dict[str, str]:
    """Return the documentation of these codes: what, why, how to put it right."""
    return dict(_PAGES)
