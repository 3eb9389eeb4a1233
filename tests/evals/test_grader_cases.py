"""Every grader as a table: definition, output, row, and what it says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ftspec.evals.base import Grade
from ftspec.evals.grading import SyncGrader, sample_of


def graded(definition: dict[str, Any], output: str, item: dict[str, Any], **answer: Any) -> Grade:
    with SyncGrader(definition) as grader:
        return grader.grade(sample_of(output, **answer), item)


def check(operation: str) -> dict[str, Any]:
    return {"type": "string_check", "operation": operation, "input": "{{sample.output_text}}", "reference": "{{item.reference}}"}


def call(name: str, arguments: Any = None) -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments or {})}}


CASES: list[tuple[dict[str, Any], str, dict[str, Any], float]] = [
    # string_check, as OpenAI's guide words it
    (check("eq"), "Paris", {"reference": "Paris"}, 1),
    (check("eq"), "paris", {"reference": "Paris"}, 0),
    (check("eq"), "Paris ", {"reference": "Paris"}, 0),
    (check("eq"), "", {"reference": ""}, 1),
    (check("ne"), "Rome", {"reference": "Paris"}, 1),
    (check("ne"), "Paris", {"reference": "Paris"}, 0),
    (check("like"), "It is Paris.", {"reference": "Paris"}, 1),
    (check("like"), "It is paris.", {"reference": "Paris"}, 0),
    (check("ilike"), "It is PARIS.", {"reference": "paris"}, 1),
    (check("ilike"), "STRASSE", {"reference": "straße"}, 1),
    (check("ilike"), "Rome", {"reference": "Paris"}, 0),
    # text_similarity (the values have a page of their own)
    ({"type": "text_similarity", "evaluation_metric": "rouge_l"}, "the cat sat", {"reference": "the cat"}, 0.8),
    ({"type": "text_similarity", "evaluation_metric": "fuzzy_match", "pass_threshold": 0.5}, "abcd", {"reference": "abcd"}, 1),
    # regex
    ({"type": "regex", "pattern": r"\d+"}, "it is 42", {}, 1),
    ({"type": "regex", "pattern": r"\d+"}, "it is many", {}, 0),
    ({"type": "regex", "pattern": r"\d+", "match": "full"}, "it is 42", {}, 0),
    ({"type": "regex", "pattern": "sorry", "ignore_case": True, "absent": True}, "Sorry, no", {}, 0),
    ({"type": "regex", "pattern": "sorry", "absent": True}, "gladly", {}, 1),
    ({"type": "regex", "pattern": r"#### (-?\d+)", "group": 1, "reference": "{{item.answer}}"}, "so\n#### -7", {"answer": "-7"}, 1),
    ({"type": "regex", "pattern": r"#### (-?\d+)", "group": 1, "reference": "{{item.answer}}"}, "so -7", {"answer": "-7"}, 0),
    ({"type": "regex", "pattern": r"(?P<n>\d)", "group": "n", "reference": "{{item.answer}}"}, "5", {"answer": 5}, 1),
    # exact_set
    ({"type": "exact_set"}, "b, A", {"reference": "a,B"}, 1),
    ({"type": "exact_set"}, "a", {"reference": "a, b"}, 0),
    ({"type": "exact_set", "ignore_case": False}, "A", {"reference": "a"}, 0),
    ({"type": "exact_set", "separator": "\n"}, "x\ny\n", {"reference": ["y", "x"]}, 1),
    ({"type": "exact_set", "score": "f1"}, "a, b", {"reference": "b, c"}, 0.5),
    ({"type": "exact_set", "score": "jaccard"}, "a, b", {"reference": "b, c"}, 1 / 3),
    ({"type": "exact_set", "score": "f1"}, "", {"reference": ""}, 1),
    # json_schema
    ({"type": "json_schema", "schema": {"type": "object", "required": ["a"]}}, '{"a": 1}', {}, 1),
    ({"type": "json_schema", "schema": {"type": "object", "required": ["a"]}}, '{"b": 1}', {}, 0),
    ({"type": "json_schema", "schema": {"type": "object"}}, "no JSON", {}, 0),
    # multi
    ({"type": "multi", "graders": {"a": check("eq"), "b": check("ilike")}, "calculate_output": "0.25 * a + 0.75 * b"}, "PARIS!", {"reference": "Paris"}, 0.75),
    ({"type": "multi", "graders": check("eq") | {"name": "a"}, "calculate_output": "max(a, 0.1)"}, "no", {"reference": "yes"}, 0.1),
]  # fmt: skip


@pytest.mark.parametrize(("definition", "output", "item", "score"), CASES)
def test_a_grader_scores_an_output(definition: dict[str, Any], output: str, item: dict[str, Any], score: float) -> None:
    """Definition, output and row give this score and no error."""
    grade = graded(definition, output, item)
    assert grade.error is None
    assert grade.score == pytest.approx(score)


WEATHER = [call("weather", {"city": "Bern", "days": 1})]
CALLS: list[tuple[dict[str, Any], list[dict[str, Any]], Any, float]] = [
    ({}, WEATHER, WEATHER, 1),
    ({}, [call("weather", {"days": 1.0, "city": "Bern"})], WEATHER, 1),
    ({}, [call("weather", {"city": "Bern"})], WEATHER, 0),
    ({}, [call("time")], WEATHER, 0),
    ({}, [], WEATHER, 0),
    ({}, [], [], 1),
    ({}, WEATHER, [], 0),
    ({"arguments": "ignore"}, [call("weather", {"city": "Rome"})], WEATHER, 1),
    ({"arguments": "subset"}, [call("weather", {"city": "Bern", "days": 1, "unit": "C"})], WEATHER, 1),
    ({"arguments": "subset"}, [call("weather", {"city": "Bern"})], WEATHER, 0),
    ({}, [call("a"), call("b")], [call("b"), call("a")], 1),
    ({"ordered": True}, [call("a"), call("b")], [call("b"), call("a")], 0),
    ({}, [call("a"), call("a")], [call("a")], 0.5),
    ({"reference": [{"name": "a"}]}, [call("a")], None, 1),
]


@pytest.mark.parametrize(("settings", "made", "wanted", "score"), CALLS)
def test_tool_calls_are_compared_as_calls(settings: dict[str, Any], made: list[Any], wanted: Any, score: float) -> None:
    """Names and JSON arguments count, spelling and order do not."""
    grade = graded({"type": "tool_call", **settings}, "", {"reference_tools": wanted}, tool_calls=made)
    assert grade.score == pytest.approx(score)
    assert grade.passed is (score == 1)


def test_tool_calls_with_broken_arguments_are_wrong_and_broken_references_are_not_graded() -> None:
    """A model's broken JSON scores 0; a row's broken reference is nobody's fault but the row's."""
    broken = {"id": "x", "type": "function", "function": {"name": "a", "arguments": "{"}}
    assert graded({"type": "tool_call"}, "", {"reference_tools": [call("a")]}, tool_calls=[broken]).score == 0
    assert graded({"type": "tool_call"}, "", {"reference_tools": [broken]}).score is None
    assert graded({"type": "tool_call"}, "", {"reference_tools": "a"}).error is not None
    assert graded({"type": "tool_call"}, "", {"reference_tools": ["a"]}).error is not None


UNGRADED: list[tuple[dict[str, Any], str, dict[str, Any], str]] = [
    (check("eq"), "x", {}, "`item` has no `reference`"),
    (check("eq"), "x", {"reference": None}, "`item.reference` is null"),
    ({"type": "regex", "pattern": ".", "input": "{{sample.output_json.a}}"}, "text", {}, "the output is not JSON"),
    ({"type": "regex", "pattern": ".", "input": "{{sample.output_json.a}}"}, "{}", {}, "`sample.output_json` has no `a`"),
    ({"type": "multi", "graders": {"a": check("eq")}, "calculate_output": "a"}, "x", {}, "`item` has no `reference`"),
    ({"type": "multi", "graders": {"a": check("eq")}, "calculate_output": "1 / a"}, "x", {"reference": "y"}, "`1 / a` has no value here: float division by zero"),
    ({"type": "json_schema", "schema": {"$ref": "https://example.com/s"}}, "{}", {}, "the schema refers to `https://example.com/s`, which it does not hold"),
]  # fmt: skip


@pytest.mark.parametrize(("definition", "output", "item", "error"), UNGRADED)
def test_what_cannot_be_graded_has_an_error_and_no_score(definition: dict[str, Any], output: str, item: dict[str, Any], error: str) -> None:
    """A missing field, a null, a formula without value: never a silent zero."""
    grade = graded(definition, output, item)
    assert grade.score is None
    assert grade.error == error


def test_thresholds_make_a_score_a_verdict() -> None:
    """`pass_threshold` says from where on a score passes."""
    definition = {"type": "text_similarity", "evaluation_metric": "fuzzy_match", "pass_threshold": 0.5}
    assert graded(definition, "abcd", {"reference": "abxx"}).passed is True
    assert graded(definition, "abcd", {"reference": "axxx"}).passed is False
    assert graded({"type": "text_similarity", "evaluation_metric": "gleu"}, "a", {"reference": "a"}).passed is None
    multi = {"type": "multi", "graders": {"a": check("eq")}, "calculate_output": "a", "pass_threshold": 1}
    assert graded(multi, "x", {"reference": "x"}).passed is True
