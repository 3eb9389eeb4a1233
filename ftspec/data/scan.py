"""The one pass over a dataset: rows are decoded, dealt to parts, transformed, checked and counted.

`Scanner.rows` is a generator of what would be uploaded; what is wrong goes to `findings`. The
part of a row is decided before transforms, so that a new system prompt moves no row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from ftspec.data.checks import row_checks
from ftspec.data.checks.base import Setting
from ftspec.data.findings import Findings
from ftspec.data.rows import BadRow, RowReader
from ftspec.data.split import Dealer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ftspec.experiment import SplitRule

_BOM = b"\xef\xbb\xbf"


class Row(NamedTuple):
    """A good row: where it was written, what it says, its canonical bytes and its part ("" without a split)."""

    line: int
    value: dict[str, Any]
    canonical: bytes
    part: str


class Scanner:
    """Turns the blocks of one file into rows and findings."""

    def __init__(self, setting: Setting, *, split: SplitRule | None = None, check: bool = True) -> None:
        self.findings = Findings()
        self.line = 0
        self._reader = RowReader()
        self._dealer = Dealer(split) if split else None
        self._checks = row_checks(setting) if check else []

    def rows(self, blocks: Iterable[bytes]) -> Iterator[Row]:
        """Yield the rows of a file, and note what is wrong with the others."""
        for block in blocks:
            lines = block.split(b"\n")
            if not lines[-1]:
                lines.pop()
            for raw in lines:
                self.line += 1
                row = self._row(raw)
                if row is not None:
                    yield row

    def _row(self, raw: bytes) -> Row | None:
        if self.line == 1 and raw.startswith(_BOM):
            self.findings.add("byte-order-mark", "the file starts with a byte order mark", 1)
            raw = raw.removeprefix(_BOM)
        if raw.endswith(b"\r"):
            self.findings.add("crlf", "lines end with CR LF", self.line)
        if not raw or raw.isspace():
            self.findings.add("blank-line", "the line is blank", self.line)
            return None
        try:
            value, canonical = self._reader.decode(raw)
        except BadRow as problem:
            self.findings.add(problem.code, problem.message, self.line, problem.column)
            return None
        part = self._deal(value, canonical)
        for rule in self._checks:
            if rule.screen and not any(word in canonical for word in rule.screen):
                continue
            for sentence in rule.find(value):
                self.findings.add(rule.code, sentence, self.line)
        return Row(self.line, value, canonical, part)

    def _deal(self, value: dict[str, Any], canonical: bytes) -> str:
        if self._dealer is None:
            return ""
        if self._dealer.group_by and self._dealer.group(value) is None:
            self.findings.add("group-missing", f"the row has no `{self._dealer.group_by}` to group by", self.line)
        return self._dealer.part(value, canonical)
