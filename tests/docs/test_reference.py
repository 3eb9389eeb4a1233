"""The reference is what the code says, and it says everything."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"


def test_pages_are_what_the_code_says():
    """`docs/make_reference.py` would change nothing."""
    done = subprocess.run([sys.executable, "docs/make_reference.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_code_that_can_be_shown_is_documented():
    """Each literal code of an error or warning in the source has a heading."""
    documented = set(re.findall(r"^### (\S+)", (REFERENCE / "diagnostics.md").read_text(), re.MULTILINE))
    made = re.compile(r"""\b(?:error|warning)\(\s*"([a-z0-9]+(?:-[a-z0-9]+)+)",""")
    used = {code for path in (ROOT / "ftspec").rglob("*.py") for code in made.findall(path.read_text())}
    assert used - documented == set()


PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_somewhere(page):
    """A relative link names a file of the repository."""
    links = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
