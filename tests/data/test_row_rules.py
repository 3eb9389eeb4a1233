"""Every row rule speaks for a row that breaks it, and is silent for the one beside it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from ftspec.data.checks import all_codes
from ftspec.data.checks.base import Reads, RowCheck, Setting
from ftspec.data.findings import Findings
from ftspec.data.scan import RowRules
from ftspec.fingerprint import canonical_json


class Example(NamedTuple):
    code: str
    bad: dict[str, Any]
    good: dict[str, Any]
    setting: Setting = Setting()


def user(content: Any = "What is the capital of Norway?", **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


def assistant(content: Any = "Oslo.", **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def system(content: str = "Be brief.") -> dict[str, Any]:
    return {"role": "system", "content": content}


def rows(*messages: Any, **more: Any) -> dict[str, Any]:
    return {"messages": list(messages), **more}


GOOD = rows(user(), assistant())

EXACT = Setting(reads=(Reads(base="small", tokens=12, tokenizer="words"),))
EXACT_TASK = replace(EXACT, format="reinforcement")
GUESSED = Setting(reads=(Reads(base="small", tokens=70),))


@pytest.fixture(autouse=True)
def words(monkeypatch):
    """Let words be the tokens of a base's tokenizer: the package that reads real ones is optional."""
    monkeypatch.setattr("ftspec.data.checks.base_length.tokenizer", lambda _: lambda text: len(text.split()))


TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["c", "f"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


def call(arguments: Any = '{"city": "Oslo"}', *, name: str = "weather", id: str = "call_1", **more: Any) -> dict[str, Any]:  # noqa: A002
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def calling(*calls: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls)}


def answer(id: str = "call_1") -> dict[str, Any]:  # noqa: A002
    return {"role": "tool", "tool_call_id": id, "content": "Rain."}


def with_tools(*messages: Any, **more: Any) -> dict[str, Any]:
    return rows(user(), *messages, **{"tools": [TOOL], **more})


GOOD_TOOLS = with_tools(calling(call()), answer(), assistant("It rains."))


def image(data: bytes, kind: str = "image/png") -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{base64.b64encode(data).decode()}"}}


