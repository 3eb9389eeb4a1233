"""Problems as values: a code, a sentence, a place and a way out.

A function that reads something foreign returns what it understood *and* a list of
`Diagnostic`; it raises only for bugs and broken worlds. All problems of one run are
shown together; `render.diagnostics` turns them into text, JSON, SARIF or CI annotations.

Sentences are fixed per code, name literals in backticks and never hold secrets, dataset
rows or unescaped foreign text.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Severity(enum.StrEnum):
    """How bad it is: an `error` stops the command, the others do not."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A position in a file that a person can open.

    `path` is relative to the project root, `line` and `column` count from 1 (0: the whole
    file); columns count code points. `excerpt` is the text of that line, `None` where it
    must not be shown (dataset rows) or does not exist.
    """

    path: str
    line: int = 0
    column: int = 0
    end_column: int = 0
    excerpt: str | None = field(default=None, compare=False)

    def __str__(self) -> str:
        """`path:line:column`, without the parts that are not known."""
        return ":".join([self.path, *(str(n) for n in (self.line, self.column) if n)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One problem.

    `code` is kebab-case and documented in `docs/diagnostics.md`; `message` is one sentence
    without a full stop; `help` says what to type next; `also` are related places, each with
    a label ("first defined here"); `count` is how often the same problem was seen, and
    `places` the first few of them when there are several.
    """

    code: str
    severity: Severity
    message: str
    at: Place | None = None
    help: str | None = None
    also: tuple[tuple[str, Place], ...] = ()
    count: int = 1
    places: tuple[Place, ...] = ()


def error(code: str, message: str, *, at: Place | None = None, help: str | None = None) -> Diagnostic:  # noqa: A002 the field's own name
    """Return a `Diagnostic` of severity error."""
    return Diagnostic(code=code, severity=Severity.ERROR, message=message, at=at, help=help)


def warning(code: str, message: str, *, at: Place | None = None, help: str | None = None) -> Diagnostic:  # noqa: A002 the field's own name
    """Return a `Diagnostic` of severity warning."""
    return Diagnostic(code=code, severity=Severity.WARNING, message=message, at=at, help=help)


def has_errors(diagnostics: Iterable[Diagnostic]) -> bool:
    """Whether any of them stops the command."""
    return any(d.severity is Severity.ERROR for d in diagnostics)


def fold_repeated(diagnostics: Iterable[Diagnostic], *, keep: int = 5) -> list[Diagnostic]:
    """Merge problems that differ only in their place: one entry, a count, the first `keep` places."""
    groups: dict[tuple[str, Severity, str, str | None], list[Diagnostic]] = {}
    for one in diagnostics:
        groups.setdefault((one.code, one.severity, one.message, one.help), []).append(one)
    return [_merged(group, keep) for group in groups.values()]


def _merged(group: list[Diagnostic], keep: int) -> Diagnostic:
    if len(group) == 1:
        return group[0]
    places: dict[Place, None] = {}
    for one in group:
        for place in one.places or ([one.at] if one.at else []):
            places.setdefault(place)
    return replace(group[0], count=sum(one.count for one in group), places=tuple(places)[:keep])


class FtspecError(Exception):
    """A stop that a person can act on: what, why, and what to type next.

    Commands turn it into one message and `exit_code` (docs/reference/exit-codes.md); it never reaches
    the user as a traceback.
    """

    exit_code = 1

    def __init__(self, message: str, *, help: str | None = None, diagnostics: Iterable[Diagnostic] = ()) -> None:  # noqa: A002 the field's own name
        super().__init__(message)
        self.message = message
        self.help = help
        self.diagnostics = tuple(diagnostics)
