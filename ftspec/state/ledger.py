"""Everything known of one project, joined: what backends keep in memory.

A `Ledger` takes base lines and facts in any order and shows them as a `State`. Records that no
fact touched stay as they were read (their line is written back byte for byte), the others are
cells. `fold` is the pure form: facts and records in, `State` out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec

from ftspec.diagnostics import Diagnostic, error, warning
from ftspec.fingerprint import SHORT
from ftspec.printable import printable
from ftspec.record import RecordedEval, RecordedFile, RecordedJob, State
from ftspec.state.base import EvalFact, Fact, FileFact, JobFact
from ftspec.state.fold import EVAL, FILE, JOB, Cells, Identity, Kind, join, learn_fact, standing, updated_at
from ftspec.state.process import just_after
from ftspec.state.records import BadMember, check_members, recorded_eval, recorded_file, recorded_job
from ftspec.state.stamps import from_line, to_line

Record = RecordedJob | RecordedFile | RecordedEval
R = TypeVar("R", bound=Record)
R_co = TypeVar("R_co", bound=Record, covariant=True)


class Show(Protocol[R_co]):
    """Makes a record of cells (`BadMember`; `None`: nothing to show yet)."""

    def __call__(self, identity: Identity, cells: Cells, *, lenient: bool) -> R_co | None:
        """Return the record."""
        ...


_ENCODER: Final = msgspec.json.Encoder(order="sorted")


def fold(facts: Iterable[Fact] = (), *, base: Iterable[Record] = ()) -> State:
    """Return the state that records and facts make together, in whatever order they come."""
    ledger = Ledger()
    for record in base:
        ledger.add_line(*line_of(record))
    for fact in facts:
        ledger.add_fact(fact)
    return ledger.state()


class Shelf(Generic[R]):
    """The records of one kind: `lines` as read and not touched since, `cells` of the others."""

    def __init__(self, kind: Kind, show: Show[R]) -> None:
        self.kind = kind
        self.records: dict[Identity, R] = {}
        self.cells: dict[Identity, Cells] = {}
        self.problems: dict[Identity, str] = {}
        self._show = show
        self._lines: dict[Identity, bytes | memoryview] = {}
        self._dirty: set[Identity] = set()

    def knows(self, identity: Identity) -> bool:
        """Whether anything is known of a record."""
        return identity in self._lines or identity in self.cells

    def place(self, identity: Identity, record: R | None, line: bytes | memoryview) -> None:
        """Keep the base line of a record, of which nothing else is known, as it is."""
        self._lines[identity] = line
        if record is not None:
            self.records[identity] = record

    def add_line(self, line: Mapping[str, Any]) -> None:
        """Join the cells of a base line."""
        join(self.open(self.kind.identify(line)), from_line(self.kind, line))

    def open(self, identity: Identity) -> Cells:
        """Return the cells of a record, to be added to."""
        if identity not in self.cells:
            line = self._lines.pop(identity, None)
            self.cells[identity] = {} if line is None else from_line(self.kind, msgspec.json.decode(line))
        self._dirty.add(identity)
        return self.cells[identity]

    def latest(self, identity: Identity) -> str:
        """Return when anything was last learned of a record."""
        return updated_at(self.open(identity))

    def refresh(self, *, lenient: bool) -> set[Identity]:
        """Bring `records` and `problems` up to date; return what has changed."""
        changed, self._dirty = self._dirty, set()
        for identity in changed:
            try:
                record = self._show(identity, self.cells[identity], lenient=lenient)
            except BadMember as problem:
                self.problems[identity] = str(problem)
                continue
            if record is not None:
                self.records[identity] = record
        return changed

    def base_lines(self) -> Iterator[bytes | memoryview]:
        """Yield the lines of the base file (without LF), sorted by key."""
        for identity in sorted(self._lines.keys() | self.cells.keys()):
            line = self._lines.get(identity)
            yield line if line is not None else self._encoded(identity)

    def _encoded(self, identity: Identity) -> bytes:
        return _ENCODER.encode(to_line(self.kind, identity, self.cells[identity]))


class Ledger:
    """All shelves, and the state they show. `lenient`: a newer ftspec wrote some of it."""

    def __init__(self) -> None:
        self.lenient = False
        self.jobs = Shelf(JOB, recorded_job)
        self.files = Shelf(FILE, recorded_file)
        self.evals = Shelf(EVAL, recorded_eval)
        self.shelves: dict[str, Shelf[Any]] = {"job": self.jobs, "file": self.files, "eval": self.evals}
        self._content = 0
        self._state: State | None = None

    def count(self, content: bytes) -> None:
        """Let bytes that were read or written take part in the state's generation, whatever their order."""
        self._content = (self._content + int.from_bytes(hashlib.sha256(content).digest()[:16])) % (1 << 128)

    def add_line(self, kind: Kind, line: Mapping[str, Any]) -> None:
        """Join a base line."""
        self.shelves[kind.name].add_line(line)

    def add_fact(self, fact: Fact) -> None:
        """Join a fact."""
        kind, identity, attempt, about = parts(fact)
        if fact.values or about:
            learn_fact(kind, self.shelves[kind.name].open(identity), attempt=attempt, at=fact.at, values=fact.values, about=about)

    def settled(self, fact: Fact) -> Fact:
        """Return the fact as its writer means it, who knows everything recorded so far.

        It is newer than what is known of its record, whatever the clock says, and belongs to the
        status and the engine's id that the attempt has unless it says otherwise. `BadMember`:
        it cannot be right.
        """
        kind, identity, attempt, about = parts(fact)
        shelf = self.shelves[kind.name]
        latest = shelf.latest(identity)
        values = fact.values | fact.values.get("extra", {})
        values.pop("extra", None)
        check_members(kind, values, about)
        if attempt and values:
            values |= _implied(kind, values, standing(kind, shelf.open(identity), attempt))
        return msgspec.structs.replace(fact, at=fact.at if fact.at > latest else just_after(latest), values=values)

    def state(self) -> State:
        """Return what is known now; later facts do not change it."""
        changed = {name: shelf.refresh(lenient=self.lenient) for name, shelf in self.shelves.items()}
        old = self._state
        if old is None or any(changed.values()):
            self._state = State(
                jobs=_updated(None if old is None else old.jobs, self.jobs.records, changed["job"]),
                files=_by_dataset(self.files.records.values()) if old is None or changed["file"] else old.files,
                evals=_updated(None if old is None else old.evals, self.evals.records, changed["eval"]),
                generation=f"{self._content:032x}",
            )
        return self._state or State()

    def diagnostics(self) -> list[Diagnostic]:
        """Return what is odd about the records themselves."""
        odd = [diagnostic for job in self.state().jobs.values() if job.open or job.duplicates for diagnostic in _odd(job)]
        for shelf in self.shelves.values():
            for identity, problem in shelf.problems.items():
                sentence = f"the record of {shelf.kind.name} `{printable(identity[-1][:SHORT])}` cannot be right: {printable(problem)}"
                odd.append(error("bad-record", sentence, help="run `ftspec state repair`: it explains each fix"))
        return odd


