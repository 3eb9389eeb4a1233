"""OpenTelemetry GenAI traces, in every form that the conventions had.

Read are spans and log records with `gen_ai.input.messages`, `gen_ai.output.messages`,
`gen_ai.system_instructions` and `gen_ai.tool.definitions` (since 1.37, on the span, on an event of it, or on a log
record; structured or as JSON text), one event for each message (`gen_ai.user.message` ... `gen_ai.choice`, up to
1.36; a span's events, or log records that name their span), OpenLLMetry's `gen_ai.prompt.0.role`, and OpenInference's
`llm.input_messages.0.message.role` (Phoenix). Scores come from `gen_ai.evaluation.result` events.
Where a span and log records tell of the same call, it is one call.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ftspec.data.importers.base import FAILED, NO_PROMPT, NOT_A_CALL, Call, Importer, Record, Skipped, call_or_skip
from ftspec.data.importers.messages import messages_of
from ftspec.data.importers.normal import first_text, float_of, mapping, objects, parsed, text_or_none, time_of, tools_of
from ftspec.data.importers.numbered import openinference, openllmetry
from ftspec.data.importers.otlp import attributes_of, failed, place_of, spans_of, value_of

_OPERATIONS = {"chat", "text_completion", "generate_content", None}
_KINDS = {"chat", "completion", None}
_CONTENT = ("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.tool.definitions")
_OLD = {"gen_ai.content.prompt": "gen_ai.prompt", "gen_ai.content.completion": "gen_ai.completion"}
_ROLES = {f"gen_ai.{role}.message": role for role in ("system", "user", "assistant", "tool")}
_SINGLE = {*_ROLES, "gen_ai.choice", "gen_ai.evaluation.result"}
_SPREAD = ("gen_ai.prompt", "gen_ai.completion", "llm.input_messages", "llm.output_messages")
_OWN = ("gen_ai.", "llm.", "input.", "output.", "event.")

_MODELS = ("gen_ai.response.model", "gen_ai.request.model", "llm.model_name")
_MANY = 100_000
"""So many calls wait at most for what other records tell of them: where content is not captured, all would wait."""

Place = tuple[str, str]
Messages = list[dict[str, Any]]


@dataclass(slots=True)
class _Told:
    """What is known of one call: its span, all attributes, and what events told one by one."""

    span: Mapping[str, Any] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    messages: list[dict[str, Any]] = field(default_factory=list)
    choice: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)

    @property
    def has_content(self) -> bool:
        """Whether a prompt or an answer is known."""
        return bool(self.messages or self.choice) or any(key in _CONTENT[:3] or key.startswith(_SPREAD) for key in self.attributes)

    @property
    def is_call(self) -> bool:
        """Whether this is a call of a chat model."""
        operation, kind = self.attributes.get("gen_ai.operation.name"), self.attributes.get("llm.request.type")
        if self.attributes.get("openinference.span.kind", "LLM") != "LLM" or not isinstance(operation, str | None):
            return False
        return (self.has_content or operation is not None) and operation in _OPERATIONS and str(kind or "chat") in _KINDS


def read(records: Iterable[Record]) -> Iterator[Call | Skipped]:
    """Yield the calls of trace files; those that other records of their span tell more of come last."""
    waiting: dict[Place, _Told] = {}
    done: set[int] = set()
    for record in records:
        for span in spans_of(record):
            place = place_of(span)
            if place is not None and hash(place) in done:
                continue  # told already, by a log record or by the span itself
            told = waiting.pop(place, None) if place is not None else None
            is_more = told is not None
            told = told or _Told()
            name = _hear(span, told)
            if place is not None and (name in _SINGLE or is_more or (told.is_call and not told.has_content)) and not failed(span):
                waiting[place] = told
                if len(waiting) > _MANY:
                    yield _call(waiting.pop(next(iter(waiting))))
                continue
            if place is not None and told.is_call:
                done.add(hash(place))
            yield _call(told)
    for told in waiting.values():
        yield _call(told)


def _hear(span: Mapping[str, Any], told: _Told) -> str:
    """Add what a span or a log record says; return the name of the event that a log record is, empty for a span."""
    attributes = attributes_of(span.get("attributes"))
    name = text_or_none(span.get("eventName") or span.get("event_name") or attributes.get("event.name")) or ""
    if not name or not told.span:
        told.span = span
    told.attributes.update(attributes)
    if name:
        _hear_event(name, span.get("body"), attributes, told)
    for event in objects(parsed(span.get("events"))):
        _hear_event(str(event.get("name")), None, attributes_of(event.get("attributes")), told)
    return name


def _hear_event(name: str, body: Any, attributes: Mapping[str, Any], told: _Told) -> None:
    told.attributes.update({key: attributes[key] for key in _CONTENT if key in attributes})
    said = mapping(value_of(body)) or mapping(attributes.get("gen_ai.event.content")) or dict(attributes)
    if "gen_ai.evaluation.name" in attributes:
        if (score := float_of(attributes.get("gen_ai.evaluation.score.value"))) is not None:
            told.scores[str(attributes["gen_ai.evaluation.name"])] = score
    elif name in _OLD:
        told.attributes[_OLD[name]] = attributes.get(_OLD[name])
    elif name in _ROLES:
        message = {"content": said.get("content"), "tool_calls": parsed(said.get("tool_calls"))}
        message = {key: value for key, value in message.items() if value is not None}
        named = {"tool_call_id": said["id"]} if _ROLES[name] == "tool" and said.get("id") else {}
        told.messages.append({"role": said.get("role") or _ROLES[name], **message, **named})
    elif name == "gen_ai.choice" and not told.choice and said.get("index") in (0, None):
        told.choice = said


def _choice(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the answer of a `gen_ai.choice` event: its message, or what it says itself."""
    message = said.get("message")
    inner = {"content": message} if isinstance(message, str) and not mapping(message) else mapping(message) or dict(said)
    calls = inner.get("tool_calls") or said.get("tool_calls")
    made = {"role": "assistant", "content": inner.get("content"), "tool_calls": parsed(calls)}
    return messages_of([{key: value for key, value in made.items() if value is not None}], role="assistant", reasoning=True)


