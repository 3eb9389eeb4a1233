"""Requests and answers of the Responses API, wherever they were recorded, become chat rows or are left out with a reason."""

from __future__ import annotations

import json

import pytest

from ftspec.data.importers import all_importers
from ftspec.data.importers.base import Call, Skipped
from ftspec.data.importers.exchange import Turns, exchange
from ftspec.testing.recorded import ANSWER, ARGUMENTS, BRIEF, CALL, CALLING, PARAMETERS, QUESTION, TOLD

FLAT = {"type": "function", "name": "weather", "description": "Ask", "parameters": PARAMETERS, "strict": True}
TOOL = {"type": "function", "function": {"name": "weather", "description": "Ask", "parameters": PARAMETERS, "strict": True}}

REASONING = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Look it up."}], "encrypted_content": "x"}
CALL_ITEM = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "weather", "arguments": ARGUMENTS, "status": "completed"}
TOLD_ITEM = {"type": "function_call_output", "call_id": "call_1", "output": "rainy"}
MESSAGE = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Rainy.", "annotations": []}],
}


def response(*output, **more):
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1760000000,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": "gpt-5-2026",
        "output": list(output),
        "previous_response_id": None,
        "parallel_tool_calls": True,
        **more,
    }


def lc(kind, content, **more):
    return {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", kind], "kwargs": {"content": content, **more}}


def read(name, *records):
    return list(all_importers()[name].read(records))


EXCHANGES = {
    "a text": ({"input": QUESTION["content"]}, response(MESSAGE), [QUESTION, ANSWER]),
    "instructions": ({"instructions": "Be brief.", "input": QUESTION["content"]}, response(MESSAGE), [BRIEF, QUESTION, ANSWER]),
    "a text that is JSON": (
        {"input": '{"messages": []}'},
        response(MESSAGE),
        [{"role": "user", "content": '{"messages": []}'}, ANSWER],
    ),
    "messages": (
        {"input": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]},
        response(MESSAGE),
        [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hi"}, ANSWER],
    ),
    "a call": ({"input": [QUESTION]}, response(REASONING, CALL_ITEM), [QUESTION, CALLING]),
    "a comment and two calls": (
        {"input": [QUESTION]},
        response(MESSAGE, CALL_ITEM, {**CALL_ITEM, "call_id": "call_2"}),
        [QUESTION, {**ANSWER, "tool_calls": [CALL, {**CALL, "id": "call_2"}]}],
    ),
    "the output of a call": (
        {"input": [QUESTION, REASONING, CALL_ITEM, TOLD_ITEM]},
        response(MESSAGE),
        [QUESTION, CALLING, TOLD, ANSWER],
    ),
    "an output in parts": (
        {"input": [QUESTION, CALL_ITEM, {**TOLD_ITEM, "output": [{"type": "input_text", "text": "rainy"}]}]},
        response(MESSAGE),
        [QUESTION, CALLING, TOLD, ANSWER],
    ),
    "a comment, then the answer": (
        {"input": [QUESTION]},
        response({**MESSAGE, "content": [{"type": "output_text", "text": "Let me see."}]}, MESSAGE),
        [QUESTION, {"role": "assistant", "content": "Let me see."}, ANSWER],
    ),
    "earlier turns": (
        {"input": [QUESTION, {k: MESSAGE[k] for k in ("type", "id", "role", "content")}, {"role": "user", "content": "Sure?"}]},
        response(MESSAGE),
        [QUESTION, ANSWER, {"role": "user", "content": "Sure?"}, ANSWER],
    ),
    "an image": (
        {
            "input": [
                {
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "What is it?"},
                        {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "low"},
                    ],
                }
            ]
        },
        response(MESSAGE),
        [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}},
                ],
            },
            ANSWER,
        ],
    ),
    "an earlier refusal": (
        {"input": [QUESTION, {**MESSAGE, "content": [{"type": "refusal", "refusal": "No."}]}, QUESTION]},
        response(MESSAGE),
        [QUESTION, {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}, QUESTION, ANSWER],
    ),
}


@pytest.mark.parametrize(("asked", "said", "messages"), EXCHANGES.values(), ids=list(EXCHANGES))
def test_a_request_and_its_response_become_a_row(asked, said, messages):
    """Input of every form, function calls and their outputs arrive as the chat protocol has them; reasoning is left out."""
    call = exchange(asked, said)
    assert isinstance(call, Call)
    assert call.row()["messages"] == messages


def test_what_is_known_of_a_response_comes_along():
    """Model, time, functions and reasoning are there; hosted tools have no place in a row."""
    asked = {"input": [QUESTION], "tools": [FLAT, {"type": "web_search"}, {"type": "custom", "name": "x"}], "parallel_tool_calls": False}
    call = exchange(asked, response(REASONING, MESSAGE))
    assert (call.model, call.time, call.id, call.tools) == ("gpt-5-2026", "2025-10-09T08:53:20Z", "resp_1", [TOOL])
    assert call.row()["parallel_tool_calls"] is False
    assert call.row(reasoning=True)["messages"][-1] == {**ANSWER, "reasoning_content": "Look it up."}


