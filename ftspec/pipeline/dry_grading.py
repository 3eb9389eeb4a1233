"""Reinforcement graders tried on the right answers of their rows, before a reward that nobody gets is paid for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from ftspec.diagnostics import Diagnostic, Place
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.data.cache import DigestCache
    from ftspec.data.leakage import Part
    from ftspec.data.rows import Place as Where
    from ftspec.experiment import DesiredJob, Spec

ROWS = 1000
"""How many rows of a part are tried, from its start."""


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it for one part and one grader."""

    ref: str
    sentence: str
    """A line for people, also where all is well."""
    low: int = 0
    places: tuple[Place, ...] = ()

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """The problem, if it is one."""
        from ftspec.data.checks.reinforcement import LowReference

        if not self.low:
            return []
        return [
            Diagnostic(
                code=LowReference.code,
                severity=LowReference.severity,
                message=self.sentence,
                help=LowReference.help,
                at=self.places[0],
                count=self.low,
                places=self.places if self.low > 1 else (),
            )
        ]


def try_graders(
    spec: Spec,
    where: Where,
    *,
    jobs: Sequence[DesiredJob] | None = None,
    allow_code: bool = False,
    quick: bool = False,
    cache: DigestCache | None = None,
) -> list[Tried]:
    """Try each grader on each part that it rewards (`BadFile`); `quick`: only those that are sure to be quick.

    With a cache, what did not change is not tried again.
    """
    pairs = {(job.train, repr(job.grader)): job.grader for job in (spec.jobs if jobs is None else jobs) if job.grader}
    return [
        _remembered(spec, where, ref, grader, allow_code=allow_code, quick=quick, cache=cache)
        for (ref, _), grader in pairs.items()
        if ref.partition(".")[0] in spec.datasets
    ]


def _remembered(
    spec: Spec, where: Where, ref: str, grader: dict[str, Any], *, allow_code: bool, quick: bool, cache: DigestCache | None
) -> Tried:
    from ftspec.data.cache import describe

    settings = {
        "ref": ref,
        "dataset": describe(spec.datasets[ref.partition(".")[0]]),
        "grader": grader,
        "allow_code": allow_code,
        "quick": quick,
    }
    known: Tried | None = cache.recall("references", settings, where, kind=Tried) if cache is not None else None
    if known is not None:
        return known
    from ftspec.data.leakage import Part
    from ftspec.data.source import Source

    part = Part.of(ref, spec.datasets)
    read_at = cache.now() if cache is not None else 0
    made = _tried(part, where, grader, allow_code=allow_code, quick=quick)
    if cache is not None:
        cache.remember("references", settings, made, stamps=Source(part.dataset, where).stamps, read_at=read_at)
    return made


def _tried(part: Part, where: Where, grader: dict[str, Any], *, allow_code: bool, quick: bool) -> Tried:
    from ftspec.data.boring import as_dict
    from ftspec.data.findings import KEEP
    from ftspec.data.leakage import rows_of
    from ftspec.evals.base import GraderStopped
    from ftspec.evals.references import tried_on, why_untried

    name = printable(part.ref)
    if (why := why_untried(grader, allow_code=allow_code, quick=quick)) is not None:
        return _untried(part, why)
    places: list[Place] = []

    def rows() -> Iterable[dict[str, Any]]:
        for row, _ in islice(rows_of(part, where), ROWS):
            places.append(Place(path=printable(row.path), line=row.line))
            yield as_dict(row.value)

    try:
        trial = tried_on(grader, rows(), allow_code=allow_code)
    except GraderStopped as stop:
        return _untried(part, stop.message)
    if not trial.tried:
        return _untried(part, "no row says what its right answer is")
    sentence = f"the grader gives the references of `{name}` {trial.mean:.2f} on average"
    if trial.low:
        sentence += f"; {len(trial.low):,} of {trial.tried:,} get less than {trial.wanted:g}"
    if trial.ungraded:
        sentence += f", {trial.ungraded:,} of them cannot be graded"
    return Tried(ref=part.ref, sentence=sentence, low=len(trial.low), places=tuple(places[number] for number in trial.low[:KEEP]))


def _untried(part: Part, why: str) -> Tried:
    return Tried(ref=part.ref, sentence=f"the grader was not tried on the references of `{printable(part.ref)}`: {why}")