def _call(told: _Told) -> Call | Skipped:
    if not told.is_call:
        return NOT_A_CALL
    if failed(told.span):
        return FAILED
    attributes = told.attributes
    asked, answers, tools, reason = _content(told)
    system = messages_of(attributes.get("gen_ai.system_instructions"), role="system")
    if not asked:
        return NO_PROMPT
    reasons = parsed(attributes.get("gen_ai.response.finish_reasons"))
    span = told.span
    return call_or_skip(
        [*system, *asked],
        answers,
        finish_reason=text_or_none(reason) or text_or_none(reasons[0] if isinstance(reasons, list) and reasons else None),
        tools=tools or tools_of(attributes.get("gen_ai.tool.definitions")),
        model=first_text(attributes, _MODELS),
        time=time_of(span.get("startTimeUnixNano") or span.get("timeUnixNano") or span.get("start_time")),
        id=(place_of(span) or (None, None))[1] or text_or_none(span.get("spanId")),
        name=text_or_none(span.get("name")),
        scores=told.scores,
        metadata={key: value for key, value in attributes.items() if not key.startswith(_OWN)},
    )


def _content(told: _Told) -> tuple[Messages, Messages, Messages | None, Any]:
    """Return prompt, answers, tools and the reason of the end, from whichever form holds them."""
    attributes = told.attributes
    if any(key in attributes for key in _CONTENT[:2]):
        outputs = parsed(attributes.get("gen_ai.output.messages"))
        first = outputs[0] if isinstance(outputs, list) and outputs else outputs
        answers = messages_of([first] if first else [], role="assistant", reasoning=True)
        reason = first.get("finish_reason") if isinstance(first, Mapping) else None
        return messages_of(attributes.get("gen_ai.input.messages"), reasoning=True), answers, None, reason
    if told.messages or told.choice:
        return messages_of(told.messages), _choice(told.choice), None, told.choice.get("finish_reason")
    spread = openinference(attributes) or openllmetry(attributes) or {}
    return spread.get("input", []), spread.get("output", []), spread.get("tools"), spread.get("finish_reason")


importer = Importer(
    title="OpenTelemetry GenAI spans, events or logs (OTLP JSON), also with OpenLLMetry's or OpenInference's attributes",
    format="OTLP JSON; semantic conventions 1.26 and later",
    read=read,
)
