"""Selectors: how people name jobs on a command line.

- `triage/seed=1`: an address; `triage`: a job, or all jobs of an experiment; `triage/*seed=1`: a
  glob over addresses (`*`, `?`, `[...]`; an address that reads like a glob is tried as it is first)
- `+SELECTOR` with everything it was trained on, `SELECTOR+` with everything trained on it
- `experiment:x`, `engine:x`, `tag:owner=search` (globs on both sides of `=`), `tag:owner`
- `status:failed`: what state says of it: a status, `in-doubt`, or `new` (not recorded)
- `key:1f2e3d` or the first six or more digits of a key

Several selectors add up. One that can match nothing is an error with the nearest name that
exists; a `status:` that nobody has now selects nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import translate
from typing import TYPE_CHECKING

import msgspec

from ftspec.diagnostics import FtspecError
from ftspec.printable import printable
from ftspec.record import JobStatus, RecordedJob, State

if TYPE_CHECKING:
    from ftspec.planner.identify import Identified

STATUSES = (*(status.value for status in JobStatus), "in-doubt", "new")
_KEY = re.compile(r"[0-9a-f]{6,64}\Z")
_LONGEST_GLOB = 1000
_FEW = 12
"""So many known names are listed where none resembles what was typed."""


class UnknownSelector(FtspecError):
    """A selector names nothing that exists."""

    exit_code = 64


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """What a selector can see of a job, desired or recorded."""

    address: str
    experiment: str
    engine: str
    key: str
    status: str
    tags: Mapping[str, str] = {}
    parents: tuple[str, ...] = ()


def select(expressions: Sequence[str], jobs: Iterable[Identified], state: State) -> set[str]:
    """Return the addresses of the desired jobs that the selectors mean. Raises `UnknownSelector`."""
    return select_from(expressions, [_desired(one, state) for one in jobs]) if expressions else set()


def select_records(expressions: Sequence[str], state: State, *, forgotten: bool = False) -> set[str]:
    """Return the keys of the recorded jobs that the selectors mean. Raises `UnknownSelector`."""
    records = [record for record in state.jobs.values() if forgotten or not record.forgotten]
    by_key = {record.key: record.address for record in records}
    if not expressions:
        return set()
    candidates = [_recorded(record, by_key) for record in records]
    matched = [_matched(expression, candidates) for expression in expressions]
    return {candidate.key for one in matched for candidate in one}


def select_from(expressions: Sequence[str], candidates: Sequence[Candidate]) -> set[str]:
    """Return the addresses of the candidates that the selectors mean. Raises `UnknownSelector`."""
    return {candidate.address for expression in expressions for candidate in _matched(expression, candidates)}


def with_parents(addresses: Iterable[str], parents: Mapping[str, Sequence[str]]) -> set[str]:
    """Return the addresses and everything that they need, directly or not."""
    found: set[str] = set()
    waiting = list(addresses)
    while waiting:
        address = waiting.pop()
        if address not in found:
            found.add(address)
            waiting.extend(parents.get(address, ()))
    return found


def with_children(addresses: Iterable[str], parents: Mapping[str, Sequence[str]]) -> set[str]:
    """Return the addresses and everything that needs them, directly or not."""
    children: dict[str, list[str]] = {}
    for address, needed in parents.items():
        for parent in needed:
            children.setdefault(parent, []).append(address)
    return with_parents(addresses, children)


def _desired(one: Identified, state: State) -> Candidate:
    job = one.job
    return Candidate(
        address=job.address,
        experiment=job.experiment,
        engine=job.engine,
        key=one.key,
        status=_status(state.jobs.get(one.key)),
        tags=job.tags,
        parents=job.parents,
    )


def _recorded(record: RecordedJob, address_of: Mapping[str, str]) -> Candidate:
    base = record.preimage.get("base_model")
    parent = address_of.get(base.get("job", "")) if isinstance(base, Mapping) else None
    return Candidate(
        address=record.address,
        experiment=record.address.partition("/")[0],
        engine=record.engine,
        key=record.key,
        status=_status(record),
        tags=record.tags,
        parents=(parent,) if parent else (),
    )


def _status(record: RecordedJob | None) -> str:
    if record is None or record.forgotten:
        return "new"
    return "in-doubt" if record.in_doubt else record.status.value


def _matched(expression: str, candidates: Sequence[Candidate]) -> list[Candidate]:
    up = expression.startswith("+")
    down = expression.endswith("+")
    core = expression[1 if up else 0 : -1 if down else None]
    found = _simple(core, expression, candidates)
    if not (up or down):
        return found
    parents = {candidate.address: candidate.parents for candidate in candidates}
    start = {candidate.address for candidate in found}
    addresses = (with_parents(start, parents) if up else set()) | (with_children(start, parents) if down else set())
    return [candidate for candidate in candidates if candidate.address in addresses]


def _simple(core: str, expression: str, candidates: Sequence[Candidate]) -> list[Candidate]:
    kind, colon, value = core.partition(":")
    if colon and kind == "status":
        if value not in STATUSES:
            raise _unknown(expression, f"`{printable(value)}` is not a status", value, STATUSES, prefix="status:")
        return [
            candidate for candidate in candidates if candidate.status == value or (value == "intent" and candidate.status == "in-doubt")
        ]
    if colon and kind in _FIELDS:
        what, names = _FIELDS[kind]
        matches = glob(value)
        found = [candidate for candidate in candidates if any(matches(name) for name in names(candidate))]
        if not found:
            known = sorted({name for candidate in candidates for name in names(candidate)})
            raise _unknown(expression, f"no job has {what} `{printable(value)}`", value, known, prefix=f"{kind}:")
        return found
    if colon and kind == "key":
        return _by_key(value, expression, candidates)
    return _by_address(core, expression, candidates)


_FIELDS: Mapping[str, tuple[str, Callable[[Candidate], Sequence[str]]]] = {
    "experiment": ("experiment", lambda one: (one.experiment,)),
    "engine": ("engine", lambda one: (one.engine,)),
    "tag": ("tag", lambda one: [text for name, value in one.tags.items() for text in (name, f"{name}={value}")]),
}


def _by_key(digits: str, expression: str, candidates: Sequence[Candidate]) -> list[Candidate]:
    found = [candidate for candidate in candidates if digits and candidate.key.startswith(digits)]
    if not found:
        raise UnknownSelector(
            f"`{printable(expression)}` selects nothing: no job has this key", help="see the keys with `ftspec state list`"
        )
    return found


def _by_address(core: str, expression: str, candidates: Sequence[Candidate]) -> list[Candidate]:
    found = [candidate for candidate in candidates if candidate.address == core]
    if not found:
        found = [candidate for candidate in candidates if candidate.experiment == core]
    if not found and any(sign in core for sign in "*?["):
        matches = glob(core)
        found = [candidate for candidate in candidates if matches(candidate.address)]
        if not found and core == "*":
            return []
    if not found and _KEY.match(core):
        found = [candidate for candidate in candidates if candidate.key.startswith(core)]
    if not found:
        for wider in _wider(core):
            matches = glob(wider)
            if any(matches(candidate.address) for candidate in candidates):
                raise UnknownSelector(
                    f"`{printable(expression)}` selects nothing: no job has this address", help=f"did you mean `{wider}`?"
                )
        known = [candidate.address for candidate in candidates]
        known += sorted({candidate.experiment for candidate in candidates})
        raise _unknown(expression, "no job has this address", core, known)
    return found


def _wider(address: str) -> list[str]:
    """Return globs for an address that leaves axes out: `triage/*seed=1` for `triage/seed=1`."""
    experiment, slash, axes = printable(address).partition("/")
    if not slash or "=" not in axes:
        return []
    inner = f"{experiment}/*{'*'.join(axes.split(','))}"
    return [inner, f"{inner},*"]


def glob(pattern: str) -> Callable[[str], bool]:
    """Return a test for a shell glob in which `*` also matches `/`. A very long one matches only itself: `[[[[` takes `translate` for ever."""
    if len(pattern) > _LONGEST_GLOB:
        return pattern.__eq__
    compiled = re.compile(translate(pattern))
    return lambda text: compiled.match(text) is not None


def _unknown(expression: str, why: str, value: str, known: Sequence[str], *, prefix: str = "") -> UnknownSelector:
    import difflib

    near = difflib.get_close_matches(value, known[:20_000], n=1, cutoff=0.5)
    help_ = f"did you mean `{printable(prefix + near[0])}`?" if near else None
    if help_ is None and prefix and 0 < len(known) <= _FEW:
        help_ = "there are: " + ", ".join(f"`{printable(one)}`" for one in known)
    return UnknownSelector(f"`{printable(expression)}` selects nothing: {why}", help=help_)
