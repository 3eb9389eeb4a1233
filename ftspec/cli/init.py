"""Write a first spec and a small dataset that run at once."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from ftspec.cli import _console
from ftspec.diagnostics import FtspecError
from ftspec.spec import templates

IGNORED = ".ftspec/\n"
"""What `.gitignore` gets: caches and the sandbox engine's own records. State and lockfile are committed."""


@click.command()
@click.argument("directory", default=".", metavar="[DIR]")
@click.option("--template", "template", type=click.Choice(templates.names()), help=f"What to start from (default: {templates.DEFAULT}).")
@click.option("--from", "dataset", metavar="FILE", help="Start from this JSONL file instead of a template.")
def command(directory: str, template: str | None, dataset: str | None) -> None:
    r"""Write a first spec and a small dataset that run at once.

    They train on the sandbox engine: no key, no network. Nothing that exists is overwritten.

    \b
        ftspec init my-experiments && cd my-experiments
        ftspec init --template grid
        ftspec init --from data/tickets.jsonl
    """
    if template is not None and dataset is not None:
        raise click.UsageError("`--template` and `--from` exclude each other.")
    folder = Path(directory)
    files = _own(folder, Path(dataset)) if dataset is not None else templates.content(template or templates.DEFAULT)
    existing = [name for name in files if os.path.lexists(folder / name)]
    if existing:
        raise FtspecError(
            f"`{existing[0]}` exists already; nothing was written",
            help="name another folder: ftspec init DIR",
        )
    for name, content in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            file.write(content)
        _console.out(f"wrote {target.as_posix()}")
    _ignore(folder)
    _console.talk("\nNext:\n")
    if directory != ".":
        _console.talk(f"    cd {directory}")
    _console.talk("    ftspec plan\n    ftspec apply")


def _own(folder: Path, dataset: Path) -> dict[str, bytes]:
    """Return a spec for somebody's dataset; the file is copied where it is outside of the folder."""
    if not dataset.is_file():
        raise FtspecError(f"there is no file `{dataset}`")
    form, key = _sniff(dataset)
    root = folder.resolve()
    inside = dataset.resolve().is_relative_to(root)
    path = dataset.resolve().relative_to(root).as_posix() if inside else f"data/{dataset.name}"
    files = {templates.SPEC: templates.for_dataset(path, form, key=key).encode()}
    if not inside:
        files[path] = dataset.read_bytes()
    return files


def _sniff(dataset: Path) -> tuple[str, str]:
    """Return the format of a dataset's first rows, and what a reinforcement row calls the right answer."""
    from ftspec.data.formats import detect

    rows = []
    with dataset.open("rb") as file:
        for line in file:
            try:
                row = json.loads(line.decode("utf-8-sig")) if line.strip() else None
            except ValueError:
                row = None
            if isinstance(row, dict):
                rows.append(row)
            if len(rows) == 100:
                break
    if not rows:
        raise FtspecError(f"`{dataset}` has no rows: one JSON object a line is expected", help="ftspec data import reads other forms")
    others = [key for key, value in rows[0].items() if key not in {"messages", "tools"} and isinstance(value, str) and key.isidentifier()]
    return detect(rows), others[0] if others else "reference"


def _ignore(folder: Path) -> None:
    path = folder / ".gitignore"
    if not path.exists():
        path.write_text(IGNORED, encoding="utf-8")
        _console.out(f"wrote {path.as_posix()}")
    elif ".ftspec" not in path.read_text(encoding="utf-8", errors="replace"):
        _console.warn(f"add `{IGNORED.strip()}` to {path.as_posix()}: it holds caches and the sandbox engine's own records")
