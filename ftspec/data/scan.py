"""The one pass over a file: blocks of bytes become rows and findings.

`Order` says what a pass is to do, and can be sent to another process. `Scanner.rows` decodes a
block, deals its rows to parts (before transforms, so that a new system prompt moves no row),
applies the transforms that look at one row at a time, and runs the row rules on the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from ftspec.data.batch import Batch
from ftspec.data.boring import PlainChat, can_be_boring, has_secret, has_token, is_boring, is_boring_dict
from ftspec.data.checks import row_checks
from ftspec.data.checks.base import Setting
from ftspec.data.findings import Findings
from ftspec.data.rows import BadRow, RowReader, may_repeat_keys
from ftspec.data.screening import Words
from ftspec.data.split import Dealer
from ftspec.data.transforms import Row, row_step

if TYPE_CHECKING:
    from ftspec.data.checks.base import RowCheck

_BOM = b"\xef\xbb\xbf"


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
        self._words = Words(word for rule in self._rules for word in rule.screen)
        self._columns = setting.columns
        self._fast = can_be_boring(setting) and not setting.safety
        self._safety = setting.safety
        self._surely_fits = setting.surely_fits
        self._findings = findings

    def boring(self, lines: list[bytes], plain: list[PlainChat | None], canonical: bytes) -> list[PlainChat | None]:
        """Return the plain rows that no rule has anything to say about, `None` for each other one; `canonical` holds them all."""
        if b"|" in canonical and b"<|" in canonical:
            plain = [None if value is None or has_token(value.messages) else value for value in plain]
        if max(map(len, lines), default=0) > self._surely_fits:
            plain = [value if len(raw) <= self._surely_fits else None for raw, value in zip(lines, plain, strict=True)]
        if self._safety:
            plain = [None if value is None or has_secret(value.messages) else value for value in plain]
        return [value if value is not None and is_boring(value.messages) else None for value in plain]

    def check(self, value: Mapping[str, Any], canonical: bytes, line: int) -> None:
        """Note what the rules say about a row."""
        if self._fast and len(canonical) <= self._surely_fits and is_boring_dict(value, canonical, self._columns):
            return
        words = self._words.within(canonical)
        for rule in self._rules:
            if rule.screen and words.isdisjoint(rule.screen):
                continue
            for sentence in rule.find(value):
                self._findings.add(rule.code, sentence, line)


class Scanner:
    """Turns the blocks of one file, in order, into rows and findings."""

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
        self._encode_lines = msgspec.json.Encoder().encode_lines

    def rows(self, block: bytes) -> Batch:
        """Return the good rows of a block of whole lines."""
        if block and not block.endswith(b"\n"):
            block += b"\n"
        lines = block.split(b"\n")
        lines.pop()
        if self._first_block and block.startswith(_BOM):
            self.findings.add("byte-order-mark", "the file starts with a byte order mark", 1)
            lines[0] = lines[0].removeprefix(_BOM)
        self._first_block = False
        return Batch.of(list(self._odd_rows(lines))) if self._plain is None else self._mostly_plain(block, lines, self._plain)

    def _odd_rows(self, lines: Iterable[bytes]) -> Iterator[Row]:
        for raw in lines:
            self.line += 1
            row = self._row(raw)
            if row is not None:
                yield row

    def _mostly_plain(self, block: bytes, lines: list[bytes], decode: Callable[[bytes], PlainChat]) -> Batch:
        """Do what `_odd_rows` does: rows that are plain in msgspec's C code, and looking at the block as a whole."""
        plain = _decoded(lines, decode)
        canonical = self._encode_lines([value for value in plain if value is not None])
        if not all(plain):
            block = b"\n".join([*[raw for raw, value in zip(lines, plain, strict=True) if value is not None], b""])
        if b"\r" in block or (len(block) != len(canonical) and may_repeat_keys(block, canonical)):  # canonical text is the shortest
            plain = [None] * len(lines)
        elif self._rules is not None:
            plain = self._rules.boring(lines, plain, canonical)
        values: list[Any] = []
        numbers: list[int] = []
        spelled: list[Any] = []
        for raw, value in zip(lines, plain, strict=True):
            self.line += 1
            if value is not None:
                values.append(value)
                spelled.append(value)
            elif (row := self._row(raw)) is not None:
                values.append(row.value)
                spelled.append(msgspec.Raw(row.canonical))
            else:
                continue
            numbers.append(self.line)
        if not all(plain):
            canonical = self._encode_lines(spelled)
        made = Batch(values, canonical, lines=numbers, path=self._order.path)
        if self._dealer is not None:
            made.parts = [self._dealer.part({}, one) for one in made.each]
        return made

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
