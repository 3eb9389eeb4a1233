"""Gates: what must hold, with the figures that decide and the doubts that count."""

from __future__ import annotations

from typing import Any

import pytest

from ftspec.diagnostics import FtspecError
from ftspec.evals.gates import Measured, gate_problems, judge, parse_gate


def run(mean: float, *, n: int = 100, ungraded: int = 0, items: list[float | None] | None = None, **counts: int) -> Measured:
    score: dict[str, Any] = {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "passed": mean, "n": n, "ungraded": ungraded}
    if ungraded:
        total = n + ungraded
        score |= {"worst": mean * n / total, "best": (mean * n + ungraded) / total, "range": [0, 1]}
    by_item = {"exact": {str(i): value for i, value in enumerate(items)}} if items is not None else None
    return Measured(
        scores={"exact": score}, counts={"asked": n + ungraded, **counts}, labels={"accuracy": mean, "macro_f1": mean / 2}, items=by_item
    )


@pytest.mark.parametrize(
    ("gate", "ok"),
    [
        ("exact >= base.exact", True),
        ("exact > base.exact", True),
        ("exact >= base.exact + 0.2", True),
        ("exact >= base.exact + 0.21", False),
        ("exact < base.exact", False),
        ("exact.low >= 0.7", True),
        ("exact.high <= 0.9", True),
        ("exact.passed == 0.8", True),
        ("1 - exact <= 0.2", True),
        ("exact / base.exact > 1.3", True),
        ("min(exact, accuracy) >= 0.8", True),
        ("macro_f1 >= 0.5", False),
        ("errors / asked <= 0.01", False),
        ("refused + empty == 0", True),
        ("exact.n >= 100", True),
    ],
)
def test_a_gate_compares_figures(gate: str, ok: bool) -> None:
    """Own figures, the base's, counts and label metrics, with arithmetic."""
    verdict = judge(parse_gate(gate), run(0.8, errors=2), run(0.6))
    assert verdict.ok is ok
    assert verdict.rule == gate
    assert ("does not hold" in verdict.sentence) is not ok


def test_the_sentence_has_the_figures() -> None:
    """What was compared can be read."""
    assert (
        judge(parse_gate("exact >= base.exact"), run(0.5), run(0.6)).sentence
        == "`exact >= base.exact` does not hold (exact 0.5, base.exact 0.6)"
    )


def test_a_base_that_is_missing_opens_no_gate() -> None:
    """Nothing to compare with is not better."""
    verdict = judge(parse_gate("exact >= base.exact"), run(0.8), None)
    assert (verdict.ok, verdict.sentence) == (False, "`exact >= base.exact` cannot be judged: there is no finished run of the base model")


def test_a_metric_that_is_missing_opens_no_gate() -> None:
    """A run without label metrics has no macro F1."""
    bare = Measured(scores={}, counts={})
    assert judge(parse_gate("macro_f1 >= 0.5"), bare, bare).ok is False


@pytest.mark.parametrize("gate", ["exact >= 0.75", "1 - exact <= 0.25", "0.75 <= exact"])
def test_ungraded_samples_never_open_a_gate(gate: str) -> None:
    """0.8 over 100 with 10 ungraded could be 0.73: whichever way the gate is written, it stays shut."""
    assert judge(parse_gate(gate), run(0.8), None).ok is True
    verdict = judge(parse_gate(gate), run(0.8, ungraded=10), None)
    assert verdict.ok is False
    assert "10 ungraded samples decide" in verdict.sentence


def test_ungraded_samples_of_the_base_count_for_the_base() -> None:
    """The base is taken as good as it could be."""
    assert judge(parse_gate("exact >= base.exact"), run(0.62), run(0.6)).ok is True
    assert judge(parse_gate("exact >= base.exact"), run(0.62), run(0.6, ungraded=10)).ok is False


BASE: list[float | None] = [1.0] * 60 + [0.0] * 40
BETTER: list[float | None] = [1.0] * 80 + [0.0] * 20
SLIGHTLY: list[float | None] = [1.0] * 61 + [0.0] * 39


def test_with_p_a_gate_must_hold_with_certainty() -> None:
    """Twenty more right answers of a hundred are certain, one is not; not being much worse is."""
    base = run(0.6, items=BASE)
    assert judge(parse_gate("exact > base.exact at p 0.05"), run(0.8, items=BETTER), base).ok is True
    assert judge(parse_gate("exact > base.exact at p 0.05"), run(0.61, items=SLIGHTLY), base).ok is False
    assert judge(parse_gate("exact >= base.exact - 0.05 at p 0.05"), run(0.6, items=BASE), base).ok is True
    assert judge(parse_gate("exact >= 0.7 at p 0.05"), run(0.8, items=BETTER), None).ok is True
    assert judge(parse_gate("exact >= 0.78 at p 0.05"), run(0.8, items=BETTER), None).ok is False


def test_with_p_ungraded_items_are_taken_at_their_worst() -> None:
    """Ten items without a grade could all be wrong."""
    own = run(0.8, items=[None] * 10 + BETTER[10:], ungraded=10)
    assert judge(parse_gate("exact >= 0.68 at p 0.05"), run(0.8, items=BETTER), None).ok is True
    assert judge(parse_gate("exact >= 0.68 at p 0.05"), own, None).ok is False


def test_with_p_the_samples_must_be_here() -> None:
    """Figures alone cannot say how certain they are; nor can runs without common items."""
    assert "not on this machine" in judge(parse_gate("exact >= 0.5 at p 0.05"), run(0.8), None).sentence
    other = Measured(scores=run(0.6).scores, counts={}, items={"exact": {"elsewhere": 1.0}})
    assert "no item in common" in judge(parse_gate("exact >= base.exact at p 0.05"), run(0.8, items=BETTER), other).sentence


@pytest.mark.parametrize(
    "gate",
    [
        "exact",
        "exact >= ",
        ">= 1",
        "exact => 1",
        "exact >= 1 >= 2",
        "1 >= 0",
        "exact >= f(1)",
        "exact >= 1 at p 0.7",
        "exact >= 1 at p x",
        "exact == 1 at p 0.05",
    ],
)
def test_what_is_not_a_gate_is_refused(gate: str) -> None:
    """When the spec is read, not after the money is spent."""
    with pytest.raises(FtspecError):
        parse_gate(gate)


@pytest.mark.parametrize(
    ("gate", "problems"),
    [
        ("exact >= base.exact.low", 0),
        ("exact.medium >= 1", 1),
        ("other >= base.another", 2),
        ("accuracy >= 0.5", 1),
        ("errors <= 1", 0),
        ("errors <= 1 at p 0.05", 1),
        ("exact.low >= 0.5 at p 0.05", 1),
    ],
)
def test_names_that_no_gate_may_use_are_named(gate: str, problems: int) -> None:
    """With what there is instead."""
    found = gate_problems(parse_gate(gate), ["exact"], labelled=False)
    assert len(found) == problems
    assert gate_problems(parse_gate("accuracy >= 0.5"), ["exact"], labelled=True) == []
