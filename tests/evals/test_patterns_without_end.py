"""Patterns that would take longer than anybody waits, in graders that a spec declares."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftspec.evals import patterns
from ftspec.evals.code import CodeError
from ftspec.evals.grading import SyncGrader

ENDLESS = {
    "nested repetitions": {"type": "regex", "pattern": "(a+)+b"},
    "choices that overlap": {"type": "regex", "pattern": "(a|aa)+b", "match": "full"},
    "many repetitions": {"type": "regex", "pattern": "a*" * 30 + "b"},
    "no repetition at all": {"type": "regex", "pattern": "(?:a|aa)?" * 50 + "b"},
    "in a schema": {"type": "json_schema", "schema": {"type": "string", "pattern": "^(a+)+$"}, "input": '"{{sample.output_text}}!"'},
    "a schema of references": {
        "type": "json_schema",
        "schema": {"$ref": "#/$defs/0", "$defs": {str(n): {"allOf": [{"$ref": f"#/$defs/{n + 1}"}] * 2} for n in range(40)} | {"40": {}}},
        "input": "1",
    },
}


@pytest.fixture
def in_a_hurry(monkeypatch):
    """Wait for less than usual, and forget what was learnt of patterns."""
    monkeypatch.setattr(patterns, "SECONDS", 0.25)
    patterns._process.cache_clear()
    patterns._strikes.clear()
    yield
    patterns._process().close()
    patterns._process.cache_clear()
    patterns._strikes.clear()


@pytest.mark.parametrize("definition", ENDLESS.values(), ids=ENDLESS)
def test_a_pattern_without_end_leaves_an_answer_ungraded(definition, in_a_hurry):
    """The eval goes on: other answers are graded with the same pattern, and after three strikes nobody waits any more."""
    with SyncGrader(definition) as grader:
        for _ in range(patterns.STRIKES):
            grade = grader.grade({"output_text": "a" * 60}, {})
            assert (grade.score, grade.error) == (None, "the pattern takes longer than 0.25 s on an answer")
        start = time.process_time()
        assert grader.grade({"output_text": "a" * 60}, {}).score is None
        assert time.process_time() - start < 0.3


def test_a_schema_that_refers_to_itself_leaves_an_answer_ungraded():
    """Python's own limit ends it."""
    with SyncGrader({"type": "json_schema", "schema": {"$ref": "#"}}) as grader:
        assert "refers to itself" in (grader.grade({"output_text": "1"}, {}).error or "")


def test_an_answer_that_is_graded_is_graded_as_before(in_a_hurry, monkeypatch):
    """One strike is forgiven: what ends in time gets its score, and details come as ever."""
    monkeypatch.setattr(patterns, "SECONDS", 5.0)
    with SyncGrader({"type": "regex", "pattern": r"#+ (-?\d+)", "group": 1, "reference": "{{item.answer}}"}) as grader:
        assert grader.grade({"output_text": "so\n#### -7"}, {"answer": "-7"}).score == 1
    with SyncGrader({"type": "json_schema", "schema": {"properties": {"a": {"pattern": "^(x+)$"}}}}) as grader:
        assert grader.grade({"output_text": '{"a": "y"}'}, {}).detail == "$.a: `pattern`"


@given(st.text(alphabet="ab", max_size=40))
def test_a_pattern_that_is_not_tried_is_quick(text):
    """At most one repetition or choice: whatever the answer, there is no need of another process."""
    for pattern in ("a*b", "a|b", "[ab]+", "(a)?b", "ab{2,9}"):
        patterns.try_regex(pattern, text, flags=0, full=False)
        re.search(pattern, text)
    assert patterns._process.cache_info().currsize <= 1


@pytest.mark.parametrize(("pattern", "length"), [("a+b", 1_000_000), (r"(.*)\1b", 5_000), ("(?P<n>.*)(?P=n)b", 5_000)])
def test_one_repetition_can_be_too_much(pattern, length, in_a_hurry):
    """It takes quadratic time, which is much on a megabyte, and cubic with a group that comes again."""
    with pytest.raises(CodeError, match="longer than"):
        patterns.try_regex(pattern, "a" * length, flags=0, full=False)
