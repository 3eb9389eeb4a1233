"""Datasets shown to an engine's moderation: opt-in, because every text leaves for that engine.

Secrets and personal data are replaced before anything is sent; of the answers only categories
and lines are kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from ftspec.diagnostics import Diagnostic, FtspecError
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.data.findings import Findings
    from ftspec.data.onepass import Progress
    from ftspec.data.rows import Place
    from ftspec.engines.client import WireEngine
    from ftspec.experiment import DesiredDataset, Spec
    from ftspec.pipeline.planning import Watch
    from ftspec.pipeline.project import Project
    from ftspec.pipeline.session import Session

BATCH = 32
"""Texts in one request."""
LONGEST = 20_000
"""Characters of one text; longer ones are sent in pieces."""
AT_ONCE = 4


class _Text(NamedTuple):
    path: str
    line: int
    text: str


def moderate(
    project: Project, spec: Spec, engine: str, datasets: Sequence[DesiredDataset], where: Place, *, watch: Watch
) -> list[Diagnostic]:
    """Return what the moderation of an engine flags (`FtspecError`: it has none, or does not answer)."""
    from ftspec.pipeline.session import Session

    async def ask() -> list[Diagnostic]:
        found: list[Diagnostic] = []
        async with Session(project, spec) as session:
            for dataset in datasets:
                with watch(f"moderation of {dataset.path}") as progress:
                    found += await _moderated(session, engine, dataset, where, progress)
        return found

    return asyncio.run(ask())


async def _moderated(session: Session, engine: str, dataset: DesiredDataset, where: Place, progress: Progress | None) -> list[Diagnostic]:
    from ftspec.engines.base import EngineError

    asked = session.wire(engine)
    flags: dict[str, Findings] = {}
    try:
        await _ask(asked, _texts(dataset, where, progress), flags)
    except EngineError as problem:
        raise FtspecError(f"engine `{printable(engine)}` does not moderate: {problem.message}") from problem
    return [one for path, findings in sorted(flags.items()) for one in _named(findings, engine, path)]


async def _ask(engine: WireEngine, texts: Iterator[_Text], flags: dict[str, Findings]) -> None:
    """Show all texts to the engine, a few requests at once."""
    from ftspec.data.findings import Findings

    flagged: set[tuple[str, int, str]] = set()

    async def work() -> None:
        while batch := list(islice(texts, BATCH)):
            answers = await engine.moderate([one.text for one in batch])
            flagged.update((one.path, one.line, category) for one, answer in zip(batch, answers, strict=True) for category in answer)

    tasks = [asyncio.create_task(work()) for _ in range(AT_ONCE)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for path, line, category in sorted(flagged):
        flags.setdefault(path, Findings()).add("flagged-content", printable(category[:64]), line)


def _named(findings: Findings, engine: str, path: str) -> Iterable[Diagnostic]:
    from dataclasses import replace

    for one in findings.diagnostics(printable(path)):
        yield replace(one, message=f"the moderation of `{printable(engine)}` flags a text as `{one.message}`")


def _texts(dataset: DesiredDataset, where: Place, progress: Progress | None) -> Iterator[_Text]:
    """Yield the texts of every row, redacted."""
    from ftspec.data.boring import as_dict
    from ftspec.data.leakage import Part, rows_of
    from ftspec.data.safety import redact

    for row, form in rows_of(Part(dataset=dataset, ref=dataset.name), where, progress=progress):
        whole = redact("\n\n".join(piece.text for piece in form.pieces(as_dict(row.value))))[0]
        for start in range(0, len(whole), LONGEST):
            yield _Text(row.path, row.line, whole[start : start + LONGEST])
