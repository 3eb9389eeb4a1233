"""Reinforcement graders are tried on right answers, as far as a row and a grader say what the right answer is."""

from __future__ import annotations

import pytest

from ftspec.data.cache import DigestCache
from ftspec.evals.base import bind
from ftspec.evals.references import right_answer, tried_on, why_untried
from ftspec.experiment import DesiredJob, Spec
from ftspec.pipeline.dry_grading import try_graders

OUTPUT = "{{sample.output_text}}"


def check(operation="eq", taken=OUTPUT, reference="{{item.label}}"):
    return {"type": "string_check", "operation": operation, "input": taken, "reference": reference}


def multi(formula, **graders):
    return {"type": "multi", "graders": graders, "calculate_output": formula}


SIMILAR = {"type": "text_similarity", "evaluation_metric": "rouge_3", "input": OUTPUT, "reference": "{{item.answer}}"}
PYTHON = {"type": "python", "source": "def grade(sample, item):\n    return float(sample['output_text'] == item['answer'])\n"}
JUDGE = {"type": "score_model", "model": "judge", "input": [{"role": "user", "content": OUTPUT}]}


@pytest.mark.parametrize(
    ("definition", "row", "answer"),
    [
        (check(), {"label": "bug", "answer": "It is a bug."}, "bug"),
        (check(taken="{{item.label}}", reference=OUTPUT), {"label": "bug"}, "bug"),
        (check(reference="It is a {{item.label}}."), {"label": "bug"}, "It is a bug."),
        (check(taken="{{sample.output_json.kind.name}}"), {"label": 7}, '{"kind": {"name": 7}}'),
        (
            multi("a+b", a=check(taken="{{sample.output_json.x}}"), b=check(taken="{{sample.output_json.y}}")),
            {"label": 1},
            '{"x": 1, "y": 1}',
        ),
        (check(taken="Label: " + OUTPUT), {"label": "bug", "answer": "It is a bug."}, "It is a bug."),
        (check("ne"), {"label": "bug", "reference": {"role": "assistant", "content": "other"}}, "other"),
        (PYTHON, {"answer": 42}, "42"),
        (PYTHON, {"question": "?"}, None),
        (check(), {"answer": "bug"}, None),
        (check(taken="{{sample.refusal}}"), {"label": "bug", "answer": "bug"}, None),
        ({"type": "tool_call", "name": "lookup"}, {"answer": "bug"}, None),
    ],
)
def test_the_right_answer_is_what_the_grader_compares_with_else_a_member_of_the_row(definition, row, answer):
    """What cannot be known is not guessed."""
    assert right_answer(bind(definition), row) == answer


@pytest.mark.parametrize(
    ("definition", "low"),
    [
        (check(), ()),
        (check("ne"), (0,)),
        (check(taken="Label: " + OUTPUT), (0, 1, 2)),
        (multi("0.5 * a", a=check()), (0, 1, 2)),
        (multi("a", a=check()), ()),
        (SIMILAR, (0, 1)),
    ],
)
def test_a_grader_that_gives_right_answers_too_little_is_found_out(definition, low):
    """The wrong operation, a template with words around, a formula that cannot reach 1, a metric that short answers cannot meet."""
    rows = [
        {"label": "bug", "answer": "bug"},
        {"label": "billing", "answer": "too short"},
        {"label": "login", "answer": "your order of two chairs is on its way"},
    ]
    trial = tried_on(definition, rows)
    assert (trial.tried, trial.low) == (3, low)


def test_what_cannot_be_graded_counts_as_low():
    """An answer without a score is no right answer to a trainer either."""
    trial = tried_on(check(taken="{{sample.output_json.x}}", reference="fixed"), [{"answer": "no JSON"}, {"answer": '{"x": "fixed"}'}])
    assert (trial.tried, trial.ungraded, trial.low, trial.mean) == (2, 1, (0,), 1.0)


def test_models_are_not_asked_and_code_runs_only_when_allowed():
    """A judge costs money, and code of the project needs the user's word; both are said."""
    assert why_untried(JUDGE, allow_code=True) == "it asks `judge`"
    assert why_untried(PYTHON, allow_code=False) == "it runs code of this project (`--allow-code` lets it)"
    assert why_untried(PYTHON, allow_code=True) is None
    assert tried_on(PYTHON, [{"answer": "a"}, {"answer": 3}], allow_code=True).low == (1,)


def test_planning_tries_only_what_is_sure_to_be_quick():
    """A pattern in a stranger's spec could keep a plan busy for ever; `data check` tries it on request."""
    pattern = {"type": "regex", "pattern": "(a+)+$"}
    assert why_untried(pattern, allow_code=False) is None
    assert why_untried(pattern, allow_code=False, quick=True) == "`ftspec data check` does"
    assert why_untried(multi("a", a=pattern), allow_code=False, quick=True) is not None
    assert why_untried(multi("a", a=check()), allow_code=False, quick=True) is None


def test_long_answers_are_tried_on_fewer_rows():
    """Similarity takes the square of the length, and nobody waits for it."""
    trial = tried_on({**SIMILAR, "evaluation_metric": "fuzzy_match"}, [{"answer": "word " * 1500}] * 20)
    assert 0 < trial.tried < 20


def spec_of(folder, grader, *rows):
    dataset = folder.dataset("tasks", *[{"messages": [{"role": "user", "content": f"q{n}"}], **row} for n, row in enumerate(rows)])
    job = DesiredJob(
        address="a", experiment="a", engine="sandbox", scope="s", base_model="m", train="tasks", method="reinforcement", grader=grader
    )
    return Spec(root=str(folder.root), datasets={"tasks": dataset}, jobs=(job, job)), folder.place(dataset)


def test_low_rows_are_told_with_their_lines_and_their_mean(folder):
    """One note for a part and a grader, whichever number of jobs share them."""
    spec, place = spec_of(folder, SIMILAR, {"answer": "your order of two chairs is on its way"}, {"answer": "bug"})
    [tried] = try_graders(spec, place)
    [told] = tried.diagnostics
    assert told.code == "low-reference"
    assert told.message == "the grader gives the references of `tasks` 0.50 on average; 1 of 2 get less than 0.8"
    assert (told.count, told.at.line) == (1, 2)


def test_graders_that_are_not_tried_say_why(folder):
    """Silence would look like success."""
    spec, place = spec_of(folder, JUDGE, {"answer": "a"})
    [tried] = try_graders(spec, place)
    assert (tried.diagnostics, tried.sentence) == ([], "the grader was not tried on the references of `tasks`: it asks `judge`")
    spec, place = spec_of(folder, check(), {"answer": "a"})
    [tried] = try_graders(spec, place)
    assert tried.sentence.endswith("no row says what its right answer is")


def test_what_did_not_change_is_not_tried_again(folder, monkeypatch):
    """With a cache, rows are read again only after a change of the file."""
    from ftspec.data import leakage

    spec, place = spec_of(folder, check("ne"), {"label": "a", "answer": "a"})
    cache = DigestCache(folder.root / "cache", now=lambda: 2**62)
    first = try_graders(spec, place, cache=cache)
    monkeypatch.setattr(leakage, "rows_of", lambda *_: 1 / 0)
    assert try_graders(spec, place, cache=cache) == first
    folder.write("tasks.jsonl", {"messages": [{"role": "user", "content": "q"}], "label": "b"})
    with pytest.raises(ZeroDivisionError):
        try_graders(spec, place, cache=cache)
