"""Exports of each tool, in its own documented format, become chat rows."""

from __future__ import annotations

import csv
import gzip
import json

import pytest

from ftspec.data.digest import digest
from ftspec.data.importers import all_importers, where
from ftspec.data.importers.base import Call, Skipped
from ftspec.data.importers.collecting import Wish, collect_calls, source_files
from ftspec.data.importers.messages import messages_of
from ftspec.data.importers.normal import time_of, tools_of
from ftspec.data.importers.reading import Unreadable, records_of
from ftspec.diagnostics import FtspecError
from ftspec.experiment import DesiredDataset
from ftspec.testing import recorded

USER = {"role": "user", "content": "Weather in Paris?"}
SYSTEM = {"role": "system", "content": "You are a helpful bot"}
ANSWER = {"role": "assistant", "content": "rainy, 57°F"}
ARGUMENTS = '{"location":"Paris"}'
CALLING = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": ARGUMENTS}}],
}
TOOL_ANSWER = {"role": "tool", "content": "rainy", "tool_call_id": "call_1"}
PARAMETERS = {"type": "object", "properties": {"location": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "Ask", "parameters": PARAMETERS}}
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1760000000,
    "model": "gpt-5-2026",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {**ANSWER, "refusal": None, "annotations": []}}],
}


def attributes(**given):
    return recorded.attributes({key.replace("__", "."): value for key, value in given.items()})


def span(*events, status=None, **given):
    made = {
        "traceId": "4bf9",
        "spanId": "00f0",
        "name": "chat gpt-4",
        "kind": 3,
        "startTimeUnixNano": "1760000000000000000",
        "attributes": attributes(**given),
        "events": list(events),
        "status": status or {},
    }
    return {"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": [made]}]}]}


OTEL_IN = [
    {"role": "user", "parts": [{"type": "text", "content": USER["content"]}]},
    {"role": "assistant", "parts": [{"type": "tool_call", "id": "call_1", "name": "get_weather", "arguments": {"location": "Paris"}}]},
    {"role": "tool", "parts": [{"type": "tool_call_response", "id": "call_1", "response": "rainy"}]},
]
OTEL_OUT = [
    {
        "role": "assistant",
        "parts": [{"type": "reasoning", "content": "hm"}, {"type": "text", "content": ANSWER["content"]}],
        "finish_reason": "stop",
    }
]
OTEL_TOOLS = [{"type": "function", "name": "get_weather", "description": "Ask", "parameters": PARAMETERS}]
OTEL_SYSTEM = [{"type": "text", "content": SYSTEM["content"]}]
FULL = [SYSTEM, USER, CALLING, TOOL_ANSWER, ANSWER]
ABOUT = {
    "gen_ai__operation__name": "chat",
    "gen_ai__request__model": "gpt-4",
    "gen_ai__response__model": "gpt-4-0613",
    "gen_ai__provider__name": "openai",
}


def lc(kind, content, **more):
    return {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", kind], "kwargs": {"content": content, **more}}


def batch(custom_id="r1", **response):
    asked = {
        "custom_id": custom_id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "gpt-5", "messages": [USER], "tools": [TOOL]},
    }
    told = {
        "id": "batch_req_1",
        "custom_id": custom_id,
        "response": {"status_code": 200, "request_id": "x", "body": COMPLETION},
        "error": None,
        **response,
    }
    return asked, told


