"""Writing a reply with a model: one action after another, the likeliest or drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np  # noqa: TID253 loaded only when something is trained or asked

from ftspec.server.trainers.sandbox.transducer import ADVANCE, COPY, END, LOWER, UPPER, Walk

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    import numpy.typing as npt

    from ftspec.server.trainers.sandbox.features import Context, View
    from ftspec.server.trainers.sandbox.network import Network


@dataclass(frozen=True, slots=True)
class Written:
    """An action that was taken: what it wrote ("" for none), what it saw, and how likely every action was."""

    action: int
    text: str
    view: View
    at_end: bool
    log_probabilities: npt.NDArray[np.float32]


def write(network: Network, context: Context, *, temperature: float, top_p: float, chance: random.Random, limit: int) -> Iterator[Written]:
    """Yield the actions of a reply of at most `limit` words; the last one is `END` unless the limit was reached."""
    walk = Walk(context.prompt)
    words = 0
    while words < limit:
        view, at_end = context.view(walk), walk.at_end
        log_probabilities = network.next(view, at_end=at_end)
        action = _choose(log_probabilities, temperature=temperature, top_p=top_p, chance=chance)
        text = walk.take(action, network.vocabulary[action])
        words += action not in {END, ADVANCE}
        yield Written(action, text, view, at_end, log_probabilities)
        if action == END:
            return


def _choose(log_probabilities: npt.NDArray[np.float32], *, temperature: float, top_p: float, chance: random.Random) -> int:
    if temperature == 0:
        return int(log_probabilities.argmax())
    scaled = log_probabilities.astype(np.float64) / temperature
    probabilities = np.exp(scaled - scaled.max())
    probabilities /= probabilities.sum()
    order = np.argsort(-probabilities, kind="stable")
    cumulative = np.cumsum(probabilities[order])
    inside = int(np.searchsorted(cumulative, top_p * (1 - 1e-12), side="left")) + 1
    drawn = chance.random() * cumulative[:inside][-1]
    return int(order[min(int(np.searchsorted(cumulative, drawn, side="right")), inside - 1)])


def alternatives(network: Network, context: Context, walked: Written, pointer: int, *, first: bool, count: int) -> list[tuple[str, float]]:
    """Return the likeliest texts at a step, best first; the same text by several ways counts once."""
    found: dict[str, float] = {}
    walk = Walk(context.prompt, pointer, [] if first else ["x"])
    for action in np.argsort(-walked.log_probabilities, kind="stable")[: count + 8]:
        number, likelihood = int(action), float(walked.log_probabilities[action])
        if number in {END, ADVANCE} or likelihood < -1e6:
            continue
        text = walk.copied(number, pointer) if number in {COPY, LOWER, UPPER} else network.vocabulary[number]
        found[text] = float(np.logaddexp(found[text], likelihood)) if text in found else likelihood
    return sorted(found.items(), key=lambda pair: -pair[1])[:count]
