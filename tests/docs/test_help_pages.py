"""Every help page has an example that can be typed, and fits a terminal."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from ftspec.cli import ELSEWHERE, group

ROOT = Path(__file__).parents[2]


def walk(command: click.Command, name: str, parent: click.Context | None = None):
    """Yield (name, context) of a command and all below it."""
    context = click.Context(command, info_name=name.rpartition(" ")[2], parent=parent, terminal_width=80, max_content_width=80)
    yield name, context
    if isinstance(command, click.Group):
        for sub in command.list_commands(context):
            found = command.get_command(context, sub)
            if found is not None:
                yield from walk(found, f"{name} {sub}", context)


PAGES = dict(walk(group, "ftspec"))


@pytest.mark.parametrize("name", PAGES)
def test_help_has_an_example_of_this_command(name):
    """An indented line starts with the command itself, as it would be typed."""
    text = PAGES[name].command.get_help(PAGES[name])
    assert re.search(rf"^ {{4,}}.*\b{name}\b", text, re.MULTILINE), text


@pytest.mark.parametrize("name", PAGES)
def test_examples_use_commands_and_options_that_exist(name):
    """What the example shows is a command, with options that it has."""
    for line in re.findall(r"^ {6,}(ftspec .*)$", PAGES[name].command.get_help(PAGES[name]), re.MULTILINE):
        words = shlex.split(re.split(r"\s(?:&&|\||>|<)", line)[0])
        called = "ftspec"
        for word in words[1:]:
            if f"{called} {word}" in PAGES:
                called = f"{called} {word}"
        known = {option for parameter in PAGES[called].command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {
            "--help"
        }
        own = words[: words.index("--")] if "--" in words else words
        assert {word for word in own if word.startswith("-") and word != "-"} <= known, line


@pytest.mark.parametrize("name", PAGES)
def test_help_fits_eighty_columns(name):
    """No line is longer than a terminal."""
    assert [line for line in PAGES[name].command.get_help(PAGES[name]).split("\n") if len(line) > 80] == []


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_what_commands_print_fits_eighty_columns(page):
    """Output on the first pages (not files they show) fits a terminal."""
    inside = shown = False
    wide = []
    for line in (ROOT / page).read_text().split("\n"):
        if line.startswith("```"):
            inside = line == "```console"
        elif line.startswith("$ "):
            shown = line.startswith("$ cat ")
        elif inside and not shown and len(line) > 80:
            wide.append(line)
    assert wide == []


def test_words_of_other_tools_lead_to_commands_that_exist():
    """A hint names a command, and its word is no command itself."""
    for word, meant in ELSEWHERE.items():
        assert word not in group.list_commands(PAGES["ftspec"])
        assert meant.startswith("--") or group.get_command(PAGES["ftspec"], meant.split()[0]) is not None, word