LEFT_OUT = {
    "cut off": ({}, response(MESSAGE, status="incomplete"), "the answer was cut off or filtered"),
    "failed": ({}, response(status="failed", error={"code": "server_error"}), "the call failed"),
    "cancelled": ({}, response(status="cancelled"), "the call failed"),
    "in the background": ({}, response(status="queued"), "the answer was not finished yet"),
    "refused": ({}, response({**MESSAGE, "content": [{"type": "refusal", "refusal": "No."}]}), "the model refused to answer"),
    "silent": ({}, response(REASONING), "no answer was recorded"),
    "no question": ({"input": None, "instructions": "x"}, response(MESSAGE), "no prompt was recorded (is content capture switched on?)"),
    "a hosted tool": (
        {},
        response({"type": "web_search_call", "id": "ws", "status": "completed"}, MESSAGE),
        "a message has a part, or calls a tool, that a row cannot show",
    ),
    "a custom tool": (
        {},
        response({"type": "custom_tool_call", "call_id": "c", "name": "sql", "input": "select 1"}),
        "a message has a part, or calls a tool, that a row cannot show",
    ),
    "an image on the server": (
        {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]}]},
        response(MESSAGE),
        "a message has a part, or calls a tool, that a row cannot show",
    ),
    "an image that a tool made": (
        {"input": [QUESTION, CALL_ITEM, {**TOLD_ITEM, "output": [{"type": "input_image", "image_url": "data:x"}]}]},
        response(MESSAGE),
        "a message has a part, or calls a tool, that a row cannot show",
    ),
    "earlier turns elsewhere": ({"previous_response_id": "resp_0"}, response(MESSAGE), "a part of the conversation is only on the server"),
    "a conversation": ({"conversation": "conv_1"}, response(MESSAGE), "a part of the conversation is only on the server"),
    "a stored prompt": ({"prompt": {"id": "pmpt_1"}}, response(MESSAGE), "a part of the conversation is only on the server"),
    "a reference": (
        {"input": [{"type": "item_reference", "id": "msg_0"}, QUESTION]},
        response(MESSAGE),
        "a part of the conversation is only on the server",
    ),
}


@pytest.mark.parametrize(("asked", "said", "reason"), LEFT_OUT.values(), ids=list(LEFT_OUT))
def test_what_cannot_be_a_row_is_left_out_with_a_reason(asked, said, reason):
    """Half a conversation, half an answer and what no row can show never become rows."""
    assert exchange({"input": [QUESTION], **asked}, said) == Skipped(reason)


def test_a_turn_is_whole_where_the_earlier_ones_were_seen():
    """`previous_response_id` is resolved by what was seen; instructions hold for their own turn only."""
    turns = Turns()
    first = exchange({"instructions": "One.", "input": "Weather in Paris?"}, response(CALL_ITEM), turns=turns)
    asked = {"instructions": "Be brief.", "input": [TOLD_ITEM], "previous_response_id": "resp_1"}
    second = exchange(asked, response(MESSAGE, id="resp_2"), turns=turns)
    third = exchange({"input": "Sure?", "previous_response_id": "resp_2", "store": False}, response(MESSAGE, id="resp_3"), turns=turns)
    assert first.row()["messages"] == [{"role": "system", "content": "One."}, QUESTION, CALLING]
    assert second.row()["messages"] == [BRIEF, QUESTION, CALLING, TOLD, ANSWER]
    assert third.row()["messages"] == [QUESTION, CALLING, TOLD, ANSWER, {"role": "user", "content": "Sure?"}, ANSWER]
    assert turns.before("resp_3") is None  # was not stored, so nothing can follow it


def test_turns_are_remembered_up_to_a_limit(monkeypatch):
    """A process that runs for weeks does not grow: the oldest turns are forgotten, and what follows them is left out."""
    monkeypatch.setattr("ftspec.data.importers.exchange._MANY", 2)
    turns = Turns()
    for number in range(3):
        turns.remember(f"r{number}", [], [QUESTION])
    assert [turns.before(f"r{number}") for number in range(3)] == [None, [QUESTION], [QUESTION]]
    monkeypatch.setattr("ftspec.data.importers.exchange._LONG", 100)
    turns.remember("long", [], [{"role": "user", "content": "x" * 50}])
    assert (turns.before("r2"), turns.before("long") is None) == (None, False)