LANGFUSE = {
    "id": "o1",
    "traceId": "t1",
    "type": "GENERATION",
    "name": "answer",
    "startTime": "2026-10-01T08:00:00.000Z",
    "model": "gpt-5",
    "level": "DEFAULT",
    "input": {"messages": [SYSTEM, USER], "tools": [TOOL]},
    "output": ANSWER,
    "metadata": {"team": "search"},
    "tags": ["good"],
    "scores": [{"name": "quality", "value": 5, "dataType": "NUMERIC"}],
}
LANGSMITH = {
    "id": "run1",
    "name": "ChatOpenAI",
    "run_type": "llm",
    "start_time": "2026-10-01T08:00:00",
    "inputs": {"messages": [[lc("SystemMessage", SYSTEM["content"]), lc("HumanMessage", USER["content"])]]},
    "outputs": {
        "generations": [
            [
                {
                    "text": ANSWER["content"],
                    "generation_info": {"finish_reason": "stop"},
                    "message": lc("AIMessage", ANSWER["content"], additional_kwargs={}),
                }
            ]
        ]
    },
    "extra": {"metadata": {"ls_model_name": "gpt-5"}, "invocation_params": {"tools": [TOOL]}},
    "error": None,
    "tags": ["good"],
    "feedback_stats": {"quality": {"n": 1, "avg": 5.0}},
}
LITELLM = {
    "id": "chatcmpl-1",
    "call_type": "acompletion",
    "status": "success",
    "model": "gpt-5",
    "startTime": 1760000000.5,
    "request_tags": ["good"],
    "metadata": {"user_api_key_alias": "team"},
    "messages": [SYSTEM, USER],
    "response": COMPLETION,
    "model_parameters": {"tools": [TOOL], "parallel_tool_calls": False},
    "error_str": None,
}
OPENINFERENCE = {
    "openinference__span__kind": "LLM",
    "llm__model_name": "gpt-5",
    "llm__input_messages__0__message__role": "user",
    "llm__input_messages__0__message__content": USER["content"],
    "llm__output_messages__0__message__role": "assistant",
    "llm__output_messages__0__message__tool_calls__0__tool_call__id": "call_1",
    "llm__output_messages__0__message__tool_calls__0__tool_call__function__name": "get_weather",
    "llm__output_messages__0__message__tool_calls__0__tool_call__function__arguments": ARGUMENTS,
}

