"""Label metrics of a classification equal what the textbooks say."""

from __future__ import annotations

import pytest

from ftspec.evals.classification import LabelCounts

from .conftest import Bench, Scripted, answer, chat_rows

PAIRS = [("a", "a")] * 8 + [("a", "b")] * 2 + [("b", "b")] * 3 + [("b", "a")] * 1 + [("c", "nonsense")] * 2
"""(answer, reference) is the other way round below: these are (reference, answer)."""


def counted(pairs: list[tuple[str, str]]) -> LabelCounts:
    counts = LabelCounts()
    for reference, said in pairs:
        counts.add(said, reference)
    return counts


def test_accuracy_and_macro_f1_are_those_of_the_textbook() -> None:
    """Precision, recall and F1 of each label; the macro mean counts a label that was never found as 0."""
    metrics = counted(PAIRS).metrics()
    assert metrics is not None
    assert metrics["accuracy"] == pytest.approx(11 / 16)
    f1_a, f1_b = 2 * 8 / (9 + 10), 2 * 3 / (5 + 4)
    assert metrics["macro_f1"] == pytest.approx((f1_a + f1_b + 0) / 3, abs=1e-6)
    assert metrics["by_label"]["a"] == {"precision": round(8 / 9, 6), "recall": 0.8, "f1": round(f1_a, 6), "support": 10}
    assert metrics["low"] < metrics["accuracy"] < metrics["high"]


def test_the_confusion_matrix_has_a_column_for_everything_else() -> None:
    """An answer that is no label is wrong, and seen."""
    metrics = counted(PAIRS).metrics()
    assert metrics is not None
    assert metrics["confusion"] == {
        "a": {"a": 8, "b": 2, "c": 0, "(other)": 0},
        "b": {"a": 1, "b": 3, "c": 0, "(other)": 0},
        "c": {"a": 0, "b": 0, "c": 0, "(other)": 2},
    }


def test_answers_are_trimmed_and_no_column_is_invented() -> None:
    """White space is no mistake; without other answers there is no such column."""
    metrics = counted([("a", " a\n"), ("b", "b")]).metrics()
    assert metrics is not None
    assert (metrics["accuracy"], metrics["confusion"]["a"]) == (1.0, {"a": 1, "b": 0})


def test_free_text_is_not_a_classification() -> None:
    """Without references, or with more labels than anybody reads, there are no label metrics."""
    assert LabelCounts().metrics() is None
    assert counted([(str(i), str(i)) for i in range(51)]).metrics() is None


def test_the_preset_adds_label_metrics_to_a_run(bench: Bench) -> None:
    """They are recorded with the run."""
    rows = chat_rows([("q0", "yes"), ("q1", "no"), ("q2", "yes")])
    result = bench.run(Scripted(lambda *asked: answer("yes")), rows=rows, options={"preset": "classification"})
    assert result.values()["labels"]["accuracy"] == pytest.approx(2 / 3, abs=1e-6)
    assert "labels" not in bench.run(Scripted(lambda *asked: answer("yes")), rows=rows, key="k2").values()
