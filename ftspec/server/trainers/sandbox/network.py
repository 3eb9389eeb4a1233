"""The learner: a log-bilinear model over hashed features, in numpy.

The hidden vector is the weighted sum of feature embeddings, an action's score its product
with the action's output vector plus a bias. One step of RMSProp moves everything that a batch
touched. Features that training never touched count as nothing.

The same bits come out whatever the number of threads: matrices are multiplied in tiles that
are too small for any BLAS to share out. Initial values are a hash of (seed, row, column), so
they depend on no library.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 loaded only when something is trained or asked

from ftspec.server.trainers.sandbox.transducer import MOVES, SPECIAL
from ftspec.server.trainers.sandbox.words import code

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from ftspec.server.trainers.sandbox.features import View

    Ints = npt.NDArray[np.int32]
    Floats = npt.NDArray[np.float32]

_IMPOSSIBLE = np.float32(-1e9)
_UNKNOWN = np.float32(-13.8)
"""Log probability of a word that the model has never seen: about one in a million."""
_DECAY_DENSE, _DECAY_ROWS = 0.98, 0.9
_EPSILON = np.float32(1e-4)
_TILE = 64
"""OpenBLAS uses one thread for up to 64 * 64 * 64 products."""


def noise(seed: int, rows: Sequence[int] | Ints, width: int) -> Floats:
    """Return numbers in [-1, 1) that depend on nothing but seed, row and column (SplitMix64)."""
    state = np.asarray(rows, dtype=np.uint64)[:, None] * np.uint64(0x9E3779B97F4A7C15)
    state = state + np.arange(1, width + 1, dtype=np.uint64)[None, :] * np.uint64(0xD1342543DE82EF95)
    state = state + np.uint64(seed * 0xDA942042E4DD58B5 % 2**64)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    return ((state >> np.uint64(40)).astype(np.float64) / 2**23 - 1.0).astype(np.float32)


def product(left: Floats, right: Floats) -> Floats:
    """Return the matrix product, summed in an order that does not depend on the number of threads."""
    (height, depth), width = left.shape, right.shape[1]
    if max(height, depth, width) <= _TILE:
        return left @ right
    result = np.zeros((height, width), dtype=np.float32)
    for top in range(0, height, _TILE):
        for start in range(0, width, _TILE):
            target = result[top : top + _TILE, start : start + _TILE]
            for middle in range(0, depth, _TILE):
                inner = slice(middle, middle + _TILE)
                target += left[top : top + _TILE, inner] @ right[inner, start : start + _TILE]
    return result


@dataclass(frozen=True, slots=True)
class Steps:
    """Some steps to learn from or to judge: features (flat, with the size of each step), and which action was right.

    An action below 0 is a word that the model does not know: it can be judged, not learned.
    """

    buckets: Ints
    weights: Floats
    sizes: Ints
    at_end: npt.NDArray[np.bool_]
    actions: Ints

    @classmethod
    def join(cls, parts: Sequence[Steps]) -> Steps:
        """Return several as one."""
        return cls(
            np.concatenate([p.buckets for p in parts]),
            np.concatenate([p.weights for p in parts]),
            np.concatenate([p.sizes for p in parts]),
            np.concatenate([p.at_end for p in parts]),
            np.concatenate([p.actions for p in parts]),
        )

    @classmethod
    def of(cls, views: Sequence[View], at_end: Sequence[bool], actions: Sequence[int]) -> Steps:
        """Return the steps of one reply."""
        return cls(
            np.concatenate([v.buckets for v in views]),
            np.concatenate([v.weights for v in views]),
            np.array([len(v.buckets) for v in views], dtype=np.int32),
            np.array(at_end, dtype=np.bool_),
            np.array(actions, dtype=np.int32),
        )

    def __len__(self) -> int:
        """How many steps."""
        return len(self.actions)


class Network:
    """The weights of one model. `width` and `buckets` (a power of two) are its size."""

    def __init__(
        self, *, seed: int, buckets: int, vocabulary: Sequence[str], features: Ints, embeddings: Floats, outputs: Floats, biases: Floats
    ) -> None:
        self.seed = seed
        self.buckets = buckets
        self.vocabulary = list(vocabulary)
        self.index = {word: number for number, word in enumerate(self.vocabulary) if number >= len(SPECIAL)}
        self.outputs = outputs
        self.biases = biases
        self._count = len(features)
        self._features = features
        self._embeddings = embeddings
        self._row = np.full(buckets, -1, dtype=np.int32)
        self._row[features] = np.arange(self._count, dtype=np.int32)

    @property
    def width(self) -> int:
        """How many numbers describe a feature."""
        return int(self.outputs.shape[1])

    @property
    def features(self) -> Ints:
        """The features that the model knows, in the order in which it met them."""
        return self._features[: self._count]

    @property
    def embeddings(self) -> Floats:
        """What describes each of them."""
        return self._embeddings[: self._count]

    @property
    def room(self) -> int:
        """How many features there is room for before the table has to grow."""
        return len(self._embeddings)

    @classmethod
    def base(cls, *, seed: int, width: int, buckets: int, biases: Sequence[float]) -> Network:
        """Return a model that has learned nothing: it knows its special actions only."""
        return cls(
            seed=seed,
            buckets=buckets,
            vocabulary=SPECIAL,
            features=np.zeros(0, dtype=np.int32),
            embeddings=np.zeros((0, width), dtype=np.float32),
            outputs=np.zeros((len(SPECIAL), width), dtype=np.float32),
            biases=np.array(biases, dtype=np.float32),
        )

    def with_words(self, words: Iterable[str], *, seed: int) -> Network:
        """Return a copy that also knows these words, drawn by `seed`."""
        new = sorted(set(words) - set(self.index))
        drawn = noise(seed, [code(word) + 1 for word in new], self.width) * np.float32(0.1 * self.width**-0.5)
        return Network(
            seed=self.seed,
            buckets=self.buckets,
            vocabulary=[*self.vocabulary, *new],
            features=self.features,
            embeddings=self.embeddings.copy(),
            outputs=np.concatenate([self.outputs, drawn]),
            biases=np.concatenate([self.biases, np.zeros(len(new), dtype=np.float32)]),
        )

    def know(self, features: Ints) -> None:
        """Learn to see these features, each with the embedding that the base has for it."""
        places = features & (self.buckets - 1)
        new = np.unique(places[self._row[places] < 0])
        count = self._count + len(new)
        if count > self.room:
            self._features = grown(self._features, count)
            self._embeddings = grown(self._embeddings, count)
        self._features[self._count : count] = new
        self._embeddings[self._count : count] = noise(self.seed, new, self.width) * np.float32(self.width**-0.5)
        self._row[new] = np.arange(self._count, count, dtype=np.int32)
        self._count = count

    def fingerprint(self) -> str:
        """Return a hash of every bit of the model."""
        digest = hashlib.sha256("\0".join(self.vocabulary).encode(errors="surrogatepass"))
        for array in (self.features, self.embeddings, self.outputs, self.biases):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def _known(self, steps: Steps) -> tuple[Ints, Floats, Ints]:
        """Return the rows of the features that the model knows, their weights, and how many each step has."""
        rows = self._row[steps.buckets & (self.buckets - 1)]
        known = rows >= 0
        if known.all():
            return rows, steps.weights, steps.sizes
        ends = np.concatenate([[0], np.cumsum(known, dtype=np.int32)])
        edges = np.concatenate([[0], np.cumsum(steps.sizes, dtype=np.int32)])
        return rows[known], steps.weights[known], np.diff(ends[edges]).astype(np.int32)

    def _hidden(self, rows: Ints, weights: Floats, sizes: Ints) -> Floats:
        hidden = np.zeros((len(sizes), self.width), dtype=np.float32)
        some = sizes > 0
        if some.any():
            starts = np.concatenate([[0], np.cumsum(sizes[some])[:-1]])
            hidden[some] = np.add.reduceat(self.embeddings[rows] * weights[:, None], starts, axis=0)
        return hidden

    def _log_probabilities(self, hidden: Floats, at_end: npt.NDArray[np.bool_]) -> Floats:
        scores: Floats = product(hidden, self.outputs.T) + self.biases
        scores[at_end, MOVES] = _IMPOSSIBLE
        scores -= scores.max(axis=1, keepdims=True)
        scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
        return scores

    def judge(self, steps: Steps) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Return the log probability of each right action, and whether it is the likeliest."""
        log_probabilities = self._log_probabilities(self._hidden(*self._known(steps)), steps.at_end)
        right = np.where(steps.actions < 0, _UNKNOWN, log_probabilities[np.arange(len(steps)), steps.actions])
        return right, log_probabilities.argmax(axis=1) == steps.actions

    def next(self, view: View, *, at_end: bool) -> Floats:
        """Return the log probabilities of all actions at one step."""
        rows = self._row[view.buckets & (self.buckets - 1)]
        known = rows >= 0
        hidden = (self.embeddings[rows[known]] * view.weights[known, None]).sum(axis=0)
        scores: Floats = np.einsum("k,vk->v", hidden, self.outputs) + self.biases
        if at_end:
            scores[MOVES] = _IMPOSSIBLE
        scores -= scores.max()
        scores -= np.log(np.exp(scores).sum())
        return scores


