"""Rows become questions: what is asked, what is the reference, what is sent along."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ftspec.diagnostics import FtspecError, Severity
from ftspec.evals import prepare as prepare_module
from ftspec.evals.codes import pages
from ftspec.evals.items import EvalItem, eval_items, prompt_problems
from ftspec.evals.prepare import judges_of, prepare
from ftspec.experiment import DesiredEval

SYSTEM = {"role": "system", "content": "be brief"}
USER = {"role": "user", "content": "q"}


def items(*rows: dict[str, Any], prompt: Any = None) -> list[EvalItem]:
    return list(eval_items([json.dumps(row).encode() + b"\n" for row in rows], prompt=prompt))


def test_a_chat_row_is_asked_without_its_last_answer() -> None:
    """The removed message is the reference; everything else of the row is there for graders."""
    (item,) = items({"messages": [SYSTEM, USER, {"role": "assistant", "content": "a"}], "level": 3})
    assert item.messages == [SYSTEM, USER]
    assert item.item == {"messages": [SYSTEM, USER], "level": 3, "reference": "a", "reference_tools": []}


def test_a_members_own_name_is_kept() -> None:
    """A row that has a `reference` keeps it."""
    (item,) = items({"messages": [USER, {"role": "assistant", "content": "a"}], "reference": "mine"})
    assert item.item["reference"] == "mine"


def test_tool_calls_of_the_answer_are_a_reference_too() -> None:
    """For `tool_call` graders; tools go into the request."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    tools = [{"type": "function", "function": {"name": "f"}}]
    (item,) = items({"messages": [USER, {"role": "assistant", "tool_calls": [call]}], "tools": tools, "parallel_tool_calls": False})
    assert item.item["reference_tools"] == [call]
    assert item.item["reference"] is None
    assert item.request == {"tools": tools, "parallel_tool_calls": False}


def test_text_parts_of_an_answer_are_its_text() -> None:
    """Content as parts is joined where all of it is text."""
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    (item,) = items({"messages": [USER, {"role": "assistant", "content": parts}]})
    assert item.item["reference"] == "ab"


def test_a_reinforcement_row_is_asked_as_it_is() -> None:
    """Rows that end with the user have no reference of their own."""
    (item,) = items({"messages": [USER], "answer": "a"})
    assert item.messages == [USER]
    assert "reference" not in item.item


def test_a_prompt_may_be_text_messages_or_the_rows_own_with_more() -> None:
    """Prompt versions: the same rows, asked differently."""
    row = {"messages": [USER, {"role": "assistant", "content": "a"}], "topic": "x"}
    assert items(row, prompt="About {{item.topic}}")[0].messages == [{"role": "user", "content": "About x"}]
    longer = [{"role": "system", "content": "On {{item.topic}}."}, "{{item.messages}}"]
    assert items(row, prompt=longer)[0].messages == [{"role": "system", "content": "On x."}, USER]


def test_ids_are_those_of_the_rows_content() -> None:
    """Equal rows have equal ids, numbered where they repeat; order does not matter."""
    one, two = {"messages": [USER], "x": 1}, {"messages": [USER], "x": 2}
    first, second, third = items(one, two, one)
    assert third.id == f"{first.id}-2"
    assert [item.id for item in items(two, one)] == [second.id, first.id]


@pytest.mark.parametrize(
    ("row", "prompt", "message"),
    [
        ({"question": "x"}, None, "row 1 of the eval's dataset has no `messages`"),
        ({"messages": ["q"]}, None, "row 1 of the eval's dataset has `messages` that are not messages"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, None, "row 1 of the eval's dataset has nothing to ask"),
        ({"messages": [USER]}, "{{item.topic}}", "row 1 of the eval's dataset does not fit the `prompt`: `item` has no `topic`"),
    ],
)
def test_a_row_that_cannot_be_asked_is_named_by_number(row: dict[str, Any], prompt: Any, message: str) -> None:
    """Never by its content."""
    with pytest.raises(FtspecError, match=message):
        items(row, prompt=prompt)