def link(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def named_many(number: int) -> list[dict[str, Any]]:
    return [named(f"f{n}") for n in range(number)]


def png(colour: int = 2) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\0\0\0\x01\0\0\0\x01\x08" + bytes([colour]) + b"\0\0\0" + b"\0" * 16


def jpeg(components: int = 3) -> bytes:
    return b"\xff\xd8" + b"\xff\xe0\x00\x04ab" + b"\xff\xc0\x00\x0b\x08\x00\x01\x00\x01" + bytes([components]) + b"\0" * 8


def seen(*parts: Any) -> dict[str, Any]:
    return rows(user([{"type": "text", "text": "What is this?"}, *parts]), assistant("A dot."))


GOOD_IMAGE = seen(image(png()))


def pair(preferred: str = "Oslo.", other: str = "Bergen.", **more: Any) -> dict[str, Any]:
    return {
        "input": {"messages": [user()]},
        "preferred_output": [assistant(preferred)],
        "non_preferred_output": [assistant(other)],
        **more,
    }


PREFERENCE = Setting(format="preference")
REINFORCEMENT = Setting(format="reinforcement")
COMPLETION = Setting(format="completion")
SAFETY = Setting(safety=True)
STRICT = Setting(strict_tools=True)
LABELLED = Setting(labels=True)
KEY = "sk-proj-" + "aB3dE5fG7hJ9kL1mN2pQ4rS6"

EXAMPLES = [
    Example("no-messages", {"text": "x"}, GOOD),
    Example("no-messages", {"messages": "x"}, GOOD),
    Example("no-messages", {"messages": []}, GOOD),
    Example("no-messages", {"messages": [user(), "x", assistant()]}, GOOD),
    Example("unknown-role", rows({"role": "bot", "content": "x"}, user(), assistant()), GOOD),
    Example("unknown-role", rows({"content": "x"}, user(), assistant()), GOOD),
    Example("unknown-role", rows({"role": 1, "content": "x"}, user(), assistant()), GOOD),
    Example(
        "unknown-role",
        rows({"role": "developer", "content": "x"}, user(), assistant()),
        rows(system(), user(), assistant()),
        Setting(roles=frozenset({"system", "user", "assistant"})),
    ),
    Example("unknown-role", pair(preferred_output=[{"role": "bot", "content": "x"}, assistant()]), pair(), PREFERENCE),
    Example("unknown-message-key", rows(user(mood="glad"), assistant()), rows(user(name="Kari"), assistant())),
    Example("unknown-message-key", rows(user(), assistant(reasoning_content="hm")), rows(user(), assistant(weight=1))),
    Example("unknown-message-key", rows(user(tool_calls=[]), assistant()), GOOD),
    Example("unknown-key", GOOD | {"extra": 1}, GOOD | {"parallel_tool_calls": True, "tools": [TOOL]}),
    Example("unknown-key", GOOD | {"customer": 1}, GOOD | {"customer_id": 1}, Setting(columns=frozenset({"customer_id"}))),
    Example("unknown-key", pair(extra=1), pair(), PREFERENCE),
    Example("unknown-key", {"prompt": "a", "completion": "b", "c": 1}, {"prompt": "a", "completion": "b"}, COMPLETION),
    Example("no-assistant", rows(system(), user()), GOOD),
    Example("last-not-assistant", rows(user(), assistant(), user("Thanks.")), GOOD),
    Example("bad-weight", rows(user(), assistant(weight=2)), rows(user(), assistant(weight=1))),
    Example("bad-weight", rows(user(), assistant(weight=True)), rows(user(), assistant(weight=0), user(), assistant(weight=1))),
    Example("bad-weight", rows(user(), assistant(weight="1")), GOOD),
    Example("bad-weight", rows(user(), assistant(weight=0)), GOOD),
    Example("bad-weight", rows(user(), assistant(), user(), assistant(weight=0)), GOOD),
    Example("empty-content", rows(user(""), assistant()), GOOD),
    Example("empty-content", rows(user(None), assistant()), GOOD_TOOLS),
    Example("empty-content", rows(user(), assistant("")), GOOD),
    Example("empty-content", rows(user(), assistant(" \n")), GOOD),
    Example("empty-content", rows(user(), assistant(None)), rows(user(), assistant(None, refusal="No."))),
    Example("empty-content", rows({"role": "user"}, assistant()), GOOD),
    Example("empty-content", rows(user([]), assistant()), GOOD_IMAGE),
    Example("empty-content", rows(user(7), assistant()), GOOD),
    Example("empty-content", with_tools(assistant("")), with_tools(calling(call()) | {"content": ""}, answer(), assistant())),
    Example(
        "empty-content", with_tools(calling(call()), answer() | {"content": None}), with_tools(calling(call()), answer() | {"content": ""})
    ),
    Example(
        "empty-content", rows(user([{"type": "text", "text": " "}]), assistant()), rows(user([{"type": "text", "text": "a"}]), assistant())
    ),
    Example("no-user", rows(system(), assistant()), rows({"role": "human", "content": "a"}, assistant())),
    Example("no-assistant", rows(user()), rows(user(), {"role": "model", "content": "a"})),
    Example("no-assistant", rows(user()), {"messages": []}),
    Example("no-user", rows(assistant()), {"messages": []}),
    Example("last-not-assistant", rows(user(), assistant(), user()), rows(user())),
    Example("bad-weight", rows(user(weight=2)), rows(user(weight=1))),
    Example("unknown-key", GOOD | {"output": 1}, GOOD | {"input": {"top": 1}}, Setting(columns=frozenset({"input"}))),
    Example("system-not-first", rows(user(), system(), assistant()), rows(system(), user(), assistant())),
    Example("system-not-first", rows(system(), system("Be kind."), user(), assistant()), GOOD),
    Example("special-token", rows(user("end <|endoftext|>"), assistant()), rows(user("a <| b |> c"), assistant())),
    Example("special-token", {"prompt": "a", "completion": "b<|fim_middle|>"}, {"prompt": "a", "completion": "b"}, COMPLETION),
    Example("outer-space", rows(user(), assistant(" Oslo.")), rows(user(" Where? "), assistant())),
    Example("outer-space", rows(user(), assistant("Oslo.\n")), GOOD),
    Example("outer-space", rows(user(), assistant("Oslo.\u3000")), GOOD),
    Example(
        "target-in-prompt",
        rows(user("Repeat: the quick brown fox jumps over the lazy dog"), assistant("the quick brown fox jumps over the lazy dog")),
        rows(user("Is it account/password-reset-needed or shipping?"), assistant("account/password-reset-needed")),
    ),
    Example(
        "target-in-prompt",
        rows(user("So: " + "the same again and again, " * 2), assistant("the same again and again, the same again and")),
        rows(
            system("Else say: I am sorry, but I can only help with orders."),
            user(),
            assistant("I am sorry, but I can only help with orders."),
        ),
    ),
    Example(
        "not-a-label", rows(user(), assistant("I think that this is about shipping.")), rows(user(), assistant("late delivery")), LABELLED
    ),
    Example("not-a-label", rows(user(), assistant("a\nb")), rows(user(), assistant("x")), LABELLED),
    Example("bad-tools", with_tools(assistant(), tools="weather"), with_tools(assistant())),
    Example("bad-tools", with_tools(assistant(), tools=[{"name": "weather"}]), GOOD_TOOLS),
    Example("bad-tools", with_tools(assistant(), tools=[TOOL, TOOL]), GOOD_TOOLS),
    Example("bad-tools", with_tools(assistant(), tools=[{"type": "function", "function": {}}]), GOOD_TOOLS),
    Example("bad-tools", with_tools(assistant(), tools=[{"type": "function", "function": {"name": "f", "parameters": []}}]), GOOD_TOOLS),
    Example("bad-tools", with_tools(assistant(), parallel_tool_calls="no"), GOOD_TOOLS),
    Example(
        "bad-tools", with_tools(assistant(), tools=[named("get weather")]), with_tools(assistant(), tools=[named("get-Weather_2")]), STRICT
    ),
    Example("bad-tools", with_tools(assistant(), tools=[named("w" * 65)]), with_tools(assistant(), tools=[named("w" * 64)]), STRICT),
    Example("bad-tools", with_tools(assistant(), tools=named_many(129)), with_tools(assistant(), tools=named_many(128)), STRICT),
    Example("bad-tools", with_tools(assistant(), tools=[named("")]), with_tools(assistant(), tools=[*named_many(129), named("a.b")])),
    Example("bad-tool-call", with_tools(calling(call() | {"type": "custom"})), with_tools(calling(call()))),
    Example("bad-tool-call", with_tools(calling({"type": "function", "function": {"name": "weather", "arguments": "{}"}})), GOOD_TOOLS),
    Example("bad-tool-call", with_tools(calling(call(), call())), GOOD_TOOLS),
    Example("bad-tool-call", with_tools(assistant("x", tool_calls="weather")), GOOD_TOOLS),
    Example("bad-tool-call", with_tools(assistant("x", tool_calls=None)), GOOD_TOOLS),
    Example("bad-tool-call", with_tools(assistant("x", tool_calls=[])), GOOD_TOOLS),
    Example("bad-tool-call", with_tools(calling({"id": "a", "type": "function"})), GOOD_TOOLS),
    Example("bad-arguments", with_tools(calling(call({"city": "Oslo"}))), GOOD_TOOLS),
    Example("bad-arguments", with_tools(calling(call("{city: Oslo}"))), GOOD_TOOLS),
    Example("bad-arguments", with_tools(calling(call("[1]"))), GOOD_TOOLS),
    Example("arguments-schema", with_tools(calling(call("{}"))), GOOD_TOOLS),
    Example("arguments-schema", with_tools(calling(call('{"city": 1}'))), GOOD_TOOLS),
    Example(
        "arguments-schema",
        with_tools(calling(call('{"city": "Oslo", "days": 1.5}'))),
        with_tools(calling(call('{"city": "Oslo", "days": 2}'))),
    ),
    Example("arguments-schema", with_tools(calling(call('{"city": "Oslo", "days": true}'))), GOOD_TOOLS),
    Example(
        "arguments-schema",
        with_tools(calling(call('{"city": "Oslo", "unit": "k"}'))),
        with_tools(calling(call('{"city": "Oslo", "unit": "c"}'))),
    ),
    Example("arguments-schema", with_tools(calling(call('{"city": "Oslo", "x": 1}'))), GOOD_TOOLS),
    Example("undeclared-tool", with_tools(calling(call(name="wether"))), GOOD_TOOLS),
    Example("undeclared-tool", rows(user(), calling(call())), GOOD_TOOLS),
    Example("orphan-tool-message", with_tools(answer(), assistant()), GOOD_TOOLS),
    Example("orphan-tool-message", with_tools(calling(call()), answer("call_2"), assistant()), GOOD_TOOLS),
    Example(
        "orphan-tool-message",
        with_tools(calling(call()), answer(), answer(), assistant()),
        with_tools(calling(call()), answer(), calling(call()), answer(), assistant()),
    ),
    Example("unanswered-call", with_tools(calling(call()), assistant()), with_tools(calling(call()))),
    Example("unanswered-call", with_tools(calling(call(), call(id="call_2")), answer(), assistant()), GOOD_TOOLS),
    Example(
        "parallel-calls",
        with_tools(calling(call(), call(id="call_2")), parallel_tool_calls=False),
        with_tools(calling(call()), parallel_tool_calls=False),
    ),
    Example("legacy-functions", rows(user(), assistant(None, function_call={"name": "f", "arguments": "{}"})), GOOD_TOOLS),
    Example("legacy-functions", GOOD | {"functions": []}, rows(user(), assistant(function_call=None))),
    Example("legacy-functions", rows(user(), {"role": "function", "name": "f", "content": "x"}, assistant()), GOOD_TOOLS),
    Example("unknown-part", seen({"type": "video", "video": "x"}), GOOD_IMAGE),
    Example("unknown-part", seen("text"), GOOD_IMAGE),
    Example("unknown-part", seen({"type": "text"}), GOOD_IMAGE),
    Example("unknown-part", seen({"type": "image_url"}), GOOD_IMAGE),
    Example("unknown-part", seen(link("https://a.test/b.png", detail="best")), seen(link("https://a.test/b.png", detail="low"))),
    Example("unknown-part", seen(link("https://a.test/b.png", detail=["low"])), seen(link("https://a.test/b.png"))),
    Example("image-role", rows(user(), {"role": "assistant", "content": [image(png())]}), GOOD_IMAGE),
    Example("too-many-images", seen(*[image(png())] * 11), seen(*[image(png())] * 10)),
    Example("too-many-images", seen(*[image(png())] * 3), seen(*[image(png())] * 2), Setting(max_images=2)),
    Example("bad-image", seen(image(b"GIF89a", "image/gif")), GOOD_IMAGE),
    Example("bad-image", seen(image(b"not an image")), GOOD_IMAGE),
    Example("bad-image", seen(image(png(0))), seen(image(png(6)))),
    Example("bad-image", seen(image(jpeg(4), "image/jpeg")), seen(image(jpeg(3), "image/jpeg"))),
    Example("bad-image", seen(image(png() + b"\0" * 2000)), GOOD_IMAGE, Setting(max_image_bytes=1000)),
    Example("bad-image", seen({"type": "image_url", "image_url": {"url": "data:image/png;base64,!!!"}}), GOOD_IMAGE),
    Example("bad-image", seen(link("images/1.png")), seen(link("HTTPS://a.test/1.png"))),
    Example("bad-image", seen(link("file:///images/1.png")), seen({"type": "image_url", "image_url": "http://a.test/1.png"})),
    Example("image-url", seen(link("https://example.com/a.png")), GOOD_IMAGE),
    Example("image-url", seen(link("http://example.com/a.png")), seen(link("images/1.png"))),
    Example("preference-shape", {"preferred_output": [assistant()], "non_preferred_output": [assistant("No.")]}, pair(), PREFERENCE),
    Example("preference-shape", {"input": {"messages": [user()]}, "preferred_output": [assistant()]}, pair(), PREFERENCE),
    Example("preference-shape", pair(preferred_output="Oslo."), pair(), PREFERENCE),
    Example(
        "old-preference-names",
        {"input": {"messages": [user()]}, "preferred_completion": [assistant()], "non_preferred_completion": [assistant("No.")]},
        pair(),
        PREFERENCE,
    ),
    Example("preference-output", pair(preferred_output=[user()]), pair(), PREFERENCE),
    Example("preference-output", pair(preferred_output=[system(), assistant()]), pair(), PREFERENCE),
    Example("several-answers", pair(preferred_output=[assistant(), assistant("No, Oslo.")]), pair(), PREFERENCE),
    Example("several-answers", pair(non_preferred_output=[calling(call()), answer(), assistant()]), pair(), PREFERENCE),
    Example("unknown-key", pair(input={"messages": [user()], "top": 1}), pair(input={"messages": [user()], "tools": []}), PREFERENCE),
    Example("same-outputs", pair("Oslo.", "Oslo."), pair(), PREFERENCE),
    Example("input-ends-with-assistant", pair(input={"messages": [user(), assistant()]}), pair(), PREFERENCE),
    Example(
        "preference-not-text",
        pair(input={"messages": [user([{"type": "text", "text": "x"}, image(png())])]}),
        pair(input={"messages": [user([{"type": "text", "text": "x"}])]}),
        PREFERENCE,
    ),
    Example("last-not-user", rows(user(), assistant(), answer="Oslo"), rows(user(), reference="Oslo"), REINFORCEMENT),
    Example(
        "missing-item-key",
        rows(user(), other="x"),
        rows(user(), reference={"city": "Oslo"}),
        Setting(format="reinforcement", item_keys=("reference.city",)),
    ),
    Example("bad-completion", {"prompt": "a"}, {"prompt": "a", "completion": "b"}, COMPLETION),
    Example("bad-completion", {"prompt": "a", "completion": ""}, {"prompt": "", "completion": "b"}, COMPLETION),
    Example("secret", rows(user(f"my key is {KEY}"), assistant()), rows(user("my key is sk-something"), assistant()), SAFETY),
    Example(
        "personal-data", rows(user("write to kari@nordmann.no"), assistant()), rows(user("write to a@example.com"), assistant()), SAFETY
    ),
    *(
        Example("base-lacks", bad, GOOD, Setting(lacks=(("small", lack),)))
        for lack, bad in {
            "system": rows(system(), user(), assistant()),
            "late_system": rows(user(), assistant(), system(), user(), assistant()),
            "order": rows(user(), user(), assistant()),
            "opening": rows(system(), assistant(), user(), assistant()),
            "turns": rows(user(), assistant(), user(), assistant()),
            "tools": rows(user(), assistant(), tools=[TOOL]),
            "parts": rows(user([{"type": "image_url", "image_url": {"url": "https://a.test/b.png"}}]), assistant()),
        }.items()
    ),
    Example("base-lacks", rows(user(), tools=[TOOL]), rows(user()), Setting(format="reinforcement", lacks=(("mine", "task_tools"),))),
    Example(
        "base-lacks",
        pair() | {"preferred_output": [assistant(), assistant("No, Oslo.")]},
        pair(),
        Setting(format="preference", lacks=(("small", "order"), ("mine", "task_tools"))),
    ),
    Example("longer-than-base", rows(user("two words " * 6), assistant()), rows(user("two words"), assistant()), EXACT),
    Example("longer-than-base", rows(user("two words " * 7), assistant()), rows(user(), assistant(f"{'a b ' * 9}</think>Oslo.")), EXACT),
    Example("longer-than-base", rows(user("two words " * 7)), rows(user("two words")), EXACT_TASK),
    Example("perhaps-longer-than-base", rows(user("a b c d e f g"), assistant()), rows(user("a b"), assistant()), EXACT),
    Example("perhaps-longer-than-base", rows(user("two words " * 90), assistant()), rows(user("two words"), assistant()), GUESSED),
    Example(
        "perhaps-longer-than-base",
        pair() | {"non_preferred_output": [assistant("No. " * 90)]},
        pair(),
        replace(GUESSED, format="preference"),
    ),
]


def said(row, setting):
    findings = Findings()
    RowRules(setting, findings).check(row, canonical_json(row), 1)
    return {one.code: one.message for one in findings.all()}


NAMES = [f"{number}-{example.code}" for number, example in enumerate(EXAMPLES)]


@pytest.mark.parametrize("example", EXAMPLES, ids=NAMES)
def test_a_row_that_breaks_a_rule_is_told(example):
    """The rule's code is among what is said about the row, in a sentence without a full stop."""
    found = said(example.bad, example.setting)
    assert example.code in found
    assert not found[example.code].endswith(".")


@pytest.mark.parametrize("example", EXAMPLES, ids=NAMES)
def test_a_row_that_keeps_a_rule_is_not_told(example):
    """The row beside it is fine by this rule."""
    assert example.code not in said(example.good, example.setting)


ODD_TOOLS = [{"name": "weather"}, {"type": "function", "function": {"name": 7}}, {"function": "weather"}, "weather"]
SENTENCE = "the quick brown fox jumps over it, slowly"
OTHER_CASES = [
    ("not-a-label", rows(user(), assistant("I think that this is about shipping.")), Setting()),
    ("secret", rows(user(f"my key is {KEY}"), assistant()), Setting()),
    ("target-in-prompt", rows(user(SENTENCE), user(SENTENCE)), Setting()),
    ("target-in-prompt", rows(user(SENTENCE), assistant(SENTENCE[:-1])), Setting()),
    ("unknown-key", GOOD | {"extra": 1}, REINFORCEMENT),
    ("bad-tool-call", with_tools(calling({"id": "a", "type": "function", "function": {"name": "weather"}})), Setting()),
    ("last-not-assistant", rows(user()), REINFORCEMENT),
    ("bad-tools", with_tools(assistant(), tools=[named("get weather")]), Setting()),
]


@pytest.mark.parametrize(("code", "row", "setting"), OTHER_CASES, ids=[f"{n}-{case[0]}" for n, case in enumerate(OTHER_CASES)])
def test_a_rule_is_silent_where_it_does_not_apply(code, row, setting):
    """A rule that is asked for, or is for other formats or engines, says nothing without that."""
    assert code not in said(row, setting)


SENTENCES = [
    (rows(user(), system(), assistant()), "system-not-first", "the system prompt is not the first message"),
    (rows(system(), user(), system(), assistant()), "system-not-first", "the row has several system prompts"),
    (rows(user(SENTENCE), assistant(SENTENCE)), "target-in-prompt", "the answer stands word for word in the prompt"),
    (with_tools(calling(call()), answer(), answer(), assistant()), "orphan-tool-message", "two `tool` messages answer one call"),
    (with_tools(answer(), assistant()), "orphan-tool-message", "a `tool` message answers no earlier call"),
    (with_tools(assistant("x", tool_calls=[])), "bad-tool-call", "`tool_calls` is there without a call"),
    (with_tools(assistant(), tools=[{"type": "function"}]), "bad-tools", 'a tool is not `{"type": "function", "function": {...}}`'),
    (with_tools(calling(call(name=7))), "bad-tool-call", "a tool call has no function `name`"),
    (with_tools(calling(call()), tools=ODD_TOOLS), "undeclared-tool", "the called tool `weather` is not declared"),
    (rows(user(), assistant(weight=0)), "bad-weight", "every answer has the weight 0, so there is nothing to learn"),
    (rows(user(), assistant(), user(), assistant(weight=0)), "bad-weight", "the last answer has the weight 0"),
    (rows(user(None), assistant()), "empty-content", "a message by `user` has no `content`"),
    (rows(user(" "), assistant()), "empty-content", "the `content` of a message by `user` is empty"),
    (rows(user({}), assistant()), "empty-content", "the `content` of a message by `user` is neither a text nor a list of parts"),
]


@pytest.mark.parametrize(("row", "code", "sentence"), SENTENCES, ids=[case[2] for case in SENTENCES])
def test_a_sentence_says_what_is_wrong(row, code, sentence):
    """One rule has several sentences, and the one that fits is said."""
    assert said(row, Setting())[code] == sentence


@pytest.mark.parametrize(("row", "form"), [(GOOD, "chat"), (GOOD_TOOLS, "chat"), (GOOD_IMAGE, "chat"), (pair(), "preference")])
def test_good_rows_break_no_rule(row, form):
    """Rows as the documentation shows them pass without a word."""
    assert said(row, Setting(format=form)) == {}


def test_every_row_rule_has_an_example():
    """No row rule is without a row that triggers it and one that does not."""
    rules = {code for code, rule in all_codes().items() if issubclass(rule, RowCheck)}
    assert rules == {example.code for example in EXAMPLES}


def test_every_rule_explains_itself():
    """A rule's docstring has a sentence, why it matters and what to do; its help is one line."""
    for code, rule in all_codes().items():
        text = rule.__doc__ or ""
        assert "Why:" in text, code
        assert "Fix:" in text, code
        assert text.split("\n")[0].strip().endswith("."), code
        assert rule.help, code
        assert "\n" not in rule.help, code


def test_sentences_hold_no_text_of_the_row():
    """What a row says never appears in what is said about it; keys, roles and tool names are cut short and printable."""
    poison = "\x1b[31mPOISON"
    row = {
        "messages": [{"role": poison, "content": poison, poison: poison}, {"role": "assistant", "content": f" {poison} <|im_end|>"}],
        poison: poison,
        "tools": [{"type": "function", "function": {"name": poison, "parameters": {"required": [poison]}}}],
    }
    for sentence in said(row, Setting()).values():
        assert "\x1b" not in sentence
    text = {
        "messages": [{"role": "user", "content": "SECRETTEXT"}, {"role": "assistant", "content": " SECRETTEXT <|im_end|>", "weight": 3}]
    }
    assert not any("SECRETTEXT" in sentence for sentence in said(text, Setting()).values())


def test_every_rule_is_triggered_by_a_test():
    """Rules about files, sets and leaks are shown in these tests or the scenarios, like those about rows."""
    here = Path(__file__).parent
    shown = "".join(path.read_text() for path in [*here.glob("test_*.py"), here.parent / "scenarios" / "data.md"])
    missing = [code for code in all_codes() if f'"{code}"' not in shown and f"[{code}]" not in shown]
    assert missing == []
