"""What the base model of a dataset's jobs cannot learn from: its chat template, or the engine, lacks it.

`Setting.lacks` names the gaps; which ones there are is found out elsewhere (`pipeline/local_bases.py`),
from the files of the base. The rule says which rows need what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from ftspec.data.checks.base import MESSAGES, RowCheck
from ftspec.data.checks.chat import message_lists
from ftspec.data.formats.preference import input_of
from ftspec.data.messages import messages_of, role_of
from ftspec.printable import printable

Conversation = list[dict[str, Any]]
_SYSTEM = frozenset({"system", "developer"})
_TEXT = frozenset({"text", "refusal"})


def _has_system(messages: Conversation) -> bool:
    return bool(messages) and role_of(messages[0]) in _SYSTEM


def _has_late_system(messages: Conversation) -> bool:
    return any(role_of(message) in _SYSTEM for message in messages[1:])


def _has_repeated_role(messages: Conversation) -> bool:
    roles = [role_of(message) for message in messages]
    return any(one == other and one in {"user", "assistant"} for one, other in pairwise(roles))


def _begins_with_answer(messages: Conversation) -> bool:
    roles = [role for role in map(role_of, messages) if role not in _SYSTEM]
    return roles[:1] == ["assistant"]


def _has_several_answers(messages: Conversation) -> bool:
    return sum(role_of(message) == "assistant" for message in messages) > 1


def _has_calls(messages: Conversation) -> bool:
    return any(role_of(message) == "tool" or message.get("tool_calls") for message in messages)


def _has_parts(messages: Conversation) -> bool:
    lists = (message["content"] for message in messages if isinstance(message.get("content"), list))
    return any(not isinstance(part, dict) or part.get("type") not in _TEXT for content in lists for part in content)


_TEMPLATE = "the chat template of `{}` cannot "
_WHOLE: Final[Mapping[str, tuple[str, Callable[[Conversation], bool]]]] = {
    "system": (_TEMPLATE + "render a system message", _has_system),
    "late_system": (_TEMPLATE + "render a system message after others", _has_late_system),
    "order": (_TEMPLATE + "render two messages in a row by one role", _has_repeated_role),
    "opening": (_TEMPLATE + "render a conversation that the assistant begins", _begins_with_answer),
    "turns": (_TEMPLATE + "show all answers of a conversation", _has_several_answers),
    "tools": (_TEMPLATE + "render tools", _has_calls),
    "parts": ("the engine `{}` trains on text only", _has_parts),
    "task_tools": ("the engine `{}` does not train with tools by reinforcement", _has_calls),
}
LACKS: Final = tuple(_WHOLE)
"""Everything that a base or its engine may lack."""
_NEVER_PLAIN: Final = frozenset({"tools", "parts", "task_tools"})
"""What no plain row needs: a message that is a role and a text."""


def concern_plain_rows(lacks: tuple[tuple[str, str], ...]) -> bool:
    """Whether a row of messages that are only roles and texts may need what is missing."""
    return any(lack not in _NEVER_PLAIN for _, lack in lacks)


class BaseLacks(RowCheck):
    """A row needs something that the base model of a job, or its engine, does not have.

    Why: a base on your own machines learns conversations as its chat template renders them. What the
    template cannot render (tools, a system message, several answers) could only be trained wrongly.
    Fix: leave the rows out, change them (`transforms:`), or take a base whose template has it.
    """

    code = "base-lacks"
    formats = MESSAGES
    help = "leave these rows out, or take a base that can"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look for what each base of the dataset's jobs lacks."""
        for name, lack in self.setting.lacks:
            if lack == "task_tools" and self.setting.format != "reinforcement":
                continue
            sentence, needs = _WHOLE[lack]
            declared = lack in {"tools", "task_tools"} and bool(holder_of(row, self.setting.format).get("tools"))
            if declared or any(needs(messages) for messages in conversations(row, self.setting.format)):
                yield sentence.format(printable(name[:80]))


def holder_of(row: Mapping[str, Any], form: str) -> Mapping[str, Any]:
    """Return what declares the tools of a row."""
    return input_of(row) if form == "preference" else row


def conversations(row: Mapping[str, Any], form: str) -> list[Conversation]:
    """Return what a chat template renders in one go: of a preference, the context with each of its answers."""
    first, *answers = [messages_of(given) for given in message_lists(row, form)]
    return [[*first, *answer] for answer in answers] or [first]
