"""Bring spec files into one layout; comments stay."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ftspec.cli import _console

WOULD_CHANGE = 1


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("-f", "--file", "named", multiple=True, metavar="FILE", help="The same as FILE: other commands name specs so.")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if a file would change.")
@click.option("--diff", is_flag=True, help="Write nothing; show what would change.")
@click.option("-C", "directory", metavar="DIR", help="Run as if started in DIR, the project's root.")
def command(files: tuple[str, ...], named: tuple[str, ...], *, check: bool, diff: bool, directory: str | None) -> None:
    r"""Bring spec files into one layout; comments stay.

    Without FILE: ftspec.yaml, else specs/*.yaml. `-` reads stdin and writes stdout. The
    result means the same: no job changes its key.

    \b
        ftspec fmt
        ftspec fmt --check specs/*.yaml
    """
    from ftspec.diagnostics import has_errors
    from ftspec.printable import printable
    from ftspec.regular import read_regular
    from ftspec.spec.source import parse

    files += named
    problems = []
    changed = []
    for name in files or _default_files(directory):
        data = sys.stdin.buffer.read() if name == "-" else read_regular((Path(directory or ".") / name).resolve())
        shown = printable(str(name))
        _, _, found = parse(data, shown)
        problems.extend(found)
        result = None if has_errors(found) else _formatted(data, shown)
        if name == "-" and not (check or diff):
            _console.out_raw(result if result is not None else data.decode(errors="replace"))
        elif result is not None and result.encode() != data:
            changed.append(shown)
            if diff:
                _console.out(_difference(data.decode("utf-8-sig"), result, shown))
            elif not check:
                _replace(Path(directory or ".") / name, result)
    if not diff:
        for shown in changed if files != ("-",) or check else ():
            _console.out(f"would change {shown}" if check else f"formatted {shown}")
    _console.show(problems)
    if check and changed:
        _console.stop(WOULD_CHANGE)


def _default_files(directory: str | None) -> list[str]:
    from ftspec.pipeline.project import open_project

    project = open_project(directory=directory)
    return [project.relative(path) for path in project.files]


def _formatted(data: bytes, shown: str) -> str | None:
    from ftspec.spec.format import NotFormatted, formatted

    try:
        return formatted(data.decode("utf-8-sig"))
    except NotFormatted as reason:
        _console.warn(f"{shown} is left as it is: {reason}")
        return None


def _difference(old: str, new: str, shown: str) -> str:
    from difflib import unified_diff

    from ftspec.printable import printable

    lines = unified_diff(old.splitlines(), new.splitlines(), f"a/{shown}", f"b/{shown}", lineterm="")
    return "\n".join(printable(line) for line in lines)


def _replace(path: Path, text: str) -> None:
    """Put `text` in the place of a file, whole or not at all, with the same permissions."""
    path = path.resolve()
    temporary = path.with_name(f".{path.name}.fmt")
    temporary.write_text(text, encoding="utf-8", newline="\n")
    temporary.chmod(path.stat().st_mode & 0o777)
    temporary.replace(path)
