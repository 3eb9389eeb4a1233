"""Problems found in a file, folded as they come: by code and sentence, with a count and the first five lines.

Memory stays flat however bad the file is: a code keeps at most twenty different sentences.
"""

from __future__ import annotations

import msgspec

from ftspec.data.checks import all_codes
from ftspec.diagnostics import Diagnostic, Place

KEEP = 5
SENTENCES = 20


class Finding(msgspec.Struct, kw_only=True):
    """One sentence about a file: how often it holds, and where first (line, column)."""

    code: str
    message: str
    count: int = 0
    at: list[tuple[int, int]] = []


class Findings:
    """The problems of one file."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Finding] = {}
        self._sentences: dict[str, int] = {}

    def add(self, code: str, message: str, line: int = 0, column: int = 0) -> None:
        """Note a problem."""
        one = self._entry(code, message)
        one.count += 1
        if len(one.at) < KEEP:
            one.at.append((line, column))

    def merge(self, found: list[Finding], *, offset: int = 0) -> None:
        """Add the problems of a later part of the file whose lines count from `offset`."""
        for other in found:
            one = self._entry(other.code, other.message)
            one.count += other.count
            one.at.extend((line + offset, column) for line, column in other.at[: KEEP - len(one.at)])

    def all(self) -> list[Finding]:
        """Return the problems, in the order in which they were first seen."""
        return list(self._found.values())

    def diagnostics(self, path: str) -> list[Diagnostic]:
        """Return the problems as values for people, errors of the file first."""
        return [as_diagnostic(one, path) for one in self._found.values()]

    def _entry(self, code: str, message: str) -> Finding:
        one = self._found.get((code, message))
        if one is None:
            self._sentences[code] = self._sentences.get(code, 0) + 1
            if self._sentences[code] > SENTENCES:
                message = "and more of this kind"
            one = self._found.setdefault((code, message), Finding(code=code, message=message, at=[]))
        return one


def as_diagnostic(finding: Finding, path: str) -> Diagnostic:
    """Return one problem with the severity and the help of its rule."""
    rule = all_codes()[finding.code]
    places = tuple(Place(path=path, line=line, column=column) for line, column in finding.at)
    return Diagnostic(
        code=finding.code,
        severity=rule.severity,
        message=finding.message,
        help=rule.help,
        at=places[0] if places else Place(path=path),
        count=finding.count,
        places=places if len(places) > 1 else (),
    )
