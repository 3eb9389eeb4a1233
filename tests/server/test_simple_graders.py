"""The server's own evaluator: templates, the simple graders, and formulas that are arithmetic and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftspec.server.graders import calculate, checked_grader, grade, sample_of
from ftspec.server.wire import ApiError


def check(operation: str, reference: str = "{{item.answer}}") -> dict[str, str]:
    return {"type": "string_check", "operation": operation, "input": "{{ sample.output_text }}", "reference": reference}


@pytest.mark.parametrize(
    ("grader", "output", "item", "score"),
    [
        (check("eq"), "yes", {"answer": "yes"}, 1),
        (check("eq"), "Yes", {"answer": "yes"}, 0),
        (check("ne"), "Yes", {"answer": "yes"}, 1),
        (check("like"), "oh yes!", {"answer": "yes"}, 1),
        (check("like"), "oh YES!", {"answer": "yes"}, 0),
        (check("ilike"), "oh YES!", {"answer": "yes"}, 1),
        (check("eq", "{{item.deep.er}}"), "3", {"deep": {"er": 3}}, 1),
        (check("eq", "literal"), "literal", {}, 1),
        ({**check("eq"), "input": "{{sample.output_json.a}}"}, '{"a": "yes"}', {"answer": "yes"}, 1),
        (
            {"type": "text_similarity", "evaluation_metric": "fuzzy_match", "input": "{{sample.output_text}}", "reference": "abcd"},
            "abxx",
            {},
            0.5,
        ),
        (
            {"type": "multi", "graders": {"a": check("eq"), "b": check("ilike")}, "calculate_output": "0.25 * a + 0.75 * b"},
            "YES",
            {"answer": "yes"},
            0.75,
        ),
        ({"type": "multi", "graders": {**check("eq"), "name": "only"}, "calculate_output": "only * 2"}, "yes", {"answer": "yes"}, 2),
    ],
)
def test_graders_score_as_their_definition_says(grader, output, item, score):
    """Output, item and definition give the score."""
    assert grade(checked_grader(grader), sample_of(output), item) == score


@pytest.mark.parametrize(
    ("grader", "reason"),
    [
        (check("eq", "{{item.none}}"), "there is no 'item.none'"),
        (check("eq", "{{sample.output_json}}"), "there is no 'sample.output_json'"),
        (check("eq", "{{secrets.key}}"), "there is no 'secrets.key'"),
        ({"type": "python", "name": "p", "source": "x"}, "cannot run graders of type 'python'"),
        ({"type": "text_similarity", "evaluation_metric": "bleu", "input": "a", "reference": "b"}, "with this metric"),
    ],
)
def test_what_cannot_be_graded_says_why(grader, reason):
    """A missing member or a grader beyond this evaluator is a `ValueError` with the reason."""
    with pytest.raises(ValueError, match=reason):
        grade(checked_grader(grader), sample_of("x"), {})


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("1 + 2 * 3", 7),
        ("-(a - b)", -0.5),
        ("+a ** 2", 0.5625),
        ("min(a, b) + max(a, b)", 1),
        ("sqrt(4) + abs(-1) + floor(1.5) + ceil(1.5)", 6),
        ("a / 0", 0),
        ("log(0) + exp(0)", 1),
        ("(0 - 8) ** 0.5", 0),
        ("1e9 ** 9", 0),
    ],
)
def test_formulas_are_arithmetic_over_the_names(formula, value):
    """Every formula has a finite value; what has none counts as 0."""
    assert calculate(formula, {"a": 0.75, "b": 0.25}) == value


@pytest.mark.parametrize(
    "formula",
    ["__import__('os')", "a.real", "a if b else a", "[a]", "a(1)", "lambda: a", "'x' * 9", "c", "", "a +", "1 << 9", "True", "x" * 2001],
)
def test_formulas_run_no_code(formula):
    """Anything but arithmetic is refused."""
    with pytest.raises(ValueError, match=r"expected|there is no grader|too long"):
        calculate(formula, {"a": 1.0, "b": 1.0})


@given(st.text(alphabet="ab0123456789.+-*/() ,minexp", max_size=30))
def test_no_formula_does_anything_but_give_a_number_or_a_reason(formula):
    """Arbitrary formulas end at once, with a number or a `ValueError`."""
    try:
        value = calculate(formula, {"a": 2.0, "b": -3.0})
    except ValueError:
        value = 0.0
    assert isinstance(value, float)


@pytest.mark.parametrize(
    ("grader", "param"),
    [
        ([], "grader"),
        ({"type": ["x"]}, "grader.type"),
        ({"type": "string_check"}, "grader.input"),
        ({"type": "score_model", "model": "m", "input": []}, "grader.input"),
        ({"type": "multi", "graders": {"a": {"type": "multi"}}, "calculate_output": "a"}, "grader.graders.a"),
        ({"type": "multi", "graders": {"a": {"type": "x"}}, "calculate_output": "a"}, "grader.graders.a.type"),
        ({"type": "label_model", "model": "m", "input": [{}], "labels": ["a"]}, "grader.passing_labels"),
    ],
)
def test_malformed_graders_are_refused_by_the_member_at_fault(grader, param):
    """The first wrong member of a definition is named."""
    with pytest.raises(ApiError) as refusal:
        checked_grader(grader)
    assert refusal.value.body["error"]["param"] == param
