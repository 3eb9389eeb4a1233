"""LangSmith runs (`run_type: llm`) and dataset examples, as JSONL or JSON.

`inputs` hold the prompt as messages of the protocol, or as LangChain's serialised messages; `outputs` the
answer as `generations`, `choices`, `message`, `messages` or `output`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ftspec.data.importers.base import FAILED, NOT_A_CALL, Call, Importer, Record, Skipped, call_or_skip
from ftspec.data.importers.normal import mapping, messages_of, numbers, text_or_none, texts, time_of, tools_of

_PROMPTS = ("messages", "input", "prompt", "prompts", "question")


def read(records: Iterable[Record]) -> Iterator[Call | Skipped]:
    """Yield the calls of runs and examples."""
    for record in records:
        kind = record.get("run_type")
        if "inputs" not in record or (kind is not None and kind != "llm"):
            yield NOT_A_CALL
        elif record.get("error"):
            yield FAILED
        else:
            yield _call(record)


def _call(record: Record) -> Call | Skipped:
    inputs, outputs = mapping(record.get("inputs")), mapping(record.get("outputs"))
    about = mapping(mapping(record.get("extra")).get("metadata")) or mapping(record.get("metadata"))
    invocation = mapping(mapping(record.get("extra")).get("invocation_params"))
    given = next((inputs[key] for key in _PROMPTS if inputs.get(key)), None)
    if isinstance(given, list) and given and isinstance(given[0], str):
        given = given[0]
    answer, reason = _answer(outputs)
    model = next((found for key in ("ls_model_name", "model", "model_name") if (found := text_or_none(about.get(key)))), None)
    return call_or_skip(
        messages_of(given),
        answer,
        finish_reason=reason,
        tools=tools_of(inputs.get("tools") or invocation.get("tools")),
        model=model or text_or_none(invocation.get("model")) or text_or_none(inputs.get("model")),
        time=time_of(record.get("start_time") or record.get("created_at")),
        id=text_or_none(record.get("id")),
        name=text_or_none(record.get("name")),
        tags=texts(record.get("tags")),
        scores=numbers(record.get("feedback_stats")),
        metadata=about,
        part=text_or_none(mapping(record.get("metadata")).get("dataset_split")),
    )


def _answer(outputs: dict[str, Any]) -> tuple[dict[str, Any] | None, str | None]:
    """Return the answer and why it ended."""
    reason = None
    said: Any = None
    if isinstance(generations := outputs.get("generations"), list) and generations:
        first = generations[0]
        first = mapping(first[0] if isinstance(first, list) and first else first)
        said = first.get("message") or first.get("text")
        reason = text_or_none(mapping(first.get("generation_info")).get("finish_reason"))
    elif isinstance(choices := outputs.get("choices"), list) and choices:
        first = mapping(choices[0])
        said, reason = first.get("message"), text_or_none(first.get("finish_reason"))
    else:
        said = next((outputs[key] for key in ("message", "messages", "output", "answer", "text") if outputs.get(key)), outputs)
    answers = messages_of(said, role="assistant", reasoning=True)
    return (answers[-1] if answers else None), reason


importer = Importer(title="LangSmith runs of type llm, or dataset examples", format="LangSmith run data format of 2026", read=read)
