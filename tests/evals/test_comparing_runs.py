"""Comparisons: seeds folded, each row against its base, tests on items, notes that say what figures cannot."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from inline_snapshot import snapshot

from ftspec.evals.compare import EvalRun, compare, flips, p_text
from ftspec.evals.comparison_text import to_csv, to_json, to_text
from ftspec.evals.gates import Measured
from ftspec.evals.samples import Sample
from ftspec.evals.statistics import mean_interval

N = 40


def run(key: str, right: Any, *, base: str | None = None, axes: dict[str, Any] | None = None, here: bool = True, **about: Any) -> EvalRun:
    """Return a run whose item i scores `right(i)` (a number: that many items are right)."""
    scores = [float(right(i)) if callable(right) else float(i < right) for i in range(N)]
    interval = mean_interval(scores)
    score = {"mean": interval.estimate, "low": interval.low, "high": interval.high, "n": N, "ungraded": about.pop("ungraded", 0)}
    samples = [Sample(item=str(i), index=i, text=f"{key} says {scores[i]:g}", question=f"question {i}", reference="1") for i in range(N)]
    address = None if axes is None else "tri/" + ",".join(f"{name}={value}" for name, value in axes.items())
    return EvalRun(
        key=key,
        eval="holdout",
        model=about.pop("model", key),
        address=address,
        axes=axes or {},
        base=base,
        measured=Measured(
            scores={"exact": score},
            counts={"asked": N, **about.pop("counts", {})},
            labels=about.pop("labels", None),
            items={"exact": {str(i): value for i, value in enumerate(scores)}} if here else None,
        ),
        samples=(lambda: iter(samples)) if here else None,
        **about,
    )


BASE = run("base", 2)
GRID = [
    BASE,
    *(run(f"e1s{seed}", 20 + seed, base="base", axes={"epochs": 1, "seed": seed}) for seed in (1, 2, 3)),
    *(run(f"e3s{seed}", 30 + seed, base="base", axes={"epochs": 3, "seed": seed}) for seed in (1, 2, 3)),
]


def test_seeds_are_folded_into_one_row_of_items() -> None:
    """Six runs and a base are three rows; n stays the number of items; the spread of the seeds is kept."""
    (table,) = compare(GRID).tables
    assert [(row.label, row.n, len(row.runs), row.is_base) for row in table.rows] == [
        ("base", N, 1, True),
        ("tri/epochs=1", N, 3, False),
        ("tri/epochs=3", N, 3, False),
    ]
    assert table.rows[1].spread == (21 / N, 23 / N)
    assert table.rows[1].mean == pytest.approx(22 / N)
    assert table.best is not None
    assert table.best.label == "tri/epochs=3"


def test_each_row_is_tested_against_its_base_and_adjusted_for_the_family() -> None:
    """Wins, losses, a verdict; Holm over the rows."""
    (table,) = compare(GRID).tables
    row = table.rows[2]
    assert row.against is not None
    assert (row.against.wins, row.against.losses, row.verdict) == (31, 0, "better")
    assert row.p is not None
    assert row.p >= row.against.p
    assert table.rows[0].against is None
    assert table.rows[0].verdict == ""


def test_full_gives_every_run_its_row_and_an_exact_test() -> None:
    """One run against one base is McNemar's case."""
    (table,) = compare(GRID, full=True).tables
    assert len(table.rows) == 7
    assert {row.against.method for row in table.rows if row.against} == {"mcnemar"}


def test_by_an_axis_folds_everything_else() -> None:
    """One row for each value of the axis, whatever the others."""
    (table,) = compare(GRID, by="seed").tables
    assert [(row.label, row.axis, len(row.runs)) for row in table.rows] == [
        ("base", None, 1),
        ("seed=1", "1", 2),
        ("seed=2", "2", 2),
        ("seed=3", "3", 2),
    ]
    other = run("x", 5, base="base", axes={"rank": 4})
    checkpoint = run("y", 5, base="base", axes={"epochs": 1, "seed": 1}, step=7)
    rows = compare([*GRID, other, checkpoint], by="rank").tables[0].rows
    assert [row.label for row in rows] == ["base", "tri/epochs=1", "tri/epochs=3", "rank=4"]


