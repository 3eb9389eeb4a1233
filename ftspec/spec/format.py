"""Spec files in one layout, comments kept.

`formatted` moves tokens, it never writes values anew: quotes, number forms, comments and the
text of block scalars stay as they were typed. What it settles: two spaces for each level
(sequences are indented below their key), one space after `:` and `-` and `,`, no blanks
inside brackets or at the end of lines, at most one blank line in a row, one between
top-level sections that are longer than a line, LF, a newline at the end.

The result means the same and formatting it again changes nothing; both are checked before it
is returned, and text that cannot be kept that way is refused (`NotFormatted`), not guessed at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import yaml

from ftspec.spec.source import Parser, parse
from ftspec.spec.tree import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

STEP: Final = 2
_HEADER = re.compile(r"[|>](?:(?P<before>[1-9])[-+]?|[-+](?P<after>[1-9])?|)")
_OPENING = (yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken)
_CLOSING = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken)
_INVISIBLE = (yaml.StreamStartToken, yaml.StreamEndToken)
_REFUSED = {
    yaml.DirectiveToken: "it has YAML directives",
    yaml.TagToken: "it has tags",
    yaml.DocumentEndToken: "it has document end markers",
}


class NotFormatted(Exception):
    """The text was left as it is; why."""


def formatted(text: str) -> str:
    """Return a spec's text in the one layout (`NotFormatted`: it cannot be kept)."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if any(mark in text for mark in "\x85\u2028\u2029"):
        msg = "it has unusual line separators"
        raise NotFormatted(msg)
    meaning = _meaning(text)
    if meaning is None:
        msg = "it is not YAML"
        raise NotFormatted(msg)
    result = _laid_out(text)
    if _meaning(result) != meaning or _laid_out(result) != result:
        msg = "its layout is too unusual to be kept"
        raise NotFormatted(msg)
    return result


def _meaning(text: str) -> str | None:
    value, _, problems = parse(text.encode(), "")
    return None if problems and value is None else repr((plain(value), sorted(one.code for one in problems)))


def _laid_out(text: str) -> str:
    try:
        return _Layout(text).text()
    except yaml.YAMLError:
        msg = "it is not YAML"
        raise NotFormatted(msg) from None


@dataclass(slots=True)
class _Level:
    """A block collection: the column it has, the column it gets. `indentless`: a sequence at its key's column."""

    old: int
    new: int
    sequence: bool
    indentless: bool = False


@dataclass(slots=True)
class _Line:
    """A line of the result. `kind`: code, comment, blank, or raw (text of a scalar, not to be touched)."""

    kind: str
    text: str
    top: bool = False
    """Whether a section starts here."""


