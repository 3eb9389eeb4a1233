"""Chat rows as they are (`messages`, `tools`), from any tool that writes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ftspec.data.importers.base import NO_ANSWER, NOT_A_CALL, Call, Importer, Record, Skipped, call_or_skip
from ftspec.data.importers.messages import messages_of
from ftspec.data.importers.normal import mapping, numbers, objects, text_or_none, texts, time_of, tools_of

_KNOWN = {"messages", "tools", "functions", "parallel_tool_calls", "tool_choice", "metadata", "scores", "tags"}


def read(records: Iterable[Record]) -> Iterator[Call | Skipped]:
    """Yield chat rows as calls; what else a row says can be filtered by."""
    for record in records:
        if not isinstance(record.get("messages"), list):
            yield NOT_A_CALL
            continue
        messages = messages_of(record["messages"], reasoning=True)
        if not messages or messages[-1]["role"] != "assistant":
            yield NO_ANSWER
            continue
        about = mapping(record.get("metadata"))  # where `ftspec.collect` notes what it knows of a call
        parallel = record.get("parallel_tool_calls")
        score = record.get("score")
        yield call_or_skip(
            messages[:-1],
            messages[-1:],
            tools=tools_of(record.get("tools")),
            functions=[dict(one) for one in objects(record.get("functions"))] or None,
            parallel_tool_calls=parallel if isinstance(parallel, bool) else None,
            model=text_or_none(record.get("model")) or text_or_none(about.get("model")),
            time=time_of(record.get("time") or record.get("created_at") or about.get("time")),
            id=text_or_none(record.get("id")) or text_or_none(about.get("id")),
            tags=texts(record.get("tags")) or texts(about.get("tags")),
            scores=numbers(record.get("scores")) | (numbers({"score": score}) if score is not None else {}),
            metadata={**{key: value for key, value in record.items() if key not in _KNOWN}, **about},
            part=text_or_none(record.get("split")),
        )


importer = Importer(title="chat rows, also those that `ftspec.collect` wrote", format="JSONL with `messages`", read=read)