def test_checkpoints_are_rows_of_their_own() -> None:
    """A step is neither a seed nor the final model."""
    checkpoint = run("c", 5, base="base", axes={"epochs": 1, "seed": 1}, step=7)
    labels = [row.label for row in compare([*GRID, checkpoint]).tables[0].rows]
    assert labels == ["base", "tri/epochs=1", "tri/epochs=3", "tri/epochs=1@7"]


def test_runs_of_different_bases_are_each_paired_with_their_own() -> None:
    """A cell is judged against what it was made from."""
    grid = [run("b1", 0), run("b2", 40), run("t1", 40, base="b1", axes={"m": "x"}), run("t2", 0, base="b2", axes={"m": "y"})]
    verdicts = {row.label: row.verdict for row in compare(grid).tables[0].rows}
    assert verdicts == {"b1": "", "b2": "", "tri/m=x": "better", "tri/m=y": "worse"}


def test_a_model_that_others_were_trained_on_is_a_row_and_a_base() -> None:
    """A chain: the parent is compared with its base, the child with the parent."""
    grid = [BASE, run("parent", 20, base="base", axes={"seed": 1}), run("child", 35, base="parent", axes={"beta": 0.1})]
    rows = compare(grid).tables[0].rows
    assert [(row.label, row.is_base, row.verdict) for row in rows] == [
        ("base", True, ""),
        ("tri", False, "better"),
        ("tri/beta=0.1", False, "better"),
    ]


def test_runs_without_local_samples_are_shown_without_tests() -> None:
    """State alone has figures; the note says what is missing."""
    grid = [run("base", 2, here=False), run("t", 30, base="base", axes={"epochs": 1}, here=False)]
    (table,) = compare(grid).tables
    assert table.rows[1].mean == 30 / N
    assert table.rows[1].against is None
    assert "the samples of 2 of 2 runs are not on this machine, so they are shown without tests" in table.notes
    folded = [run(f"s{seed}", 10 * seed, here=False, base="b", axes={"seed": seed}) for seed in (1, 2)]
    assert compare(folded).tables[0].rows[0].mean == pytest.approx(15 / N)


def notes(*runs: EvalRun) -> str:
    return "\n".join(note for table in compare(list(runs)).tables for note in table.notes)


def test_more_of_a_number_that_hurts_is_said() -> None:
    """Where a larger value of an axis scores surely lower than the best one, the notes say that it overfits."""
    grid = [BASE, *(run(f"{epochs}s{seed}", right + seed, base="base", axes={"epochs": epochs, "seed": seed})
                    for epochs, right in ((1, 10), (5, 34), (50, 15)) for seed in (1, 2))]  # fmt: skip
    assert "`epochs` 50 scores 0.41, `epochs` 5 0.89 (p < 0.001): it overfits" in notes(*grid)
    assert "overfits" not in notes(*GRID)


def test_a_number_that_is_no_epoch_is_said_without_a_guess() -> None:
    """A rate that is too high hurts too, but that is not overfitting."""
    grid = [BASE, run("a", 36, base="base", axes={"learning_rate": 0.1}), run("b", 10, base="base", axes={"learning_rate": 1.0})]
    assert "`learning_rate` 1 scores 0.25, `learning_rate` 0.1 0.90 (p < 0.001)" in notes(*grid)
    assert "overfits" not in notes(*grid)


