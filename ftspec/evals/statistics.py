"""The statistics of evals, in the standard library and numpy. Everything is deterministic: resamples are seeded.

Two models are always compared on the same items. Seeds and repeats of one item are one
observation (their mean), never independent items. Tests compare with scipy.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np

RESAMPLES: Final = 10_000
SEED: Final = 20_260_101
CONFIDENCE: Final = 0.95
_NORMAL: Final = statistics.NormalDist()
_FEW: Final = 30
_SKEWED: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate and the range it may lie in. `method` is `wilson`, `t`, `bootstrap` or `none` (too few)."""

    estimate: float
    low: float
    high: float
    n: int
    method: str


def wilson(passed: float, n: int, *, confidence: float = CONFIDENCE) -> Interval:
    """Return the Wilson score interval of a share."""
    if n == 0:
        return Interval(estimate=math.nan, low=0.0, high=1.0, n=0, method="none")
    z = _NORMAL.inv_cdf((1 + confidence) / 2)
    share = passed / n
    scale = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Interval(estimate=share, low=max(0.0, centre - half), high=min(1.0, centre + half), n=n, method="wilson")


def mean_interval(values: Sequence[float], *, confidence: float = CONFIDENCE) -> Interval:
    """Return the mean with its interval: Wilson for zeros and ones, bootstrap for few or skewed values, else t.

    Values must be independent: one for each item, group of items, or seed (`cluster_means`).
    """
    n = len(values)
    if n == 0:
        return Interval(estimate=math.nan, low=math.nan, high=math.nan, n=0, method="none")
    if all(value in (0.0, 1.0) for value in values):
        return wilson(sum(values), n, confidence=confidence)
    if n == 1:
        return Interval(estimate=values[0], low=math.nan, high=math.nan, n=1, method="none")
    if n < _FEW or abs(_skew(values)) > _SKEWED:
        low, high = bootstrap(values, confidence=confidence)
        return Interval(estimate=statistics.fmean(values), low=low, high=high, n=n, method="bootstrap")
    return t_interval(values, confidence=confidence)


def t_interval(values: Sequence[float], *, confidence: float = CONFIDENCE) -> Interval:
    """Return the mean with its t interval (the way to look at a handful of seeds)."""
    n = len(values)
    mean = statistics.fmean(values)
    if n < 2:
        return Interval(estimate=mean, low=math.nan, high=math.nan, n=n, method="none")
    half = t_quantile((1 + confidence) / 2, n - 1) * statistics.stdev(values) / math.sqrt(n)
    return Interval(estimate=mean, low=mean - half, high=mean + half, n=n, method="t")


