"""Digests: what a dataset is, in one streaming pass.

The key of a dataset part is the SHA-256 of its canonical rows after transforms, each followed
by LF, in order. Equal rows have equal keys, whatever the path, the layout of the file or the
way the rows came together; and exactly these bytes are what is uploaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ftspec.actions import DatasetFacts
from ftspec.data.checks.base import Setting
from ftspec.data.rows import BadFile, Place
from ftspec.data.tokens import DEFAULT, name_of
from ftspec.diagnostics import Diagnostic, FtspecError, Severity, error
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.data.cache import DigestCache
    from ftspec.data.onepass import Progress
    from ftspec.experiment import DesiredDataset


class DatasetChanged(FtspecError):
    """The rows are not the ones that were planned."""

    exit_code = 3


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
    counted_by = name_of(tokenizer) if tokenizer else ""
    if cache is not None and (known := cache.get(dataset, place, setting=setting, tokenizer=counted_by)) is not None:
        return known
    import msgspec

    from ftspec.data.onepass import as_diagnostic, diagnostics_of, facts_of, run
    from ftspec.data.source import Source
    from ftspec.data.transforms import BadTransform

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
    for _, rows in _stretches(dataset, ref, Place(root=root, data_roots=data_roots, datasets=datasets or {})):
        yield from rows.splitlines(keepends=True)


def _stretches(dataset: DesiredDataset, ref: str, place: Place) -> Iterator[tuple[int, bytes]]:
    """Yield rows as `open_rows` does, many in one piece, with their number."""
    from ftspec.data.onepass import as_diagnostic
    from ftspec.data.source import Source

    part = part_of(dataset, ref)
    try:
        source = Source(dataset, place)
        for batch in source.rows(source.unchecked()):
            yield batch.of_part(part) if part else (len(batch), batch.canonical)
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
    import hashlib
    import tempfile

    into.mkdir(parents=True, exist_ok=True, mode=0o700)
    hashed, rows, size = hashlib.sha256(), 0, 0
    with tempfile.NamedTemporaryFile(dir=into, prefix=f"{ref}.", suffix=".part", delete=False) as out:
        target = Path(out.name)
        try:
            for number, stretch in _stretches(dataset, ref, Place(root=root, data_roots=data_roots, datasets=datasets or {})):
                hashed.update(stretch)
                rows += number
                size += len(stretch)
                out.write(stretch)
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
