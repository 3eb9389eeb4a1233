"""Train a little on a local base, so that later plans know how long it takes here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from ftspec.cli import _console
from ftspec.cli._options import project_options
from ftspec.diagnostics import FtspecError

if TYPE_CHECKING:
    from ftspec.pipeline.project import Project


@click.command()
@click.argument("model")
@click.option("--engine", metavar="NAME", help="Entry of the spec that trains. Default: the local one that has MODEL.")
@click.option("--rows", type=click.IntRange(8, 10_000), default=64, show_default=True, help="Rows to train on, once.")
@click.option("--words", type=click.IntRange(8, 10_000), default=120, show_default=True, help="Words of a row.")
@project_options
def command(project: Project, *, model: str, engine: str | None, rows: int, words: int) -> None:
    r"""Train a little on a local base, so that later plans know how long it takes here.

    One supervised job of made-up rows, with LoRA, once over; its model is thrown away. Later plans
    use what it measured, and what every finished job of the same kind does.

    \b
        ftspec calibrate qwen --words 400
    """
    from ftspec.pipeline.calibrating import calibrate
    from ftspec.server.trainers.local.resources import memory_text

    found = asyncio.run(calibrate(project, engine=engine, model=model, rows=rows, words=words, say=_console.talk))
    if found is None:
        msg = f"the job on `{model}` did not end well"
        raise FtspecError(msg, help="`worker.log` in its folder under `.ftspec/` says why")
    rate, memory = found["tokens"] / found["seconds"], found["memory"]
    _console.out(f"{model} on {found['device']}: {rate:,.0f} tokens a second, {memory_text(memory, memory).split(' to ')[0]} GB")