READ = {
    "otel, structured": (
        "otel",
        [
            span(
                **ABOUT,
                gen_ai__input__messages=OTEL_IN,
                gen_ai__output__messages=OTEL_OUT,
                gen_ai__system_instructions=OTEL_SYSTEM,
                gen_ai__tool__definitions=OTEL_TOOLS,
            )
        ],
        FULL,
        [TOOL],
    ),
    "otel, JSON as text": (
        "otel",
        [
            span(
                **ABOUT,
                gen_ai__input__messages=json.dumps(OTEL_IN),
                gen_ai__output__messages=json.dumps(OTEL_OUT),
                gen_ai__system_instructions=json.dumps(OTEL_SYSTEM),
                gen_ai__tool__definitions=json.dumps(OTEL_TOOLS),
            )
        ],
        FULL,
        [TOOL],
    ),
    "otel, event of a span": (
        "otel",
        [
            span(
                {
                    "name": "gen_ai.client.inference.operation.details",
                    "attributes": attributes(gen_ai__input__messages=OTEL_IN[:1], gen_ai__output__messages=OTEL_OUT),
                },
                **ABOUT,
            )
        ],
        [USER, ANSWER],
        None,
    ),
    "otel, log record": (
        "otel",
        [
            {
                "resourceLogs": [
                    {
                        "scopeLogs": [
                            {
                                "logRecords": [
                                    {
                                        "eventName": "gen_ai.client.inference.operation.details",
                                        "timeUnixNano": "1760000000000000000",
                                        "attributes": attributes(
                                            **ABOUT, gen_ai__input__messages=OTEL_IN[:1], gen_ai__output__messages=OTEL_OUT
                                        ),
                                    }
                                ]
                            }
                        ]
                    }
                ]
            }
        ],
        [USER, ANSWER],
        None,
    ),
    "otel, span of an SDK": (
        "otel",
        [
            {
                "name": "chat",
                "attributes": {
                    "gen_ai.operation.name": "chat",
                    "gen_ai.input.messages": json.dumps(OTEL_IN[:1]),
                    "gen_ai.output.messages": json.dumps(OTEL_OUT),
                },
            }
        ],
        [USER, ANSWER],
        None,
    ),
    "openinference": ("phoenix", [span(**OPENINFERENCE)], [USER, CALLING], None),
    "stored completion": (
        "openai-stored",
        [{**COMPLETION, "messages": [{"id": "m1", **SYSTEM}, {"id": "m2", **USER}], "tools": [TOOL], "metadata": {"k": "v"}}],
        [SYSTEM, USER, ANSWER],
        [TOOL],
    ),
    "batch, in order": ("batch", list(batch()), [USER, ANSWER], [TOOL]),
    "batch, answers first": ("batch", list(batch())[::-1], [USER, ANSWER], [TOOL]),
    "langfuse": ("langfuse", [LANGFUSE], [SYSTEM, USER, ANSWER], [TOOL]),
    "langfuse, JSON as text": (
        "langfuse",
        [{**LANGFUSE, "input": json.dumps(LANGFUSE["input"]), "output": json.dumps(ANSWER), "scores": "{}", "tags": "[]"}],
        [SYSTEM, USER, ANSWER],
        [TOOL],
    ),
    "langfuse, blob storage": (
        "langfuse",
        [
            {
                "id": "o",
                "trace_id": "t",
                "type": "GENERATION",
                "start_time": "2026-10-01 08:00:00.000000",
                "provided_model_name": "gpt-5",
                "input": json.dumps([USER]),
                "output": ANSWER["content"],
            }
        ],
        [USER, ANSWER],
        None,
    ),
    "langfuse, a trace": (
        "langfuse",
        [{"trace": {"id": "t1", "tags": ["good"]}, "observations": [LANGFUSE], "scores": [{"name": "quality", "value": 5}]}],
        [SYSTEM, USER, ANSWER],
        [TOOL],
    ),
    "langsmith": ("langsmith", [LANGSMITH], [SYSTEM, USER, ANSWER], [TOOL]),
    "langsmith, openai messages": (
        "langsmith",
        [{**LANGSMITH, "inputs": {"messages": [SYSTEM, USER], "tools": [TOOL]}, "outputs": COMPLETION}],
        [SYSTEM, USER, ANSWER],
        [TOOL],
    ),
    "langsmith, tool calls": (
        "langsmith",
        [
            {
                **LANGSMITH,
                "outputs": {
                    "generations": [
                        [
                            {
                                "message": lc(
                                    "AIMessage", "", tool_calls=[{"name": "get_weather", "args": {"location": "Paris"}, "id": "call_1"}]
                                )
                            }
                        ]
                    ]
                },
            }
        ],
        [SYSTEM, USER, CALLING],
        [TOOL],
    ),
    "langsmith, an example": (
        "langsmith",
        [
            {
                "id": "e1",
                "inputs": {"question": USER["content"]},
                "outputs": {"answer": ANSWER["content"]},
                "metadata": {"dataset_split": "train"},
            }
        ],
        [USER, ANSWER],
        None,
    ),
    "phoenix, fine-tuning": ("phoenix", [{"messages": [SYSTEM, USER, ANSWER]}], [SYSTEM, USER, ANSWER], None),
    "phoenix, an example": (
        "phoenix",
        [{"input": {"messages": [USER]}, "output": {"messages": [ANSWER]}, "metadata": {"model": "gpt-5"}}],
        [USER, ANSWER],
        None,
    ),
    "openpipe": (
        "openpipe",
        [
            {
                "messages": [USER, {**CALLING, "tool_calls": [{**CALLING["tool_calls"][0], "id": ""}]}],
                "tools": [TOOL],
                "tool_choice": "auto",
                "split": "TRAIN",
            }
        ],
        [USER, CALLING],
        [TOOL],
    ),
    "litellm": ("litellm", [LITELLM], [SYSTEM, USER, ANSWER], [TOOL]),
    "litellm, callback": (
        "litellm",
        [{"kwargs": 1, "standard_logging_object": {**LITELLM, "response": ANSWER["content"]}}],
        [SYSTEM, USER, ANSWER],
        [TOOL],
    ),
    "chat": ("chat", [{"messages": [USER, ANSWER], "tools": [TOOL], "model": "gpt-5", "score": 4}], [USER, ANSWER], [TOOL]),
}


def read(name, records):
    return list(all_importers()[name].read(records))