def test_notes_say_what_is_odd_and_what_is_small() -> None:
    """Ungraded samples, refusals, one seed, the winner's curse, toys, and what this many items can show."""
    grid = [
        BASE,
        run("a", 30, base="base", axes={"epochs": 1}, counts={"refused": 2, "errors": 1}, ungraded=3, simulated=True),
        run("b", 31, base="base", axes={"epochs": 2}),
        run("c", 32, base="base", axes={"epochs": 3}),
    ]
    text = notes(*grid)
    assert "40 items can show a difference of 0.20 or more (4 times in 5)" in text
    assert "one seed only" in text
    assert "one seed only" not in notes(*GRID)
    assert "`tri/epochs=3` is the best of 3 on these items" in text
    assert "`tri/epochs=1`: 1 errors, 2 refused, 3 not graded by `exact`, in none of the figures" in text
    assert "toys" in text


def test_notes_say_how_far_a_judge_can_be_trusted() -> None:
    """Agreement with the other graders, and a preference for places."""
    judged = [
        EvalRun(
            key=key,
            eval="e",
            model=key,
            measured=Measured(scores={"judge": {"mean": 0.5, "n": 10, "kappa": {"exact": kappa}, "labels": labels}}, counts={}),
        )
        for key, kappa, labels in (("a", 0.4, {"win": 5, "position": 5}), ("b", 0.6, {"win": 10}))
    ]
    text = notes(*judged)
    assert "the judge agrees with `exact` beyond chance by kappa 0.40 to 0.60 (1 is always)" in " ".join(text.split())
    assert "the judge preferred the same place both times in 25% of the pairs; they count as ties" in text


def test_flipped_items_are_shown_with_both_answers() -> None:
    """Won and lost, in the dataset's order, a few of each."""
    tuned = run("tuned", lambda i: i >= 1, base="base", axes={"epochs": 1})
    found = flips(tuned, BASE, "exact", limit=2)
    assert [(flip.item, flip.won) for flip in found] == [("2", True), ("3", True), ("0", False)]
    assert (found[0].question, found[0].base, found[0].tuned) == ("question 2", "base says 0", "tuned says 1")
    assert flips(tuned, run("base", 2, here=False), "exact") == []


def test_groups_of_items_flip_as_one() -> None:
    """With `group_by` the scores are by group, and its first sample is shown."""
    samples = [Sample(item="i", index=0, group="g", text="t", question="q")]
    pair = [
        EvalRun(
            key=key,
            eval="e",
            model=key,
            samples=lambda: iter(samples),
            measured=Measured(scores={}, counts={}, items={"exact": {"g": value}}),
        )
        for key, value in (("t", 1.0), ("b", 0.0))
    ]
    assert [flip.question for flip in flips(pair[0], pair[1], "exact")] == ["q"]


def test_the_text_is_a_table_that_can_be_read() -> None:
    """Base first, intervals, seeds, wins and losses, the verdict in words."""
    assert to_text(compare(GRID)) == snapshot("""\
holdout: exact on 40 items, with 95 % intervals

              mean  95 %       seeds      vs base     verdict  p
base
  base        0.05  0.01-0.17
tri, 3 seeds
  epochs
       1      0.55  0.39-0.71  0.53-0.57  +0.50 21:0  better   <0.001
       3      0.80  0.68-0.92  0.78-0.82  +0.75 31:0  better   <0.001

  note: `vs base` is the difference of the means, and items won:lost
  note: 40 items can show a difference of 0.20 or more (4 times in 5); smaller
        ones may be there and not be seen\
""")


def test_every_row_stands_beside_its_own_figures() -> None:
    """Checkpoints have a column, other models a group, and a parent its place among its children."""
    grid = [
        BASE,
        run("parent", 20, base="base", axes={"seed": 1}),
        run("child", 35, base="parent", axes={"beta": 0.1}),
        run("step", 10, base="base", axes={"beta": 0.2}, step=7),
        run("plain", 5, base="base", model="a-model"),
    ]
    assert to_text(compare(grid)).split("\n\n")[1] == snapshot("""\
              mean  95 %       vs base     verdict  p
base
  base        0.05  0.01-0.17
tri
  beta  step
              0.50  0.35-0.65  +0.45 18:0  better   <0.001
   0.1        0.88  0.74-0.95  +0.38 15:0  better   <0.001
   0.2     7  0.25  0.14-0.40  +0.20 8:0   better   0.016
models
  a-model     0.12  0.05-0.26  +0.07 3:0   same     0.250\
""")
    text = to_text(compare([*GRID, grid[2]], by="beta"))
    assert "by beta\n  beta=0.1" in text
    assert "tri, 3 jobs each" in text


