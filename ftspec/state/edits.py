"""What people change in state by hand: addresses, protection, and what they want no more.

Each function looks at the state and returns the facts that make the change; nothing is ever
deleted. Facts carry no time of their own: the writer puts them after everything it knows.
"""

from __future__ import annotations

from collections.abc import Iterable

from ftspec.address import experiment_of
from ftspec.diagnostics import FtspecError
from ftspec.printable import printable
from ftspec.record import RecordedJob, State
from ftspec.state.base import JobFact


def move(state: State, old: str, new: str, *, at: str) -> list[JobFact]:
    """Give the job at `old`, or all jobs of experiment `old`, the address or experiment `new`."""
    jobs = [record for record in state.jobs.values() if not record.forgotten]
    if found := [record for record in jobs if record.address == old]:
        addresses = dict.fromkeys((record.key for record in found), new)
    else:
        found = [record for record in jobs if experiment_of(record.address) == old]
        addresses = {record.key: new + record.address.removeprefix(old) for record in found}
    if not found:
        raise FtspecError(f"state has no job and no experiment `{printable(old)}`", help="see the addresses with `ftspec state list`")
    taken = {record.address for record in jobs if record.key not in addresses}
    if occupied := sorted(taken & set(addresses.values())):
        raise FtspecError(
            f"`{printable(occupied[0])}` is the address of another recorded job",
            help=f"move that one first, or forget it: ftspec state rm '{printable(occupied[0])}'",
        )
    return [JobFact(key=key, at=at, job={"address": address}) for key, address in sorted(addresses.items())]


def protect(records: Iterable[RecordedJob], *, on: bool, at: str) -> list[JobFact]:
    """Protect jobs from being replaced or forgotten, or lift that; only those that change."""
    return [JobFact(key=record.key, at=at, job={"protected": on}) for record in records if record.protected is not on]


def forget(records: Iterable[RecordedJob], *, at: str, running: bool = False) -> list[JobFact]:
    """Stop using jobs: they stay as history, their models stay at the engine, and `plan` would buy them again."""
    records = list(records)
    if guarded := [record for record in records if record.protected]:
        address = printable(guarded[0].address)
        raise FtspecError(f"`{address}` is protected", help=f"lift the protection first: ftspec state unprotect '{address}'")
    if not running and (open_ := [record for record in records if not _over(record)]):
        address = printable(open_[0].address)
        raise FtspecError(
            f"`{address}` is not over ({'in doubt' if open_[0].doubtful else open_[0].status.value}); forgotten, it goes on and costs",
            help=f"stop it first: ftspec cancel '{address}'; or forget it all the same with `--running`",
        )
    return [JobFact(key=record.key, at=at, job={"forgotten": True}) for record in records if not record.forgotten]


def restore(records: Iterable[RecordedJob], *, at: str) -> list[JobFact]:
    """Use forgotten jobs again."""
    return [JobFact(key=record.key, at=at, job={"forgotten": False}) for record in records if record.forgotten]


def _over(record: RecordedJob) -> bool:
    return not record.doubtful and (record.status.terminal or not record.status.bought)
