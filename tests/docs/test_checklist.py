"""Every row of the checklist has pages, executed pages or tests, and commands that exist."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from ftspec.cli import group
from ftspec.testing.scenarios import scenarios

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "checklist.md"
ROWS = {
    cells[0]: cells[1:]
    for line in PAGE.read_text().split("\n")
    if (cells := [cell.strip() for cell in line.strip("|").split("|")]) and re.fullmatch(r"[A-D]\d+", cells[0])
}
LINK = re.compile(r"\]\(([^)#]+)(?:#([^)]+))?\)")


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as hosts make them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_no_row_is_missing():
    """A1 to A20, B1 to B13, C1 to C18 and D1 to D16, in this order."""
    assert list(ROWS) == [
        f"{letter}{number}" for letter, last in (("A", 20), ("B", 13), ("C", 18), ("D", 16)) for number in range(1, last + 1)
    ]


@pytest.mark.parametrize("row", ROWS)
def test_a_row_is_explained_on_pages_that_exist(row):
    """Links name files, and headings in them."""
    links = LINK.findall(ROWS[row][2])
    assert links
    for name, anchor in links:
        path = (PAGE.parent / name).resolve()
        assert path.is_file(), name
        assert not anchor or anchor in anchors(path), f"{name}#{anchor}"


@pytest.mark.parametrize("row", ROWS)
def test_a_row_is_shown_by_pages_that_run_or_by_tests(row):
    """Pages hold scenarios; tests are defined where the row says."""
    pages, tests = LINK.findall(ROWS[row][3]), re.findall(r"`(tests/[^`]+)`", ROWS[row][3])
    assert pages or tests
    for name, _ in pages:
        path = (PAGE.parent / name).resolve()
        assert scenarios(path.read_text(), page="scenarios" not in path.parts), f"nothing is run on {name}"
    for test in tests:
        path, _, name = test.partition("::")
        assert f"def {name or 'test_'}" in (ROOT / path).read_text(), test


@pytest.mark.parametrize("row", ROWS)
def test_commands_and_options_of_a_row_exist(row):
    """`ftspec x --y` is a command with this option."""
    for text in re.findall(r"`(ftspec [^`]+)`", ROWS[row][1]):
        command: click.Command = group
        words = text.split()[1:]
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            name = words.pop(0)
            found = command.get_command(click.Context(command), name)
            assert found is not None, text
            command = found
        options = {option for parameter in command.get_params(click.Context(command)) for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= options, text