@dataclass(slots=True)
class _Layout:
    source: str
    lines: list[str] = field(init=False)
    out: list[_Line] = field(default_factory=list)
    levels: list[_Level] = field(default_factory=list)
    before: list[_Level] = field(default_factory=list)
    """The levels that were open at the last visible token."""
    flow: int = 0
    flow_base: int = 0
    at: int = -1
    """The source line that is being written (-1: none yet)."""
    column: int = 0
    """Where in it the last token ended."""
    current: str = ""
    indent: int = 0
    top: bool = False
    previous: Any = None
    key: bool = False

    def __post_init__(self) -> None:
        self.lines = self.source.split("\n")

    def text(self) -> str:
        tokens = Parser(self.source)
        while True:
            token = tokens.get_token()
            if token is None or isinstance(token, yaml.StreamEndToken):
                break
            self.token(token)
        self.flush()
        self.between(len(self.lines), 0, 0)
        return _joined(_spaced(self.out), newline=self.source.endswith("\n") or not self._ends_in_scalar())

    def _ends_in_scalar(self) -> bool:
        """Whether a newline at the end would belong to a block scalar's value."""
        return bool(self.out) and self.out[-1].kind == "raw"

    # Structure

    def token(self, token: Any) -> None:
        kind = type(token)
        if kind in _INVISIBLE:
            return
        if kind in _REFUSED:
            raise NotFormatted(_REFUSED[kind])
        start = token.start_mark
        match token:
            case yaml.BlockMappingStartToken() | yaml.BlockSequenceStartToken():
                self.levels.append(_Level(start.column, self.position(start.line), isinstance(token, yaml.BlockSequenceStartToken)))
            case yaml.BlockEndToken():
                self.close_indentless()
                self.levels.pop()
            case yaml.KeyToken():
                if token.end_mark.column > start.column:
                    msg = "it has keys written with `?`"
                    raise NotFormatted(msg)
                if not self.flow:
                    self.close_indentless()
                self.key = True
            case _:
                self.visible(token)

    def close_indentless(self) -> None:
        if self.levels and self.levels[-1].indentless:
            self.levels.pop()

    def position(self, line: int) -> int:
        """Return the column of a collection that starts on a source line."""
        if line == self.at:
            return len(self.current) + 1
        return self.levels[-1].new + STEP if self.levels else 0

    def visible(self, token: Any) -> None:
        start, end = token.start_mark, token.end_mark
        if isinstance(token, yaml.BlockEntryToken) and (not self.levels or not self.levels[-1].sequence):
            self.levels.append(_Level(start.column, self.position(start.line), sequence=True, indentless=True))
        if isinstance(token, _CLOSING):
            self.flow -= 1
        if start.line != self.at:
            self.new_line(token)
        else:
            self.current += self.gap(token)
        if isinstance(token, _OPENING):
            if not self.flow:
                self.flow_base = self.indent
            self.flow += 1
        self.write(token, start, end)
        if not isinstance(token, (yaml.AnchorToken, yaml.TagToken)):
            self.key = False
        self.previous = token
        self.before = list(self.levels)

    def new_line(self, token: Any) -> None:
        start = token.start_mark
        self.flush()
        if self.flow:
            indent = self.flow_base + STEP * self.flow
        elif isinstance(token, _CLOSING):
            indent = self.flow_base
        elif not self.levels:
            indent = 0
        elif self.key or isinstance(token, yaml.BlockEntryToken):
            indent = self.levels[-1].new
        else:
            indent = self.levels[-1].new + STEP
        self.between(start.line, start.column, indent)
        self.at = start.line
        self.indent = indent
        self.current = " " * indent
        self.top = self.key and len(self.levels) == 1 and not self.flow

    def gap(self, token: Any) -> str:
        """Return the blanks between the previous token of a line and this one."""
        previous = self.previous
        if isinstance(token, yaml.ValueToken):
            return " " if isinstance(previous, yaml.AliasToken) else ""
        if isinstance(previous, (yaml.ValueToken, yaml.BlockEntryToken, yaml.AnchorToken, yaml.DocumentStartToken)):
            return " "
        if isinstance(previous, yaml.AliasToken):
            return "" if token.start_mark.column == self.column else " "
        if isinstance(previous, _OPENING) or isinstance(token, (*_CLOSING, yaml.FlowEntryToken)):
            return ""
        return " "

    # Text

    def write(self, token: Any, start: Any, end: Any) -> None:
        if isinstance(token, yaml.ScalarToken) and token.style in ("|", ">"):
            self.block_scalar(start)
            return
        if start.line == end.line:
            self.current += self.lines[start.line][start.column : end.column]
            self.column = end.column
            return
        self.current += self.lines[start.line][start.column :].rstrip() if token.plain else self.lines[start.line][start.column :]
        below = self.flow_base + STEP * self.flow if self.flow else (self.levels[-1].new + STEP if self.levels else 0)
        for number in range(start.line + 1, end.line + 1):
            self.out.append(_Line("raw" if number > start.line + 1 else "code", self.current, self.top and number == start.line + 1))
            text = self.lines[number][: end.column] if number == end.line else self.lines[number]
            stripped = text.lstrip(" \t")
            self.current = " " * below + stripped if stripped else ""
        self.top = False
        self.at = end.line
        self.column = end.column
        self.indent = below

    def block_scalar(self, start: Any) -> None:
        line = self.lines[start.line]
        header = _HEADER.match(line, start.column)
        if header is None:
            msg = "it has a block scalar of an unknown form"
            raise NotFormatted(msg)
        keep = "+" in header.group()
        self.current += header.group()
        self.column = header.end()
        self.flush()
        old, new = (self.levels[-1].old, self.levels[-1].new) if self.levels else (-1, -STEP)
        given = header.group("after") or header.group("before")
        body = self.lines[start.line + 1 :]
        if self.source.endswith("\n"):
            body = body[:-1]
        width = max(old, 0) + int(given) if given else self.detected(body, old)
        count = 0
        for text in body:
            if text.strip(" ") and len(text) - len(text.lstrip(" ")) < width:
                break
            count += 1
        if not keep:
            while count and not body[count - 1].strip(" ") and len(body[count - 1]) <= width:
                count -= 1
        prefix = " " * (max(new, 0) + int(given) if given else new + STEP)
        self.out.extend(_Line("raw", prefix + text[width:] if text[width:] else "") for text in body[:count])
        self.at = start.line + count
        self.column = len(self.lines[self.at]) if count else self.column
        self.current = ""

    @staticmethod
    def detected(body: Sequence[str], old: int) -> int:
        """Return the indentation of a block scalar's text: that of its first line."""
        first = next((text for text in body if text.strip(" ")), "")
        return max(len(first) - len(first.lstrip(" ")), old + 1, 1)

    def flush(self) -> None:
        """End the line that is being written, with its comment."""
        if self.at < 0 or not self.current:
            return
        rest = self.lines[self.at][self.column :]
        comment = rest.strip(" \t")
        if comment:
            if not comment.startswith("#"):
                msg = "it has text between tokens"
                raise NotFormatted(msg)
            blanks = len(rest) - len(rest.lstrip(" \t"))
            self.current += " " * max(blanks, 2) + comment
        self.out.append(_Line("code", self.current.rstrip(" \t"), self.top))
        self.current = ""
        self.top = False

    def between(self, until: int, old: int, new: int) -> None:
        """Write the comments and blank lines before source line `until`, where a token goes from column `old` to `new`."""
        for number in range(self.at + 1, until):
            text = self.lines[number].strip(" \t")
            if not text:
                self.out.append(_Line("blank", ""))
                continue
            column = len(self.lines[number]) - len(self.lines[number].lstrip(" \t"))
            self.out.append(_Line("comment", " " * self.comment_column(column, old, new) + text))

    def comment_column(self, column: int, old: int, new: int) -> int:
        """Return where a comment goes: with what follows, or with the open level that it is aligned to."""
        if column == old or self.flow:
            return new
        for level in reversed(self.before):
            if level.old == column:
                return level.new
        deeper = [level for level in self.before if level.old <= column]
        return deeper[-1].new if deeper and column > old else new


