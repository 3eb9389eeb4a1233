"""LangSmith runs (`run_type: llm`) and dataset examples, as JSONL or JSON.

`inputs` hold the prompt as messages of the protocol, or as LangChain's serialised messages; `outputs` the
answer as `generations`, `message`, `messages` or `output`. Runs that a wrapped `openai` client recorded hold the
request and the answer as they were sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ftspec.data.importers.base import FAILED, NOT_A_CALL, Call, Importer, Record, Skipped, call_or_skip
from ftspec.data.importers.exchange import exchange, is_response
from ftspec.data.importers.messages import messages_of
from ftspec.data.importers.normal import first_text, mapping, numbers, text_or_none, texts, time_of, tools_of

_PROMPTS = ("messages", "input", "prompt", "prompts", "question")
_ANSWERS = ("message", "messages", "output", "answer", "text")


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
    metadata = mapping(mapping(record.get("extra")).get("metadata")) or mapping(record.get("metadata"))
    invocation = mapping(mapping(record.get("extra")).get("invocation_params"))
    model = first_text(metadata, ("ls_model_name", "model", "model_name"))
    about: dict[str, Any] = {
        "tools": tools_of(inputs.get("tools") or invocation.get("tools")),
        "model": model or text_or_none(invocation.get("model")) or text_or_none(inputs.get("model")),
        "time": time_of(record.get("start_time") or record.get("created_at")),
        "id": text_or_none(record.get("id")),
        "name": text_or_none(record.get("name")),
        "tags": texts(record.get("tags")),
        "scores": numbers(record.get("feedback_stats")),
        "metadata": metadata,
        "part": text_or_none(mapping(record.get("metadata")).get("dataset_split")),
    }
    if ("choices" in outputs and "messages" in inputs) or is_response(outputs):
        return exchange(inputs, outputs, **about)
    given = next((inputs[key] for key in _PROMPTS if inputs.get(key)), None)
    if isinstance(given, list) and given and isinstance(given[0], str):
        given = given[0]
    said, reason = _answer(outputs)
    return call_or_skip(messages_of(given), messages_of(said, role="assistant", reasoning=True)[-1:], finish_reason=reason, **about)


def _answer(outputs: dict[str, Any]) -> tuple[Any, str | None]:
    """Return the answer as it was recorded, and why it ended."""
    generations = outputs.get("generations")
    if not isinstance(generations, list) or not generations:
        return next((outputs[key] for key in _ANSWERS if outputs.get(key)), outputs), None
    first = generations[0]
    first = mapping(first[0] if isinstance(first, list) and first else first)
    said = first.get("message") or first.get("text")
    about = mapping(mapping(mapping(first.get("message")).get("kwargs")).get("response_metadata")) | mapping(first.get("generation_info"))
    return said, text_or_none(about.get("finish_reason", about.get("stop_reason")))


importer = Importer(title="LangSmith runs of type llm, or dataset examples", format="LangSmith run data format of 2026", read=read)
