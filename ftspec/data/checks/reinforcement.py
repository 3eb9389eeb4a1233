"""Rules about reinforcement rows: a prompt, and what the grader needs to judge the answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ftspec.data.checks.base import INFO, REINFORCEMENT, Check, RowCheck
from ftspec.data.messages import messages_of, role_of
from ftspec.data.split import field_of
from ftspec.printable import printable


class LastNotUser(RowCheck):
    """A reinforcement row does not end with the user.

    Why: the model answers, and the grader judges that; a row that already has the answer is a chat row.
    Fix: remove the last answer, or put it under a key of its own for the grader.
    """

    code = "last-not-user"
    formats = REINFORCEMENT
    help = "remove the last answer, or put it under a key of its own for the grader"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look at the last message."""
        messages = messages_of(row.get("messages"))
        if messages and role_of(messages[-1]) not in {"user", "developer", "tool"}:
            yield "the last message is not the user's"


class MissingItemKey(RowCheck):
    """A row lacks a key that a grader refers to.

    Why: `{{item.key}}` would be empty, and the grader would reward the wrong thing.
    Fix: add the key to the row, or correct the grader.
    """

    code = "missing-item-key"
    help = "add the key to the row, or correct the grader's template"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look every key of the graders' templates up."""
        for key in self.setting.item_keys:
            if field_of(row, key.split(".")) is None:
                yield f"the row has no `{printable(key[:64])}`, which a grader refers to"


class LowReference(Check):
    """A grader gives right answers a low score.

    Why: a reward that the reference answer does not get, no answer gets; a reinforcement job then
    learns nothing, for its full price. Graders that need no model are tried on the first 1,000 rows, fewer
    where answers are long (`python` ones with `data check --allow-code`; `validate` and `plan` try only
    `string_check` and `text_similarity`). The right answer is what the grader compares the
    output with, else the row's `reference_answer`, `reference`, `answer`, `expected`, `solution`,
    `target`, `label` or `completion`. It should get the grader's `pass_threshold`, else 0.8.
    Fix: correct the grader's operation, metric or formula, or the references.
    """

    code = "low-reference"
    severity = INFO
    help = "correct the grader's operation, metric or formula, or the references"


class GraderRefused(Check):
    """An engine does not take a grader.

    Why: a job with it would be refused after its data was uploaded. Engines are asked only with `data check --online`;
    the grader's definition is sent, no row of the dataset, and nothing is graded or bought.
    Fix: correct the grader as the engine's message says.
    """

    code = "grader-refused"
    help = "correct the grader as the engine's message says"