@pytest.mark.parametrize(("name", "records", "messages", "tools"), READ.values(), ids=list(READ))
def test_a_record_becomes_the_row_that_it_stands_for(name, records, messages, tools):
    """Prompt, tool calls, tool answers, tools and the final answer arrive in the protocol's form."""
    [call] = read(name, records)
    assert isinstance(call, Call)
    row = call.row()
    kept = [{key: value for key, value in message.items() if key != "reasoning_content"} for message in row["messages"]]
    assert kept == messages
    assert row.get("tools") == tools


def test_every_importer_has_an_example():
    """No source is without a record in its own format."""
    assert {name for name, *_ in READ.values()} == set(all_importers())


def test_the_command_offers_every_importer():
    """The list of `--from`, which is typed out to keep help quick, is complete."""
    from importlib import import_module

    assert set(import_module("ftspec.cli._data.import").SOURCES) == {*all_importers(), "command"}


def test_what_a_tool_knows_can_be_filtered_by():
    """Model, time, scores, tags and metadata come along."""
    [call] = read("langfuse", [LANGFUSE])
    assert (call.model, call.time, call.tags, call.scores["quality"], call.metadata["team"]) == (
        "gpt-5",
        "2026-10-01T08:00:00Z",
        ("good",),
        5.0,
        "search",
    )
    [call] = read("langsmith", [LANGSMITH])
    assert (call.model, call.scores, call.tags) == ("gpt-5", {"quality": 5.0}, ("good",))
    [call] = read("litellm", [LITELLM])
    assert (call.model, call.tags, call.parallel_tool_calls) == ("gpt-5", ("good",), False)
    evaluated = {
        "name": "gen_ai.evaluation.result",
        "attributes": attributes(gen_ai__evaluation__name="faith", gen_ai__evaluation__score__value=0.9),
    }
    [call] = read("otel", [span(evaluated, **ABOUT, gen_ai__input__messages=OTEL_IN[:1], gen_ai__output__messages=OTEL_OUT)])
    assert (call.model, call.scores, call.finish_reason) == ("gpt-4-0613", {"faith": 0.9}, "stop")


SKIPPED = {
    "a tool span": ("otel", span(gen_ai__operation__name="execute_tool"), "not a call of a chat model"),
    "content capture is off": ("otel", span(**ABOUT), "no prompt was recorded (is content capture switched on?)"),
    "a failed span": ("otel", span(status={"code": 2}, **ABOUT, gen_ai__input__messages=OTEL_IN), "the call failed"),
    "no answer": ("otel", span(**ABOUT, gen_ai__input__messages=OTEL_IN), "no answer was recorded"),
    "a cut answer": (
        "openai-stored",
        {**COMPLETION, "messages": [USER], "choices": [{"finish_reason": "length", "message": ANSWER}]},
        "the answer was cut off or filtered",
    ),
    "no choices": ("openai-stored", {**COMPLETION, "messages": [USER], "choices": []}, "no answer was recorded"),
    "a failed request": ("batch", batch(error={"code": "x"}, response=None)[1], "no prompt was recorded (is content capture switched on?)"),
    "a span": ("langfuse", {**LANGFUSE, "type": "SPAN"}, "not a call of a chat model"),
    "an error": ("langfuse", {**LANGFUSE, "level": "ERROR"}, "the call failed"),
    "a chain": ("langsmith", {**LANGSMITH, "run_type": "chain"}, "not a call of a chat model"),
    "a failed run": ("langsmith", {**LANGSMITH, "error": "boom"}, "the call failed"),
    "an embedding": ("litellm", {**LITELLM, "call_type": "aembedding"}, "not a call of a chat model"),
    "a failure": ("litellm", {**LITELLM, "status": "failure"}, "the call failed"),
    "no assistant": ("chat", {"messages": [USER]}, "no answer was recorded"),
    "something else": ("chat", {"text": "x"}, "not a call of a chat model"),
    "no trace": ("otel", {"resourceMetrics": []}, "not a call of a chat model"),
}


