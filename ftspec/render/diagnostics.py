"""Diagnostics as text for people, and as JSON, SARIF and annotations for tools.

The text is laid out like a compiler's: sentence, place, the line with carets, a note of
other places, and the help. Problems that differ only in their place are folded into one with a
count. Everything foreign is printable; an excerpt that a diagnostic does not carry is not shown.
What is written for tools ends in a line feed, what is written for people does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ftspec.diagnostics import Diagnostic, Place, Severity, fold_repeated
from ftspec.printable import printable
from ftspec.render.json import diagnostic_dict, dumps
from ftspec.render.paragraph import paragraph
from ftspec.render.style import Role, Style, style_for
from ftspec.render.table import width_of
from ftspec.render.words import count

FORMAT_VERSION = "1.0"
_ROLES: dict[Severity, Role] = {Severity.ERROR: "bad", Severity.WARNING: "warn", Severity.INFO: "note"}
_EXCERPT = 120
"""Longest excerpt where the width is not known: a minified file has lines of a megabyte."""
_AROUND = 9
"""Columns that an excerpt needs beside the gutter: a bar, and dots at both ends."""


def to_text(diagnostics: Iterable[Diagnostic], *, color: bool = False, width: int | None = None) -> str:
    """Return all problems as text, an empty line between them; sentences are broken at `width` columns."""
    style = style_for(color=color)
    return "\n\n".join("\n".join(_lines(one, style, width)) for one in fold_repeated(diagnostics))


def summary_text(diagnostics: Iterable[Diagnostic]) -> str:
    """Return `2 errors, 1 warning`, or `no problems`."""
    counts = dict.fromkeys(Severity, 0)
    for one in diagnostics:
        counts[one.severity] += one.count
    nouns = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
    return ", ".join(count(number, nouns[severity]) for severity, number in counts.items() if number) or "no problems"


def to_json(diagnostics: Iterable[Diagnostic]) -> str:
    """Return the problems as JSON text."""
    return dumps({"format_version": FORMAT_VERSION, "diagnostics": [diagnostic_dict(one) for one in fold_repeated(diagnostics)]})


def _lines(one: Diagnostic, style: Style, width: int | None) -> list[str]:
    places = [place for place in (one.at, *(place for _, place in one.also)) if place is not None]
    gutter = len(str(max([place.line for place in places if place.excerpt is not None], default=1)))
    kind = f"{one.severity.value}[{one.code}]"
    message = paragraph(printable(one.message), width, first=len(kind) + 2, rest=gutter + 3)
    lines = [style(kind, _ROLES[one.severity]) + style(f": {message}", "strong")]
    if one.at is not None:
        lines += _place(one.at, gutter, "", style, _ROLES[one.severity], width)
    for label, place in one.also:
        lines += _place(place, gutter, printable(label), style, "note", width)
    if one.count > 1:
        others = [place for place in one.places if place != one.at]
        where = f", also {_elsewhere(others, one.at)}" if others else ""
        rest = one.count - 1 - len(others)
        more = f" and {rest:,} more" if others and rest > 0 else ""
        lines.append(_note(gutter, "note", f"seen {one.count:,} times{where}{more}", style, width))
    if one.help:
        lines.append(_note(gutter, "help", printable(one.help, newlines=True), style, width))
    return lines


def _elsewhere(places: Sequence[Place], first: Place | None) -> str:
    """Return where else a problem is: in lines of the file that was named already, or at places of their own."""
    if first is not None and all(place.path == first.path and place.line for place in places):
        return f"in {'line' if len(places) == 1 else 'lines'} {', '.join(str(place.line) for place in places)}"
    return f"at {', '.join(printable(str(place)) for place in places)}"


def _note(gutter: int, kind: str, text: str, style: Style, width: int | None) -> str:
    shown = paragraph(text, width, first=gutter + 3 + len(kind) + 2, rest=gutter + 3)
    return f"{' ' * gutter} = {style(kind + ':', 'strong')} {shown}"


def _place(place: Place, gutter: int, label: str, style: Style, role: Role, width: int | None) -> list[str]:
    lines = [f"{' ' * gutter}--> {printable(str(place))}" + (f" ({label})" if label and place.excerpt is None else "")]
    if place.excerpt is None or not place.line:
        return lines
    shown, start, length = _excerpt(place, _EXCERPT if width is None else max(20, width - gutter - _AROUND))
    carets = style("^" * length, role)
    bar = f"{' ' * gutter} |"
    if label:
        beside = width is None or gutter + 3 + start + length + 1 + width_of(label) <= width
        carets += f" {label}" if beside else f"\n{bar} {label}"
    return [*lines, bar, f"{place.line:>{gutter}} | {shown}".rstrip(), f"{bar} {' ' * start}{carets}"]


def _excerpt(place: Place, most: int) -> tuple[str, int, int]:
    """Return the line as shown, and the column and number of carets below it."""
    text = (place.excerpt or "").rstrip("\r\n")
    first = max(place.column - 1, 0)
    last = max(place.end_column - 1, first + 1) if place.end_column else first + 1
    cut = max(0, first - most // 2) if len(text) > most else 0
    before = ("..." if cut else "") + _visible(text[cut:first])
    marked = _visible(text[first : min(last, cut + most)])
    after = _visible(text[min(last, cut + most) : cut + most]) + ("..." if len(text) > cut + most else "")
    return before + marked + after, width_of(before), max(width_of(marked), 1)


def _visible(text: str) -> str:
    return printable(text.replace("\t", "    "))


def to_github(diagnostics: Iterable[Diagnostic]) -> str:
    """Return workflow commands that GitHub shows as annotations at the lines of a pull request."""
    kinds = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}
    lines = []
    for one in fold_repeated(diagnostics):
        properties = {"title": one.code}
        if one.at is not None:
            properties = {"file": one.at.path} | _position(one.at) | properties
        body = one.message + (f" (seen {one.count:,} times)" if one.count > 1 else "") + (f"\n{one.help}" if one.help else "")
        shown = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
        lines.append(f"::{kinds[one.severity]} {shown}::{_escaped(printable(body, newlines=True))}\n")
    return "".join(lines)


def _position(place: Place) -> dict[str, str]:
    known = {"line": place.line, "col": place.column, "endColumn": place.end_column}
    return {name: str(number) for name, number in known.items() if number}


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(printable(text)).replace(":", "%3A").replace(",", "%2C")


def to_sarif(diagnostics: Iterable[Diagnostic], *, version: str) -> str:
    """Return the problems as SARIF 2.1.0, which code hosts read."""
    found = fold_repeated(diagnostics)
    codes = sorted({one.code for one in found})
    driver = {
        "name": "ftspec",
        "version": version,
        "rules": [{"id": code, "shortDescription": {"text": code.replace("-", " ")}} for code in codes],
    }
    results = [_result(one, codes) for one in found]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return dumps({"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]})


def _result(one: Diagnostic, codes: Sequence[str]) -> dict[str, Any]:
    levels = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
    places = list(dict.fromkeys([*([one.at] if one.at else []), *one.places]))
    result: dict[str, Any] = {
        "ruleId": one.code,
        "ruleIndex": codes.index(one.code),
        "level": levels[one.severity],
        "message": {"text": printable(one.message) + (f". {printable(one.help, newlines=True)}" if one.help else "")},
        "locations": [_location(place) for place in places],
    }
    if one.also:
        result["relatedLocations"] = [
            {"id": i, "message": {"text": printable(label)}, **_location(place)} for i, (label, place) in enumerate(one.also)
        ]
    if one.count > 1:
        result["occurrenceCount"] = one.count
    return result


def _location(place: Place) -> dict[str, Any]:
    from urllib.parse import quote

    physical: dict[str, Any] = {"artifactLocation": {"uri": quote(place.path)}}
    region = {"startLine": place.line, "startColumn": place.column, "endColumn": place.end_column}
    known = {name: number for name, number in region.items() if number}
    if place.line:
        physical["region"] = known
    return {"physicalLocation": physical}