def parts(fact: Fact) -> tuple[Kind, Identity, int, dict[str, Any]]:
    """Return the kind, identity, attempt and record members of a fact."""
    match fact:
        case JobFact():
            return JOB, (fact.key,), fact.attempt, fact.job
        case FileFact():
            return FILE, (fact.scope, fact.digest), 1, {}
        case EvalFact():
            return EVAL, (fact.key,), 1, {}


def line_of(record: Record) -> tuple[Kind, dict[str, Any]]:
    """Return a record as a base line without stamps."""
    line = msgspec.json.decode(msgspec.json.encode(record))
    line |= line.pop("extra", {})
    match record:
        case RecordedJob():
            line["attempts"] = [attempt | attempt.pop("extra", {}) for attempt in line["attempts"]]
            return JOB, line
        case RecordedFile():
            return FILE, line
        case RecordedEval():
            return EVAL, line


def _implied(kind: Kind, values: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """Return the status and engine id that a fact leaves open, where they are those of the attempt."""
    other = kind.engine_id is not None and values.get(kind.engine_id) not in {None, known.get(kind.engine_id)}
    if other or known.get("status") == "gone":
        return {}
    return {name: value for name, value in known.items() if name not in values}


def _updated(old: Mapping[str, R] | None, records: Mapping[Identity, R], changed: set[Identity]) -> Mapping[str, R]:
    """Return records by key: the old mapping with what has changed, because states are values."""
    if old is None:
        return {identity[0]: record for identity, record in records.items()}
    if not changed:
        return old
    return {**old, **{identity[0]: records[identity] for identity in changed if identity in records}}


def _by_dataset(records: Iterable[RecordedFile]) -> dict[tuple[str, str], RecordedFile]:
    files: dict[tuple[str, str], RecordedFile] = {}
    for record in sorted(records, key=lambda r: (r.file_id is not None and r.status != "gone", r.created_at or "", r.digest)):
        files[record.scope, record.dataset_key] = record
    return files


def open_text(job: RecordedJob) -> str:
    """Return what is known of the launches of a job that are open, as a clause."""
    who = sorted({f"by {printable(one.by)} " if one.by else "" for one in job.open})
    when = min((one.intent_at for one in job.open if one.intent_at), default=None)
    launches = "another launch of it" if len(job.open) == 1 else f"{len(job.open)} other launches of it"
    return f"{launches} {who[0] if len(who) == 1 else ''}{f'since {printable(when)} ' if when else ''}{'is' if len(job.open) == 1 else 'are'} in doubt"


def _odd(job: RecordedJob) -> Iterator[Diagnostic]:
    if job.open and not job.in_doubt and not job.forgotten:
        yield warning(
            "launch-in-doubt",
            f"`{printable(job.address)}` is {job.status.value}, and {open_text(job)}",
            help="the next `ftspec apply` looks it up; `ftspec import` settles it by hand",
        )
    if job.duplicates:
        ids = ", ".join(f"`{printable(engine_id)}`" for engine_id in job.duplicates)
        kept = ", ".join(f"`{printable(a.engine_job_id)}`" for a in job.attempts if a.engine_job_id)
        yield warning(
            "duplicate-job",
            f"`{printable(job.address)}` was bought more than once: {kept} counts, {ids} is recorded beside it",
            help=f"look at the other job on engine `{printable(job.engine)}` and cancel it if it still runs",
        )