@pytest.mark.parametrize(("name", "record", "reason"), SKIPPED.values(), ids=list(SKIPPED))
def test_what_is_no_call_to_learn_from_is_left_out_with_a_reason(name, record, reason):
    """Failures, other kinds of calls and cut answers never become rows."""
    [one] = read(name, [record])
    assert one == Skipped(reason)


def test_a_batch_without_its_other_half_is_left_out():
    """Requests without answer and failed requests are counted."""
    asked, told = batch("r1", error={"code": "x"})
    alone, _ = batch("r2")
    assert [one.reason for one in read("batch", [asked, told, alone])] == ["the call failed", "no answer was recorded"]


def test_batches_with_the_same_ids_are_not_paired_by_chance():
    """Two requests of one id, then two answers: nobody knows which is whose. One batch after the other, and the same file twice, is fine."""
    asked, told = batch("r1")
    other = {**asked, "body": {**asked["body"], "messages": [SYSTEM]}}
    reason = "several calls have the same `custom_id` (import one batch after the other)"
    assert [one.reason for one in read("batch", [asked, other, told, told])] == [reason] * 4
    assert [call.messages for call in read("batch", [asked, told, other, told])] == [[USER], [SYSTEM]]
    assert [call.messages for call in read("batch", [asked, asked, told])] == [[USER]]


def test_scores_of_langfuse_that_are_files_of_their_own_are_joined():
    """Blob storage has scores apart: of a trace or of an observation, by which calls can be filtered."""
    about = {"timestamp": "2026-10-01 08:00:00.000000", "data_type": "NUMERIC", "string_value": None}
    scores = [
        {"id": "s1", "trace_id": "t1", "observation_id": "o1", "name": "quality", "value": 5, **about},
        {"id": "s2", "trace_id": "t1", "observation_id": None, "name": "happy", "value": "1", **about},
        {"id": "s3", "trace_id": "t2", "observation_id": None, "name": "happy", "value": 0, **about},
    ]
    definitions = {"get_weather": json.dumps({"description": "Ask", "parameters": PARAMETERS})}
    observation = {"id": "o1", "trace_id": "t1", "type": "GENERATION", "input": json.dumps([USER]), "output": json.dumps(ANSWER)}
    [call] = read("langfuse", [*scores, {**observation, "tool_definitions": definitions}])
    assert (call.scores, call.tools) == ({"quality": 5.0, "happy": 1.0}, [TOOL])


def test_a_page_of_the_rest_api_of_phoenix_is_read():
    """Spans come in pages, with attributes as an object."""
    flat = {key.replace("__", "."): value for key, value in OPENINFERENCE.items()}
    spans = [{"name": "llm", "context": {"trace_id": "t", "span_id": f"s{n}"}, "span_kind": "LLM", "attributes": flat} for n in range(2)]
    assert [call.row()["messages"] for call in read("phoenix", [{"data": spans, "next_cursor": None}])] == [[USER, CALLING]] * 2


MASKED = {
    "litellm": ("litellm", {**LITELLM, "messages": [{"role": "user", "content": "redacted-by-litellm"}], "response": COMPLETION}),
    "litellm, the answer": ("litellm", {**LITELLM, "response": {"text": "redacted-by-litellm"}}),
    "openinference": ("phoenix", span(**{**OPENINFERENCE, "llm__input_messages__0__message__content": "__REDACTED__"})),
    "openinference, an image": (
        "phoenix",
        span(
            **OPENINFERENCE,
            llm__input_messages__1__message__role="user",
            llm__input_messages__1__message__contents__0__message_content__type="image",
            llm__input_messages__1__message__contents__0__message_content__image__image__url="__REDACTED__",
        ),
    ),
}


@pytest.mark.parametrize(("name", "record"), MASKED.values(), ids=list(MASKED))
def test_what_a_tool_masked_is_left_out(name, record):
    """A model must not learn to say what a tool wrote in place of what was said."""
    assert read(name, [record]) == [Skipped("the tool that recorded the call masked what was said")]