RECORDED = {
    "batch": (
        "batch",
        [
            {"custom_id": "1", "method": "POST", "url": "/v1/responses", "body": {"model": "gpt-5", "input": [QUESTION], "tools": [FLAT]}},
            {"custom_id": "1", "response": {"status_code": 200, "body": response(CALL_ITEM)}, "error": None},
        ],
        [QUESTION, CALLING],
    ),
    "stored, input in order": ("openai-stored", [response(MESSAGE, input=[QUESTION], tools=[FLAT])], [QUESTION, ANSWER]),
    "stored, a page of input items": (
        "openai-stored",
        [response(MESSAGE, input_items={"object": "list", "data": [TOLD_ITEM, CALL_ITEM, QUESTION], "has_more": False}, tools=[FLAT])],
        [QUESTION, CALLING, TOLD, ANSWER],
    ),
    "litellm": (
        "litellm",
        [
            {
                "call_type": "aresponses",
                "status": "success",
                "messages": [QUESTION, CALL_ITEM, TOLD_ITEM],
                "response": response(MESSAGE),
                "model_parameters": {"tools": [FLAT]},
            }
        ],
        [QUESTION, CALLING, TOLD, ANSWER],
    ),
    "langsmith": (
        "langsmith",
        [{"run_type": "llm", "inputs": {"input": [QUESTION], "instructions": "Be brief.", "tools": [FLAT]}, "outputs": response(MESSAGE)}],
        [BRIEF, QUESTION, ANSWER],
    ),
    "langsmith, by LangChain": (
        "langsmith",
        [
            {
                "run_type": "llm",
                "inputs": {"messages": [[lc("HumanMessage", QUESTION["content"])]]},
                "outputs": {
                    "generations": [
                        [
                            {
                                "message": lc(
                                    "AIMessage",
                                    [REASONING, {"type": "text", "text": "Rainy.", "annotations": []}, CALL_ITEM],
                                    tool_calls=[{"name": "weather", "args": {"city": "Paris"}, "id": "call_1"}],
                                )
                            }
                        ]
                    ]
                },
                "extra": {"invocation_params": {"tools": [FLAT]}},
            }
        ],
        [QUESTION, {**ANSWER, "tool_calls": [CALL]}],
    ),
    "langfuse": (
        "langfuse",
        [
            {
                "type": "GENERATION",
                "input": [BRIEF, QUESTION, CALL_ITEM, TOLD_ITEM],
                "output": [REASONING, MESSAGE],
                "toolDefinitions": [FLAT],
            }
        ],
        [BRIEF, QUESTION, CALLING, TOLD, ANSWER],
    ),
    "langfuse, one item": (
        "langfuse",
        [{"type": "GENERATION", "input": json.dumps([QUESTION]), "output": json.dumps(CALL_ITEM), "toolDefinitions": [FLAT]}],
        [QUESTION, CALLING],
    ),
    "langfuse, the objects": (
        "langfuse",
        [{"type": "GENERATION", "input": {"input": [QUESTION], "tools": [FLAT]}, "output": response(MESSAGE)}],
        [QUESTION, ANSWER],
    ),
}


@pytest.mark.parametrize(("name", "records", "messages"), RECORDED.values(), ids=list(RECORDED))
def test_every_tool_that_records_responses_is_read(name, records, messages):
    """The same call is the same row, whichever tool wrote it down."""
    [call] = read(name, *records)
    assert isinstance(call, Call)
    assert (call.row()["messages"], call.row()["tools"]) == (messages, [TOOL])


def test_a_page_that_is_not_all_of_the_input_is_left_out():
    """A list of input items that goes on elsewhere is half a conversation."""
    page = {"object": "list", "data": [QUESTION], "has_more": True}
    assert read("openai-stored", response(MESSAGE, input_items=page)) == [Skipped("a part of the conversation is only on the server")]


def test_a_chat_completion_that_refuses_is_left_out():
    """A refusal is no answer to learn from, in the chat protocol neither."""
    message = {"role": "assistant", "content": None, "refusal": "No."}
    said = {"object": "chat.completion", "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}
    assert exchange({"messages": [QUESTION]}, said) == Skipped("the model refused to answer")
    assert read("langfuse", {"type": "GENERATION", "input": [QUESTION], "output": message}) == [Skipped("the model refused to answer")]


def test_a_call_of_a_custom_tool_is_left_out():
    """A tool that takes free text has no place in a training row; half of its call would teach nonsense."""
    call = {"id": "c", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    said = {"object": "chat.completion", "choices": [{"index": 0, "finish_reason": "tool_calls", "message": message}]}
    assert exchange({"messages": [QUESTION]}, said) == Skipped("a message has a part, or calls a tool, that a row cannot show")


def test_of_several_choices_the_first_is_the_answer():
    """`n` answers to one question are not made into one row, nor is the last one taken for the first."""
    choices = [{"index": n, "finish_reason": "stop", "message": {"role": "assistant", "content": str(n)}} for n in (1, 0)]
    call = exchange({"messages": [QUESTION]}, {"object": "chat.completion", "choices": choices})
    assert call.answer["content"] == "0"


def test_marks_on_parts_of_a_message_are_left_out():
    """A cache mark belongs to a request, sources to an answer; what was said stays."""
    given = {"role": "user", "content": [{"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral"}}]}
    answer = {"role": "assistant", "content": [{"type": "text", "text": "Yes."}]}
    [call] = read("chat", {"messages": [given, answer]})
    assert call.row()["messages"] == [{"role": "user", "content": "Long."}, answer]
