"""Check, measure, split and import dataset files."""

from __future__ import annotations

from pathlib import Path

import click

from ftspec.cli import LazyGroup


class DataCommands(LazyGroup):
    """The commands below `ftspec data`, one file each."""

    folder = Path(__file__).parent / "_data"
    package = "ftspec.cli._data"


@click.group(cls=DataCommands)
def command() -> None:
    r"""Check, measure, split and import dataset files.

    \b
        ftspec data check
        ftspec data check data/tickets.jsonl --fix
        ftspec data stats tickets
        ftspec data split all.jsonl train=0.8 test=0.2
        ftspec data import --from otel traces.jsonl -o data/calls.jsonl
    """
