r"""Markdown as tests: what users see, on one page with what they typed (a pytest plugin).

    pytest -p ftspec.testing.scenarios tests/scenarios README.md docs

A file below a folder named `scenarios` holds one test per `## heading`, each in a fresh
folder. Any other page (README, docs) is one test from top to bottom. Fenced blocks mean:

- ```` ```yaml specs/tone.yaml ````  (any language, then a path): write that file;
- ```` ```console ````  lines that start with `$ ` are run by bash, what follows must be printed
  (stdout and stderr together; `> ` continues a command);
- ```` ```python ````  without a path, on pages: run it;
- anything else is prose.

In expected output `[..]` stands for any text within a line and a line `...` for any lines.
A last line `? 3` is the exit code where it is not 0. `<!-- scenario: copy examples -->`
copies a file or folder of the repository into the folder first, `<!-- scenario: slow -->`
marks the test slow and `<!-- scenario: needs NAME -->` skips it (with a message) where the
program NAME is absent. With `<!-- scenario: figures vary -->` the numbers of a line that holds a
decimal one may be others (losses, and what follows from them, differ between processors). `--update-scenarios` writes what
happened; read the diff.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<info>[^`]*)$")
_DIRECTIVE = re.compile(r"^<!-- scenario: (?P<what>.+?) -->$")
_TIMEOUT = 180


@dataclass(slots=True)
class Block:
    """A fenced block: where its text starts (line index), its language, an optional path, its lines."""

    start: int
    language: str
    path: str
    lines: list[str]


@dataclass(slots=True)
class Scenario:
    """One test: a title, what to prepare, and its blocks in order."""

    title: str
    line: int
    directives: list[str] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)


@dataclass(slots=True)
class Command:
    """One typed command, what should be printed and with which exit code."""

    start: int
    text: str
    expected: list[str]
    code: int = 0


class ScenarioError(Exception):
    """What was printed is not what the page says."""


def scenarios(text: str, *, page: bool) -> list[Scenario]:
    """Return the scenarios of a Markdown text: one per `## ` heading, or one for the whole page."""
    found = [Scenario("page", 0)]
    block: Block | None = None
    fence = ""
    for number, line in enumerate(text.split("\n")):
        if block is not None:
            if line.strip() == fence:
                found[-1].blocks.append(block)
                block = None
            else:
                block.lines.append(line)
        elif match := _FENCE.match(line):
            fence = match["fence"]
            language, _, path = match["info"].strip().partition(" ")
            block = Block(number + 1, language, path.strip(), [])
        elif line.startswith("## ") and not page:
            found.append(Scenario(line[3:].strip(), number, list(found[0].directives)))
        elif directive := _DIRECTIVE.match(line.strip()):
            found[-1].directives.append(directive["what"])
    return [one for one in found if any(block.language in ("console", "python") for block in one.blocks)]


def commands(block: Block) -> list[Command]:
    """Return the commands of a console block."""
    found: list[Command] = []
    for offset, line in enumerate(block.lines):
        if line.startswith("$ "):
            found.append(Command(block.start + offset, line[2:], []))
        elif line.startswith("> ") and found and not found[-1].expected:
            found[-1].text += "\n" + line[2:]
        elif found:
            found[-1].expected.append(line)
    for one in found:
        while one.expected and not one.expected[-1].strip():
            one.expected.pop()
        if one.expected and (code := re.fullmatch(r"\? (\d+)", one.expected[-1])):
            one.code = int(code[1])
            one.expected.pop()
    return found


_FIGURE = re.compile(r"\d+\.\d")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_GAP = re.compile(r" {2,}")


def matches(expected: list[str], printed: list[str], *, figures_vary: bool = False) -> bool:
    """Whether printed lines are what the page says (`[..]` within a line, `...` for lines)."""
    if not expected:
        return not printed
    head, *rest = expected
    if head.strip() == "...":
        return any(matches(rest, printed[skip:], figures_vary=figures_vary) for skip in range(len(printed) + 1))
    fits = bool(printed) and _line_matches(head, printed[0], figures_vary=figures_vary)
    return fits and matches(rest, printed[1:], figures_vary=figures_vary)


def _line_matches(expected: str, printed: str, *, figures_vary: bool) -> bool:
    expected, printed = expected.rstrip(), printed.rstrip()
    if figures_vary and _FIGURE.search(expected):
        expected, printed = (_GAP.sub(" ", _NUMBER.sub("0", line)) for line in (expected, printed))
    pattern = ".*".join(re.escape(piece) for piece in expected.split("[..]"))
    return re.fullmatch(pattern, printed) is not None


def environment(home: Path) -> dict[str, str]:
    """Return the environment of a scenario: a fresh home, no keys, no colour, 80 columns."""
    bin_folder = str(Path(sys.executable).parent)
    keep = {name: value for name, value in os.environ.items() if name in ("LANG", "TMPDIR", "LD_LIBRARY_PATH")}
    identity = {
        f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in (("NAME", "you"), ("EMAIL", "you@example.com"))
    }
    return {
        **keep,
        **identity,
        "PATH": os.pathsep.join([bin_folder, os.environ.get("PATH", os.defpath)]),
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "COLUMNS": "80",
        "NO_COLOR": "1",
        "TZ": "UTC",
        "OMP_NUM_THREADS": "1",
        "USER": "you",
        "GIT_CONFIG_NOSYSTEM": "1",
        "FTSPEC_TODAY": "2026-11-20",  # pages show engines that take no more jobs some day
    }


def run(scenario: Scenario, *, folder: Path, repository: Path) -> Iterator[tuple[Command, list[str], int]]:
    """Run a scenario in `folder`; yield each command with what it printed and its exit code."""
    home = folder / "home"
    work = folder / "work"
    home.mkdir()
    work.mkdir()
    for directive in scenario.directives:
        verb, _, name = directive.partition(" ")
        if verb == "copy":
            source = repository / name
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, work / name) if source.is_dir() else shutil.copy(source, work / name)
    for block in scenario.blocks:
        if block.path:
            target = work / block.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text("\n".join(block.lines) + "\n", encoding="utf-8")
        elif block.language == "python":
            command = Command(block.start, "python", [])
            command.expected = ["..."]
            yield command, *_shell([sys.executable, "-c", "\n".join(block.lines)], work, home)
        elif block.language == "console":
            for one in commands(block):
                yield one, *_shell(["bash", "-c", one.text], work, home)


def _shell(arguments: list[str], work: Path, home: Path) -> tuple[list[str], int]:
    done = subprocess.run(  # noqa: S603 the page under test says what to run
        arguments, cwd=work, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL, timeout=_TIMEOUT, check=False,
    )  # fmt: skip
    text = done.stdout.decode("utf-8", "replace")
    return text.rstrip("\n").split("\n") if text.strip("\n") else [], done.returncode


def check(command: Command, printed: list[str], code: int, *, figures_vary: bool = False) -> None:
    """Raise `ScenarioError` that shows what was expected and what happened."""
    expected = list(command.expected)
    while expected and not expected[-1].strip():
        expected.pop()
    if code == command.code and matches(expected, printed, figures_vary=figures_vary):
        return
    lines = [f"$ {command.text}", "", "expected:", *(f"    {line}" for line in expected), f"    ? {command.code}"]
    lines += ["", "printed:", *(f"    {line}" for line in printed), f"    ? {code}"]
    raise ScenarioError("\n".join(lines))


def updated(text: str, results: Iterable[tuple[Command, list[str], int]]) -> str:
    """Return the page with what happened written where it differs from what the page says."""
    lines = text.split("\n")
    for command, printed, code in sorted(results, key=lambda result: -result[0].start):
        try:
            check(command, printed, code)
        except ScenarioError:
            first = command.start + 1 + command.text.count("\n")
            last = first
            while not re.match(r"^ *(`{3,}|~{3,})\s*$", lines[last]) and not lines[last].startswith("$ "):
                last += 1
            gap = [""] if lines[last].startswith("$ ") else []
            lines[first:last] = [*printed, *([f"? {code}"] if code else []), *gap]
    return "\n".join(lines)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--update-scenarios`."""
    parser.addoption("--update-scenarios", action="store_true", help="write what scenario commands print into their pages")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect Markdown files."""
    if file_path.suffix != ".md":
        return None
    page: MarkdownFile = MarkdownFile.from_parent(parent, path=file_path)
    return page


class MarkdownFile(pytest.File):
    """A page of scenarios: its text as it was collected, and what its commands did so far."""

    text: str
    results: list[tuple[Command, list[str], int]]

    def collect(self) -> Iterator[pytest.Item]:
        """Yield its scenarios as tests."""
        self.text, self.results = self.path.read_text(encoding="utf-8"), []
        for scenario in scenarios(self.text, page="scenarios" not in self.path.parts):
            item: ScenarioItem = ScenarioItem.from_parent(self, name=scenario.title, scenario=scenario)
            if "slow" in scenario.directives:
                item.add_marker("slow")
            yield item


class ScenarioItem(pytest.Item):
    """One scenario."""

    def __init__(self, *, scenario: Scenario, **rest: Any) -> None:
        super().__init__(**rest)
        self.scenario = scenario

    def runtest(self) -> None:
        """Run the commands in a fresh folder and compare."""
        import tempfile

        missing = [
            name for directive in self.scenario.directives if directive.startswith("needs ") and not shutil.which(name := directive[6:])
        ]
        if missing:
            pytest.skip(f"{', '.join(missing)} is not installed")
        results = []
        with tempfile.TemporaryDirectory(prefix="scenario-") as folder:
            for command, printed, code in run(self.scenario, folder=Path(folder), repository=self.config.rootpath):
                results.append((command, printed, code))
                if not self.config.getoption("--update-scenarios"):
                    check(command, printed, code, figures_vary="figures vary" in self.scenario.directives)
        if self.config.getoption("--update-scenarios"):
            page = self.getparent(MarkdownFile)
            assert page is not None  # noqa: S101 it collected this item
            page.results += results
            self.path.write_text(updated(page.text, page.results), encoding="utf-8")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:  # noqa: ARG002 pytest's signature
        """Show only what differs."""
        return str(excinfo.value) if isinstance(excinfo.value, ScenarioError) else super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Name the page, line and title."""
        return self.path, self.scenario.line, f"{self.path.name}: {self.scenario.title}"
