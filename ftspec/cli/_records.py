"""Recorded jobs by what people type: addresses, selectors, keys or the engine's own job ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftspec.diagnostics import FtspecError
from ftspec.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ftspec.record import RecordedJob, State

_SHOWN = 8


class NotOneJob(FtspecError):
    """A word names several jobs where one is needed."""

    exit_code = 64


def chosen(state: State, words: Sequence[str]) -> list[RecordedJob]:
    """Return the recorded jobs that the words mean, by address (`UnknownSelector`: a word means nothing)."""
    from ftspec.planner.selectors import select_records

    keys_by_id = {attempt.engine_job_id: key for key, record in state.jobs.items() for attempt in record.attempts if attempt.engine_job_id}
    keys = {keys_by_id[word] for word in words if word in keys_by_id}
    keys |= select_records([word for word in words if word not in keys_by_id], state)
    return sorted((state.jobs[key] for key in keys), key=lambda record: (record.address, record.key))


def only(state: State, word: str) -> RecordedJob:
    """Return the one recorded job that a word means; of several with one address the newest."""
    found = chosen(state, [word])
    addresses = sorted({record.address for record in found})
    if len(addresses) > 1:
        shown = "".join(f"\n  {printable(address)}" for address in addresses[:_SHOWN])
        more = f"\n  and {len(addresses) - _SHOWN} more" if len(addresses) > _SHOWN else ""
        raise NotOneJob(f"`{printable(word)}` names {len(addresses)} jobs:{shown}{more}", help="name one of them")
    if not found:
        raise NotOneJob(f"`{printable(word)}` names no job")
    return max(found, key=lambda record: record.last.intent_at or record.last.created_at or "")
