"""Digests: what a dataset is, in one streaming pass.

The key of a dataset part is the SHA-256 of its canonical rows after transforms, each followed
by LF, in order. Equal rows have equal keys, whatever the path, the layout of the file or the
way the rows came together; and exactly these bytes are what is uploaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ftspec.actions import DatasetFacts
from ftspec.data.checks.base import Setting
from ftspec.data.findings import Findings
from ftspec.data.rows import BadFile
from ftspec.data.sharing import WORTH_TOKENS, WorkerLost, shared_reports, workers_for
from ftspec.data.source import Place, Source
from ftspec.data.tally import Counts, Tally, Totals
from ftspec.data.tokens import DEFAULT, counter
from ftspec.data.transforms import BadTransform
from ftspec.diagnostics import Diagnostic, FtspecError, Severity, error
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.data.cache import DigestCache
    from ftspec.data.scan import Order
    from ftspec.experiment import DesiredDataset

Progress = Callable[[int, int], None]
"""Told how many bytes of how many were read."""


class DatasetChanged(FtspecError):
    """The rows are not the ones that were planned."""

    exit_code = 3


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


def digest(
    dataset: DesiredDataset,
    *,
    root: Path,
    cache: DigestCache | None = None,
    data_roots: Sequence[Path] = (),
    datasets: Mapping[str, DesiredDataset] | None = None,
    setting: Setting | None = None,
    tokenizer: str | None = DEFAULT,
    progress: Progress | None = None,
) -> tuple[dict[str, DatasetFacts], list[Diagnostic]]:
    """Return what is known of a dataset and of each part, by reference, and everything that is wrong with its rows.

    `datasets` are the spec's others, for `mix`; `setting` is what the rules must know of engines
    and graders (`uses.setting_of`). Tokens are counted with `tokenizer` (`None`:
    not at all), exactly where it is present. No facts are returned for a file that cannot be
    read to its end. Diagnostics have lines and never hold row content.
    """
    place = Place(root=root, data_roots=data_roots, datasets=datasets or {})
    setting = setting or Setting()
    counted_by = counter(tokenizer).name if tokenizer else ""
    if cache is not None and (known := cache.get(dataset, place, setting=setting, tokenizer=counted_by)) is not None:
        return known
    read_at = cache.now() if cache is not None else 0
    try:
        source = Source(dataset, place, setting=setting)
        passed = run(source, place, msgspec.structs.replace(source.order, tokenizer=tokenizer, keep=True), progress=progress)
    except BadFile as problem:
        return {}, [as_diagnostic(dataset, problem)]
    except BadTransform as problem:
        return {}, [error("bad-transform", problem.message, at=dataset.at, help=problem.help)]
    result = facts_of(dataset, passed), diagnostics_of(dataset, passed)
    if cache is not None:
        cache.put(dataset, result, setting=setting, stamps=source.stamps, read_at=read_at, tokenizer=counted_by)
    return result


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
    exact = counted_by is not None and counted_by.exact and not passed.counts[""].images
    return {
        passed.ref(dataset, part): DatasetFacts(
            ref=passed.ref(dataset, part),
            key=passed.keys[part],
            rows=counts.rows,
            bytes=counts.bytes,
            format=passed.format,
            trained_tokens=counts.tokens if counted_by else None,
            total_tokens=counts.tokens if counted_by else None,
            exact_tokens=exact,
            tokens_error=counted_by.error if counted_by else 0.0,
            path=dataset.path,
        )
        for part, counts in passed.counts.items()
    }


def diagnostics_of(dataset: DesiredDataset, passed: Passed) -> list[Diagnostic]:
    """Return what is wrong with the rows, and with the number of them."""
    own = passed.findings[dataset.path]
    if not passed.counts[""].rows:
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


def open_rows(
    dataset: DesiredDataset,
    ref: str,
    *,
    root: Path,
    data_roots: Sequence[Path] = (),
    datasets: Mapping[str, DesiredDataset] | None = None,
) -> Iterator[bytes]:
    """Yield the rows of a dataset part exactly as they are uploaded: canonical, with LF.

    Raises `FtspecError` where the file, or a row of it, cannot be read.
    """
    part = part_of(dataset, ref)
    try:
        source = Source(dataset, Place(root=root, data_roots=data_roots, datasets=datasets or {}))
        for batch in source.rows(source.unchecked()):
            for row in batch:
                if not part or row.part == part:
                    yield row.canonical + b"\n"
    except BadFile as problem:
        diagnostic = as_diagnostic(dataset, problem)
        raise FtspecError(f"dataset `{ref}` cannot be read", diagnostics=[diagnostic]) from problem
    found = [one for path, findings in source.findings.items() for one in findings.diagnostics(printable(path))]
    if errors := [one for one in found if one.severity is Severity.ERROR]:
        raise FtspecError(f"dataset `{ref}` has rows that cannot be read", diagnostics=errors)


def materialise(
    dataset: DesiredDataset,
    ref: str,
    *,
    root: Path,
    into: Path,
    data_roots: Sequence[Path] = (),
    datasets: Mapping[str, DesiredDataset] | None = None,
    expect: str | None = None,
) -> tuple[Path, str, int, int]:
    """Write a dataset part for upload and return its path, SHA-256, rows and bytes, all taken from what was written.

    No cache is trusted here. With `expect` (the key that was planned) `DatasetChanged` is
    raised, and nothing left behind, when the rows are others by now.
    """
    import tempfile

    into.mkdir(parents=True, exist_ok=True, mode=0o700)
    hashed, rows, size = hashlib.sha256(), 0, 0
    with tempfile.NamedTemporaryFile(dir=into, prefix=f"{ref}.", suffix=".part", delete=False) as out:
        target = Path(out.name)
        try:
            for line in open_rows(dataset, ref, root=root, data_roots=data_roots, datasets=datasets):
                hashed.update(line)
                rows += 1
                size += len(line)
                out.write(line)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
    key = hashed.hexdigest()
    if expect is not None and key != expect:
        target.unlink()
        raise DatasetChanged(f"dataset `{ref}` changed since it was planned", help="run `ftspec plan` again")
    return target.replace(into / f"{ref}.{key[:12]}.jsonl"), key, rows, size


def part_of(dataset: DesiredDataset, ref: str) -> str:
    """Return the part that a reference names, "" for the whole dataset."""
    if ref not in dataset.refs():
        raise FtspecError(f"dataset `{dataset.name}` has no part `{printable(ref)}`", help=f"it has: {', '.join(dataset.refs())}")
    return ref.removeprefix(dataset.name).removeprefix(".")
