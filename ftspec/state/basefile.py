"""Base files as records, fast: members that few readers look at are decoded when they are read.

A plan over ten thousand recorded jobs looks at their keys, addresses and last status. So
`LoadedJob` keeps `attempts`, `preimage` and `tags` as the JSON that its line holds, and decodes
them at every access; in all other ways it is the `RecordedJob` that it is a kind of.

A line with members that are not known here is taken apart slowly, by `stamps.from_line`; so is one
of a record about which something else is known too. `strict` (before anything is written) looks
at all of a line, also at what a plan has no use for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import msgspec
from msgspec import Raw

from ftspec.diagnostics import Diagnostic, FtspecError
from ftspec.printable import printable
from ftspec.record import Attempt, JobStatus, OpenLaunch, RecordedEval, RecordedFile, RecordedJob
from ftspec.state.fold import EVAL, FILE, JOB, Identity, Kind
from ftspec.state.ledger import Ledger
from ftspec.state.lines import FORMAT, BadLine, Line, NewerFormat, bad_line, strict_object, without_marks
from ftspec.state.records import BadMember, line_type, recorded_attempt

BASE_FILES: Final = {"jobs.jsonl": JOB, "files.jsonl": FILE, "evals.jsonl": EVAL}
_NOTHING: Final = Raw(b"{}")
_SAME: Final[dict[str, str]] = {}
"""One string for all records that say the same (engines, scopes)."""


class BadRecord(FtspecError):
    """A record holds values that cannot be right, which only reading all of it showed."""

    def __init__(self, job: RecordedJob, problem: Exception) -> None:
        super().__init__(
            f"the record of `{printable(job.address)}` in `jobs.jsonl` cannot be read: {printable(str(problem))}",
            help="`ftspec state repair` names the line, and explains the fix before it makes it",
        )


@contextmanager
def _reading(job: RecordedJob) -> Iterator[None]:
    try:
        yield
    except (msgspec.DecodeError, BadMember) as problem:
        raise BadRecord(job, problem) from None


class LoadedJob(RecordedJob, frozen=True, kw_only=True, omit_defaults=True, eq=False, gc=False):
    """A `RecordedJob` whose larger members are still JSON."""

    @property  # type: ignore[misc] # a member there
    def attempts(self) -> tuple[Attempt, ...]:
        """All attempts, by number."""
        value: tuple[Attempt, ...] | Raw = _attempts(self)
        if not isinstance(value, Raw):
            return value
        with suppress(msgspec.DecodeError):
            return _ATTEMPTS.decode(value)
        with _reading(self):
            return tuple(recorded_attempt({"status": "intent"} | attempt) for attempt in _OBJECTS.decode(value))

    @property  # type: ignore[misc] # a member there
    def preimage(self) -> dict[str, Any]:
        """What the key was made from."""
        value = _preimage(self)
        with _reading(self):
            return _OBJECT.decode(value) if type(value) is Raw else value

    @property  # type: ignore[misc] # a member there
    def tags(self) -> dict[str, str]:
        """The owner's labels."""
        value = _tags(self)
        try:  # ten thousand times a plan, as `status`, so without a context manager
            return _TAGS.decode(value) if type(value) is Raw else value
        except msgspec.DecodeError as problem:
            raise BadRecord(self, problem) from None

    @property
    def status(self) -> JobStatus:
        """Status of the newest attempt."""
        value: tuple[Attempt, ...] | Raw = _attempts(self)
        if not isinstance(value, Raw):
            return value[-1].status
        try:
            return max(_STATUSES.decode(value), key=_number).status
        except msgspec.DecodeError as problem:
            raise BadRecord(self, problem) from None

    @property
    def in_doubt(self) -> bool:
        """Whether the newest attempt may or may not have become a job."""
        return self.status is JobStatus.INTENT

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RecordedJob):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in RecordedJob.__struct_fields__)

    def __ne__(self, other: object) -> bool:
        # Not left to Python: the comparison of a Struct compares types first.
        return not self == other

    def __hash__(self) -> int:
        return hash(self.key)


_attempts: Final = RecordedJob.__dict__["attempts"].__get__
_preimage: Final = RecordedJob.__dict__["preimage"].__get__
_tags: Final = RecordedJob.__dict__["tags"].__get__


class _Status(msgspec.Struct, gc=False):
    number: int
    status: JobStatus = JobStatus.INTENT
    """What is not said is in doubt: the engine will be asked."""


def _number(one: _Status) -> int:
    return one.number


_OBJECTS: Final = msgspec.json.Decoder(list[dict[str, Any]])
_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])
_TAGS: Final = msgspec.json.Decoder(dict[str, str])
_ATTEMPTS: Final = msgspec.json.Decoder(tuple[Attempt, ...])
_STATUSES: Final = msgspec.json.Decoder(list[_Status])


