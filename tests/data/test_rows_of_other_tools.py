"""Rows of other tools' datasets are recognised, and the command that is shown makes good rows of them."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from ftspec.data.audit import audit
from ftspec.data.foreign import SHAPES, shape_of

ASKED, SAID = {"role": "user", "content": "Where is it?"}, {"role": "assistant", "content": "On its way."}
CHAT = {"messages": [ASKED, SAID]}
LONGER = {"messages": [{"role": "user", "content": "Where is it?\n\nOrder 5."}, SAID]}
PAIR = {"input": {"messages": [ASKED]}, "preferred_output": [SAID], "non_preferred_output": [{"role": "assistant", "content": "No idea."}]}

ROWS = {
    "Alpaca": ({"instruction": "Where is it?", "input": "", "output": "On its way."}, CHAT),
    "Alpaca with an input": ({"instruction": "Where is it?", "input": "Order 5.", "output": "On its way.", "id": 7}, LONGER),
    "Alpaca without an input": ({"instruction": "Where is it?", "output": "On its way."}, CHAT),
    "Dolly": ({"instruction": "Where is it?", "context": "Order 5.", "response": "On its way.", "category": "qa"}, LONGER),
    "ShareGPT": ({"conversations": [{"from": "human", "value": "Where is it?"}, {"from": "gpt", "value": "On its way."}]}, CHAT),
    "Gemini": (
        {
            "contents": [
                {"role": "user", "parts": [{"text": "Where "}, {"text": "is it?"}]},
                {"role": "model", "parts": [{"text": "On its way."}]},
            ]
        },
        CHAT,
    ),
    "pairs of texts": ({"prompt": "Where is it?", "chosen": "On its way.", "rejected": "No idea."}, PAIR),
    "pairs of conversations": ({"chosen": [ASKED, SAID], "rejected": [ASKED, *PAIR["non_preferred_output"]]}, PAIR),
    "pairs after a conversation": ({"prompt": [ASKED], "chosen": [SAID], "rejected": PAIR["non_preferred_output"]}, PAIR),
    "prompt and response": ({"prompt": "Where is it?", "response": "On its way."}, CHAT),
}


def told(folder, *rows, **settings):
    found = audit(folder.dataset("my rows", *rows, **settings), folder.place())[1]
    return {one.code: one for one in found if one.code != "estimated-tokens"}


@pytest.mark.parametrize(("row", "wanted"), ROWS.values(), ids=ROWS)
def test_the_command_that_is_shown_makes_good_rows(folder, row, wanted):
    """What stands alone in the help is typed as it is; the new file has the rows that were meant, and no rule speaks."""
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    command = told(folder, row)["foreign-format"].help.splitlines()[-1]
    assert command.startswith("  jq -c ")
    subprocess.run(["bash", "-c", command], cwd=folder.root, check=True)
    [made] = [path for path in folder.root.iterdir() if path.name != "my rows.jsonl"]
    lines = made.read_text().splitlines()
    assert [json.loads(line) for line in lines] == [wanted]
    assert told(folder, *lines) == {}


def test_every_shape_has_an_example():
    """No shape is without a row that has it, and each row has the one shape."""
    assert {shape_of(row).name for row, _ in ROWS.values()} == {shape.name for shape in SHAPES}


@pytest.mark.parametrize(
    "row",
    [
        {"question": "Where is it?", "answer": "On its way."},
        {"input": "Where is it?", "reference": "On its way."},
        {"instruction": "Where is it?"},
        {"conversations": []},
        {"chosen": 1, "rejected": 2},
        {"prompt": "Where is it?", "response": None},
    ],
)
def test_items_of_evals_are_nobodys(folder, row):
    """Questions with references are what evals have; they are called unknown, not somebody's, and no preferences for an `input`."""
    assert set(told(folder, row)) == {"unknown-format"}


@pytest.mark.parametrize("row", [ROWS["Alpaca"][0], {"question": "a"}])
def test_what_is_declared_as_items_of_an_eval_is_not_questioned(folder, row):
    """`format: eval` says what they are."""
    assert told(folder, row, format="eval") == {}


def test_rows_with_parts_of_a_preference_are_bad_preferences(folder, chat):
    """Where one of its own members is there, the rows are told what is missing."""
    assert set(told(folder, {"input": {"messages": [ASKED]}})) == {"preference-shape"}
    assert set(told(folder, {"input": "Where is it?", "preferred_output": "On its way."})) == {"preference-shape"}
    assert told(folder, chat() | {"input": "Where is it?"}).keys() == {"unknown-key"}
