"""Definitions are checked when a spec is read, without running anything: every problem, with its path."""

from __future__ import annotations

import importlib.metadata
from typing import Any, Literal

import pytest

from ftspec.diagnostics import FtspecError
from ftspec.engines.profiles import load_profiles
from ftspec.evals.base import Grade, PureGrader, bind, check_definition, grader_type, shipped_types

EQ: dict[str, Any] = {"type": "string_check", "operation": "eq", "input": "{{sample.output_text}}", "reference": "{{item.reference}}"}
JUDGE: dict[str, Any] = {"type": "score_model", "model": "judge", "input": [{"role": "user", "content": "{{sample.output_text}}"}]}
LABELS: dict[str, Any] = JUDGE | {"type": "label_model", "labels": ["good", "bad"], "passing_labels": ["good"]}

WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["g.type: which grader? one of"]),
    ({"type": "string_chek"}, ["g.type: `string_chek` is not a grader; there are `exact_set`"]),
    ({"type": "../evil"}, ["g.type: `../evil` is not a grader"]),
    ({"type": "string_check"}, ["g.operation: is missing", "g.input: is missing", "g.reference: is missing"]),
    (EQ | {"operation": "neq"}, ["g.operation: must be 'eq', 'ne', 'like' or 'ilike'"]),
    (EQ | {"inputt": "x"}, ["g.inputt: is not a setting of `string_check`; did you mean `input`?"]),
    (EQ | {"zzz": 1}, ["g.zzz: is not a setting of `string_check`; it has `type`, `name`"]),
    (EQ | {"input": 3}, ["g.input: must be a valid string"]),
    (EQ | {"input": "{{sample.output}}"}, ["g.input: `{{sample.output}}`: a sample has `output_text`"]),
    (EQ | {"reference": "{{row.x}}"}, ["g.reference: `{{row.x}}`: the namespaces are `item` and `sample`, not `row`"]),
    (EQ | {"reference": "{{item.x"}, ["g.reference: `{{` without `}}`"]),
    (EQ | {"reference": "{{ 1 + 1 }}"}, ["g.reference: `{{1 + 1}}` is not a reference"]),
    ({"type": "text_similarity", "evaluation_metric": "cosine"}, ["g.evaluation_metric: `cosine` needs an embedding model"]),
    ({"type": "regex", "pattern": "("}, ["g.pattern: is not a regular expression"]),
    ({"type": "regex", "pattern": "a", "group": 1}, ["g.group: the pattern has no group `1`"]),
    ({"type": "regex", "pattern": "a", "absent": True, "reference": "a"}, ["g.absent: cannot be combined with `reference`"]),
    ({"type": "exact_set", "separator": ""}, ["g.separator: is empty"]),
    ({"type": "tool_call", "reference": "x {{item.y}}"}, ["g.reference: must be one reference"]),
    ({"type": "tool_call", "reference": "{{x"}, ["g.reference: `{{` without `}}`"]),
    ({"type": "tool_call", "reference": [{"nam": "x"}]}, ["g.reference.0: must be `{name, arguments}`"]),
    ({"type": "json_schema", "schema": {"type": "objekt"}}, ["g.schema: is not a JSON Schema"]),
    ({"type": "json_schema"}, ["g.schema: is missing"]),
    ({"type": "multi", "graders": {}, "calculate_output": "1"}, ["g.graders: is empty"]),
    ({"type": "multi", "graders": {"a": EQ | {"operation": "x"}}, "calculate_output": "a"}, ["g.graders.a.operation: must be"]),
    ({"type": "multi", "graders": {"a": EQ}, "calculate_output": "a +"}, ["g.calculate_output: `a +` is not a formula"]),
    ({"type": "multi", "graders": {"a": EQ}, "calculate_output": "b"}, ["g.calculate_output: `b` is not one of its graders"]),
    ({"type": "multi", "graders": {"a": {"type": "multi", "graders": {"b": EQ}, "calculate_output": "b"}}, "calculate_output": "a"}, ["g.graders.a.type: a `multi` grader cannot hold another one"]),
    ({"type": "python"}, ["g.source: give either `source` or `path`"]),
    ({"type": "python", "source": "x", "path": "y"}, ["g.source: give either `source` or `path`"]),
    ({"type": "python", "path": "y.py"}, ["g.function: is missing"]),
    ({"type": "python", "source": "def grade(:"}, ["g.source: is not Python"]),
    ({"type": "python", "source": "x = 1"}, ["g.source: defines no function `grade`"]),
    (JUDGE | {"range": [1, 0]}, ["g.range: must be two numbers"]),
    (JUDGE | {"input": []}, ["g.input: is empty"]),
    (JUDGE | {"input": [{"role": "tool", "content": "x"}]}, ["g.input.0.role: must be one of"]),
    (JUDGE | {"input": [{"role": "user", "content": "{{x}}"}]}, ["g.input.0.content: `{{x}}`"]),
    (JUDGE | {"input": [{"role": "user", "content": 1}]}, ["g.input.0.content: must be text"]),
    (JUDGE | {"input": [{"role": "user", "content": "x", "weight": 1}]}, ["g.input.0: a message has no `weight`"]),
    (LABELS | {"labels": ["good"]}, ["g.labels: must be at least two different labels"]),
    (LABELS | {"passing_labels": ["fine"]}, ["g.passing_labels: `fine` is not one of `labels`"]),
    (LABELS | {"passing_labels": []}, ["g.passing_labels: is empty"]),
    ({"type": "pairwise", "model": "judge", "criteria": " "}, ["g.criteria: is empty"]),
]  # fmt: skip


