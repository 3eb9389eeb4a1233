"""YAML text as plain values that know where they were written.

`parse` returns dicts, lists and scalars (`Map` and `Seq` are a dict and a list with places),
built from libyaml's events, never from PyYAML's constructors. What it promises:

- Plain scalars follow the YAML 1.2 core schema: `1e-5` is a number, `no`, `on` and `12:30`
  are text, `010` is ten. Infinities and NaN are refused, because canonical JSON has no form
  for them.
- Duplicate keys, tags, keys that are not text, several documents and non-UTF-8 bytes are
  diagnostics, all of one file at once where the text still parses.
- Hostile text ends soon: at most 1 MiB, 64 levels and 200,000 nodes, where an alias and a
  merge count as much as what they stand for. Nothing here raises for foreign text.

A UTF-8 BOM and CRLF line ends are tolerated. Lines and columns are those of YAML 1.1, which
is what libyaml counts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import yaml

from ftspec.diagnostics import Diagnostic, Place, Severity, error
from ftspec.printable import printable, redacted
from ftspec.spec.tree import COLUMN_BITS, LINE_BREAK, Map, Seq, Source

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 64
MAX_NODES: Final = 200_000
MOST_PROBLEMS: Final = 100
MAX_DIGITS: Final = 300
MAX_DIRECTIVES: Final = 8


_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+\Z")
_OTHER_BASE = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z")
_NUMBER_STARTS = frozenset("+-.0123456789")
_ODD_KEY_STARTS = _NUMBER_STARTS | {""}

_SCALAR = yaml.ScalarEvent
_MAPPING_END = yaml.MappingEndEvent
_LINE_SHIFT = 2 * COLUMN_BITS

_CONFLICT = re.compile(r"^(?:<{7} .*|={7}|>{7} .*)$", re.MULTILINE)
"""What git writes into a file that two sides changed."""
_HINTS = {
    "found character '\\t' that cannot start any token": "indent with spaces, not tabs",
    "found a tab character": "indent with spaces, not tabs",
    "mapping values are not allowed": "put text that holds `: ` in quotes",
    "could not find expected ':'": "write `key: value`, with a space after the colon",
    "found unexpected end of stream": "close the quotes or brackets",
    "did not find expected key": "check the indentation of this line and the one above",
    "found undefined alias": "define it with `&name` above",
    "found unknown escape character": "use single quotes, or double the backslash",
}


def scalar(text: str) -> Any:
    """Return what a plain scalar means (`ValueError`: a number that is not finite or far too long)."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_STARTS:
        return text
    if _INTEGER.match(text):
        if len(text) > MAX_DIGITS:
            msg = f"a number of more than {MAX_DIGITS} digits"
            raise ValueError(msg)
        return int(text)
    if _FLOAT.match(text):
        number = float(text)
        if number - number != 0:
            msg = "a number that is not finite"
            raise ValueError(msg)
        return number
    if _OTHER_BASE.match(text):
        if len(text) > MAX_DIGITS:
            msg = f"a number of more than {MAX_DIGITS} digits"
            raise ValueError(msg)
        return int(text, 0)
    if _NOT_FINITE.match(text):
        msg = "a number that is not finite"
        raise ValueError(msg)
    return text


def parse(data: bytes, path: str) -> tuple[Any, Source | None, list[Diagnostic]]:
    """Return the value of one YAML document, its source, and everything that is wrong with it.

    The value is `None` where the text could not be understood; there is an error then.
    """
    text, problem = _decoded(data, path)
    if text is None:
        return None, None, [problem] if problem else []
    source = Source(path, text)
    if problem := _refused(source):
        return None, source, [problem]
    builder = _Builder(source)
    try:
        value = builder.document()
    except _Stop as stop:
        return None, source, [*builder.problems, stop.problem]
    except yaml.YAMLError as broken:
        return None, source, [*builder.problems, _syntax(broken, source)]
    return value, source, builder.problems


def _decoded(data: bytes, path: str) -> tuple[str | None, Diagnostic | None]:
    if len(data) > MAX_BYTES:
        return None, error(
            "yaml-too-large",
            f"`{printable(path)}` is larger than 1 MiB",
            at=Place(path=path),
            help="generate cells with `matrix`, or split the file with `include`",
        )
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        return data.decode(), None
    except UnicodeDecodeError as broken:
        line = data.count(b"\n", 0, broken.start) + 1
        byte = data[broken.start]
        return None, error(
            "not-utf8",
            f"byte {byte:#04x} is not UTF-8",
            at=Place(path=path, line=line),
            help="save the file as UTF-8",
        )


def _refused(source: Source) -> Diagnostic | None:
    if (nul := source.text.find("\0")) >= 0:
        line = source.text.count("\n", 0, nul) + 1
        return error("control-character", "a NUL character is not text", at=source.at(line), help="remove it")
    if source.text.startswith("%") or "\n%" in source.text:
        directives = sum(line.startswith("%") for line in source.text.split("\n"))
        if directives > MAX_DIRECTIVES:
            return error("yaml-syntax", "too many lines start with `%`", at=source.at(1), help="remove YAML directives")
    return None


