"""Make a dataset of recorded calls: traces, logs, stored completions, batch files."""

# ruff: noqa: N999 commands are found by file name
from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ftspec.cli import _console
from ftspec.cli._options import project_options
from ftspec.diagnostics import FtspecError
from ftspec.printable import printable, redacted

if TYPE_CHECKING:
    from ftspec.data.importers.collecting import Outcome
    from ftspec.pipeline.project import Project

SOURCES = ("batch", "chat", "command", "langfuse", "langsmith", "litellm", "openai-stored", "openpipe", "otel", "phoenix")


@click.command()
@project_options(need_spec=False)  # type: ignore[untyped-decorator]
@click.argument("words", nargs=-1, metavar="FILE... | -- COMMAND...")
@click.option(
    "--from", "source", type=click.Choice(SOURCES), required=True, metavar="SOURCE", help=f"What wrote the files: {', '.join(SOURCES)}."
)
@click.option("-o", "--output", required=True, metavar="FILE", help="The dataset to write.")
@click.option(
    "--where",
    multiple=True,
    metavar="FILTER",
    help="Keep calls for which it holds: score>=4, model=x, tag=y, metadata.k=v, time>=2026-10-01.",
)
@click.option("--dedupe", is_flag=True, help="Leave out rows that are there already.")
@click.option("--redact", is_flag=True, help="Replace secrets and personal data.")
@click.option("--reasoning", is_flag=True, help="Keep recorded reasoning as `reasoning_content`.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after N rows.")
@click.option("--force", is_flag=True, help="Overwrite files that are there already.")
@click.option("--engine", metavar="NAME", help="openai-stored: ask this engine of the spec instead of reading files.")
@click.option("--model", metavar="NAME", help="openai-stored with --engine: only calls of this model.")
def command(  # noqa: PLR0913 one for each option
    project: Project,
    *,
    words: tuple[str, ...],
    source: str,
    output: str,
    where: tuple[str, ...],
    dedupe: bool,
    redact: bool,
    reasoning: bool,
    limit: int | None,
    force: bool,
    engine: str | None,
    model: str | None,
) -> None:
    r"""Make a dataset of recorded calls: traces, logs, stored completions, batch files.

    Writes a JSONL file and, beside it, NAME.provenance.json. Files may be JSON Lines, JSON,
    CSV, or gzipped. With `--from command` the lines that COMMAND prints are read as chat rows.

    \b
        ftspec data import --from otel traces.jsonl --where 'score>=4' -o a.jsonl
        ftspec data import --from batch in.jsonl out.jsonl -o distilled.jsonl
        ftspec data import --from openai-stored --engine openai -o stored.jsonl
        ftspec data import --from command -o mock.jsonl -- python make_rows.py
    """
    from ftspec.data.importers import all_importers
    from ftspec.data.importers.collecting import Wish, collect_calls, source_files
    from ftspec.data.importers.where import all_of

    if (engine is not None) != (source == "openai-stored" and not words):
        raise click.UsageError("--engine goes with --from openai-stored, and without files")
    if not words and engine is None:
        raise click.UsageError("name the files to read" if source != "command" else "name the command to run: -- COMMAND ...")
    wish = Wish(
        output=project.root / output,
        keep=all_of(where),
        dedupe=dedupe,
        redact=redact,
        reasoning=reasoning,
        limit=limit,
        force=force,
    )
    importer = all_importers()["chat" if source == "command" else source]
    files = [project.root / word for word in words] if source != "command" and engine is None else []
    for path in files:
        if not path.is_file():
            what = "is no regular file" if path.exists() else "does not exist"
            raise FtspecError(f"`{printable(str(path.name))}` {what}")
    provenance: dict[str, Any] = {
        "source": source,
        "source_format": importer.format,
        "files": source_files(files),
        "where": list(where),
        "dedupe": dedupe,
        "redact": redact,
        "reasoning": reasoning,
        "limit": limit,
        **_about(source, words, engine, model),
    }
    outcome = collect_calls(importer.read(_records(project, source, words, files, engine, model)), wish, provenance=provenance)
    _report(project, outcome)


def _about(source: str, words: Sequence[str], engine: str | None, model: str | None) -> dict[str, Any]:
    import datetime as dt

    from ftspec import __version__

    made: dict[str, Any] = {
        "imported_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "ftspec_version": __version__,
    }
    if source == "command":
        made["command"] = redacted(" ".join(words))
    if engine is not None:
        made |= {"engine": engine, "model": model}
    return made


def _records(
    project: Project, source: str, words: Sequence[str], files: Sequence[Path], engine: str | None, model: str | None
) -> Iterator[dict[str, Any]]:
    from ftspec.data.importers.reading import records_of

    if engine is not None:
        yield from _stored(project, engine, model)
    elif source == "command":
        yield from _printed(words, project.root)
    else:
        for path in files:
            yield from records_of(path)


def _printed(words: Sequence[str], folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the JSON lines that a command prints; what it says on stderr is shown as it comes."""
    import subprocess

    from ftspec.data.importers.reading import json_lines

    try:
        process = subprocess.Popen(list(words), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, cwd=folder)  # noqa: S603 the user typed it
    except OSError as error:
        raise FtspecError(f"`{printable(words[0])}` cannot be run ({error.strerror})") from error
    with process:
        if process.stdout is not None:
            yield from json_lines(process.stdout, name="the command's output")
    if process.returncode:
        raise FtspecError(f"`{printable(words[0])}` ended with code {process.returncode}, so nothing was written")


def _stored(project: Project, engine: str, model: str | None) -> Iterator[dict[str, Any]]:
    """Yield the completions that an engine stored."""
    import asyncio

    from ftspec.engines.base import EngineError
    from ftspec.pipeline.planning import load
    from ftspec.pipeline.session import Session

    async def ask() -> list[dict[str, Any]]:
        async with Session(project, load(project).spec) as session:
            asked = session.wire(engine)
            try:
                found = await asked.stored_completions(model=model)
            except EngineError as error:
                raise FtspecError(f"engine `{printable(engine)}` does not list stored completions: {error.message}") from error
            if not found.complete:
                _console.warn("the engine's list of stored completions is incomplete")
            return list(found.items)

    if not project.files:
        raise FtspecError("`--engine` names an engine of a spec, and there is no spec here")
    yield from asyncio.run(ask())


def _report(project: Project, outcome: Outcome) -> None:
    for part, path in outcome.files.items():
        _console.out(f"{project.relative(path)}: {outcome.rows[part]:,} {'row' if outcome.rows[part] == 1 else 'rows'}")
    for reason, number in outcome.skipped.most_common():
        _console.out(f"  left out: {number:,} x {reason}")
    if outcome.redacted:
        _console.out(f"  redacted: {outcome.redacted:,} x secret or personal data")
    if outcome.models and sys.stderr is not None:
        teachers = ", ".join(f"{printable(name)} ({number:,})" for name, number in outcome.models.most_common(5))
        _console.talk(f"Answers by {teachers}. Check that their terms allow training on them.")