@pytest.mark.parametrize(("definition", "problems"), WRONG)
def test_a_wrong_definition_is_named_with_its_path(definition: dict[str, Any], problems: list[str]) -> None:
    """All problems of a definition are found at once, each begins with where it is."""
    found = check_definition("g", definition)
    assert len(found) == len(problems)
    assert all(one.startswith(start) for one, start in zip(found, problems, strict=True)), found


RIGHT: list[dict[str, Any]] = [
    EQ | {"name": "exact"},
    JUDGE | {"name": "q", "range": [1, 5], "pass_threshold": 4, "sampling_params": {"temperature": 0, "max_completions_tokens": 9}},
    JUDGE | {"input": [{"role": "user", "type": "message", "content": [{"type": "input_text", "text": "{{item.x}}"}, "and {{item.y}}"]}]},
    JUDGE | {"input": [{"role": "user", "content": {"type": "input_image", "image_url": "{{item.image}}", "detail": "low"}}]},
    LABELS,
    {"type": "python", "source": "def grade(sample, item):\n    return 1.0", "image_tag": "2025-05-08"},
    {"type": "python", "source": "from math import floor as grade"},
    {"type": "python", "source": "grade = lambda sample, item: 1"},
    {"type": "multi", "name": "m", "graders": {"a": EQ | {"name": "a"}}, "calculate_output": "a ^ 2"},
    {"type": "tool_call"},
]


@pytest.mark.parametrize("definition", RIGHT)
def test_a_right_definition_has_no_problems(definition: dict[str, Any]) -> None:
    """OpenAI's objects are taken as they are, with their names and optional members."""
    assert check_definition("g", definition) == []
    assert bind(definition).type == definition["type"]


def test_every_shipped_file_exports_a_grader_of_its_name() -> None:
    """One file a type, found by name."""
    for name in shipped_types():
        cls = grader_type(name)
        assert cls is not None
        assert cls.model_fields["type"].default == name


def test_binding_a_wrong_definition_stops_with_all_problems() -> None:
    """Who binds without checking gets one error that says everything."""
    with pytest.raises(FtspecError, match=r"operation: is missing; input: is missing"):
        bind({"type": "string_check"})


def test_an_engine_accepts_only_the_graders_that_its_profile_names() -> None:
    """For a reinforcement job the engine's profile limits the types."""
    profile = load_profiles()["openai"]
    assert check_definition("grader", EQ, profile=profile) == []
    assert "accepts" in check_definition("grader", {"type": "exact_set"}, profile=profile)[0]


class Shout(PureGrader):
    """A grader of an installed package."""

    type: Literal["shout"] = "shout"

    def compare(self, sample: Any, item: Any) -> Grade:
        return Grade(score=float(sample["output_text"].isupper()))


def test_installed_packages_add_graders_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry point group `ftspec.graders` extends the list."""

    class Entry:
        def load(self) -> type[Shout]:
            return Shout

    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda group, name: [Entry()] if (group, name) == ("ftspec.graders", "shout") else []
    )
    assert check_definition("g", {"type": "shout"}) == []
    assert grader_type("whisper") is None
