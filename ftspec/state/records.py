"""From joined cells to the typed records that everybody reads.

Members that a record type does not have go to its `extra`. A member of a wrong type is a
`BadMember`; in state that a newer ftspec wrote (`lenient`) it goes to `extra` too.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Final, TypeVar

import msgspec

from ftspec.record import Attempt, RecordedEval, RecordedFile, RecordedJob
from ftspec.state.fold import EVAL, FILE, JOB, Cells, Identity, Kind, View, view

R = TypeVar("R", bound=msgspec.Struct)


class BadMember(ValueError):
    """A member of a record or fact whose value cannot be right."""


@cache
def _given(of: type[msgspec.Struct]) -> Any:
    """Return a type that takes any part of a record (made when a fact is checked: readers need none)."""
    return _partial(of)


@cache
def line_type(kind: Kind) -> Any:
    """Return a type for the known members of a base line, whichever of them it has."""
    if not kind.nested:
        return _given(_TYPES[kind.name])
    return _partial(RecordedJob, attempts=tuple[_numbered_attempt(), ...])  # type: ignore[misc] # made at run time


@cache
def _numbered_attempt() -> Any:
    return _partial(Attempt, number=Annotated[int, msgspec.Meta(ge=1)])


def _partial(of: type[msgspec.Struct], **given: Any) -> type[msgspec.Struct]:
    fields = [(field.encode_name, given.get(field.encode_name, field.type | None), None) for field in msgspec.structs.fields(of)]
    return msgspec.defstruct(of.__name__, fields)


_COMPUTED: Final = frozenset({"attempts", "duplicates", "open", "extra", "number", "updated_at", "stamps", "also", "v"})
_TYPES: Final[dict[str, type[msgspec.Struct]]] = {"job": Attempt, "file": RecordedFile, "eval": RecordedEval}


@cache
def _fields(of: type[msgspec.Struct]) -> dict[str, Any]:
    return {field.encode_name: field.type for field in msgspec.structs.fields(of) if field.encode_name != "extra"}


def check_members(kind: Kind, values: dict[str, Any], about: dict[str, Any]) -> None:
    """Raise `BadMember` where a fact holds what no record could show. Unknown members pass."""
    for given, of in ((values, _given(_TYPES[kind.name])), (about, _given(RecordedJob))):
        if never := (_COMPUTED | set(kind.identity)) & given.keys():
            msg = f"`{min(never)}` is never learned, it follows from the rest"
            raise BadMember(msg)
        _convert(given, of)
    status = values.get("status")
    if status is not None and status not in kind.statuses:
        msg = f"`status` is none of {', '.join(kind.statuses)}"
        raise BadMember(msg)


def without_bad_members(kind: Kind, line: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """Return a base line without the members whose values cannot be right, and their names."""
    if kind.name != JOB.name:
        return _fitting(line, line_type(kind))
    attempts = [a for a in line.get("attempts") or () if isinstance(a, dict)] if isinstance(line.get("attempts"), list) else []
    fitting = [_fitting(attempt, _numbered_attempt()) for attempt in attempts]
    rest, dropped = _fitting({name: value for name, value in line.items() if name != "attempts"}, line_type(kind))
    return rest | {"attempts": [attempt for attempt, _ in fitting]}, dropped.union(*(bad for _, bad in fitting))


def _fitting(members: dict[str, Any], of: Any) -> tuple[dict[str, Any], set[str]]:
    bad = set()
    for name, value in members.items():
        try:
            _convert({name: value}, of)
        except BadMember:
            bad.add(name)
    return {name: value for name, value in members.items() if name not in bad}, bad


def recorded_job(identity: Identity, cells: Cells, *, lenient: bool) -> RecordedJob | None:
    """Return the record of a job, or `None` while no attempt of it is known."""
    seen: View = view(JOB, cells)
    if not seen.attempts:
        return None
    scope = seen.about.get("scope") or _text(seen.about.get("preimage"), "scope")
    (key,) = identity
    engine = scope.partition("/")[0] if isinstance(scope, str) else ""  # a scope of another type is told below
    members = {"key": key, "address": key[:12], "engine": engine} | seen.about | {"scope": scope}
    members["attempts"] = tuple(
        recorded_attempt({"number": number, "status": "intent"} | attempt, lenient=lenient) for number, attempt in seen.attempts.items()
    )
    members |= {"duplicates": seen.duplicates, "open": seen.open, "updated_at": seen.updated_at}
    return _typed(RecordedJob, members, lenient=lenient)


def recorded_attempt(members: dict[str, Any], *, lenient: bool = False) -> Attempt:
    """Return an attempt with its unknown members in `extra`."""
    return _typed(Attempt, members, lenient=lenient)


def recorded_file(identity: Identity, cells: Cells, *, lenient: bool) -> RecordedFile:
    """Return the record of a file."""
    seen = view(FILE, cells).attempts.get(1, {})
    return _typed(RecordedFile, {"dataset_key": ""} | seen | dict(zip(FILE.identity, identity, strict=True)), lenient=lenient)


def recorded_eval(identity: Identity, cells: Cells, *, lenient: bool) -> RecordedEval:
    """Return the record of an eval run."""
    seen = view(EVAL, cells).attempts.get(1, {})
    return _typed(RecordedEval, {"name": "", "model": ""} | seen | dict(zip(EVAL.identity, identity, strict=True)), lenient=lenient)


def _typed(of: type[R], members: dict[str, Any], *, lenient: bool) -> R:
    known = _fields(of)
    extra = {name: value for name, value in members.items() if name not in known}
    fields = {name: value for name, value in members.items() if name in known}
    try:
        return msgspec.convert({**fields, "extra": extra}, of)
    except msgspec.ValidationError as problem:
        if not lenient:
            raise BadMember(str(problem)) from None
    for name, value in list(fields.items()):
        try:
            _convert(value, known[name])
        except BadMember:
            extra[name] = fields.pop(name)
            if name == "status":
                fields["status"] = "running"
    return msgspec.convert({**fields, "extra": extra}, of)


def _convert(value: Any, of: Any) -> None:
    try:
        msgspec.convert(value, of)
    except msgspec.ValidationError as problem:
        raise BadMember(str(problem)) from None


def _text(value: Any, name: str) -> str:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""
