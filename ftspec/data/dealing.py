"""Writing the parts of a split as files: every row keeps its bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ftspec.data.repair import lines_of
from ftspec.data.rows import SNIFFED, BadFile, BadRow, RowReader, sniff
from ftspec.data.split import Dealer

if TYPE_CHECKING:
    from ftspec.data.rows import RowFile

_BOM = b"\xef\xbb\xbf"


@dataclass(slots=True)
class Dealt:
    """How many rows each part got, and how many had no value to group by."""

    rows: dict[str, int] = field(default_factory=dict)
    ungrouped: int = 0


def deal(file: RowFile, targets: Mapping[str, Path], shares: Mapping[str, float], *, seed: int = 0, group_by: str | None = None) -> Dealt:
    """Write each row to the file of its part. `BadFile` names the first line that cannot be read; then no file is written."""
    sniff(file.head(SNIFFED))
    reader, dealer = RowReader(), Dealer(shares, seed=seed, group_by=group_by)
    dealt = Dealt(rows=dict.fromkeys(targets, 0))
    parts = {part: path.with_name(f"{path.name}.part") for part, path in targets.items()}
    try:
        with contextlib.ExitStack() as opened:
            for path in parts.values():
                path.parent.mkdir(parents=True, exist_ok=True)
            files = {part: opened.enter_context(path.open("wb")) for part, path in parts.items()}
            for number, raw in enumerate(lines_of(file), start=1):
                line = (raw.removeprefix(_BOM) if number == 1 else raw).rstrip(b"\r")
                if not line.strip():
                    continue
                try:
                    value, canonical = reader.decode(line)
                except BadRow as problem:
                    raise BadFile(problem.code, f"line {number}: {problem.message}", line=number) from problem
                dealt.ungrouped += group_by is not None and dealer.group(value) is None
                part = dealer.part(value, canonical)
                files[part].write(line + b"\n")
                dealt.rows[part] += 1
        file.finish()
        if not any(dealt.rows.values()):
            raise BadFile("empty-file", "the file has no rows")
        for part, path in parts.items():
            path.replace(targets[part])
    finally:
        for path in parts.values():
            path.unlink(missing_ok=True)
    return dealt