def grown(array: Any, count: int) -> Any:
    """Return a larger copy of a table: room for `count` rows and as many again, the new ones empty."""
    larger = np.zeros((2 * count, *array.shape[1:]), dtype=array.dtype)
    larger[: len(array)] = array
    return larger


class Learner:
    """RMSProp over one network, which it changes."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._steps = 0
        self._outputs = np.zeros_like(network.outputs)
        self._biases = np.zeros_like(network.biases)
        self._squares = np.zeros((network.room, network.width), dtype=np.float32)
        self._touches = np.zeros(network.room, dtype=np.int32)

    def know(self, features: Ints) -> None:
        """Let the network see more features."""
        self.network.know(features)
        if len(self._squares) < self.network.room:
            self._squares = grown(self._squares, self.network.room)
            self._touches = grown(self._touches, self.network.room)

    def learn(self, steps: Steps, importance: Floats, *, rate: float) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Raise the log probability of each right action by its `importance`; return what `judge` said before."""
        self.know(steps.buckets)
        network = self.network
        rows, weights, sizes = network._known(steps)  # noqa: SLF001 the two are one machine in two parts
        hidden = network._hidden(rows, weights, sizes)  # noqa: SLF001
        log_probabilities = network._log_probabilities(hidden, steps.at_end)  # noqa: SLF001
        every = np.arange(len(steps))
        right = log_probabilities[every, steps.actions]
        hits = log_probabilities.argmax(axis=1) == steps.actions
        gradient = np.exp(log_probabilities)
        gradient[every, steps.actions] -= 1.0
        gradient *= importance[:, None]
        to_hidden = product(gradient, network.outputs)
        self._steps += 1
        self._move(network.outputs, self._outputs, product(gradient.T, hidden), np.float32(rate))
        self._move(network.biases, self._biases, gradient.sum(axis=0), np.float32(rate))
        self._move_rows(rows, np.repeat(to_hidden, sizes, axis=0) * weights[:, None], np.float32(rate))
        return right, hits

    def _move(self, values: Floats, squares: Floats, gradient: Floats, rate: np.float32) -> None:
        squares *= np.float32(_DECAY_DENSE)
        squares += np.float32(1 - _DECAY_DENSE) * gradient * gradient
        corrected = squares * np.float32(1 / (1 - _DECAY_DENSE**self._steps))
        values -= rate * gradient / (np.sqrt(corrected) + _EPSILON)

    def _move_rows(self, rows: Ints, gradient: Floats, rate: np.float32) -> None:
        """Move the embeddings of the features of this batch, each by the sum of what its occurrences ask for."""
        if not len(rows):
            return
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        touched, total = ordered[starts], np.add.reduceat(gradient[order], starts, axis=0)
        self._touches[touched] += 1
        squares = self._squares[touched] * np.float32(_DECAY_ROWS) + np.float32(1 - _DECAY_ROWS) * total * total
        self._squares[touched] = squares
        bias = (1 - _DECAY_ROWS ** self._touches[touched].astype(np.float64)).astype(np.float32)
        self.network.embeddings[touched] -= rate * total / (np.sqrt(squares / bias[:, None]) + _EPSILON)