def _syntax(broken: yaml.YAMLError, source: Source) -> Diagnostic:
    if isinstance(broken, yaml.reader.ReaderError):
        position = broken.position if isinstance(broken.position, int) else 0
        line = len(LINE_BREAK.findall(source.text, 0, max(position, 0))) + 1
        code = broken.character if isinstance(broken.character, int) else ord(str(broken.character)[:1] or "\0")
        return error("control-character", f"the character U+{code:04X} is not allowed", at=source.at(line), help="remove it")
    problem = printable(str(getattr(broken, "problem", None) or "not YAML"))
    context = printable(str(getattr(broken, "context", None) or ""))
    if conflict := _CONFLICT.search(source.text):
        line = source.text.count("\n", 0, conflict.start()) + 1
        return error(
            "yaml-syntax",
            "the file holds the conflict markers of a merge",
            at=source.at(line, 1),
            help="decide between the two sides, and remove the lines with `<<<<<<<`, `=======` and `>>>>>>>`",
        )
    mark = getattr(broken, "problem_mark", None) or getattr(broken, "context_mark", None)
    at = source.at(mark.line + 1, mark.column + 1) if mark is not None else source.at(1)
    hint = next((hint for words, hint in _HINTS.items() if problem.startswith(words)), None)
    return error("yaml-syntax", f"{problem} {context}".strip(), at=at, help=hint)


class _Stop(Exception):
    def __init__(self, problem: Diagnostic) -> None:
        super().__init__(problem.message)
        self.problem = problem


def _spot(event: Any) -> int:
    start, end = event.start_mark, event.end_mark
    line = start.line
    last = end.column if end.line == line else 0
    return int(line << _LINE_SHIFT | start.column << COLUMN_BITS | last)


try:
    from yaml._yaml import CParser

    Parser: Any = CParser
except ImportError:  # pragma: no cover  depends on how PyYAML was built

    class _PureParser(yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser):
        """PyYAML's own parser, for builds without libyaml."""

        def __init__(self, text: str) -> None:
            yaml.reader.Reader.__init__(self, text)
            yaml.scanner.Scanner.__init__(self)
            yaml.parser.Parser.__init__(self)

    Parser = _PureParser


