"""How the learner writes a reply: a transducer that walks along the prompt.

At each step one action is chosen: a word of its vocabulary, `COPY` (write the prompt word at
the pointer and move on; `LOWER` and `UPPER` change its first letter), `ADVANCE` (move on) or
`END`. So replies made of words that were never seen in training can be written, as long as
they stand in the prompt. `align` finds the actions that write a given reply.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

END, ADVANCE, COPY, LOWER, UPPER = range(5)
SPECIAL = ("", "", "<copy>", "<copy lower>", "<copy upper>")
"""What stands in the vocabulary for the actions that are no words."""
STRIDES = frozenset({ADVANCE, COPY, LOWER, UPPER})
MOVES = slice(ADVANCE, UPPER + 1)
"""The actions that need a prompt word at the pointer, and leave it behind."""

_FAR = 3
"""A word that the vocabulary has anyway is copied only from this near."""


@dataclass(slots=True)
class Walk:
    """A reply being written along the words of a prompt."""

    prompt: Sequence[str]
    pointer: int = 0
    written: list[str] = field(default_factory=list)
    last: int = END

    @property
    def at_end(self) -> bool:
        """Whether the pointer has passed the last word of the prompt."""
        return self.pointer >= len(self.prompt)

    def copied(self, action: int, position: int) -> str:
        """Return what a copying action would write from a position of the prompt."""
        piece = self.prompt[position]
        word = piece.lstrip()
        space = piece[: len(piece) - len(word)] or (" " if position == 0 else "")
        if action == LOWER:
            word = word[:1].lower() + word[1:]
        elif action == UPPER:
            word = word[:1].upper() + word[1:]
        return (space if self.written else "") + word

    def take(self, action: int, word: str) -> str:
        """Do an action and return what it writes; `word` is the vocabulary's entry for it."""
        self.last = action
        if action == END:
            return ""
        if action == ADVANCE:
            self.pointer += 1
            return ""
        if action in {COPY, LOWER, UPPER}:
            word = self.copied(action, self.pointer)
            self.pointer += 1
        self.written.append(word)
        return word


def align(prompt: Sequence[str], reply: Sequence[str], *, common: Callable[[str], bool]) -> list[int | str]:
    """Return the actions that write `reply`: special ones by number, words as they are; `END` last.

    `common` tells words that the vocabulary will have anyway.
    """
    walk = Walk(prompt)
    actions: list[int | str] = []
    matches = _matches(prompt, reply)
    done = 0

    def write(until: int, target: int) -> None:
        """Write the words up to `until` and move towards `target`, as late as possible: a word stands at what it replaces."""
        nonlocal done
        for index in range(done, until):
            actions.append(reply[index])
            walk.take(-1, reply[index])
            if until - 1 - index < target - walk.pointer:
                actions.append(ADVANCE)
                walk.take(ADVANCE, "")
        done = until

    for position, index in matches:
        ahead = position - walk.pointer - (index - done)
        if ahead > _FAR and common(reply[index]):
            continue
        # the words between are written first, so whether a copy would be exact is known only then
        probe = Walk(prompt, position, ["x"] if index else [])
        action = next((a for a in (COPY, LOWER, UPPER) if probe.copied(a, position) == reply[index]), None)
        if action is None:
            continue
        write(index, position)
        for _ in range(position - walk.pointer):
            actions.append(ADVANCE)
            walk.take(ADVANCE, "")
        actions.append(action)
        walk.take(action, "")
        done = index + 1
    rest = len(reply) - done
    write(len(reply), walk.pointer if done == 0 else min(walk.pointer + rest, len(prompt)) - 1)
    actions.append(END)
    return actions


def _matches(prompt: Sequence[str], reply: Sequence[str]) -> list[tuple[int, int]]:
    """Return pairs of positions, rising in both, where prompt and reply have the same word."""
    a = [piece.strip().casefold() for piece in prompt]
    b = [piece.strip().casefold() for piece in reply]
    blocks = SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()
    return [(block.a + i, block.b + i) for block in blocks for i in range(block.size)]
