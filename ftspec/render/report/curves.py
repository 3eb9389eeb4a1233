"""What curves say: smoothed, thinned for drawing, and whether validation loss rises after a minimum. Pure."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ftspec.render.report.values import Curves, Points

_RISE: Final = 0.05
"""A rise of less than this share of the minimum is not called overfitting."""
_FEWEST: Final = 8
"""Minibatches of validation loss are too noisy to be judged by fewer points than this."""


def window(points: Points) -> int:
    """Return over how many points `smoothed` takes its means: about a fifteenth, always odd."""
    return max(1, len(points) // 15) | 1


def smoothed(points: Points) -> Points:
    """Return the centred moving mean; windows shrink towards the ends, so that no point is lost or shifted."""
    half = window(points) // 2
    values = [value for _, value in points]
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    found = []
    for i, (step, _) in enumerate(points):
        reach = min(half, i, len(values) - 1 - i)
        found.append((step, (sums[i + reach + 1] - sums[i - reach]) / (2 * reach + 1)))
    return found


def thinned(points: Points, most: int) -> Points:
    """Return at most about `most` points: the lowest and highest of each stretch, so that no spike is hidden."""
    if len(points) <= most or most < 4:
        return points
    buckets = most // 2
    kept: list[tuple[float, float]] = []
    for i in range(buckets):
        part = points[i * len(points) // buckets : (i + 1) * len(points) // buckets]
        ends = {min(range(len(part)), key=lambda j: part[j][1]), max(range(len(part)), key=lambda j: part[j][1])}
        kept += [part[j] for j in sorted(ends)]
    return [points[0], *(point for point in kept if points[0][0] < point[0] < points[-1][0]), points[-1]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overfit:
    """Validation loss was `lowest` at `step` and rose to `last`, while training loss went on falling."""

    step: float
    lowest: float
    last: float
    full: bool


def overfit(curves: Curves) -> Overfit | None:
    """Say whether a job overfits: validation loss rises after a minimum by more than noise explains.

    The loss on all of the validation set is asked first; minibatches, smoothed, only where there
    are fewer than three such points.
    """
    if curves.measure != "loss":
        return None
    full = len(curves.full) >= 3
    if not full and len(curves.valid) < _FEWEST:
        return None
    points = curves.full if full else smoothed(curves.valid)
    tail = 1 if full else max(1, window(curves.valid) // 2)
    step, lowest = min(points, key=lambda point: point[1])
    # The ends of a smoothed curve are hardly smoothed, so the end is judged by the mean of the last minibatches.
    last = points[-1][1] if full else statistics.fmean(value for _, value in curves.valid[-max(tail, 3) :])
    rise = last - lowest
    if step >= points[-1][0] or rise <= max(_RISE * abs(lowest), 0.0 if full else 2 * _noise(curves.valid)):
        return None
    return Overfit(step=step, lowest=lowest, last=last, full=full) if _still_falls(curves.train, step) else None


def _noise(points: Points) -> float:
    """Return how far the mean of one smoothing window may be off."""
    around = [value - mean for (_, value), (_, mean) in zip(points, smoothed(points), strict=True)]
    return statistics.pstdev(around) / math.sqrt(window(points))


def _still_falls(train: Points, step: float) -> bool:
    """Whether training loss is lower at the end than it was around `step` (or is not known)."""
    if len(train) < 2:
        return True
    even = smoothed(train)
    then = min(even, key=lambda point: abs(point[0] - step))[1]
    return even[-1][1] <= then
