"""What a release says of itself, and how it is started."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

import ftspec

ROOT = Path(__file__).parents[2]


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*words], capture_output=True, text=True, check=False, env={**os.environ, **environment}, timeout=60)


def test_one_version_everywhere():
    """`pyproject.toml`, the package, `--version` and the newest entry of the changelog agree."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert {newest[1], ftspec.__version__} == {version}
    assert run(sys.executable, "-m", "ftspec", "--version").stdout == f"ftspec {version}\n"


def test_types_are_shipped():
    """`py.typed` is in the package, and every public name exists."""
    assert (files("ftspec") / "py.typed").is_file()
    assert [name for name in ftspec.__all__ if not hasattr(ftspec, name)] == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete(shell):
    """The completion script of each shell is printed, and asks ftspec for the words."""
    program = str(Path(sys.executable).with_name("ftspec"))
    done = run(program, _FTSPEC_COMPLETE=f"{shell}_source")
    assert done.returncode == 0, done.stderr
    assert f"_FTSPEC_COMPLETE={shell}_complete" in done.stdout


def test_commands_and_options_are_completed():
    """Half a command, a command of a group and half an option are completed."""
    program = str(Path(sys.executable).with_name("ftspec"))

    def words(line: str) -> set[str]:
        position = str(len(line.split(" ")) - 1)
        done = run(program, _FTSPEC_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=position)
        return {one.partition(",")[2] for one in done.stdout.splitlines()}

    assert words("ftspec pl") == {"plan"}
    assert words("ftspec data ch") == {"check"}
    assert words("ftspec plan --det") == {"--detailed-exitcode"}


@pytest.mark.parametrize(("environment", "coloured"), [({"FORCE_COLOR": "1"}, True), ({"NO_COLOR": "1"}, False), ({}, False)])
def test_colour_is_asked_for_by_the_usual_variables(environment, coloured, tmp_path):
    """No colour into a pipe, unless `FORCE_COLOR`; `NO_COLOR` wins."""
    program = str(Path(sys.executable).with_name("ftspec"))
    clean = {"NO_COLOR": "", "FORCE_COLOR": "", **environment}
    run(program, "init", str(tmp_path / "p"), **clean)
    assert ("\x1b[" in run(program, "plan", "-C", str(tmp_path / "p"), **clean).stdout) is coloured
