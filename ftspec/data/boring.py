"""The fast lane: rows that no rule has anything to say about, told at a glance.

Most rows of most datasets are plain. `plain_chat` decodes a chat row in msgspec's C code if
its members are exactly a role and a text; `is_boring` and `is_boring_dict` then look at what the
decoder cannot see. A row that passes breaks no row rule (a law that the tests check); one
that does not is looked at by every rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from ftspec.data import safety
from ftspec.data.checks.base import Setting
from ftspec.data.checks.base_model import concern_plain_rows
from ftspec.data.checks.chat import COPY_LENGTH


class PlainMessage(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A message that is a role and a text, in the order of canonical JSON."""

    content: Annotated[str, msgspec.Meta(min_length=1)]
    role: Literal["system", "user", "assistant"]


class PlainChat(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A chat row that is only such messages."""

    messages: Annotated[list[PlainMessage], msgspec.Meta(min_length=1)]


PLAIN_ROLES = frozenset({"system", "user", "assistant"})


def can_be_boring(setting: Setting) -> bool:
    """Whether the fast lane is open: it knows nothing of engines with other roles or bases with gaps, of graders or labels."""
    special = setting.labels or setting.item_keys or concern_plain_rows(setting.lacks)
    return setting.format == "chat" and setting.roles >= PLAIN_ROLES and not special


_PROBE = 24
"""Letters of an answer that are looked for in a prompt first: most often in vain, and a short text is found to be missing sooner."""

_orders: dict[tuple[str, ...], bool] = {}


def _good_order(roles: tuple[str, ...]) -> bool:
    """Whether the roles come in a good order; remembered, because few orders make up a dataset."""
    if len(_orders) > 1000:
        _orders.clear()
    good = roles[-1] == "assistant" and "user" in roles and "system" not in roles[1:] and PLAIN_ROLES.issuperset(roles)
    _orders[roles] = good
    return good


def is_boring(messages: list[PlainMessage]) -> bool:
    """Whether no rule has anything to say about a plain chat row that has no token and no secret."""
    roles = tuple([one.role for one in messages])
    good = _orders.get(roles)
    if not (_good_order(roles) if good is None else good):
        return False
    target = messages[-1].content
    size = len(target)
    for one in messages:
        text = one.content
        if one.role == "assistant":
            if text != text.strip():
                return False
        elif text.isspace() or (COPY_LENGTH <= size <= len(text) and target[:_PROBE] in text and target in text):
            return False
    return True


def has_token(messages: list[PlainMessage]) -> bool:
    """Whether a text holds the start of a special token."""
    return any("<|" in one.content for one in messages)


def has_secret(messages: list[PlainMessage]) -> bool:
    """Whether a text holds what looks secret or personal."""
    return any(True for one in messages for _ in safety.find(one.content))


def is_boring_dict(row: Mapping[str, Any], canonical: bytes, columns: frozenset[str]) -> bool:
    """Whether no rule has anything to say about a chat row, maybe with columns that are meant."""
    if len(row) > 1 and not row.keys() - columns <= {"messages"}:
        return False
    messages = row.get("messages")
    if not isinstance(messages, list) or not messages or b"<|" in canonical:
        return False
    try:
        return is_boring(msgspec.convert(messages, list[PlainMessage]))
    except msgspec.ValidationError:
        return False


def as_dict(value: Any) -> dict[str, Any]:
    """Return the value of a row as a dict."""
    plain: dict[str, Any] = msgspec.to_builtins(value) if isinstance(value, PlainChat) else value
    return plain