def test_weights_and_functions_of_chat_rows_stay():
    """What decides what is trained is part of a row, in the form of before there were tools, too."""
    calling = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}, "weight": 0}
    row = {"messages": [USER, calling, {"role": "function", "name": "f", "content": "1"}, ANSWER], "functions": [{"name": "f"}]}
    [call] = read("chat", [row])
    assert call.row() == row


def test_parallel_tool_answers_of_one_message_become_messages():
    """OpenTelemetry may put several tool answers into one message; the protocol has one message for each."""
    parts = [{"type": "tool_call_response", "id": "a", "result": {"x": 1}}, {"type": "tool_call_response", "id": "b", "response": "y"}]
    assert messages_of([{"role": "tool", "parts": parts}]) == [
        {"role": "tool", "content": '{"x":1}', "tool_call_id": "a"},
        {"role": "tool", "content": "y", "tool_call_id": "b"},
    ]


def test_images_of_traces_become_image_parts():
    """Inline and linked images arrive as the protocol writes them."""
    parts = [
        {"type": "text", "content": "see"},
        {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "aGk="},
        {"type": "uri", "modality": "image", "uri": "https://x/y.png"},
    ]
    [message] = messages_of([{"role": "user", "parts": parts}])
    assert [part.get("image_url", {}).get("url") for part in message["content"]] == [None, "data:image/png;base64,aGk=", "https://x/y.png"]


@pytest.mark.parametrize(
    ("value", "time"),
    [
        (1760000000, "2025-10-09T08:53:20Z"),
        (1760000000000, "2025-10-09T08:53:20Z"),
        ("1760000000000000000", "2025-10-09T08:53:20Z"),
        ("2026-10-01 08:00:00.000000", "2026-10-01T08:00:00Z"),
        ("2026-10-01T10:00:00+02:00", "2026-10-01T08:00:00Z"),
        ("yesterday", None),
        (None, None),
        (True, None),
    ],
)
def test_times_are_brought_to_one_form(value, time):
    """Seconds, milliseconds, nanoseconds and texts become RFC 3339 in UTC."""
    assert time_of(value) == time


def test_tools_that_are_no_functions_are_left_out():
    """Hosted tools have no place in training rows."""
    assert tools_of([{"type": "web_search"}, TOOL, "x"]) == [TOOL]


CALL = Call(
    messages=[USER],
    answer=ANSWER,
    model="gpt-5",
    time="2026-10-01T08:00:00Z",
    tags=("good", "new"),
    scores={"quality": 4.0, "speed": 1.0},
    metadata={"team": {"name": "search"}, "ok": True},
    part="train",
)


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("score>=4", True),
        ("score > 4", False),
        ("scores.speed<2", True),
        ("scores.none>0", False),
        ("model=gpt-5", True),
        ("model == 'gpt-5'", True),
        ("model!=gpt-5", False),
        ("model~GPT", True),
        ("tag=good", True),
        ("tag!=bad", True),
        ("tag!=good", False),
        ("time>=2026-10-01", True),
        ("time<2026-10-01", False),
        ("metadata.team.name=search", True),
        ("metadata.ok=true", True),
        ("metadata.none=1", False),
        ("split=train", True),
        ("finish_reason=stop", False),
    ],
)
def test_a_filter_keeps_what_it_says(expression, holds):
    """Numbers compare as numbers, everything else as text; a call without the field passes only `!=`."""
    assert where.test_of(expression)(CALL) is holds
    assert where.all_of([expression, "model=gpt-5"])(CALL) is holds


@pytest.mark.parametrize("expression", ["score", "", "colour=red", ">=4"])
def test_a_filter_that_makes_no_sense_is_an_error(expression):
    """Unknown fields and missing operators are refused with what to write."""
    with pytest.raises(FtspecError):
        where.test_of(expression)


