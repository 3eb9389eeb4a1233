"""Rules about reinforcement rows: a prompt, and what the grader needs to judge the answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ftspec.data.checks.base import REINFORCEMENT, RowCheck
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
