"""Smoothing, thinning, and what makes a flag."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftspec.render.report.curves import overfit, smoothed, thinned, window
from ftspec.render.report.flags import flags
from ftspec.render.report.values import Curves

FIGURES = st.lists(st.floats(-100, 100), min_size=1, max_size=200).map(lambda values: tuple((float(i), v) for i, v in enumerate(values, 1)))


def kinds(*jobs, evals=()):
    return [flag.kind for flag in flags(jobs, evals)]


@settings(max_examples=60)
@given(FIGURES)
def test_smoothing_keeps_every_step_and_stays_within_the_values(points):
    """No point is lost or moved, and means lie between the lowest and the highest value."""
    even = smoothed(points)
    assert [step for step, _ in even] == [step for step, _ in points]
    low, high = min(v for _, v in points), max(v for _, v in points)
    assert all(low - 1e-6 <= v <= high + 1e-6 for _, v in even)
    assert window(points) % 2 == 1


@settings(max_examples=60)
@given(FIGURES, st.integers(4, 50))
def test_thinning_keeps_ends_and_extremes(points, most):
    """A thinned curve is a part of the curve, with its ends, its highest and its lowest value."""
    kept = thinned(points, most)
    assert set(kept) <= set(points)
    assert [step for step, _ in kept] == sorted({step for step, _ in kept})
    assert len(kept) <= most + 2
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert {min(v for _, v in kept), max(v for _, v in kept)} == {min(v for _, v in points), max(v for _, v in points)}


def falling(n=100):
    return tuple((float(i), 2.0 / i) for i in range(1, n + 1))


def noisy(function, n=100):
    chance = random.Random(1)  # noqa: S311 made-up noise
    return tuple((float(i), function(i / n) + chance.gauss(0, 0.1)) for i in range(1, n + 1))


def test_full_validation_loss_that_rises_is_overfitting():
    """The minimum and the rise are named."""
    found = overfit(Curves(train=falling(), full=((20.0, 1.0), (40.0, 0.8), (60.0, 1.1), (100.0, 1.6))))
    assert (found.step, found.lowest, found.last, found.full) == (40.0, 0.8, 1.6, True)


@pytest.mark.parametrize(
    "full",
    [((20.0, 1.0), (40.0, 0.8), (60.0, 0.7)), ((20.0, 1.0), (40.0, 0.8), (60.0, 0.82)), ((20.0, 0.5), (60.0, 0.9)), ()],
    ids=["falls", "hardly rises", "two points", "no points"],
)
def test_what_is_not_overfitting(full):
    """Falling loss, a rise of a few parts in a hundred, or too little to see anything."""
    assert overfit(Curves(train=falling(60), full=full)) is None


def test_minibatches_are_judged_smoothed_and_against_their_noise():
    """Noise around a flat or falling curve is not overfitting; a rise beyond it is."""
    assert overfit(Curves(train=falling(), valid=noisy(lambda x: 1.0))) is None
    assert overfit(Curves(train=falling(), valid=noisy(lambda x: 2 - x))) is None
    found = overfit(Curves(train=falling(), valid=noisy(lambda x: 1 + 4 * (x - 0.3) ** 2)))
    assert found is not None
    assert not found.full
    assert 15 <= found.step <= 45


def test_a_training_loss_that_rises_too_is_no_overfitting():
    """Then the job diverges, which has a flag of its own."""
    rising = tuple((float(i), 1 + i / 50) for i in range(1, 101))
    assert overfit(Curves(train=rising, full=((20.0, 1.0), (40.0, 1.5), (100.0, 3.0)))) is None


def test_an_earlier_checkpoint_that_is_better_is_named(make):
    """The flag has its step and its model; a difference of a part in a hundred is none."""
    job = make.job(checkpoints=((10, 0.5), (20, 0.4), (30, 0.6)))
    flag = next(flag for flag in flags([job], ()) if flag.kind == "earlier-checkpoint")
    assert "step 20 has validation loss 0.400, the last 0.600; its model is `ft:small-1:20`" in flag.sentence
    assert "earlier-checkpoint" not in kinds(make.job(checkpoints=((10, 0.599), (20, 0.6))))


def test_few_rows_and_missing_validation_are_said(make):
    """Under 50 training rows is a warning, under 20 validation rows and none at all are notes."""
    assert "few-rows" in kinds(make.job(rows=49))
    assert "few-rows" not in kinds(make.job(rows=50))
    assert "few-rows" in kinds(make.job(validation_rows=19))
    assert "no-validation" in kinds(make.job(validation_rows=None))


def test_one_seed_only_is_said_once_for_an_experiment(make):
    """Cells with two seeds are not meant."""
    two = [make.job(f"a/epochs=1,seed={seed}", number=seed) for seed in (1, 2)]
    assert "one-seed" not in kinds(*two)
    found = [flag for flag in flags([*two, make.job("a/epochs=3,seed=1", number=3)], ()) if flag.kind == "one-seed"]
    assert [flag.sentence for flag in found] == ["one seed only in 1 of 2 cells of `a`: nobody knows how much another seed would differ"]


def test_problems_come_first_and_name_the_error(make):
    """Failed, refused and doubtful jobs, then warnings, then notes."""
    jobs = [
        make.job("a/seed=1", rows=10),
        make.job("a/seed=2", status="failed", error=("bad_data", "sk-abcdefghijklmnop1234 is wrong"), number=2),
        make.job("a/seed=3", status="intent", number=3),
        make.job("a/seed=4", status="cancelled", number=4),
        make.job("a/seed=5", status="running", number=5),
        make.job("a/seed=6", recorded=False, number=6),
    ]
    found = flags(jobs, ())
    assert [flag.kind for flag in found] == ["failed", "in-doubt", "few-rows", "cancelled", "unfinished", "not-launched"]
    assert found[0].sentence == "`a/seed=2` failed: `bad_data: [redacted] is wrong`"


def test_a_job_that_learned_nothing_diverged(make):
    """Training loss ends above where it began."""
    points = tuple((float(i), 1 + math.sqrt(i)) for i in range(1, 40))
    assert "diverged" in kinds(make.job(curves=Curves(train=points)))
    assert "diverged" not in kinds(make.job(curves=Curves(train=falling(40))))


def test_small_evals_and_too_much_of_something_are_said(make):
    """What a comparison says of an axis becomes a warning; fewer than a hundred items a note."""
    rows = make.table().rows
    few = make.table(
        *(type(row)(label=row.label, base=row.base, mean=row.mean, n=87) for row in rows), too_much=("`epochs` 25 scores 0.2: it overfits",)
    )
    assert kinds(evals=(few,)) == ["overfitting", "few-items"]


def test_the_same_flag_of_many_jobs_is_counted(make):
    """A grid that fails as a whole does not fill the page."""
    jobs = [make.job(f"a/seed={i}", status="failed", number=i) for i in range(1, 41)]
    found = [flag for flag in flags(jobs, ()) if flag.kind == "failed"]
    assert len(found) == 7
    assert found[-1].sentence == "and 34 more like this"
    assert len(found[-1].jobs) == 34
