"""Templates insert, strictly; formulas calculate, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np  # noqa: TID253 a test may
import pytest

from ftspec.evals.formula import Formula, FormulaError
from ftspec.evals.template import MissingField, Template, fill_tree

ITEM: dict[str, Any] = {"a": {"b": [{"c": "deep"}, 2]}, "n": 1.5, "t": "x", "list": [1, "é"], "null": None, "zero": 0}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("plain {braces} }}", "plain {braces} }}"),
        ("{{item.t}}", "x"),
        ("{{ item.t }}-{{item.n}}", "x-1.5"),
        ("{{item.a.b.0.c}} {{item.a.b[0].c}}", "deep deep"),
        ("{{item.list}}", '[1,"é"]'),
        ("{{item.zero}}", "0"),
        ("{{sample.output_text}}!", "out!"),
    ],
)
def test_references_become_text(text: str, filled: str) -> None:
    """Text goes in as it is, other values as compact JSON."""
    assert Template(text).fill(ITEM, {"output_text": "out"}) == filled


def test_inserted_text_is_never_a_template_again() -> None:
    """A row or an answer that looks like a template stays what it is."""
    assert Template("{{item.x}}").fill({"x": "{{item.secret}}", "secret": "s"}, None) == "{{item.secret}}"


@pytest.mark.parametrize(
    "text", ["{{item.missing}}", "{{item.a.b.7}}", "{{item.t.x}}", "{{item.null}}", "{{item.a.b.c}}", "{{sample.refusal}}"]
)
def test_what_is_not_there_is_missing(text: str) -> None:
    """No default, no empty string."""
    with pytest.raises(MissingField):
        Template(text).fill(ITEM, {"output_text": "out", "refusal": None})


def test_a_whole_reference_keeps_its_type_in_a_tree() -> None:
    """Messages and lists travel as values."""
    assert fill_tree({"x": ["{{item.list}}", "n={{item.n}}", 3]}, ITEM, None) == {"x": [[1, "é"], "n=1.5", 3]}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("2 * a ^ 2", 0.5),
        ("-a ** 2", -0.25),
        ("(a + b) / 2", 0.75),
        ("min(a, b, 0.1) + max(a, b)", 1.1),
        ("abs(-a) + floor(1.9) + ceil(1.1)", 3.5),
        ("exp(0) + sqrt(4) + log(1)", 3),
        ("1e-1", 0.1),
    ],
)
def test_formulas_calculate(text: str, value: float) -> None:
    """Arithmetic with the usual precedence; `^` is power."""
    assert Formula(text).number({"a": 0.5, "b": 1.0}) == pytest.approx(value)


@pytest.mark.parametrize(
    "text",
    ["", "a +", "__import__('os')", "a.__class__.x()", "'a' * 9", "a if b else 1", "[1]", "a < b", "pow(2, 3)", "max(a)", "sqrt(1, 2)", "True",
     "lambda: 1", "f(x=1)", "min(*a)", "a @ b", "~a", "(" * 300, "1" * 3000, "a\n=1"],
)  # fmt: skip
def test_anything_else_is_not_a_formula(text: str) -> None:
    """No calls, strings, attributes of calls, comparisons or tricks."""
    with pytest.raises(FormulaError):
        Formula(text)


@pytest.mark.parametrize("text", ["1 / (a - a)", "sqrt(-1)", "log(0)", "9 ^ 9 ^ 9 ^ 9", "(-1) ^ 0.5", "exp(10000)", "1e308 * 10", "c"])
def test_a_formula_without_value_says_so(text: str) -> None:
    """Division by zero, complex and infinite results, unknown names."""
    with pytest.raises(FormulaError):
        Formula(text).number({"a": 1.0})


def test_formulas_work_on_arrays_of_resamples() -> None:
    """A gate with p evaluates all resamples at once."""
    value = Formula("max(a, 0.5) - abs(b) + floor(a)").value({"a": np.array([0.2, 1.0]), "b": np.array([-0.1, 0.0])})
    assert value.tolist() == pytest.approx([0.4, 2.0])


def test_dotted_names_are_for_gates() -> None:
    """`base.exact` is one name."""
    assert Formula("base.exact - 0.01").names == ("base.exact",)
    assert Formula("a.b.c").number({"a.b.c": 2.0}) == 2
