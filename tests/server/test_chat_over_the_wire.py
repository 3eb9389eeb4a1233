"""Chat completions: limits, stop sequences, seeds, sampling, log probabilities, and what a toy refuses."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

CHAT = "/v1/chat/completions"


def body(content: Any = "one two three four", **more: Any) -> dict[str, Any]:
    return {"model": "sandbox-mini", "messages": [{"role": "user", "content": content}], "temperature": 0, **more}


def first(answer: Any) -> tuple[str, str]:
    assert answer.status == 200, answer.content
    [choice] = answer.json["choices"]
    return choice["message"]["content"], choice["finish_reason"]


def test_an_untrained_base_repeats_the_prompt(caller):
    """Every base says what it was told, word for word, and stops."""
    for base in ("nano", "mini", "small"):
        assert first(caller.post(CHAT, json=body("Hello, World! 42", model=f"sandbox-{base}"))) == ("Hello, World! 42", "stop")


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_an_answer_ends_at_its_limit(caller, name):
    """The limit counts words; an answer that reaches it says so."""
    answer = caller.post(CHAT, json=body(**{name: 2}))
    assert first(answer) == ("one two", "length")
    assert answer.json["usage"] == {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6}


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        ("three", "one two "),
        (" three", "one two"),
        ("o t", "one tw"),
        (["four", "two"], "one "),
        ("thr", "one two "),
        ("e f", "one two thre"),
        ("five", "one two three four"),
        ("fourteen", "one two three four"),
        ([], "one two three four"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_never_holds_a_stop_sequence(caller, stop, text, stream):
    """A stop sequence is cut off wherever it lies, also across words; what only began like one is kept."""
    answer = caller.post(CHAT, json=body(stop=stop, stream=stream, max_tokens=20))
    if not stream:
        assert first(answer) == (text, "stop")
        return
    events = [json.loads(line.removeprefix("data: ")) for line in answer.content.decode().split("\n\n")[:-2]]
    choices = [event["choices"][0] for event in events]
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == text
    assert [choice["finish_reason"] for choice in choices][-1] == "stop"


def test_a_seed_repeats_a_draw_and_n_draws_differ(caller):
    """One seed always gives the same answers; the n answers of a request have seeds of their own."""
    request = body("a b c d e f g h", temperature=2, n=8, seed=3)
    one, two = (caller.post(CHAT, json=request).json["choices"] for _ in range(2))
    assert one == two
    assert len({choice["message"]["content"] for choice in one}) > 1
    other = caller.post(CHAT, json={**request, "seed": 4}).json["choices"]
    assert other != one


def test_temperature_and_top_p_zero_are_the_likeliest_answer(caller):
    """Nothing is drawn at temperature 0, nor where only the likeliest action is left."""
    texts = {first(caller.post(CHAT, json=body(temperature=t, top_p=p, seed=s)))[0] for t, p in ((0, 1), (2, 0)) for s in (1, 2)}
    assert texts == {"one two three four"}


def test_log_probabilities_are_those_of_the_words(caller):
    """Each word has a log probability, its alternatives are sorted, and the bytes spell it."""
    answer = caller.post(CHAT, json=body("One two", logprobs=True, top_logprobs=2))
    content = answer.json["choices"][0]["logprobs"]["content"]
    assert [entry["token"] for entry in content] == ["One", " two"]
    for entry in content:
        assert bytes(entry["bytes"]).decode() == entry["token"]
        tops = [top["logprob"] for top in entry["top_logprobs"]]
        assert tops == sorted(tops, reverse=True)
        assert sum(map(math.exp, tops)) <= 1 + 1e-6
        assert tops[0] >= entry["logprob"]
    assert caller.post(CHAT, json=body(logprobs=True)).json["choices"][0]["logprobs"]["content"][0]["top_logprobs"] == []
    assert caller.post(CHAT, json=body()).json["choices"][0]["logprobs"] is None


def test_text_parts_and_earlier_turns_are_read(caller):
    """Content may come in text parts; the last message is what is answered."""
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    assert first(caller.post(CHAT, json=body(parts)))[0] == "one two"
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    answer = caller.post(CHAT, json=body() | {"messages": [*messages, {"role": "user", "content": "c"}]})
    assert first(answer)[0] == "c"
    assert answer.json["usage"]["prompt_tokens"] == 4


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"n": 0}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"seed": 2**63}, "seed"),
        ({"seed": -(2**63) - 1}, "seed"),
        ({"max_tokens": 1, "max_completion_tokens": 1}, "max_tokens"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"sampling": 1}, "sampling"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"frequency_penalty": 1}, "frequency_penalty"),
        ({"logit_bias": {"1": 5}}, "logit_bias"),
    ],
)
def test_what_is_wrong_or_beyond_a_toy_is_refused_by_name(caller, change, param):
    """A request that cannot be honoured is a 400 that names the member, never silently something else."""
    answer = caller.post(CHAT, json=body() | change)
    assert (answer.status, answer.error["param"]) == (400, param)


def test_members_that_ask_for_nothing_are_taken(caller):
    """Defaults that clients send explicitly, and members that say nothing about the answer, change nothing."""
    neutral = {
        "tools": [],
        "response_format": {"type": "text"},
        "frequency_penalty": 0,
        "presence_penalty": 0.0,
        "logit_bias": {},
        "tool_choice": "none",
        "modalities": ["text"],
        "user": "me",
        "store": False,
        "metadata": {},
        "stop": None,
        "n": None,
        "stream": False,
        "service_tier": "auto",
    }
    assert first(caller.post(CHAT, json=body(**neutral)))[0] == "one two three four"


def test_models_that_do_not_exist_cannot_be_asked(caller):
    """An unknown model is a 404 with the protocol's code."""
    answer = caller.post(CHAT, json=body(model="gpt-4o"))
    assert (answer.status, answer.error["code"]) == (404, "model_not_found")
