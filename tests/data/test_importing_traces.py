"""Traces in every form that the GenAI conventions had, and in those of OpenLLMetry and OpenInference, become chat rows."""

from __future__ import annotations

import json

import pytest

from ftspec.data.importers import all_importers
from ftspec.data.importers.base import Call, Skipped
from ftspec.testing.recorded import ANSWER, ARGUMENTS, BRIEF, CALL, CALLING, PARAMETERS, QUESTION, TOLD, attributes, otlp

TOOL = {"type": "function", "function": {"name": "weather", "description": "Ask", "parameters": PARAMETERS}}
FULL = [BRIEF, QUESTION, CALLING, TOLD, ANSWER]
CHAT = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-5"}


def spans(*found):
    made = [{"traceId": "t1", "spanId": "s1", "startTimeUnixNano": "1760000000000000000", "name": "chat", **one} for one in found]
    return {"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": made}]}]}


def logs(*found, span="s1"):
    made = [
        {"traceId": "t1", "spanId": span, "timeUnixNano": "1760000000000000000", "eventName": name, "body": otlp(body), "attributes": []}
        for name, body in found
    ]
    return {"resourceLogs": [{"resource": {}, "scopeLogs": [{"scope": {}, "logRecords": made}]}]}


def read(*records, name="otel"):
    return list(all_importers()[name].read(records))


EVENTS = [
    ("gen_ai.system.message", {"content": "Be brief."}),
    ("gen_ai.user.message", {"content": "Weather in Paris?"}),
    ("gen_ai.assistant.message", {"tool_calls": [CALL]}),
    ("gen_ai.tool.message", {"content": "rainy", "id": "call_1"}),
    ("gen_ai.choice", {"index": 0, "finish_reason": "stop", "message": {"content": "Rainy."}}),
]
SPAN = {"attributes": attributes(CHAT)}

OPENLLMETRY = {
    "llm.request.type": "chat",
    "gen_ai.request.model": "gpt-5",
    "gen_ai.prompt.0.role": "system",
    "gen_ai.prompt.0.content": "Be brief.",
    "gen_ai.prompt.1.role": "user",
    "gen_ai.prompt.1.content": "Weather in Paris?",
    "gen_ai.prompt.2.role": "assistant",
    "gen_ai.prompt.2.tool_calls.0.id": "call_1",
    "gen_ai.prompt.2.tool_calls.0.name": "weather",
    "gen_ai.prompt.2.tool_calls.0.arguments": ARGUMENTS,
    "gen_ai.prompt.3.role": "tool",
    "gen_ai.prompt.3.content": "rainy",
    "gen_ai.prompt.3.tool_call_id": "call_1",
    "gen_ai.completion.0.role": "assistant",
    "gen_ai.completion.0.content": "Rainy.",
    "gen_ai.completion.0.finish_reason": "stop",
    "llm.request.functions.0.name": "weather",
    "llm.request.functions.0.description": "Ask",
    "llm.request.functions.0.parameters": json.dumps(PARAMETERS),
}
OPENINFERENCE = {
    "openinference.span.kind": "LLM",
    "llm.model_name": "gpt-5",
    "llm.input_messages.0.message.role": "system",
    "llm.input_messages.0.message.content": "Be brief.",
    "llm.input_messages.1.message.role": "user",
    "llm.input_messages.1.message.contents.0.message_content.type": "text",
    "llm.input_messages.1.message.contents.0.message_content.text": "Weather in Paris?",
    "llm.input_messages.2.message.role": "assistant",
    "llm.input_messages.2.message.tool_calls.0.tool_call.id": "call_1",
    "llm.input_messages.2.message.tool_calls.0.tool_call.function.name": "weather",
    "llm.input_messages.2.message.tool_calls.0.tool_call.function.arguments": ARGUMENTS,
    "llm.input_messages.3.message.role": "tool",
    "llm.input_messages.3.message.content": "rainy",
    "llm.input_messages.3.message.tool_call_id": "call_1",
    "llm.output_messages.0.message.role": "assistant",
    "llm.output_messages.0.message.content": "Rainy.",
    "llm.tools.0.tool.json_schema": json.dumps(TOOL),
}
LISTED = {
    "openinference.span.kind": "LLM",
    "llm.input_messages": [
        {"message.role": "system", "message.content": "Be brief."},
        {"message.role": "user", "message.content": "Weather in Paris?"},
        {
            "message.role": "assistant",
            "message.tool_calls": [
                {"tool_call.id": "call_1", "tool_call.function.name": "weather", "tool_call.function.arguments": ARGUMENTS}
            ],
        },
        {"message.role": "tool", "message.content": "rainy", "message.tool_call_id": "call_1"},
    ],
    "llm.output_messages": [{"message.role": "assistant", "message.content": "Rainy."}],
    "llm.tools": [{"tool.json_schema": json.dumps(TOOL)}],
}

