"""The statistics equal scipy's, and say what the guide to statistics promises."""

from __future__ import annotations

import math
import random

import numpy as np  # noqa: TID253 a test may
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ftspec.evals import statistics as own


@pytest.mark.parametrize(("passed", "n"), [(68, 100), (340, 500), (0, 7), (7, 7), (1, 1)])
def test_wilson_is_scipys(passed: int, n: int) -> None:
    """The interval of a share is scipy's Wilson interval."""
    interval = own.wilson(passed, n)
    expected = stats.binomtest(passed, n).proportion_ci(method="wilson")
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_of_nothing_is_everything() -> None:
    """Without items the share may be anything."""
    assert (own.wilson(0, 0).low, own.wilson(0, 0).high) == (0, 1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 600), st.integers(0, 600))
def test_mcnemar_is_the_exact_binomial_test(wins: int, losses: int) -> None:
    """p is that of a fair coin thrown for each discordant item."""
    expected = stats.binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert own.mcnemar(wins, losses) == pytest.approx(expected, rel=1e-8)


def test_mcnemar_is_stable_for_thousands_of_pairs() -> None:
    """Large counts neither overflow nor lose their p."""
    assert own.mcnemar(12_000, 12_400) == pytest.approx(stats.binomtest(12_000, 24_400).pvalue, rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.001, 0.999), st.integers(1, 300))
def test_t_quantile_is_scipys(p: float, degrees: int) -> None:
    """Student's quantile, from two seeds to many items."""
    assert own.t_quantile(p, degrees) == pytest.approx(stats.t.ppf(p, degrees), rel=1e-6, abs=1e-9)


def test_the_mean_of_many_smooth_scores_has_a_t_interval() -> None:
    """Graded scores of 50 items: scipy's t interval."""
    values = np.random.default_rng(0).random(50).tolist()
    interval = own.mean_interval(values)
    expected = stats.t.interval(0.95, 49, loc=np.mean(values), scale=stats.sem(values))
    assert interval.method == "t"
    assert (interval.low, interval.high) == pytest.approx(expected)


def test_the_mean_of_few_scores_has_a_bootstrap_interval_near_scipys() -> None:
    """Twelve graded scores: the percentile bootstrap, up to its own noise."""
    values = np.random.default_rng(3).random(12).tolist()
    interval = own.mean_interval(values)
    expected = stats.bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(1)).confidence_interval
    assert interval.method == "bootstrap"
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_bootstrap_repeats_byte_for_byte() -> None:
    """Resamples are seeded: a report made twice is the same report."""
    values = [0.1, 0.9, 0.4, 0.35]
    assert own.bootstrap(values) == own.bootstrap(values)


def test_one_value_and_no_value_have_no_interval() -> None:
    """There is no spread to estimate."""
    assert math.isnan(own.mean_interval([0.5]).low)
    assert math.isnan(own.mean_interval([]).estimate)
    assert own.t_interval([0.5]).method == "none"


def test_zeros_and_ones_get_wilson() -> None:
    """A yes-or-no metric is a share."""
    assert own.mean_interval([1.0, 0.0, 1.0]).method == "wilson"


def test_paired_counts_wins_losses_and_ties() -> None:
    """Two models on the same items, item by item."""
    found = own.paired([1, 1, 0, 1], [0, 1, 1, 0])
    assert found is not None
    assert (found.wins, found.losses, found.ties, found.difference, found.n) == (2, 1, 1, 0.25, 4)
    assert found.method == "mcnemar"
    assert found.p == pytest.approx(stats.binomtest(2, 3).pvalue)


def test_paired_graded_scores_use_the_bootstrap_and_agree_with_the_t_test() -> None:
    """On 400 smooth differences the bootstrap's p is near the paired t test's."""
    generator = np.random.default_rng(5)
    base = generator.random(400)
    tuned = base + generator.normal(0.02, 0.15, 400)
    found = own.paired(tuned.tolist(), base.tolist())
    assert found is not None
    assert found.method == "bootstrap"
    assert found.p == pytest.approx(stats.ttest_rel(tuned, base).pvalue, abs=0.01)
    assert found.low < found.difference < found.high


def test_paired_with_nothing_shared_is_nothing() -> None:
    """No items, no test; unequal lengths are a mistake of the caller."""
    assert own.paired([], []) is None
    with pytest.raises(ValueError, match="same length"):
        own.paired([1], [])


