"""One pass over a dataset: alone or shared between processes, with the same result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from ftspec.actions import DatasetFacts
from ftspec.data.checks import all_codes
from ftspec.data.findings import Findings
from ftspec.data.rows import BadFile, Place
from ftspec.data.sharing import WORTH_TOKENS, WorkerLost, shared_reports, workers_for
from ftspec.data.source import Source
from ftspec.data.tally import Counts, Tally, Totals, error_of
from ftspec.data.tokens import counter
from ftspec.diagnostics import Diagnostic, Severity
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.data.scan import Order
    from ftspec.experiment import DesiredDataset

Progress = Callable[[int, int], None]
"""Told how many bytes of how many were read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """What one pass over a dataset gave, by part ("": the whole)."""

    format: str
    order: Order
    counts: Mapping[str, Counts]
    keys: Mapping[str, str]
    findings: Mapping[str, Findings]
    totals: Totals

    def ref(self, dataset: DesiredDataset, part: str) -> str:
        """Return how a part is referred to."""
        return f"{dataset.name}.{part}" if part else dataset.name


def run(source: Source, place: Place, order: Order, *, progress: Progress | None = None) -> Passed:
    """Read a dataset once and return everything the order asks for (`BadFile`)."""
    order = msgspec.structs.replace(order, large=source.size >= WORTH_TOKENS)
    workers = workers_for(source.size, tokens=order.tokenizer is not None and counter(order.tokenizer).exact) if source.one_pass else 1
    if workers > 1:
        try:
            totals, findings = _run_shared(source, place, order, workers, progress)
        except WorkerLost:
            totals, findings = _run_alone(source, order, progress)
    else:
        totals, findings = _run_alone(source, order, progress)
    keys = {part: totals.key(part) for part in totals.counts}
    return Passed(format=source.format, order=order, counts=totals.counts, keys=keys, findings=findings, totals=totals)


def _run_alone(source: Source, order: Order, progress: Progress | None) -> tuple[Totals, dict[str, Findings]]:
    totals, tally = Totals(order), Tally(order)
    for batch in source.rows(order):
        tally.add(batch)
        totals.add(tally.report())
        if progress is not None:
            progress(totals.counts[""].bytes, source.size)
    return totals, source.findings


def _run_shared(source: Source, place: Place, order: Order, workers: int, progress: Progress | None) -> tuple[Totals, dict[str, Findings]]:
    totals, findings = Totals(order), Findings()
    with place.open(order.path) as file:
        source.expect_unchanged(file)
        for report in shared_reports(file, order, workers=workers, size=source.size):
            findings.merge(report.findings, offset=totals.lines)
            totals.add(report)
            if progress is not None:
                progress(totals.counts[""].bytes, source.size)
        file.finish()
    return totals, {order.path: findings}


def facts_of(dataset: DesiredDataset, passed: Passed) -> dict[str, DatasetFacts]:
    """Return the facts of each part that a pass learned."""
    counted_by = counter(passed.order.tokenizer) if passed.order.tokenizer else None
    errors = {part: error_of(counts, counted_by) if counted_by else 0.0 for part, counts in passed.counts.items()}
    return {
        passed.ref(dataset, part): DatasetFacts(
            ref=passed.ref(dataset, part),
            key=passed.keys[part],
            rows=counts.rows,
            bytes=counts.bytes,
            format=passed.format,
            trained_tokens=counts.tokens if counted_by else None,
            total_tokens=counts.tokens if counted_by else None,
            exact_tokens=counted_by is not None and not errors[part],
            tokens_error=errors[part],
            path=dataset.path,
        )
        for part, counts in passed.counts.items()
    }


def diagnostics_of(dataset: DesiredDataset, passed: Passed) -> list[Diagnostic]:
    """Return what is wrong with the rows, and with the number of them."""
    own = passed.findings[dataset.path]
    unreadable = any(all_codes()[one.code].severity is Severity.ERROR for found in passed.findings.values() for one in found.all())
    if not passed.counts[""].rows and not unreadable:
        own.add("empty-file", f"dataset `{dataset.name}` has no rows")
    for part, counts in passed.counts.items():
        if part and not counts.rows and passed.counts[""].rows:
            own.add("empty-part", f"part `{dataset.name}.{part}` of the split has no rows")
    return [one for path, found in passed.findings.items() for one in found.diagnostics(printable(path))]


def as_diagnostic(dataset: DesiredDataset, problem: BadFile) -> Diagnostic:
    """Return why a file cannot be read, pointing at the file."""
    findings = Findings()
    findings.add(problem.code, f"dataset `{dataset.name}`: {problem.message}")
    return findings.diagnostics(printable(dataset.path))[0]