READ = {
    "events in logs, before the span": ([logs(*EVENTS), spans(SPAN)], None),
    "events in logs, after the span": ([spans(SPAN), logs(*EVENTS)], None),
    "events in logs, in several lines": ([logs(EVENTS[0]), logs(*EVENTS[1:3]), spans(SPAN), logs(*EVENTS[3:])], None),
    "events in logs, without a span": ([logs(*EVENTS)], None),
    "events of the span, as attributes": (
        [spans({**SPAN, "events": [{"name": name, "attributes": attributes(body)} for name, body in EVENTS]})],
        None,
    ),
    "events of the span, as JSON text": (
        [
            spans(
                {
                    **SPAN,
                    "events": [
                        {"name": name, "attributes": attributes({"gen_ai.event.content": json.dumps(body)})} for name, body in EVENTS
                    ],
                }
            )
        ],
        None,
    ),
    "events of the span, tool calls as JSON text": (
        [
            spans(
                {
                    **SPAN,
                    "events": [
                        {
                            "name": name,
                            "attributes": attributes({key: json.dumps(one) if key == "tool_calls" else one for key, one in body.items()}),
                        }
                        for name, body in EVENTS
                    ],
                }
            )
        ],
        None,
    ),
    "content events": (
        [
            spans(
                {
                    **SPAN,
                    "events": [
                        {"name": "gen_ai.content.prompt", "attributes": attributes({"gen_ai.prompt": json.dumps(FULL[:-1])})},
                        {"name": "gen_ai.content.completion", "attributes": attributes({"gen_ai.completion": json.dumps([ANSWER])})},
                    ],
                }
            )
        ],
        None,
    ),
    "OpenLLMetry": ([spans({"attributes": attributes(OPENLLMETRY)})], [TOOL]),
    "OpenInference": ([spans({"attributes": attributes(OPENINFERENCE)})], [TOOL]),
    "OpenInference, as lists": ([{"name": "llm", "context": {"trace_id": "t", "span_id": "s"}, "attributes": LISTED}], [TOOL]),
    "OpenInference, a table of spans": ([{"name": "llm", **{f"attributes.{key}": value for key, value in LISTED.items()}}], [TOOL]),
    "a trace of a store": ([{"trace": spans({"attributes": attributes(OPENLLMETRY)})}], [TOOL]),
}


@pytest.mark.parametrize(("records", "tools"), READ.values(), ids=list(READ))
def test_every_form_of_a_trace_is_the_same_row(records, tools):
    """System prompt, tool calls, their answers and the reply arrive whole, wherever the instrumentation puts them."""
    [call] = read(*records)
    assert isinstance(call, Call)
    assert call.row() == {"messages": FULL, **({"tools": tools} if tools else {})}


def test_the_span_of_events_says_who_answered_and_when():
    """What only the span knows comes along with the messages that only the logs know."""
    [call] = read(logs(*EVENTS), spans(SPAN))
    assert (call.model, call.time, call.id, call.finish_reason) == ("gpt-5", "2025-10-09T08:53:20Z", "s1", "stop")


def test_events_of_several_calls_are_not_mixed():
    """Each span has its own messages, also where the log is interleaved."""
    other = [("gen_ai.user.message", {"content": "Other?"}), ("gen_ai.choice", {"index": 0, "message": {"content": "Yes."}})]
    found = read(logs(EVENTS[1]), logs(other[0], span="s2"), logs(EVENTS[4]), logs(other[1], span="s2"))
    assert [call.row()["messages"] for call in found] == [
        [QUESTION, ANSWER],
        [{"role": "user", "content": "Other?"}, {"role": "assistant", "content": "Yes."}],
    ]


def test_calls_do_not_wait_for_ever(monkeypatch):
    """A trace file without content is read with little memory: the calls that waited longest are given up, and counted."""
    monkeypatch.setattr("ftspec.data.importers.otel._MANY", 2)
    found = list(all_importers()["otel"].read(spans({**SPAN, "spanId": f"s{number}"}) for number in range(4)))
    assert found == [Skipped("no prompt was recorded (is content capture switched on?)")] * 4
    reader = all_importers()["otel"].read(
        iter([*(spans({**SPAN, "spanId": f"s{number}"}) for number in range(3)), logs(*EVENTS, span="s2")])
    )
    assert [isinstance(one, Call) for one in reader] == [False, False, True]