class _JobLine(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    key: str
    address: str
    engine: str
    scope: str
    attempts: Raw
    project: str | None = None
    preimage: Raw = _NOTHING
    tags: Raw = _NOTHING
    suffix: str | None = None
    duplicates: tuple[str, ...] = ()
    open: tuple[OpenLaunch, ...] = ()
    protected: bool = False
    forgotten: bool = False
    updated_at: str | None = None
    stamps: Raw = _NOTHING
    also: Raw = _NOTHING

    def known(self) -> tuple[Identity, RecordedJob | None]:
        if bytes(self.attempts) == b"[]":
            return (self.key,), None
        return (self.key,), LoadedJob(
            key=self.key,
            address=self.address,
            engine=_SAME.setdefault(self.engine, self.engine),
            scope=_SAME.setdefault(self.scope, self.scope),
            attempts=self.attempts,  # type: ignore[arg-type] # what the property decodes
            project=self.project,
            preimage={} if self.preimage is _NOTHING else self.preimage,  # type: ignore[arg-type] # what the property decodes
            tags={} if self.tags is _NOTHING else self.tags,  # type: ignore[arg-type] # what the property decodes
            suffix=self.suffix,
            duplicates=self.duplicates,
            open=self.open,
            protected=self.protected,
            forgotten=self.forgotten,
            updated_at=self.updated_at,
        )


class _FileLine(RecordedFile, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    updated_at: str | None = None
    stamps: Raw = _NOTHING
    also: Raw = _NOTHING

    def known(self) -> tuple[Identity, RecordedFile]:
        return (self.scope, self.digest), RecordedFile(**{name: getattr(self, name) for name in RecordedFile.__struct_fields__})


class _EvalLine(RecordedEval, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    updated_at: str | None = None
    stamps: Raw = _NOTHING
    also: Raw = _NOTHING

    def known(self) -> tuple[Identity, RecordedEval]:
        return (self.key,), RecordedEval(**{name: getattr(self, name) for name in RecordedEval.__struct_fields__})


class _Hidden(msgspec.Struct):
    attempt: int
    at: str
    values: dict[str, Any]


class _Whole(msgspec.Struct):
    """The parts of a line that no record type knows."""

    stamps: dict[str, list[list[str]]] = {}
    also: list[_Hidden] = []
    v: int = 1
    updated_at: str | None = None


_FAST: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    "job": msgspec.json.Decoder(_JobLine),
    "file": msgspec.json.Decoder(_FileLine),
    "eval": msgspec.json.Decoder(_EvalLine),
}
_WHOLE: Final = msgspec.json.Decoder(_Whole)


def read_base(ledger: Ledger, kind: Kind, data: bytes, *, place: str, strict: bool = False) -> list[Diagnostic]:
    """Add the records of a base file to the ledger, and return what is wrong with its lines."""
    if data:
        ledger.count(data)
    data = without_marks(data)
    strict = strict or not data.isascii()
    shelf, decode = ledger.shelves[kind.name], _FAST[kind.name].decode
    problems: list[Diagnostic] = []
    whole, start, number = memoryview(data), 0, 0
    while start < len(data):
        number += 1
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        content = whole[start:end]
        start = end + 1
        if not content:
            continue
        try:
            identity, record = decode(content).known()
        except (ValueError, RecursionError):
            identity, record = None, None
        if identity is not None and not strict and not shelf.knows(identity):
            shelf.place(identity, record, content)
        else:
            try:
                members = check_line(kind, bytes(content))
            except NewerFormat:
                ledger.lenient = True
                with suppress(ValueError, TypeError, KeyError, AttributeError):  # as far as it can be understood
                    shelf.add_line(msgspec.json.decode(content))
            except BadLine as problem:
                problems.append(bad_line(Line(number, bytes(content)), str(problem), place=place))
            else:
                if identity is not None and not shelf.knows(identity):
                    shelf.place(identity, record, content)
                else:
                    shelf.add_line(members)
    return problems


def check_line(kind: Kind, line: bytes) -> dict[str, Any]:
    """Return the members of a base line after a look at all of it (`BadLine`, `NewerFormat`)."""
    members = strict_object(line)
    try:
        if _WHOLE.decode(line).v > FORMAT:
            raise NewerFormat
        msgspec.json.decode(line, type=line_type(kind))
    except msgspec.DecodeError as problem:
        raise BadLine(str(problem)) from None
    if not all(isinstance(members.get(name), str) for name in kind.identity):
        msg = "it has no key"
        raise BadLine(msg)
    numbers = [attempt.get("number") for attempt in members.get("attempts") or ()]
    if None in numbers or len(set(numbers)) < len(numbers):
        msg = "its attempts are not numbered"
        raise BadLine(msg)
    return members
