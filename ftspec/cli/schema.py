"""Print the JSON Schema of spec files, for editors and other tools."""

from __future__ import annotations

from importlib.resources import files

import click

from ftspec.cli import _console


@click.command()
def command() -> None:
    r"""Print the JSON Schema of spec files, for editors and other tools.

    \b
        ftspec schema > ftspec.schema.json

    \b
    Editors with the YAML language server use it through a first line:
        # yaml-language-server: $schema=ftspec.schema.json
    """
    _console.out_raw((files("ftspec.spec") / "schema.json").read_text(encoding="utf-8"))