def test_a_table_that_is_too_wide_leaves_the_seeds_to_full() -> None:
    """A usual grid fits 80 columns; with longer names the spread of the seeds goes first, and the note says where it is."""
    usual, wide = (
        to_text(compare([BASE, *(run(f"r{s}", 30 + s, base="base", axes={"base_model": name, "epochs": 3, "seed": s}) for s in (1, 2))]))
        for name in ("sandbox-small", "a-base-model-2026-01-01")
    )
    assert "seeds " in usual.split("\n")[2]
    assert "seeds " not in wide.split("\n")[2]
    assert "note: `--full` shows every seed" in wide
    assert max(len(line) for line in [*usual.split("\n"), *wide.split("\n")]) <= 80


def test_foreign_text_is_printable_in_every_rendering() -> None:
    """Escapes and formulas of models and answers do nothing."""
    evil = run("evil\x1b[31m", 30, base="base", axes={"epochs": 1}, model="=cmd()\x1b")
    text = to_text(compare([BASE, evil]), flipped={"x\x1b": flips(evil, BASE, "exact")})
    assert "\x1b" not in text
    named = EvalRun(key="k", eval="e", model="=cmd()", measured=evil.measured)
    rows = list(csv.DictReader(io.StringIO(to_csv(compare([named])))))
    assert rows[0]["label"] == "'=cmd()"


def test_json_and_csv_have_the_same_figures() -> None:
    """One line or object for each row; no NaN."""
    comparison = compare(GRID)
    value = json.loads(to_json(comparison, flipped={"a": flips(GRID[1], BASE, "exact", limit=1)}))
    assert value["format_version"] == 1
    rows = value["tables"][0]["rows"]
    lines = list(csv.DictReader(io.StringIO(to_csv(comparison))))
    assert [line["label"] for line in lines] == [row["label"] for row in rows]
    assert float(lines[1]["p_holm"]) == rows[1]["p_holm"]
    assert [len(row["runs"]) for row in rows] == [1, 3, 3]
    assert value["flipped"]["a"][0]["won"] is True


def test_labels_of_a_classification_are_a_table_and_a_matrix() -> None:
    """Accuracy and macro F1 for every row, the confusion of the best."""
    labels = {"accuracy": 0.75, "macro_f1": 0.7, "confusion": {"a": {"a": 3, "b": 1}, "b": {"a": 0, "b": 4}}}
    text = to_text(compare([BASE, run("t", 30, base="base", axes={"epochs": 1}, labels=labels)]))
    assert text[text.index("holdout: labels") :] == snapshot("""\
holdout: labels

model         accuracy  macro F1
tri/epochs=1  0.75      0.70

confusion of tri/epochs=1

is \\ said  a  b
a          3  1
b          0  4\
""")


def test_costs_are_shown_where_they_are_known() -> None:
    """Seeds cost together; unknown is empty."""
    grid = [BASE, run("a", 30, base="base", axes={"seed": 1}, cost=0.5), run("b", 31, base="base", axes={"seed": 2}, cost=0.25)]
    (table,) = compare(grid).tables
    assert table.rows[1].cost == 0.75
    assert table.rows[0].cost is None
    assert "0.7500" in to_text(compare(grid))


def test_p_values_read_as_people_write_them() -> None:
    """Three digits, and never zero."""
    assert [p_text(p) for p in (0.0, 0.0009, 0.012, 1.0)] == ["p < 0.001", "p < 0.001", "p 0.012", "p 1.000"]
