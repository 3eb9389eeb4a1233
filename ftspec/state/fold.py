"""The join that turns facts into records.

A record is a set of *cells*: member name -> value with a *stamp* (how far the attempt was, when
it was learned). Joining keeps the larger stamp of each cell, so it does not matter in which
order, how often and by way of how many files facts arrive; a status can only move forward
because its rank leads the stamp. Equal stamps are decided by the canonical bytes of the value.

Cells are kept apart by *group*: attempt number, and the engine's id where a fact names one. Two
ids in one attempt are therefore two whole jobs, not a mixture: the smallest (created_at, id) is
shown, the others are `duplicates`. Facts without an id (the intent) belong to all of them. What
is not shown is still kept, so that compaction loses nothing that a later merge could need.

A launch is settled by facts of its own. Two clones can launch the same attempt; what became of the
one says nothing of the other. So an intent that names its run (`launch`) opens a cell of that
name, an outcome that names it closes that cell, and as long as one is open the launch is shown in
`View.open`; an attempt without a job then stays in doubt, whatever else was refused.

`learn_fact` adds a fact to cells, `view` shows cells as the members of a record. `stamps` writes
cells to base files and reads them back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from ftspec.record import JobStatus

Cell = tuple[int, str, Any]
"""(status rank, time learned, value); the first two are the stamp."""
Group = tuple[int, str]
"""(attempt, engine id): (0, "") is the record itself, (n, "") an attempt whatever its id."""
Cells = dict[Group, dict[str, Cell]]

Identity = tuple[str, ...]
"""The values of a kind's `identity` members: what a record is known by."""

ABOUT: Final[Group] = (0, "")
NO_STATUS: Final = -1
LAUNCH: Final = "launch"
_OPEN: Final = f"{LAUNCH}:"
"""Prefix of the cells of launches: their intent while they are open, `None` once they are settled."""
_INTENT: Final = ("requested", "intent_at", "engine_time", "by")
"""What an open launch is looked up by."""


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """How records of one kind are keyed and ordered.

    `identity` are the members that make the key, `engine_id` the member that splits groups,
    `statuses` in the order in which they may follow each other, `choose` picks the group that
    is shown among those that have an id, `nested` says that attempts are members of their own.
    """

    name: str
    identity: tuple[str, ...]
    engine_id: str | None
    statuses: tuple[str, ...]
    choose: Callable[[Cells, list[Group]], Group | None]
    nested: bool = False
    unknown_status: str = "running"
    """What a status of a newer version counts as."""
    exists: str | None = None
    """The least status of something that has an engine id."""
    doubts: tuple[str, ...] = ()
    """What is said of an attempt whose id is not known, and means nothing once it is."""

    def rank(self, status: Any) -> int:
        """Return the position of a status; no status comes before all."""
        if not isinstance(status, str):
            return NO_STATUS
        return _RANKS[self.name].get(status, _RANKS[self.name][self.unknown_status])

    def identify(self, members: Mapping[str, Any]) -> Identity:
        """Return what a record with these members is known by."""
        return tuple(members[name] for name in self.identity)


def _first_bought(cells: Cells, groups: list[Group]) -> Group:
    """Return the smallest (created_at, id): every clone decides alike which of two purchases counts."""
    return min(groups, key=lambda group: (str(_value(cells, group, "created_at") or "~"), group[1]))


def _newest_usable(cells: Cells, groups: list[Group]) -> Group | None:
    """Return the newest upload that is not gone; none where a later upload of the same bytes is under way."""
    newest = max(groups, key=lambda g: (_value(cells, g, "status") != "gone", str(_value(cells, g, "created_at") or ""), g[1]))
    under_way = _latest(cells.get((newest[0], ""), {}))
    return None if _value(cells, newest, "status") == "gone" and under_way > _latest(cells[newest]) else newest


JOB: Final = Kind(
    name="job",
    identity=("key",),
    engine_id="engine_job_id",
    statuses=tuple(status.value for status in JobStatus),
    choose=_first_bought,
    nested=True,
    exists="launched",
    doubts=("status", "error", "unsettled_since"),
)
FILE: Final = Kind(
    name="file",
    identity=("scope", "digest"),
    engine_id="file_id",
    statuses=("intent", "uploaded", "confirmed", "gone"),
    choose=_newest_usable,
    unknown_status="uploaded",
    exists="uploaded",
)
EVAL: Final = Kind(
    name="eval", identity=("key",), engine_id=None, statuses=("intent", "running", "failed", "succeeded"), choose=_first_bought
)
KINDS: Final = {kind.name: kind for kind in (JOB, FILE, EVAL)}
_RANKS: Final = {kind.name: {status: rank for rank, status in enumerate(kind.statuses)} for kind in KINDS.values()}


def learn(cells: Cells, group: Group, rank: int, at: str, values: Iterable[tuple[str, Any]]) -> None:
    """Join values of one stamp into a group."""
    known = cells.get(group)
    if known is None:
        cells[group] = {name: (rank, at, value) for name, value in values}
        return
    for name, value in values:
        old = known.get(name)
        if old is None or (rank, at) > old[:2] or ((rank, at) == old[:2] and encoded(value) > encoded(old[2])):
            known[name] = (rank, at, value)