class TestFiles:
    """Exports come as JSON Lines, JSON, CSV, gzipped or not."""

    RECORDS = ({"a": 1}, {"a": "ü"})

    def written(self, tmp_path, name, data):
        path = tmp_path / name
        path.write_bytes(data)
        return list(records_of(path))

    @pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.txt"])
    def test_json_in_any_form(self, tmp_path, name):
        """Lines, an array, one object over several lines, and a byte order mark."""
        lines = "\n".join(json.dumps(one, ensure_ascii=False) for one in self.RECORDS).encode()
        assert self.written(tmp_path, name, lines) == list(self.RECORDS)
        assert self.written(tmp_path, name, b"\xef\xbb\xbf\n" + lines + b"\n\n") == list(self.RECORDS)
        assert self.written(tmp_path, name, json.dumps(self.RECORDS, indent=2).encode()) == list(self.RECORDS)
        assert self.written(tmp_path, name, json.dumps(self.RECORDS).encode()) == list(self.RECORDS)
        assert self.written(tmp_path, name, json.dumps(self.RECORDS[0], indent=2).encode()) == [self.RECORDS[0]]
        assert self.written(tmp_path, name, b"") == []

    def test_gzip_and_csv(self, tmp_path):
        """Compressed files and tables with JSON in their cells are read as they are."""
        lines = "\n".join(map(json.dumps, self.RECORDS)).encode()
        assert self.written(tmp_path, "x.jsonl.gz", gzip.compress(lines)) == list(self.RECORDS)
        path = tmp_path / "x.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["id", "type", "input", "output"])
            writer.writeheader()
            writer.writerow({"id": "o", "type": "GENERATION", "input": json.dumps([USER]), "output": ANSWER["content"] + "\nmore"})
        [call] = read("langfuse", records_of(path))
        assert call.row()["messages"] == [USER, {"role": "assistant", "content": ANSWER["content"] + "\nmore"}]

    @pytest.mark.parametrize("data", [b'{"a": 1}\n{"a"', b"not json", b'{"a": 1}\nx\n'])
    def test_a_broken_file_is_an_error_with_its_line(self, tmp_path, data):
        """A file that was cut off is not imported in part."""
        with pytest.raises(Unreadable):
            self.written(tmp_path, "x.jsonl", data)

    def test_a_file_that_is_no_gzip_is_an_error(self, tmp_path):
        """A wrong suffix is told."""
        with pytest.raises(Unreadable, match="gzip"):
            self.written(tmp_path, "x.gz", b"plain")


