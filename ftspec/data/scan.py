"""The one pass over a file: blocks of bytes become rows and findings.

`Order` says what a pass is to do, and can be sent to another process. `Scanner.rows` decodes a
block, deals its rows to parts (before transforms, so that a new system prompt moves no row),
applies the transforms that look at one row at a time, and runs the row rules on the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from ftspec.data.boring import PlainChat, can_be_boring, is_boring, is_boring_dict
from ftspec.data.checks import row_checks
from ftspec.data.checks.base import Setting
from ftspec.data.findings import Findings
from ftspec.data.rows import BadRow, RowReader, has_duplicates
from ftspec.data.split import Dealer
from ftspec.data.transforms import Row, row_step

if TYPE_CHECKING:
    from ftspec.data.checks.base import RowCheck

_BOM = b"\xef\xbb\xbf"


_BRACE = ord("}")
"""The last byte of a row with nothing after its object, also no CR."""


class Order(msgspec.Struct, kw_only=True, frozen=True):
    """What a pass over a file is to do."""

    path: str
    setting: Setting
    shares: dict[str, float] | None = None
    seed: int = 0
    group_by: str | None = None
    steps: list[dict[str, Any]] = []
    check: bool = True
    tokenizer: str | None = None
    large: bool = False
    """Whether the file is so large that slow starters among the counters pay."""
    statistics: bool = False
    hashes: bool = False
    keep: bool = False
    """Whether canonical bytes are handed back (for digests and uploads)."""

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that rows are dealt to; the whole dataset is part ""."""
        return tuple(self.shares or ())


class RowRules:
    """The row rules of one setting, behind the fast lane for plain rows."""

    def __init__(self, setting: Setting, findings: Findings) -> None:
        self._rules: list[RowCheck] = row_checks(setting)
        self._columns = setting.columns
        self._fast = can_be_boring(setting)
        self._findings = findings

    def check(self, value: Mapping[str, Any], canonical: bytes, line: int) -> None:
        """Note what the rules say about a row."""
        if self._fast and is_boring_dict(value, canonical, self._columns):
            return
        for rule in self._rules:
            if rule.screen and not any(word in canonical for word in rule.screen):
                continue
            for sentence in rule.find(value):
                self._findings.add(rule.code, sentence, line)


class Scanner:
    """Turns the blocks of one file, in order, into rows and findings.

    The value of a row is a dict, or a `PlainChat` where nothing needs more than that.
    """

    def __init__(self, order: Order, *, first_block: bool = True) -> None:
        self.findings = Findings()
        self.line = 0
        self._order = order
        self._first_block = first_block
        self._reader = RowReader()
        self._dealer = Dealer(order.shares, seed=order.seed, group_by=order.group_by) if order.shares else None
        self._steps = [row_step(one) for one in order.steps]
        self._rules = RowRules(order.setting, self.findings) if order.check else None
        plain = can_be_boring(order.setting) and not order.steps and not order.group_by
        self._plain = msgspec.json.Decoder(PlainChat).decode if plain else None
        self._encode = msgspec.json.Encoder(order="sorted").encode

    def rows(self, block: bytes) -> list[Row]:
        """Return the good rows of a block."""
        lines = block.split(b"\n")
        if not lines[-1]:
            lines.pop()
        if self._first_block and lines and lines[0].startswith(_BOM):
            self.findings.add("byte-order-mark", "the file starts with a byte order mark", 1)
            lines[0] = lines[0].removeprefix(_BOM)
        self._first_block = False
        return self._plain_rows(block, lines, self._plain) if self._plain is not None else self._all_rows(lines)

    def _all_rows(self, lines: Iterable[bytes]) -> list[Row]:
        found = []
        for raw in lines:
            self.line += 1
            row = self._row(raw)
            if row is not None:
                found.append(row)
        return found

    def _plain_rows(self, block: bytes, lines: list[bytes], decode: Callable[[bytes], PlainChat]) -> list[Row]:
        """Do what `_all_rows` does, in msgspec's C code for the rows that are plain.

        What a search of the whole block can rule out is not looked for row by row.
        """
        dealer, path, checked, encode = self._dealer, self._order.path, self._rules is not None, self._encode
        values = _decoded(lines, decode)
        canonicals = [encode(value) if value is not None else b"" for value in values]
        literal = b"\\" not in block  # nothing is written as an escape, so what is not in the block is in none of its texts
        once = literal and block.count(b":") == sum([one.count(b":") for one in canonicals])  # see `has_duplicates`
        tokenless = literal and b"|" not in block
        found: list[Row] = []
        line = self.line
        for raw, value, canonical in zip(lines, values, canonicals, strict=True):
            line += 1
            if (
                value is not None
                and raw[-1] == _BRACE
                and (once or not has_duplicates(raw, canonical))
                and (not checked or ((tokenless or b"|" not in canonical) and is_boring(value.messages)))
            ):
                found.append(Row(value, canonical, dealer.part({}, canonical) if dealer is not None else "", line, path))
                continue
            self.line = line
            row = self._row(raw)
            if row is not None:
                found.append(row)
        self.line = line
        return found

    def _row(self, raw: bytes) -> Row | None:
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
        if self._steps:
            for step in self._steps:
                value = step(value)
            canonical = self._reader.canonical(value)
        if self._rules is not None:
            self._rules.check(value, canonical, self.line)
        return Row(value, canonical, part, self.line, self._order.path)

    def _deal(self, value: dict[str, Any], canonical: bytes) -> str:
        if self._dealer is None:
            return ""
        if self._dealer.group_by and self._dealer.group(value) is None:
            self.findings.add("group-missing", f"the row has no `{self._dealer.group_by}` to group by", self.line)
        return self._dealer.part(value, canonical)


def _decoded(lines: Iterable[bytes], decode: Callable[[bytes], PlainChat]) -> list[PlainChat | None]:
    """Return the rows that are plain, and `None` for each other one."""
    values: list[PlainChat | None] = []
    for raw in lines:
        try:
            values.append(decode(raw))
        except (msgspec.MsgspecError, ValueError, RecursionError):
            values.append(None)
    return values
