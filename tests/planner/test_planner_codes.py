"""The pages of planning's diagnostics."""

from __future__ import annotations

import re
from importlib import resources

from ftspec.planner.codes import pages


def test_every_code_has_a_page_and_every_page_a_code():
    """A code that cannot be looked up helps nobody."""
    sources = [file.read_text(encoding="utf-8") for file in resources.files("ftspec.planner").iterdir() if file.name.endswith(".py")]
    used = {code for text in sources for code in re.findall(r'(?:code=|(?:error|warning)\(\s*)"([a-z-]+)"', text)}
    assert used == set(pages())
    for page in pages().values():
        assert "\n\nWhy: " in page
        assert "\n\nFix: " in page