class TestCollecting:
    """Calls become a file with its provenance."""

    def collected(self, folder, *calls, **wish):
        outcome = collect_calls(calls, Wish(output=folder.root / "out.jsonl", **wish), provenance={"source": "test"})
        rows = (
            [json.loads(line) for line in (folder.root / "out.jsonl").read_text().splitlines()]
            if (folder.root / "out.jsonl").exists()
            else []
        )
        return outcome, rows

    def call(self, question="q", answer="a", **more):
        return Call(messages=[{"role": "user", "content": question}], answer={"role": "assistant", "content": answer}, **more)

    def test_the_dataset_and_its_provenance_are_written(self, folder):
        """The sidecar has the key that `digest` gives, counts, reasons, teachers and times."""
        calls = [
            self.call("1", model="m", time="2026-01-02T00:00:00Z"),
            Skipped("x"),
            self.call("2", model="m", time="2026-01-01T00:00:00Z"),
        ]
        outcome, rows = self.collected(folder, *calls)
        said = json.loads((folder.root / "out.provenance.json").read_text())
        assert len(rows) == outcome.kept == said["kept"] == 2
        assert said["skipped"] == {"x": 1}
        assert said["teacher_models"] == {"m": 2}
        assert (said["calls_from"], said["calls_to"]) == ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
        facts, problems = digest(DesiredDataset(name="out", path="out.jsonl"), root=folder.root)
        assert (said["datasets"][0]["dataset_key"], problems) == (facts["out"].key, [])

    def test_repeated_rows_filters_limits_and_redaction(self, folder):
        """Each option does what it says and is counted."""
        calls = [
            self.call("1"),
            self.call("1"),
            self.call("2", scores={"score": 1.0}),
            self.call("kari@nordmann.no", scores={"score": 5.0}),
            self.call("5", scores={"score": 5.0}),
        ]
        outcome, rows = self.collected(folder, *calls, dedupe=True, redact=True, keep=where.all_of(["score!=1"]), limit=2)
        assert [row["messages"][0]["content"] for row in rows] == ["1", "[e-mail address]"]
        assert dict(outcome.skipped) == {"there already": 1, "left out by --where": 1}
        assert outcome.redacted == 1

    def test_reasoning_is_left_out_unless_wanted(self, folder):
        """Recorded reasoning becomes `reasoning_content` only with `--reasoning`."""
        one = Call(messages=[USER], answer={**ANSWER, "reasoning_content": "hm"})
        assert self.collected(folder, one)[1][0]["messages"][-1] == ANSWER
        assert self.collected(folder, one, reasoning=True, force=True)[1][0]["messages"][-1]["reasoning_content"] == "hm"

    def test_a_split_of_the_tool_is_honoured(self, folder):
        """Rows that the tool dealt to parts go to a file for each part."""
        outcome, _ = self.collected(folder, self.call("1", part="train"), self.call("2", part="test"), self.call("3", part="train"))
        assert {part: path.name for part, path in outcome.files.items()} == {"train": "out.train.jsonl", "test": "out.test.jsonl"}
        assert len((folder.root / "out.train.jsonl").read_text().splitlines()) == 2

    def test_parts_that_one_file_name_stands_for_are_one(self, folder):
        """A part's name is foreign: it leads to no other folder, is cut where a file's name ends, and loses no row."""
        outcome, _ = self.collected(folder, self.call("1", part="../a"), self.call("2", part="___a"), self.call("3", part="x" * 5000))
        assert [(path.name, len(path.read_text().splitlines())) for path in outcome.files.values()] == [
            ("out.___a.jsonl", 2),
            (f"out.{'x' * 40}.jsonl", 1),
        ]
        assert outcome.rows == {"___a": 2, "x" * 40: 1}

    def test_a_name_of_every_row_is_no_part(self, folder):
        """A field that differs in every row would make a file of each: it is refused, and nothing is left behind."""
        with pytest.raises(FtspecError, match="more than 20 parts"):
            self.collected(folder, *(self.call(str(number), part=str(number)) for number in range(21)))
        assert not list(folder.root.glob("out*"))

    def test_a_part_cannot_name_a_path(self, folder):
        """What a foreign file calls a split is made harmless before it names a file."""
        outcome, _ = self.collected(folder, self.call("1", part="../../etc/x"))
        assert [path.parent for path in outcome.files.values()] == [folder.root]

    @pytest.mark.parametrize("calls", [[], [Skipped("x")]], ids=["no records", "nothing kept"])
    def test_an_empty_dataset_is_not_written(self, folder, calls):
        """When nothing is kept the reasons are the error, and there is no file."""
        with pytest.raises(FtspecError):
            self.collected(folder, *calls)
        assert list(folder.root.iterdir()) == []

    def test_no_file_is_overwritten_without_force(self, folder):
        """A dataset in the way stops the import and stays as it is."""
        (folder.root / "out.jsonl").write_text("mine")
        with pytest.raises(FtspecError, match="exists already"):
            self.collected(folder, self.call("1"))
        assert (folder.root / "out.jsonl").read_text() == "mine"
        assert [path.name for path in folder.root.iterdir()] == ["out.jsonl"]

    def test_an_import_that_stops_in_the_middle_leaves_nothing(self, folder):
        """A source that breaks off leaves no half dataset."""

        def calls():
            yield self.call("1")
            raise Unreadable("broken off")

        with pytest.raises(Unreadable):
            collect_calls(calls(), Wish(output=folder.root / "out.jsonl"), provenance={})
        assert list(folder.root.iterdir()) == []

    def test_the_files_read_are_known_by_their_digest(self, tmp_path):
        """Provenance names each source file with its size and SHA-256."""
        path = tmp_path / "x.jsonl"
        path.write_bytes(b"abc")
        assert source_files([path]) == [
            {"name": "x.jsonl", "bytes": 3, "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}
        ]