@pytest.mark.parametrize(
    ("prompt", "problem"),
    [
        (3, "prompt: must be text or a list of messages"),
        ([], "prompt: must be text or a list of messages"),
        (["{{item.other}}"], "prompt.0: must be a message, or `{{item.messages}}`"),
        ([{"role": "user"}], "prompt.0: a message has `role` and `content`"),
        ([{"role": "user", "content": "{{x}}"}], "prompt.0.content: `{{x}}`: the namespaces are `item` and `sample`, not `x`"),
        ("{{sample.output_text}}", "prompt: `{{sample.output_text}}`: a prompt is asked before there is a sample"),
    ],
)
def test_a_wrong_prompt_is_named_before_any_row_is_read(prompt: Any, problem: str) -> None:
    """With the place inside it."""
    assert prompt_problems(prompt) == [problem]


def declared(**about: Any) -> DesiredEval:
    exact = {"type": "string_check", "operation": "eq", "input": "{{sample.output_text}}", "reference": "{{item.reference}}"}
    return DesiredEval(**{"name": "e", "dataset": "d", "graders": {"exact": exact}, **about})


def test_a_prompt_file_is_read_in(tmp_path: Path) -> None:
    """The key holds its content: moving the file changes nothing, editing it everything."""
    (tmp_path / "p.txt").write_text("Ask {{item.x}}")
    ready, problems = prepare(declared(prompt={"path": "p.txt"}), root=tmp_path)
    assert problems == []
    assert ready.prompt == "Ask {{item.x}}"


def test_a_prompt_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    """So is a mapping that is no file."""
    assert [one.message for one in prepare(declared(prompt={"path": "none"}), root=tmp_path)[1]] == [
        "the prompt file `none` cannot be read: No such file or directory"
    ]
    assert prepare(declared(prompt={"file": "x"}), root=tmp_path)[1][0].message.startswith("the prompt of eval `e` is text")


def test_all_problems_of_an_eval_are_found_at_once(tmp_path: Path) -> None:
    """Prompt, graders and gates."""
    wrong = declared(
        prompt="{{x}}",
        graders={"a": {"type": "nope"}, "b": {"type": "python", "path": "none.py", "function": "f"}},
        require=("c >= 1", "a >=", "a >= 1 at p 2"),
    )
    _, problems = prepare(wrong, root=tmp_path)
    assert [(one.code, one.severity) for one in problems] == [("bad-prompt", Severity.ERROR), *[("bad-grader", Severity.ERROR)] * 2] + [
        ("bad-gate", Severity.ERROR)
    ] * 3


def test_options_that_an_eval_does_not_have_are_named(tmp_path: Path) -> None:
    """A typo, a wall that does not exist."""
    _, problems = prepare(declared(options={"maxconnections": 3, "isolation": "bwrap"}), root=tmp_path)
    assert [one.message for one in problems] == [
        "eval `e`: options.maxconnections: an eval that is graded here has no such option",
        "eval `e`: isolation: must be one of `bubblewrap`, `namespace`, `process`",
    ]


def test_the_classification_preset_brings_its_grader(tmp_path: Path) -> None:
    """Without graders of its own the trimmed answer is compared with the reference."""
    ready, problems = prepare(declared(graders={}, options={"preset": "classification"}, require=("macro_f1 >= 0.8",)), root=tmp_path)
    assert problems == []
    assert list(ready.graders) == ["correct"]


def test_code_is_shown_by_digest_and_judges_are_known_without_running_anything(tmp_path: Path) -> None:
    """A note for people, with what to type; the engines of judges for who opens them."""
    (tmp_path / "g.py").write_text("raise SystemExit('it ran')\ndef compare(a, b):\n    return a == b\n")
    judge = {"type": "score_model", "model": "j", "engine": "openai", "input": [{"role": "user", "content": "x"}]}
    ready, notes = prepare(
        declared(graders={"code": {"type": "python", "path": "g.py", "function": "compare"}, "judge": judge}), root=tmp_path
    )
    (note,) = notes
    assert (note.code, note.severity, note.help) == ("runs-code", Severity.INFO, "read it; it runs only with `--allow-code`")
    assert re.fullmatch("the grader `code` runs `compare`, sha256:[0-9a-f]{12}", note.message)
    assert judges_of(ready) == {("openai", "j")}


def test_every_code_of_evals_has_a_page() -> None:
    """What is in the source is in the docs, and nothing else."""
    import inspect

    used = set(re.findall(r'(?:error\(|code=)"([a-z-]+)"', inspect.getsource(prepare_module)))
    assert used == set(pages())