def _spaced(lines: Sequence[_Line]) -> list[_Line]:
    """Return lines with at most one blank in a row, and one between sections that are longer than a line."""
    tidy: list[_Line] = []
    for line in lines:
        if line.kind == "blank" and (not tidy or tidy[-1].kind == "blank"):
            continue
        tidy.append(line)
    while tidy and tidy[-1].kind == "blank":
        tidy.pop()
    keys = [i for i, line in enumerate(tidy) if line.top]
    starts = [_with_comments(tidy, i) for i in keys]
    ends = [*starts[1:], len(tidy)][: len(keys)]
    long = [sum(line.kind in ("code", "raw") for line in tidy[start:end]) > 1 for start, end in zip(keys, ends, strict=True)]
    wanted = {start for i, start in enumerate(starts) if i and (long[i - 1] or long[i])}
    result: list[_Line] = []
    for i, line in enumerate(tidy):
        if i in wanted and result and result[-1].kind != "blank" and not (result[-1].kind == "raw" and not result[-1].text):
            result.append(_Line("blank", ""))
        result.append(line)
    return result


def _with_comments(lines: Sequence[_Line], key: int) -> int:
    """Return where a section starts: at the comments right above its key."""
    while key and lines[key - 1].kind == "comment" and lines[key - 1].text.startswith("#"):
        key -= 1
    return key


def _joined(lines: Sequence[_Line], *, newline: bool) -> str:
    text = "\n".join(line.text for line in lines)
    return text + "\n" if newline and text else text