def test_a_call_that_span_and_log_both_tell_is_one_row():
    """With content on spans and on events nothing is counted twice."""
    content = {
        "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "Weather in Paris?"}]}],
        "gen_ai.output.messages": [{"role": "assistant", "parts": [{"type": "text", "content": "Rainy."}], "finish_reason": "stop"}],
    }
    details = logs(("gen_ai.client.inference.operation.details", {}))
    details["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["attributes"] = attributes({**CHAT, **content})
    span = spans({"attributes": attributes({**CHAT, **content})})
    for records in ([span, details], [details, span], [details, spans(SPAN)], [spans(SPAN), details]):
        [call] = read(*records)
        assert call.row()["messages"] == [QUESTION, ANSWER]


def test_an_image_of_openinference_stays_an_image():
    """A message of several parts keeps them all."""
    at = "llm.input_messages.0.message.contents."
    given = {
        "llm.input_messages.0.message.role": "user",
        f"{at}0.message_content.type": "text",
        f"{at}0.message_content.text": "What is it?",
        f"{at}1.message_content.type": "image",
        f"{at}1.message_content.image.image.url": "https://x/y.png",
        "llm.output_messages.0.message.content": "A cat.",
    }
    [call] = read(spans({"attributes": attributes(given)}), name="phoenix")
    assert call.messages == [
        {
            "role": "user",
            "content": [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": "https://x/y.png"}}],
        }
    ]


def test_an_image_of_openllmetry_stays_an_image():
    """Content that has parts was written as JSON text; text that is JSON stays text."""
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": "https://x/y.png"}}]
    given = {**OPENLLMETRY, "gen_ai.prompt.1.content": json.dumps(parts), "gen_ai.prompt.3.content": '{"rain": true}'}
    [call] = read(spans({"attributes": attributes(given)}))
    assert [message["content"] for message in call.messages] == ["Be brief.", parts, None, '{"rain": true}']


def test_thinking_of_a_trace_is_reasoning():
    """OpenLLMetry numbers thinking as if it were an answer of its own."""
    given = {
        "gen_ai.prompt.0.role": "user",
        "gen_ai.prompt.0.content": "Hi",
        "gen_ai.completion.0.role": "thinking",
        "gen_ai.completion.0.content": "hm",
        "gen_ai.completion.1.role": "assistant",
        "gen_ai.completion.1.content": "Hello.",
    }
    [call] = read(spans({"attributes": attributes(given)}))
    assert call.answer == {"role": "assistant", "content": "Hello.", "reasoning_content": "hm"}


LEFT_OUT = {
    "a cut answer": (
        spans({"attributes": attributes({**OPENLLMETRY, "gen_ai.completion.0.finish_reason": "length"})}),
        "the answer was cut off or filtered",
    ),
    "an embedding": (spans({"attributes": attributes({**OPENLLMETRY, "llm.request.type": "embedding"})}), "not a call of a chat model"),
    "an agent": (spans({"attributes": attributes({**OPENINFERENCE, "openinference.span.kind": "AGENT"})}), "not a call of a chat model"),
    "a span of the console that failed": (
        {"name": "chat", "status": {"status_code": "ERROR"}, "attributes": {**CHAT, "gen_ai.input.messages": "[]"}},
        "the call failed",
    ),
    "a table of spans, failed": (
        {"status_code": "ERROR", **{f"attributes.{key}": value for key, value in LISTED.items()}},
        "the call failed",
    ),
    "no content anywhere": (spans(SPAN), "no prompt was recorded (is content capture switched on?)"),
    "a question without answer": (logs(*EVENTS[:4]), "no answer was recorded"),
    "a file that only the server has": (
        spans(
            {
                "attributes": attributes(
                    {
                        **CHAT,
                        "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "file", "modality": "image", "file_id": "f"}]}],
                        "gen_ai.output.messages": [{"role": "assistant", "parts": [{"type": "text", "content": "A cat."}]}],
                    }
                )
            }
        ),
        "a message has a part, or calls a tool, that a row cannot show",
    ),
}


@pytest.mark.parametrize(("record", "reason"), LEFT_OUT.values(), ids=list(LEFT_OUT))
def test_what_is_no_whole_call_is_left_out_with_a_reason(record, reason):
    """Failures, other kinds of spans and half conversations are counted, never guessed."""
    assert read(record) == [Skipped(reason)]
