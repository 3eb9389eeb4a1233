"""Base lines: a record and, beside it, everything that a later join could need.

A line reads as the record itself. Three members more make it lossless:

- `stamps` lists the members that are older than `updated_at` or than the attempt's status, as
  [time, status, member...] by group: "0" the record, "1" attempt 1 whatever its id, "1@" attempt 1
  under its engine id, "1=" members of which both say the same;
- `also` holds what is known but not shown (a duplicate job, a value that another one hides), as facts;
- `updated_at` is when anything was last learned.

So `from_line(to_line(cells))` is `cells`, and compaction can happen at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from ftspec.state.fold import (
    ABOUT,
    LAUNCH,
    NO_STATUS,
    Cell,
    Cells,
    Group,
    Identity,
    Kind,
    encoded,
    is_open,
    learn,
    learn_attempt,
    learn_open,
    view,
    winner_of,
)

_NEVER: Final = (NO_STATUS - 1, "")
"""A stamp that no cell has."""


def to_line(kind: Kind, identity: Identity, cells: Cells) -> dict[str, Any]:
    """Return the JSON object from which `from_line` makes the same cells again."""
    seen = view(kind, cells)
    stamps: dict[str, list[list[str]]] = {}
    also: list[dict[str, Any]] = []
    attempts: list[dict[str, Any]] = []
    for group in sorted(cells):
        number, engine_id = group
        if group == ABOUT:
            _stamp(kind, stamps, "0", cells[group], default=(NO_STATUS, seen.updated_at), shown=seen.about)
            continue
        winner = winner_of(kind, cells, number)
        shown = seen.attempts[number]
        default = (kind.rank(shown.get("status")), seen.updated_at)
        known = cells[group]
        if group == winner:
            visible, hidden = known, {}
        elif winner is None and not engine_id:
            # An open launch hides that another one of the attempt was refused.
            hidden = {name: cell for name, cell in known.items() if is_open(name, cell) or (name == "status" and cell[2] != shown[name])}
            visible = {name: cell for name, cell in known.items() if name not in hidden}
        elif engine_id:
            visible, hidden = {}, known
        else:
            taken = cells[winner] if winner else {}
            equal = {name: cell for name, cell in known.items() if name in taken and encoded(taken[name][2]) == encoded(cell[2])}
            visible = {name: cell for name, cell in known.items() if name not in taken and name != LAUNCH and not is_open(name, cell)}
            hidden = {name: cell for name, cell in known.items() if name not in visible and name not in equal}
            _stamp(kind, stamps, f"{number}=", equal, default=_NEVER, shown=shown)
            default = _NEVER
        _stamp(kind, stamps, f"{number}@" if engine_id else f"{number}", visible, default=default, shown=shown)
        also += _facts(kind, group, hidden)
    for number, shown in seen.attempts.items():
        attempts.append({"number": number} | shown if kind.nested else shown)
    line: dict[str, Any] = dict(zip(kind.identity, identity, strict=True)) | seen.about | {"updated_at": seen.updated_at}
    if kind.nested:
        line["attempts"] = attempts
        line |= {"duplicates": list(seen.duplicates)} if seen.duplicates else {}
        line |= {"open": list(seen.open)} if seen.open else {}
    else:
        line |= attempts[0] if attempts else {}
    return line | ({"stamps": stamps} if stamps else {}) | ({"also": also} if also else {})


def from_line(kind: Kind, line: Mapping[str, Any]) -> Cells:
    """Return the cells that a base line holds; members without a stamp are as old as the line."""
    cells: Cells = {}
    line = dict(line)
    latest = line.pop("updated_at", None) or ""
    stamps = line.pop("stamps", {})
    also = line.pop("also", ())
    duplicates = line.pop("duplicates", ())
    open_launches = line.pop("open", ()) if kind.nested else ()
    line.pop("v", None)
    for name in kind.identity:
        line.pop(name)
    attempts = {a["number"]: {n: v for n, v in a.items() if n != "number"} for a in line.pop("attempts", ())} if kind.nested else {1: line}
    if kind.nested:
        cells.setdefault(ABOUT, {})
        _unstamp(kind, cells, ABOUT, line, stamps.get("0", ()), default=(NO_STATUS, latest))
    for number, members in attempts.items():
        default = (kind.rank(members.get("status")), latest)
        engine_id = members.get(kind.engine_id) if kind.engine_id else None
        _unstamp(kind, cells, (number, ""), members, stamps.get(f"{number}", ()), default=None if engine_id else default)
        if engine_id:
            shared = {name for entry in stamps.get(f"{number}", ()) for name in entry[2:]}
            rest = {name: value for name, value in members.items() if name not in shared}
            _unstamp(kind, cells, (number, engine_id), rest, stamps.get(f"{number}@", ()), default=default)
            _unstamp(kind, cells, (number, ""), members, stamps.get(f"{number}=", ()), default=None)
    for fact in also:
        learn_attempt(kind, cells, attempt=fact["attempt"], at=fact["at"], values=fact["values"])
    for launch in open_launches:
        learn_open(cells, launch)
    for engine_id in set(duplicates) - {group[1] for group in cells}:
        cells.setdefault((max(attempts, default=1), engine_id), {})
    return cells


def _stamp(
    kind: Kind,
    stamps: dict[str, list[list[str]]],
    name: str,
    known: Mapping[str, Cell],
    *,
    default: tuple[int, str],
    shown: Mapping[str, Any],
) -> None:
    entries: dict[tuple[str, int], list[str]] = {}
    for member, (rank, at, value) in sorted(known.items()):
        if (rank, at) != default or value is None or member not in shown:
            entries.setdefault((at, rank), []).append(member)
    if entries:
        stamps[name] = [[at, _status(kind, rank), *members] for (at, rank), members in sorted(entries.items())]


def _unstamp(
    kind: Kind,
    cells: Cells,
    group: Group,
    members: Mapping[str, Any],
    stamps: Iterable[list[str]],
    *,
    default: tuple[int, str] | None,
) -> None:
    stamped = set()
    for at, status, *names in stamps:
        learn(cells, group, kind.rank(status or None), at, ((name, members.get(name)) for name in names))
        stamped.update(names)
    if default is not None:
        learn(cells, group, *default, ((name, value) for name, value in members.items() if name not in stamped))


def _facts(kind: Kind, group: Group, known: Mapping[str, Cell]) -> Iterator[dict[str, Any]]:
    """Yield cells as the fewest facts that carry them, each with its own stamp."""
    entries: dict[tuple[str, int], dict[str, Any]] = {}
    for member, (rank, at, value) in sorted(known.items()):
        entries.setdefault((at, rank), {})[member] = value
    for (at, rank), values in sorted(entries.items()):
        named = {str(kind.engine_id): group[1]} if group[1] else {}
        ranked = {"status": _status(kind, rank)} if rank > NO_STATUS else {}
        yield {"attempt": group[0], "at": at, "values": values | named | ranked}


def _status(kind: Kind, rank: int) -> str:
    return kind.statuses[rank] if rank > NO_STATUS else ""
