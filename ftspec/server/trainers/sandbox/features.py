"""What the learner looks at before each action, as hashed numbers with weights.

Local features (the last two words, the prompt word at the pointer and its neighbours, the
kind of the last action) weigh 1 each; the bags (words of the prompt, of earlier turns and of
the system message, character 4-grams at the first step, prompt words crossed with the last
word) share a weight, so that a long prompt does not drown them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np  # noqa: TID253 loaded only when something is trained or asked

from ftspec.server.trainers.sandbox.words import code, grams, pieces

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    import numpy.typing as npt

    from ftspec.server.trainers.sandbox.transducer import Walk

    Ints = npt.NDArray[np.int32]
    Floats = npt.NDArray[np.float32]

_MASK, _POSITIVE = (1 << 32) - 1, (1 << 31) - 1
_BAG = 64
_CROSSED = 32
_HISTORY = 32
_PROMPT = 2048
_SYSTEM = frozenset({"system", "developer"})
_START = code("")


def _mix(space: int, *values: int) -> int:
    """Return the hash of some numbers in a name space."""
    state = (space * 0x9E3779B1) & _MASK
    for value in values:
        state = ((state ^ value) * 0x85EBCA6B) & _MASK
        state ^= state >> 15
    return state & _POSITIVE


def _mix_all(space: int, values: npt.NDArray[np.uint32], other: int = 0) -> Ints:
    """Return the hashes of many numbers, each with `other`, in a name space."""
    state = values ^ np.uint32((space * 0x9E3779B1 + other * 0xC2B2AE35) & _MASK)
    state = state * np.uint32(0x85EBCA6B)
    state ^= state >> np.uint32(15)
    state = state * np.uint32(0xC2B2AE35)
    state ^= state >> np.uint32(13)
    return (state & np.uint32(_POSITIVE)).astype(np.int32)


def _codes(words: Iterable[str], limit: int) -> npt.NDArray[np.uint32]:
    distinct = list(dict.fromkeys(code(word) for word in words))
    if len(distinct) > limit:
        distinct = distinct[: limit // 2] + distinct[-(limit // 2) :]
    return np.array(distinct, dtype=np.uint32)


@dataclass(frozen=True, slots=True)
class View:
    """What one step sees: hashes of features (a network takes them modulo its size) and their weights."""

    buckets: Ints
    weights: Floats


def _turns(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    return [message["content"] for message in messages if message["role"] not in _SYSTEM]


def prompt_of(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the words that a reply walks along: those of the last turn."""
    turns = _turns(messages)
    words = pieces(turns[-1]) if turns else []
    return words if len(words) <= _PROMPT else words[: _PROMPT // 2] + words[-_PROMPT // 2 :]


class Context:
    """A conversation up to the reply: the words that the reply walks along, and what stands around them."""

    def __init__(self, messages: Sequence[Mapping[str, Any]]) -> None:
        system = "\n".join(message["content"] for message in messages if message["role"] in _SYSTEM)
        turns = _turns(messages)
        self.prompt = prompt_of(messages)
        self._codes = [code(word) for word in self.prompt]
        bag = _codes(self.prompt, _BAG)
        self._crossed = bag[:_CROSSED]
        self._always = _part(
            (np.array([_mix(1, code(system))] if system else [], dtype=np.int32), 1.0),
            (_mix_all(2, _codes(pieces(system), _HISTORY)), 0.5),
            (_mix_all(3, _codes((word for text in turns[:-1] for word in pieces(text)), _HISTORY)), 0.5),
            (_mix_all(4, bag), 1.0),
        )
        self._first = _part((_mix_all(5, np.array(grams(turns[-1]), dtype=np.uint32)), 1.0)) if self.prompt else None

    def view(self, walk: Walk) -> View:
        """Return what the next step sees."""
        one = code(walk.written[-1]) if walk.written else _START
        two = code(walk.written[-2]) if len(walk.written) > 1 else _START
        at = [self._codes[i] if 0 <= i < len(self._codes) else i - len(self._codes) for i in range(walk.pointer - 1, walk.pointer + 3)]
        kind = min(max(walk.last, 0), 5) if walk.last >= 0 else 5
        place = min(len(walk.written), 12)
        local = [
            _mix(10, place),
            _mix(11, one),
            _mix(12, one, two),
            _mix(13, at[1]),
            _mix(14, at[1], one),
            _mix(15, at[1], kind),
            _mix(16, at[0], one),
            _mix(17, at[2], at[1]),
            _mix(18, kind, one),
            _mix(19, at[2], one),
            _mix(20, at[3]),
            _mix(21, kind, int(walk.at_end)),
        ]
        parts = [View(np.array(local, dtype=np.int32), np.ones(len(local), dtype=np.float32)), self._always]
        if walk.written or walk.pointer:
            parts.append(self._cross(one, two))
        elif self._first is not None:
            parts.append(self._first)
        return View(np.concatenate([p.buckets for p in parts]), np.concatenate([p.weights for p in parts]))

    def _cross(self, one: int, two: int) -> View:
        """Return the words of the prompt crossed with the last word and with the two last: what it is about, at this place."""
        both = (one * 31 + two) & _MASK
        return _part((_mix_all(6, self._crossed, one), 0.7), (_mix_all(7, self._crossed, both), 0.7))


def _part(*bags: tuple[Ints, float]) -> View:
    """Return bags whose weights share `strength` as one view: n features of 1/sqrt(n) each."""
    weights = [np.full(len(bag), strength / max(len(bag), 1) ** 0.5, dtype=np.float32) for bag, strength in bags]
    return View(np.concatenate([bag for bag, _ in bags]), np.concatenate(weights))
