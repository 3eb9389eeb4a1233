"""References in text: `{epochs}` stands for a value, `{{` for a brace.

A reference that is the whole scalar keeps the type of what it stands for; inside other text
it reads as in an address. Text under `graders`, `grader`, `prompt` and `description` is
never touched: `{{item.x}}` belongs to the grader.
"""

from __future__ import annotations

import operator
import re
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ftspec.address import axis_text
from ftspec.diagnostics import Diagnostic, Place, error
from ftspec.printable import printable
from ftspec.spec.source import parse, scalar
from ftspec.spec.suggest import did_you_mean
from ftspec.spec.tree import Map, Seq

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MOST_SUBSTITUTED: Final = 4_000_000
"""How many characters and values all references of a spec may stand for together."""

DEEPEST: Final = 32
"""How deep variables may refer to variables."""

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_UNTOUCHED = frozenset({"graders", "grader", "prompt", "description"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\Z")


def untouched(key: str) -> bool:
    """Whether text under this key is passed on as it is."""
    return key in _UNTOUCHED or ".grader" in key


class Reference(msgspec.Struct, frozen=True):
    """The name between braces."""

    name: str


class Template(msgspec.Struct, frozen=True):
    """Text with references. `whole`: it is one reference and nothing else."""

    parts: tuple[str | Reference, ...]

    @property
    def whole(self) -> bool:
        """Whether the value of the only reference stands for the template, type and all."""
        return len(self.parts) == 1

    def names(self) -> tuple[str, ...]:
        """Return what it refers to."""
        return tuple(part.name for part in self.parts if isinstance(part, Reference))


@lru_cache(maxsize=4096)
def template(text: str) -> Template | str:
    """Return the template that `text` is, or plain text (`ValueError`: a stray brace)."""
    if "{" not in text and "}" not in text:
        return text
    parts: list[str | Reference] = []
    literal = ""
    end = 0
    for match in _PIECE.finditer(text):
        literal += text[end : match.start()]
        end = match.end()
        piece = match.group()
        if piece in ("{{", "}}"):
            literal += piece[0]
            continue
        name = match.group(1)
        if name is None or not _NAME.match(name):
            msg = f"`{printable(piece[:40])}` is not a reference"
            raise ValueError(msg)
        if literal:
            parts.append(literal)
            literal = ""
        parts.append(Reference(name))
    literal += text[end:]
    if not parts:
        return literal
    if literal:
        parts.append(literal)
    return Template(tuple(parts))


def names_in(value: Any) -> set[str]:
    """Return every name that strings anywhere in `value` refer to."""
    match value:
        case str():
            try:
                found = template(value)
            except ValueError:
                return set()
            return set(found.names()) if isinstance(found, Template) else set()
        case dict():
            return set().union(*(names_in(item) for key, item in value.items() if not untouched(key)))
        case list():
            return set().union(*(names_in(item) for item in value))
        case _:
            return set()


def stray_brace(problem: ValueError, at: Place | None) -> Diagnostic:
    """Return the diagnostic for text that is no template."""
    return error("bad-reference", str(problem), at=at, help="write `{name}` to refer to a value, `{{` and `}}` for braces")


def unknown_reference(name: str, known: Iterable[str], at: Place | None) -> Diagnostic:
    """Return the diagnostic for a reference to nothing."""
    return error("unknown-reference", f"`{{{name}}}` refers to nothing", at=at, help=did_you_mean(name, sorted(known)))


class Variables:
    """`vars:` and `--var`: named values that any text of a spec can refer to.

    A variable may refer to others. `used` collects what was asked for, for the rule that
    reports unused ones.
    """

    def __init__(self, declared: Mapping[str, tuple[Any, Callable[[], Place] | None]], given: Mapping[str, str]) -> None:
        self.problems: list[Diagnostic] = []
        self.used: set[str] = set()
        self.places = {name: place for name, (_, place) in declared.items()}
        self._raw = {name: value for name, (value, _) in declared.items()}
        self._values: dict[str, Any] = {}
        self._open: list[str] = []
        self._budget = MOST_SUBSTITUTED
        self._exhausted = False
        for name, text in given.items():
            self._give(name, text)

    def _give(self, name: str, text: str) -> None:
        shown = printable(name[:64])
        if name not in self._raw:
            declare = did_you_mean(name, self._raw) or f"declare it under `vars:`: `{shown}: ...`"
            self.problems.append(error("unknown-variable", f"`--var {shown}` is not declared in the spec", help=declare))
            return
        declared = self._raw[name]
        if isinstance(declared, str):
            self._values[name] = text
            return
        if isinstance(declared, (dict, list)):
            value, _, problems = parse(text.encode(errors="surrogateescape"), f"--var {shown}")
        else:
            value, problems = _scalar(text, shown)
        self.problems.extend(problems)
        self._values[name] = value

    def __contains__(self, name: str) -> bool:
        return name in self._raw

    def names(self) -> list[str]:
        """Return the declared names."""
        return list(self._raw)

    def __getitem__(self, name: str) -> Any:
        self.used.add(name)
        if name in self._values:
            return self._values[name]
        place = self.places[name]
        if name in self._open:
            chain = " -> ".join(f"`{one}`" for one in [*self._open[self._open.index(name) :], name])
            self.problems.append(error("reference-cycle", f"variables refer to each other: {chain}", at=place() if place else None))
            return None
        if len(self._open) == DEEPEST:
            message = f"variables refer to each other more than {DEEPEST} levels deep"
            self.problems.append(error("reference-cycle", message, at=place() if place else None))
            return None
        self._open.append(name)
        value = self.fill(self._raw[name], place)
        self._open.pop()
        self._values[name] = value
        return value

    def fill(self, value: Any, at: Callable[[], Place | None] | None) -> Any:
        """Return `value` with every reference in its strings replaced; places are kept.

        What holds no reference is returned as it is, not copied.
        """
        match value:
            case str():
                return self._text(value, at) if "{" in value or "}" in value else value
            case Map():
                filled = {key: item if untouched(key) else self.fill(item, partial(value.value_at, key)) for key, item in value.items()}
                return value if all(filled[key] is value[key] for key in value) else value.with_values(filled)
            case Seq():
                items = [self.fill(item, partial(value.item_at, i)) for i, item in enumerate(value)]
                return value if all(map(operator.is_, items, value)) else value.with_items(items)
            case _:
                return value

    def _text(self, text: str, at: Callable[[], Place | None] | None) -> Any:
        try:
            found = template(text)
        except ValueError as problem:
            self.problems.append(stray_brace(problem, at() if at else None))
            return text
        if isinstance(found, str):
            return found
        values: list[Any] = []
        for part in found.parts:
            if isinstance(part, str):
                values.append(part)
            elif part.name in self:
                values.append(self[part.name])
            else:
                self.problems.append(unknown_reference(part.name, self._raw, at() if at else None))
                return text
        if found.whole:
            return self._spent(values[0], at)
        if any(isinstance(value, (dict, list)) for value in values):
            self.problems.append(not_text(found, at() if at else None))
            return text
        return self._spent("".join(as_text(value) for value in values), at)

    def _spent(self, value: Any, at: Callable[[], Place | None] | None) -> Any:
        """Return `value`, or `None` once substitution has produced more than anybody can mean."""
        self._budget -= size(value, limit=MOST_SUBSTITUTED)
        if self._budget >= 0:
            return value
        if not self._exhausted:
            self._exhausted = True
            self.problems.append(error("too-much-text", "the references of this spec stand for too much text", at=at() if at else None))
        return None


def _scalar(text: str, name: str) -> tuple[Any, list[Diagnostic]]:
    try:
        return scalar(text), []
    except ValueError as problem:
        return None, [error("bad-number", f"`--var {name}` is {problem}")]


def size(value: Any, *, limit: int) -> int:
    """Return how much `value` holds, in characters (a value counts as twenty); counting stops soon after `limit`."""
    total = 0
    todo = [value]
    while todo and total <= limit:
        one = todo.pop()
        total += 20
        match one:
            case str():
                total += len(one)
            case dict():
                todo.extend(one.values())
            case list():
                todo.extend(one)
            case _:
                pass
    return total


def not_text(found: Template, at: Place | None) -> Diagnostic:
    """Return the diagnostic for a list or mapping inside other text."""
    names = ", ".join(f"`{{{name}}}`" for name in found.names())
    return error(
        "bad-reference", f"{names} is a list or a mapping, which cannot be part of text", at=at, help="refer to it as the whole value"
    )


def as_text(value: Any) -> str:
    """Return how a value reads inside text: `None` as nothing, else as in an address."""
    return "" if value is None else axis_text(value)