class _Builder:
    """Turns one stream of events into one value, counting what it builds."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[Diagnostic] = []
        self.nodes = 0
        self.depth = 0
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.open_anchors: set[str] = set()
        self.next: Callable[[], Any] = Parser(source.text).get_event

    def document(self) -> Any:
        """Read the only document of the stream."""
        self.next()
        event = self.next()
        if isinstance(event, yaml.StreamEndEvent):
            return None
        value = self.node(self.next())
        self.next()
        event = self.next()
        if not isinstance(event, yaml.StreamEndEvent):
            self.problem("several-documents", "a spec is one YAML document", event, help_text="remove `---`, or use one file for each")
        return value

    def problem(self, code: str, message: str, event: Any, *, help_text: str | None = None) -> None:
        self.report(error(code, message, at=self.source.place(_spot(event)), help=help_text))

    def report(self, problem: Diagnostic) -> None:
        """Note a problem; a text with hundreds of them is not worth reading on."""
        self.problems.append(problem)
        if len(self.problems) == MOST_PROBLEMS:
            raise _Stop(
                error("more-problems", f"more than {MOST_PROBLEMS} problems in this file", at=problem.at, help="correct these first")
            )

    def stop(self, code: str, message: str, event: Any, help_text: str) -> _Stop:
        return _Stop(error(code, message, at=self.source.place(_spot(event)), help=help_text))

    def count(self, nodes: int, event: Any) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            message = f"more than {MAX_NODES:,} values, aliases written out"
            raise self.stop("yaml-too-many-nodes", message, event, "generate cells with `matrix`, or split the file with `include`")

    def node(self, event: Any) -> Any:
        """Return the value that starts with `event`."""
        kind = event.__class__
        self.nodes += 1
        if kind is _SCALAR:
            if self.nodes > MAX_NODES:
                self.count(0, event)
            value = event.value
            if event.tag is not None or (event.implicit[0] and (value in _WORDS or value[0] in _NUMBER_STARTS)):
                value = self.scalar(event)
            if event.anchor is not None:
                self.anchors[event.anchor] = (value, 1)
            return value
        if kind is yaml.AliasEvent:
            return self.alias(event)
        self.count(0, event)
        if event.tag is not None:
            self.tag(event)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.stop("yaml-too-deep", f"more than {MAX_DEPTH} levels of nesting", event, "write it flatter")
        before = self.nodes
        if event.anchor is not None:
            self.open_anchors.add(event.anchor)
        collection = self.mapping(event) if kind is yaml.MappingStartEvent else self.sequence(event)
        if event.anchor is not None:
            self.open_anchors.discard(event.anchor)
            self.anchors[event.anchor] = (collection, self.nodes - before + 1)
        self.depth -= 1
        return collection

    def tag(self, event: Any) -> None:
        shown = printable(str(event.tag or "!"))[:40]
        self.problem(
            "yaml-tag", f"the tag `{shown}` is not allowed", event, help_text="remove it; types follow from how values are written"
        )

    def alias(self, event: Any) -> Any:
        if event.anchor in self.open_anchors:
            name = printable(event.anchor)
            raise self.stop("yaml-recursive-alias", f"`*{name}` stands inside its own anchor", event, f"move `&{name}` to what it means")
        if event.anchor not in self.anchors:
            self.problem(
                "yaml-syntax", f"found undefined alias `*{printable(event.anchor)}`", event, help_text="define it with `&name` above"
            )
            return None
        value, size = self.anchors[event.anchor]
        self.count(size - 1, event)
        return value

    def scalar(self, event: Any) -> Any:
        value = event.value
        if event.tag is not None:
            self.tag(event)
        elif event.implicit[0]:
            if value in _WORDS:
                return _WORDS[value]
            if value[0] not in _NUMBER_STARTS:
                return value
            try:
                return scalar(value)
            except ValueError as problem:
                self.problem(
                    "bad-number", f"`{printable(value[:20])}` is {problem}", event, help_text="write a finite number, or put text in quotes"
                )
                return None
        return value

    def sequence(self, event: Any) -> Seq:
        node = Seq(self.source, _spot(event))
        add, add_spot, next_event, build = node.append, node.spots.append, self.next, self.node
        while True:
            event = next_event()
            if event.__class__ is yaml.SequenceEndEvent:
                return node
            add_spot(_spot(event))
            add(build(event))

    def mapping(self, event: Any) -> Map:
        node = Map(self.source, _spot(event))
        key_spots, value_spots, next_event = node.key_spots, node.value_spots, self.next
        merge: Any = None
        while True:
            event = next_event()
            if event.__class__ is _MAPPING_END:
                break
            key = event.value if event.__class__ is _SCALAR else None
            if key is None or event.anchor is not None or event.tag is not None or key[:1] in _ODD_KEY_STARTS or key in _WORDS:
                key = self.key(event)
            else:
                self.nodes += 1
            value_event = next_event()
            value = self.node(value_event)
            if key is None:
                continue
            if key in key_spots:
                self.duplicate(node, key, event)
                continue
            start, end = event.start_mark, event.end_mark
            line = start.line
            key_spots[key] = line << _LINE_SHIFT | start.column << COLUMN_BITS | (end.column if end.line == line else 0)
            start, end = value_event.start_mark, value_event.end_mark
            line = start.line
            value_spots[key] = line << _LINE_SHIFT | start.column << COLUMN_BITS | (end.column if end.line == line else 0)
            if key == "<<" and event.implicit[0]:
                merge = value, value_event
            else:
                node[key] = value
        if merge is not None:
            del key_spots["<<"], value_spots["<<"]
            self.merge(node, *merge)
        return node

    def key(self, event: Any) -> str | None:
        """Return the key that starts with `event`, or `None` where it cannot be one."""
        if event.__class__ is yaml.ScalarEvent and event.anchor is None:
            self.nodes += 1
            if event.implicit[0] and (event.value in _WORDS or event.value[0] in _NUMBER_STARTS):
                value = self.scalar(event)
                if not isinstance(value, str):
                    shown = printable(event.value[:40])
                    self.problem("key-not-text", f"the key `{shown}` is not text", event, help_text=f'write `"{shown}"`')
                    return None
            elif event.tag is not None:
                self.tag(event)
            return str(event.value)
        value = self.node(event)
        if not isinstance(value, str):
            self.problem("key-not-text", "a key must be text", event, help_text="write the key as one word")
            return None
        return value

    def duplicate(self, node: Map, key: str, event: Any) -> None:
        self.report(
            Diagnostic(
                code="duplicate-key",
                severity=Severity.ERROR,
                message=f"`{printable(redacted(key[:80]))}` is given twice",
                at=self.source.place(_spot(event)),
                help="remove one of them",
                also=(("first given here", node.key_at(key)),),
            ),
        )

    def merge(self, node: Map, value: Any, event: Any) -> None:
        """Apply `<<: *other`: keys that the mapping does not give itself."""
        if not isinstance(value, Map):
            self.problem("merge-key", "`<<` takes one mapping", event, help_text="write `<<: *name`, and name a mapping")
            return
        self.count(len(value), event)
        for key, item in value.items():
            if key not in node:
                node[key] = item
                node.key_spots[key] = value.key_spots[key]
                node.value_spots[key] = value.value_spots[key]