def bootstrap(values: Sequence[float], *, confidence: float = CONFIDENCE, seed: int = SEED) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean."""
    import numpy as np

    means = resampled_means(np.asarray(values, dtype=float)[None, :], seed=seed)[0]
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def resampled_means(rows: np.ndarray[Any, Any], *, resamples: int = RESAMPLES, seed: int = SEED) -> np.ndarray[Any, Any]:
    """Return the means of `resamples` draws of the columns, for each row; all rows see the same draws."""
    import numpy as np

    random = np.random.default_rng(seed)
    columns = rows.shape[1]
    means = np.empty((rows.shape[0], resamples))
    step = max(1, 1_000_000 // columns)
    for start in range(0, resamples, step):
        stop = min(start + step, resamples)
        draws = random.integers(0, columns, size=(stop - start, columns))
        for row, values in enumerate(rows):
            means[row, start:stop] = values[draws].mean(axis=1)
    return means


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """Two models on the same items: `difference` (first minus second) with its interval, and how surprising it is.

    `wins` are items where the first is better. `method` is `mcnemar` or `bootstrap`.
    """

    difference: float
    low: float
    high: float
    p: float
    wins: int
    losses: int
    ties: int
    method: str

    @property
    def n(self) -> int:
        """How many items both answered."""
        return self.wins + self.losses + self.ties

    @property
    def visible(self) -> float:
        """The smallest difference that this many items would show four times in five, were they to vary as these do."""
        if self.high == self.low:  # no difference at all between these two says little about others
            return smallest_visible_difference(self.n, discordant=0.05)
        return (self.high - self.low) / 2 * (_NORMAL.inv_cdf(0.975) + _NORMAL.inv_cdf(0.8)) / _NORMAL.inv_cdf(0.975)


def paired(first: Sequence[float], second: Sequence[float], *, confidence: float = CONFIDENCE) -> Paired | None:
    """Compare two models item by item: exact McNemar for zeros and ones, else the paired bootstrap."""
    if len(first) != len(second):
        msg = "paired scores have the same length"
        raise ValueError(msg)
    if not first:
        return None
    differences = [a - b for a, b in zip(first, second, strict=True)]
    wins, losses = sum(1 for d in differences if d > 0), sum(1 for d in differences if d < 0)
    binary = all(value in (0.0, 1.0) for value in (*first, *second))
    p, low, high = paired_bootstrap(differences, confidence=confidence)
    return Paired(
        difference=statistics.fmean(differences),
        low=low,
        high=high,
        p=mcnemar(wins, losses) if binary else p,
        wins=wins,
        losses=losses,
        ties=len(differences) - wins - losses,
        method="mcnemar" if binary else "bootstrap",
    )


def mcnemar(wins: int, losses: int) -> float:
    """Return the two-sided p of the exact McNemar test: a fair coin for each item that only one gets right."""
    n = wins + losses
    if n == 0:
        return 1.0
    tail = math.fsum(math.exp(_log_choose(n, k) - n * math.log(2)) for k in range(min(wins, losses) + 1))
    return min(1.0, 2 * tail)


def paired_bootstrap(differences: Sequence[float], *, confidence: float = CONFIDENCE, seed: int = SEED) -> tuple[float, float, float]:
    """Return p (two-sided) and the interval of the mean difference, by resampling items."""
    import numpy as np

    if not any(differences):
        return 1.0, 0.0, 0.0
    means = resampled_means(np.asarray(differences, dtype=float)[None, :], seed=seed)[0]
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    beyond = min(int((means <= 0).sum()), int((means >= 0).sum()))
    return min(1.0, 2 * (beyond + 1) / (len(means) + 1)), float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p values adjusted for many comparisons with one baseline (Holm), in the given order."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def smallest_visible_difference(n: int, *, discordant: float = 0.25, power: float = 0.8, alpha: float = 0.05) -> float:
    """Return the smallest gain that a paired test of `n` items would see with that power.

    `discordant` is the share of items which exactly one of the two models gets right.
    """
    if n == 0:
        return math.nan
    z_alpha, z_power = _NORMAL.inv_cdf(1 - alpha / 2), _NORMAL.inv_cdf(power)
    low, high = 0.0, 1.0
    for _ in range(60):
        gain = (low + high) / 2
        spread = max(discordant, gain)
        seen = gain * math.sqrt(n) - z_alpha * math.sqrt(spread) - z_power * math.sqrt(max(spread - gain * gain, 0.0))
        low, high = (low, gain) if seen >= 0 else (gain, high)
    return high


def cohen_kappa(first: Sequence[object], second: Sequence[object]) -> float:
    """Return how much two raters agree beyond chance; `nan` where one label is all there is."""
    n = len(first)
    if n == 0 or n != len(second):
        return math.nan
    labels = set(first) | set(second)
    agreed = sum(a == b for a, b in zip(first, second, strict=True)) / n
    chance = sum(first.count(label) * second.count(label) for label in labels) / (n * n)
    return math.nan if chance == 1 else (agreed - chance) / (1 - chance)


def pass_at_k(n: int, passed: int, k: int) -> float:
    """Return the unbiased estimate that at least one of `k` tries passes, from `passed` of `n`."""
    return math.nan if k > n else 1 - math.comb(n - passed, k) / math.comb(n, k)


def pass_hat_k(n: int, passed: int, k: int) -> float:
    """Return the unbiased estimate that all of `k` tries pass, from `passed` of `n`."""
    return math.nan if k > n else math.comb(passed, k) / math.comb(n, k)


def cluster_means(values: Sequence[float], clusters: Sequence[object]) -> list[float]:
    """Return the mean of each cluster (repeats of an item, items of a group), in order of appearance."""
    sums: dict[object, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        sums.setdefault(cluster, []).append(value)
    return [statistics.fmean(group) for group in sums.values()]


def mean_over_seeds(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return for each item that every run has, its mean over the runs: seeds are not more items."""
    if not runs:
        return {}
    return {item: statistics.fmean(run[item] for run in runs) for item in runs[0] if all(item in run for run in runs)}


def t_quantile(p: float, degrees: float) -> float:
    """Return the quantile of Student's t distribution."""
    if p == 0.5:
        return 0.0
    if p < 0.5:
        return -t_quantile(1 - p, degrees)
    low, high = 0.0, 1.0
    while t_cdf(high, degrees) < p:
        low, high = high, high * 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if t_cdf(middle, degrees) < p else (low, middle)
    return high


def t_cdf(t: float, degrees: float) -> float:
    """Return the distribution function of Student's t."""
    tail = 0.5 * _incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t))
    return 1 - tail if t >= 0 else tail


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function, by its continued fraction (Lentz)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    tiny = 1e-300
    c, d = 1.0, 1 / ((1 - (a + b) * x / (a + 1)) or tiny)
    value = d
    for m in range(1, 400):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / ((1 + term * d) or tiny)
            c = (1 + term / c) or tiny
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * value


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _skew(values: Sequence[float]) -> float:
    mean, deviation = statistics.fmean(values), statistics.pstdev(values)
    return statistics.fmean(((value - mean) / deviation) ** 3 for value in values) if deviation else 0.0