def test_equal_models_differ_by_nothing() -> None:
    """No discordant item: p is 1 and the interval is a point."""
    found = own.paired([0.3, 0.4], [0.3, 0.4])
    assert found is not None
    assert (found.p, found.low, found.high) == (1.0, 0.0, 0.0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_never_smaller_and_keeps_the_order(p_values: list[float]) -> None:
    """Adjusted values are at least the raw ones, at most 1, and in the same order."""
    adjusted = own.holm(p_values)
    assert all(raw <= one <= 1 for raw, one in zip(p_values, adjusted, strict=True))
    pairs = sorted(zip(p_values, adjusted, strict=True))
    assert [one for _, one in pairs] == sorted(adjusted)


def test_holm_of_the_textbook() -> None:
    """0.01, 0.04, 0.03 become 0.03, 0.06, 0.06."""
    assert own.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


@pytest.mark.parametrize("n", [100, 400])
def test_the_smallest_visible_difference_is_seen_four_times_in_five(n: int) -> None:
    """Simulated models that differ by that much are told apart in about 80 % of the evals."""
    discordant = 0.25
    gain = own.smallest_visible_difference(n, discordant=discordant)
    source = random.Random(1)  # noqa: S311 a simulation
    seen = 0
    for _ in range(400):
        draws = [source.random() for _ in range(n)]
        wins = sum(draw < (discordant + gain) / 2 for draw in draws)
        losses = sum((discordant + gain) / 2 <= draw < discordant for draw in draws)
        seen += own.mcnemar(wins, losses) < 0.05
    assert 0.68 < seen / 400 < 0.88


def test_what_a_pair_of_models_can_show_follows_from_how_they_vary() -> None:
    """For zeros and ones it is near the formula; for smooth scores it is what their spread allows."""
    source = random.Random(3)  # noqa: S311 a simulation
    first = [float(source.random() < 0.5) for _ in range(400)]
    second = [1 - score if source.random() < 0.25 else score for score in first]
    found = own.paired(first, second)
    assert found is not None
    assert found.visible == pytest.approx(own.smallest_visible_difference(400, discordant=0.25), rel=0.15)
    smooth = own.paired([score + 0.001 * i % 0.1 for i, score in enumerate(first)], first)
    assert smooth is not None
    assert smooth.visible < 0.02
    same = own.paired(first, first)
    assert same is not None
    assert same.visible == own.smallest_visible_difference(400, discordant=0.05)


def test_more_items_show_smaller_differences() -> None:
    """Four times the items show half the difference; no items show nothing."""
    assert own.smallest_visible_difference(400) == pytest.approx(own.smallest_visible_difference(100) / 2, rel=0.02)
    assert math.isnan(own.smallest_visible_difference(0))


def test_kappa_is_agreement_beyond_chance() -> None:
    """The textbook table (20, 5, 10, 15) has kappa 0.4; raters with one label have none."""
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert own.cohen_kappa(first, second) == pytest.approx(0.4)
    assert own.cohen_kappa(first, first) == 1
    assert math.isnan(own.cohen_kappa(["a"], ["a"]))
    assert math.isnan(own.cohen_kappa([], []))


def test_pass_at_k_and_pass_hat_k_count_all_draws() -> None:
    """Both are averages over all ways to draw k of the n tries."""
    from itertools import combinations

    tries = [True, True, False, False, False]
    draws = list(combinations(tries, 2))
    assert own.pass_at_k(5, 2, 2) == pytest.approx(sum(any(draw) for draw in draws) / len(draws))
    assert own.pass_hat_k(5, 2, 2) == pytest.approx(sum(all(draw) for draw in draws) / len(draws))
    assert math.isnan(own.pass_at_k(2, 1, 3))


def test_seeds_are_averaged_per_item_and_never_more_items() -> None:
    """Three seeds of two items are two items; items that a seed lacks are left out."""
    assert own.mean_over_seeds([{"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 0.0, "c": 1.0}]) == {"a": 0.5, "b": 0.0}
    assert own.mean_over_seeds([]) == {}


def test_clusters_are_one_observation_each() -> None:
    """Items of a group are averaged before anything else."""
    assert own.cluster_means([1.0, 0.0, 1.0], ["x", "x", "y"]) == [0.5, 1.0]
