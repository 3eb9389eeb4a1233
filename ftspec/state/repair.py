"""Mends state files that cannot be read: says what is wrong and what it would do, before it does it.

A `Fix` is about one line of one file. What a fix takes out is set aside in `<file>-<hex>.bad`
beside the file, never deleted. Where a line can be read in two ways, both are kept and joined. Of a
line about a job that cannot be read at all, the key is kept as a launch in doubt, where it can be
made out: nothing may be bought again because its record was damaged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ftspec.diagnostics import FtspecError, Place
from ftspec.printable import printable
from ftspec.state.base import Fact, JobFact
from ftspec.state.basefile import BASE_FILES, check_line
from ftspec.state.disk import Disk
from ftspec.state.fold import JOB, Kind
from ftspec.state.folder import HISTORY, LOG, TEMPORARY, replace, write_new, wrong_in_history
from ftspec.state.ledger import parts
from ftspec.state.lines import BadLine, Line, NewerFormat, SegmentHeader, decode, encode, is_conflict_marker, numbered_lines
from ftspec.state.records import BadMember, check_members, without_bad_members

if TYPE_CHECKING:
    from ftspec.state.jsonl import JsonlState

ACCEPT_EDIT: Final = "--accept-edit"
_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_NO_RECORD: Final = "it is set aside; it only said who ran a command, and no record is lost"
_LOST: Final = "it is set aside; restore it from version control if you can: `ftspec import --list` shows jobs that state does not know"
_DOUBT: Final = "its job is kept as a launch in doubt, so that it is not bought again; the line as it was is set aside"
_KEY: Final = re.compile(rb'"(?:ftspec_)?key":"([0-9a-f]{64})"')
_ATTEMPT: Final = re.compile(rb'"attempt":([1-9][0-9]{0,5})\b')
_ABOUT: Final = {name: re.compile(rb'"%s":"([^"\\\\]+)"' % name.encode()) for name in ("address", "engine", "scope")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """What is wrong with a line, and what happens to it.

    `instead` are the lines that take its place; with `aside` it is kept in a file of its own;
    `needs` names the option without which it stays as it is.
    """

    at: Place
    wrong: str
    action: str
    instead: tuple[bytes, ...] = ()
    aside: bool = False
    needs: str | None = None


Fixes = dict[str, list[Fix]]
"""Fixes by file name, relative to the state folder, in the order of lines."""


def examine(state: JsonlState) -> Fixes:
    """Look at every line of every state file. Writes nothing."""
    try:
        root = state.disk.open_folder(state.folder)
    except FileNotFoundError:
        return {}
    try:
        return _examine(state.disk, root, state.name)
    finally:
        state.disk.close(root)


def mend(state: JsonlState, fixes: Fixes, *, accepted: Collection[str] = ()) -> int:
    """Make the fixes that need no option or an `accepted` one, and return how many (`FtspecError`: state has changed)."""
    disk, done = state.disk, 0
    with state.exclusively("state repair") as (root, _):
        if _examine(disk, root, state.name) != fixes:
            raise FtspecError("state changed meanwhile", help="run `ftspec state repair` again")
        for folder, name, content in _files(disk, root):
            wanted = {fix.at.line: fix for fix in fixes.get(name, ()) if fix.needs is None or fix.needs in accepted}
            if wanted:
                _mend_file(state, folder, name.rpartition("/")[2], content, wanted)
                done += len(wanted)
    return done


def _mend_file(state: JsonlState, folder: int, name: str, content: bytes, fixes: dict[int, Fix]) -> None:
    kept = aside = b""
    for line in numbered_lines(content):
        fix = fixes.get(line.number)
        for piece in (line.content,) if fix is None else fix.instead:
            kept += piece + b"\n"
        if fix is not None and fix.aside:
            aside += line.content + b"\n"
    unique = f"{name}-{state.bits(32):08x}"
    if aside:
        write_new(state.disk, folder, f"{unique}.bad", aside)
    replace(state.disk, folder, name, kept, temporary=f".{unique}{TEMPORARY}")
    state.disk.sync(folder)


def _examine(disk: Disk, root: int, folder_name: str) -> Fixes:
    found: Fixes = {}
    for _, name, content in _files(disk, root):
        for line in numbered_lines(content):
            at = Place(path=f"{folder_name}/{name}", line=line.number)
            try:
                fix = _marker(line, at) or _judge(name, line, at)
            except NewerFormat:
                raise FtspecError("a newer ftspec wrote some of this state", help="repair it with that version") from None
            if fix is not None:
                found.setdefault(name, []).append(fix)
    return found


def _files(disk: Disk, root: int) -> Iterator[tuple[int, str, bytes]]:
    """Yield base files and segments: the folder they are in, their name from the root, their content."""
    for name in disk.names(root):
        if name in {*BASE_FILES, HISTORY}:
            yield root, name, disk.read(root, name)
    try:
        log = disk.open_folder(Path(LOG), inside=root)
    except FileNotFoundError:
        return
    try:
        for name in disk.names(log):
            if name.endswith(".jsonl"):
                yield log, f"{LOG}/{name}", disk.read(log, name)
    finally:
        disk.close(log)


def _judge(name: str, line: Line, at: Place) -> Fix | None:
    if name == HISTORY:
        wrong = wrong_in_history(line.content)
        return None if wrong is None else Fix(at=at, wrong=wrong, action=_NO_RECORD, aside=True)
    kind = BASE_FILES.get(name)
    return _base_line(kind, line, at) if kind else _segment_line(line, at)


def _marker(line: Line, at: Place) -> Fix | None:
    if not is_conflict_marker(line.content):
        return None
    return Fix(at=at, wrong="a conflict marker of a merge", action="it is taken out; the lines of both sides stay, and are joined")


def _base_line(kind: Kind, line: Line, at: Place) -> Fix | None:
    try:
        check_line(kind, line.content)
    except BadLine as problem:
        wrong = str(problem)
    else:
        return None
    readings = _readings(line.content)
    mended, dropped = [], set[str]()
    for reading in readings:
        rest, bad = without_bad_members(kind, reading)
        dropped |= bad
        content = _ENCODER.encode(rest)
        try:
            check_line(kind, content)
        except BadLine:
            return Fix(at=at, wrong=wrong, action=_LOST, aside=True)
        mended.append(content)
    if not mended:
        return _illegible(line, wrong, at, kind=kind)
    actions = [f"{_names(dropped)} is taken out, the rest of the record stays"] if dropped else []
    actions += ["both ways to read it are kept, and joined"] if len(set(mended)) > 1 else []
    action = "; ".join([*actions, "the line as it was is set aside"])
    return Fix(at=at, wrong=wrong, action=action, instead=tuple(dict.fromkeys(mended)), aside=True)


def _segment_line(line: Line, at: Place) -> Fix | None:
    wrong: str | None = None
    needs: str | None = None
    try:
        seq, entry = decode(line.content)
    except BadLine as problem:
        wrong = str(problem)
        if line.unfinished:
            action = "it is set aside; nothing was bought on its account, because it was never acknowledged"
            return Fix(at=at, wrong="the last line was never finished", action=action, aside=True)
        try:
            seq, entry = decode(line.content, check=False)
        except BadLine:
            return _illegible(line, wrong, at)
        needs = ACCEPT_EDIT
    if isinstance(entry, SegmentHeader):
        action = "the line is accepted as it stands"
    else:
        entry, dropped = _sound(entry)
        wrong = wrong or (f"{_names(dropped)} cannot be right" if dropped else None)
        action = f"{_names(dropped)} is taken out" if dropped else "the line is accepted as it stands"
    if wrong is None:
        return None
    return Fix(
        at=at, wrong=wrong, action=f"{action}; the line as it was is set aside", instead=(encode(entry, seq)[:-1],), aside=True, needs=needs
    )


def _illegible(line: Line, wrong: str, at: Place, *, kind: Kind | None = None) -> Fix:
    """Return the fix of a line of a base file of this kind (none: of a segment) that can be read in no way."""
    key, attempt = _KEY.search(line.content), _ATTEMPT.search(line.content)
    if key is None or kind not in {None, JOB} or (kind is None and (attempt is None or b'"fact":"job"' not in line.content)):
        return Fix(at=at, wrong=wrong, action=_LOST, aside=True)
    about = {name: found[1].decode() for name, of in _ABOUT.items() if (found := of.search(line.content)) and _is_text(found[1])}
    if kind is None:
        assert attempt is not None  # noqa: S101 asked above
        fact = JobFact(key=key[1].decode(), at="", attempt=int(attempt[1]), values={"status": JOB.statuses[0]}, job=about)
        instead = encode(fact, line.number - 1)[:-1]
    else:
        instead = _ENCODER.encode({"key": key[1].decode(), **about, "attempts": [{"number": 1, "status": JOB.statuses[0]}]})
    return Fix(at=at, wrong=wrong, action=_DOUBT, instead=(instead,), aside=True)


def _is_text(content: bytes) -> bool:
    try:
        return content.decode().isprintable()
    except UnicodeDecodeError:
        return False


def _sound(fact: Fact) -> tuple[Fact, set[str]]:
    """Return a fact without the members that no record could show, and their names."""
    kind, _, _, about = parts(fact)
    values = {name: value for name, value in fact.values.items() if _possible(kind, {name: value}, {})}
    dropped = fact.values.keys() - values.keys()
    if isinstance(fact, JobFact):
        kept = {name: value for name, value in about.items() if _possible(kind, {}, {name: value})}
        return msgspec.structs.replace(fact, values=values, job=kept), dropped | (about.keys() - kept.keys())
    return msgspec.structs.replace(fact, values=values), dropped


def _possible(kind: Kind, values: dict[str, Any], about: dict[str, Any]) -> bool:
    try:
        check_members(kind, values, about)
    except BadMember:
        return False
    return True


def _readings(content: bytes) -> list[dict[str, Any]]:
    """Return every way to read a line in which a member is there twice: the first ones, the last ones."""
    try:
        first = json.loads(content, object_pairs_hook=lambda pairs: dict(reversed(pairs)))
        last = json.loads(content)
        _ENCODER.encode([first, last])
    except (ValueError, RecursionError):
        return []
    return [first, last] if isinstance(first, dict) and isinstance(last, dict) else []


def _names(names: Collection[str]) -> str:
    return ", ".join(f"`{printable(name)}`" for name in sorted(names))
