"""What a spec measures with must not be what it trains on: which parts are compared, and what was found before.

`plan` and `validate` look for equal rows, prompts and groups; `data check` also for near
duplicates. Files that did not change are not compared again, so that a plan with nothing to do
reads nothing here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ftspec.data.cache import describe
from ftspec.diagnostics import Diagnostic, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ftspec.data.cache import DigestCache
    from ftspec.data.onepass import Progress
    from ftspec.data.rows import Place
    from ftspec.experiment import DesiredJob, Spec


def comparisons(spec: Spec) -> dict[str, list[str]]:
    """Return every training part of a spec with the parts that its models, and models trained on top of those, are measured on."""
    pairs: dict[str, dict[str, None]] = {}
    for trained, validation, evals in dict.fromkeys((trained, job.validation, job.evals) for job, trained in _lineages(spec)):
        for ref in (validation, *(spec.evals[name].dataset for name in evals if name in spec.evals)):
            for train in trained:
                if ref and ref != train:
                    pairs.setdefault(train, {}).setdefault(ref)
    return {train: list(held) for train, held in pairs.items()}


def _lineages(spec: Spec) -> Iterator[tuple[DesiredJob, tuple[str, ...]]]:
    """Yield each job with all that its model has seen: its own training part and those of the jobs below it."""
    if all(job.parent is None for job in spec.jobs):
        yield from ((job, (job.train,)) for job in spec.jobs)
        return
    by_address = {job.address: job for job in spec.jobs}
    for job in spec.jobs:
        seen: dict[str, str] = {}
        below: DesiredJob | None = job
        while below is not None and below.address not in seen:
            seen[below.address] = below.train
            below = by_address.get(below.parent or "")
        yield job, tuple(dict.fromkeys(seen.values()))


def spec_leaks(
    spec: Spec, where: Place, *, near: bool = True, cache: DigestCache | None = None, progress: Progress | None = None
) -> list[Diagnostic]:
    """Return the leakage between everything that a spec trains on and everything that it measures with (`BadFile`).

    With a cache, files that did not change are not compared again. Under `policy:
    {allow_leakage: true}` nothing that is found is an error.
    """
    found: list[Diagnostic] = []
    for train, held in comparisons(spec).items():
        refs = [ref for ref in (train, *held) if ref.partition(".")[0] in spec.datasets]
        if train in refs and len(refs) > 1:
            found += _compared(spec, refs, where, near=near, cache=cache, progress=progress)
    return [_allowed(one) for one in found] if spec.policy.allow_leakage else found


def _compared(
    spec: Spec, refs: list[str], where: Place, *, near: bool, cache: DigestCache | None, progress: Progress | None
) -> list[Diagnostic]:
    """Compare the first part with the others, unless that was done before."""
    named = [spec.datasets[ref.partition(".")[0]] for ref in refs]
    settings = {"refs": refs, "near": near, "datasets": [describe(dataset) for dataset in named]}
    known: list[Diagnostic] | None = cache.recall("leakage", settings, where, kind=list[Diagnostic]) if cache is not None else None
    if known is not None:
        return known
    from ftspec.data.leakage import Part, compare
    from ftspec.data.source import Source

    read_at = cache.now() if cache is not None else 0
    train, *held = [Part.of(ref, spec.datasets) for ref in refs]
    found = compare(train, held, where, near=near, progress=progress)
    if cache is not None:
        stamps = [stamp for part in (train, *held) for stamp in Source(part.dataset, where).stamps]
        cache.remember("leakage", settings, found, stamps=stamps, read_at=read_at)
    return found


def _allowed(one: Diagnostic) -> Diagnostic:
    return replace(one, severity=Severity.WARNING) if one.severity is Severity.ERROR else one