def learn_fact(kind: Kind, cells: Cells, *, attempt: int, at: str, values: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Join one fact: `values` of an attempt, `about` the record itself."""
    if about:
        learn(cells, ABOUT, NO_STATUS, at, about.items())
    if attempt > 0 and values:
        rank = learn_attempt(kind, cells, attempt=attempt, at=at, values=values)
        if isinstance(run := values.get(LAUNCH), str):
            intent = {name: values[name] for name in _INTENT if values.get(name) is not None} if rank == 0 else None
            learn(cells, (attempt, ""), rank, at, ((_OPEN + run, intent),))


def learn_attempt(kind: Kind, cells: Cells, *, attempt: int, at: str, values: Mapping[str, Any]) -> int:
    """Join what is known of an attempt, as it stands; return the rank of its stamp."""
    known = dict(values)
    engine_id = known.pop(kind.engine_id, None) if kind.engine_id else None
    engine_id = engine_id if isinstance(engine_id, str) else ""
    if engine_id:
        known[str(kind.engine_id)] = engine_id
    rank, least = kind.rank(known.get("status")), kind.rank(kind.exists if engine_id else kind.statuses[0])
    if rank < least:  # what has an id exists
        rank, known["status"] = least, kind.statuses[least]
    learn(cells, (attempt, engine_id), rank, at, known.items())
    return rank


def learn_open(cells: Cells, launch: Mapping[str, Any]) -> None:
    """Join an open launch as a record shows it, where nothing else says what became of it."""
    intent = {name: launch[name] for name in _INTENT if name in launch}
    group = cells.setdefault((launch["attempt"], ""), {})
    group.setdefault(_OPEN + launch[LAUNCH], (0, "", intent))


def join(cells: Cells, others: Cells) -> None:
    """Join two sets of cells of one record."""
    for group, known in others.items():
        cells.setdefault(group, {})
        for name, (rank, at, value) in known.items():
            learn(cells, group, rank, at, ((name, value),))


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What cells show: members of the record, of its attempts by number, and the ids not shown."""

    about: dict[str, Any]
    attempts: dict[int, dict[str, Any]]
    duplicates: tuple[str, ...]
    open: tuple[dict[str, Any], ...]
    updated_at: str


def view(kind: Kind, cells: Cells) -> View:
    """Show cells as members. `None` values are left out: not known and not there read alike."""
    _settle(kind, cells)
    attempts = {}
    shown = set()
    open_launches: list[dict[str, Any]] = []
    for number in _numbers(cells):
        winner = winner_of(kind, cells, number)
        common = cells.get((number, ""), {})
        members = {name: cell[2] for name, cell in common.items() if not name.startswith(_OPEN)}
        waiting = sorted(name for name, cell in common.items() if is_open(name, cell))
        open_launches += [{"attempt": number, LAUNCH: name.removeprefix(_OPEN)} | common[name][2] for name in waiting]
        if waiting:
            members["status"] = kind.statuses[0]
        if winner is not None:
            members["status"] = kind.exists
            members.pop(LAUNCH, None)  # of an intent, which need not be what became this job
            members |= {name: cell[2] for name, cell in cells[winner].items()}
            members[str(kind.engine_id)] = winner[1]
            shown.add(winner[1])
        attempts[number] = {name: value for name, value in members.items() if value is not None}
    return View(
        about={name: cell[2] for name, cell in cells.get(ABOUT, {}).items() if cell[2] is not None},
        attempts=attempts,
        duplicates=tuple(sorted({group[1] for group in cells} - shown - {""})),
        open=tuple(open_launches),
        updated_at=updated_at(cells),
    )


def standing(kind: Kind, cells: Cells, number: int) -> dict[str, Any]:
    """Return the status and the engine's id that an attempt has, as far as they are known."""
    winner = winner_of(kind, cells, number)
    known = cells.get(winner or (number, ""), {})
    found = {"status": known["status"][2]} if "status" in known else {}
    return found | ({str(kind.engine_id): winner[1]} if winner else {})


def is_open(name: str, cell: Cell) -> bool:
    """Whether a cell is that of a launch whose outcome is not known."""
    return name.startswith(_OPEN) and cell[2] is not None


def updated_at(cells: Cells) -> str:
    """Return the latest time at which anything was learned."""
    return max(map(_latest, cells.values()), default="")


def _numbers(cells: Cells) -> list[int]:
    return sorted({group[0] for group in cells} - {0})


def winner_of(kind: Kind, cells: Cells, number: int) -> Group | None:
    """Return the group that is shown of an attempt, if the engine's id is known."""
    named = [group for group in cells if group[0] == number and group[1]]
    return kind.choose(cells, named) if named else None


def _value(cells: Cells, group: Group, name: str) -> Any:
    cell = cells[group].get(name)
    return None if cell is None else cell[2]


def _settle(kind: Kind, cells: Cells) -> None:
    """Drop the doubts about attempts whose id is known."""
    for number in {group[0] for group in cells if group[1]} if kind.doubts else ():
        known = cells.get((number, ""), {})
        for name in kind.doubts:
            known.pop(name, None)


def _latest(known: Mapping[str, Cell]) -> str:
    return max((cell[1] for cell in known.values()), default="")


def encoded(value: Any) -> bytes:
    """Return the bytes that decide between values of one stamp."""
    # Not `canonical_json`, which does not tell 1 from 1.0.
    return msgspec.json.encode(value, order="sorted")
