"""Foreign text on its way to a terminal: what is hidden is shown, and what is plain takes a short way."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftspec import printable as module
from ftspec.printable import printable

ODD = st.sampled_from(
    ["::", " ::set-output", "##[group]", "##", "\n::", "\n", "\x1b", "\x7f", "\u202e", "ä", "日", ":", "a/b=1", "\u00ad", "\t"]
)


def the_long_way(text: str, *, newlines: bool) -> str:
    """Return what both patterns make of every text."""
    escaped = re.sub(module._UNSAFE_BUT_NEWLINE if newlines else module._UNSAFE, module._escaped, text)
    return module._CI_COMMAND.sub(lambda m: m.group().replace("::", r":\:").replace("##[", r"##\["), escaped)


@given(text=st.text() | st.lists(ODD, max_size=6).map("".join), newlines=st.booleans())
def test_plain_text_may_skip_both_patterns(text, newlines):
    """Nothing that they would change is missed."""
    assert printable(text, newlines=newlines) == the_long_way(text, newlines=newlines)


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0), 0xAD, 0x202E, 0xFEFF])
def test_every_control_character_is_shown(code):
    """One by one: a single one that gets through can rewrite what a terminal shows."""
    shown = f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"
    assert printable(f"a{chr(code)}b") == f"a{shown}b"
