"""Rows that are longer than what jobs of a base model take: the context of the base, or a smaller `max_length`.

`Setting.reads` says what is known of the bases; it is found out elsewhere (`pipeline/local_bases.py`). Tokens are
counted by the base's own tokenizer where the package `tokenizers` can be imported (it comes with
`ftspec[local]`), else guessed from bytes. A chat template adds more than it takes away: where the texts alone
do not fit, the row does not.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Literal

from ftspec.data.checks.base import MESSAGES, WARNING, Reads, RowCheck
from ftspec.data.checks.base_model import Conversation, conversations, holder_of
from ftspec.data.messages import pieces_of, text_of, tool_pieces
from ftspec.data.tokens import PER_MESSAGE, PER_ROW, estimate
from ftspec.printable import printable

Verdict = Literal["too long", "perhaps"]

_THOUGHTS = re.compile(r".*</think>", re.DOTALL)
"""Some templates leave them out of earlier answers."""


class _LengthRule(RowCheck):
    """A rule about the length of rows."""

    formats = MESSAGES
    help = "shorten these rows or leave them out, or take a base that reads more"
    verdict: ClassVar[Verdict]
    sentence: ClassVar[str]

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look for the bases of the dataset's jobs that cannot read the row."""
        for reads in self.setting.reads:
            if _verdict(reads, row, self.setting.format) == self.verdict:
                yield self.sentence.format(f"{reads.tokens:,}", printable(reads.base[:80]))


class LongerThanBase(_LengthRule):
    """A row has more tokens than the base model of a job reads.

    Why: nothing is cut off silently, so a job on your own machines fails at this row before its first step. Counted
    with the base's own tokenizer, without what its chat template adds.
    Fix: shorten the rows, leave them out, or take a base with a longer context; `engine_options.max_length` only lowers it.
    """

    code = "longer-than-base"
    verdict = "too long"
    sentence = "the row is longer than the {} tokens that jobs of `{}` take"


class PerhapsLongerThanBase(_LengthRule):
    """A row may have more tokens than the base model of a job reads.

    Why: a job on your own machines fails at a row that is too long, before its first step. Here its tokens are only
    estimated: the package `tokenizers` is missing, or the row is within a few tokens of the limit.
    Fix: `pip install tokenizers`, which counts as the base does; else shorten the rows or leave them out.
    """

    code = "perhaps-longer-than-base"
    severity = WARNING
    verdict = "perhaps"
    sentence = "the row may be longer than the {} tokens that jobs of `{}` take"


def _verdict(reads: Reads, row: Mapping[str, Any], form: str) -> Verdict | None:
    """Return whether a row is too long; `None`: it is not, as far as can be seen here."""
    tools = [piece.text for piece in tool_pieces(holder_of(row, form))]
    found: Verdict | None = None
    for messages in conversations(row, form):
        texts = [piece.text for piece in pieces_of(messages, train_assistant=False)]
        if sum(len(text.encode(errors="replace")) for text in (*texts, *tools)) + _added(messages) <= reads.tokens:
            continue
        count = tokenizer(reads.tokenizer) if reads.tokenizer else None
        if count is not None and least(messages, count) > reads.tokens:
            return "too long"
        if sum(map(count or estimate, (*texts, *tools))) + _added(messages) > reads.tokens:
            found = "perhaps"
    return found


def least(messages: Conversation, count: Callable[[str], int]) -> int:
    """Return the tokens of the texts alone: a chat template makes no fewer of them."""
    return sum(count(_THOUGHTS.sub("", text_of(one)).strip()) for one in messages)


def _added(messages: Conversation) -> int:
    """Return about how many tokens a chat template adds."""
    return PER_MESSAGE * len(messages) + PER_ROW


@functools.lru_cache(maxsize=8)
def tokenizer(path: str) -> Callable[[str], int] | None:
    """Return what counts as a base's `tokenizer.json` says; `None`: that cannot be done here."""
    try:
        from tokenizers import Tokenizer

        made = Tokenizer.from_file(path)
        made.no_truncation()
    except Exception:  # noqa: BLE001 the package is missing, or has a word of its own for each thing that is wrong with a file
        return None

    @functools.lru_cache(maxsize=1024)
    def count(text: str) -> int:
        try:
            return len(made.encode(text.encode(errors="replace").decode(), add_special_tokens=False).ids)
        except Exception:  # noqa: BLE001 a vocabulary may have no word for what it does not know
            return 0

    return count
