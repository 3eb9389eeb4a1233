"""OpenPipe's dataset export: `messages`, `tools`, `tool_choice`, `split`.

`tool_choice` belongs to a request and is left out; `split` decides which file a row goes to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ftspec.data.importers import chat
from ftspec.data.importers.base import Call, Importer, Record, Skipped

_PARTS = {"TRAIN": "train", "TEST": "test"}


def read(records: Iterable[Record]) -> Iterator[Call | Skipped]:
    """Yield the entries of a dataset; an empty id of a tool call, which OpenPipe writes, gets a number."""
    for record in records:
        for one in chat.read([record]):
            if isinstance(one, Skipped):
                yield one
                continue
            for number, call in enumerate(one.answer.get("tool_calls") or [], start=1):
                call["id"] = call["id"] or f"call_{number}"
            yield replace(one, part=_PARTS.get(one.part or "", (one.part or "").lower() or None))


importer = Importer(title="OpenPipe's dataset export", format="OpenPipe JSONL of 2025", read=read)
