"""Plans as JSON: valid against the published schema, complete, and safe to print."""

from __future__ import annotations

import json

import jsonschema
import pytest

from ftspec.actions import Cost, Plan, Reason
from ftspec.fingerprint import canonical_json
from ftspec.render.json import schema, to_json

SCHEMA = json.loads(schema())


def validated(plan):
    """Return the plan's JSON after the schema accepted it."""
    text = to_json(plan)
    value = json.loads(text)
    jsonschema.Draft202012Validator(SCHEMA).validate(value)
    return value


def test_the_schema_is_a_schema():
    """Draft 2020-12, with a description for everything at the top."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert set(SCHEMA["required"]) == set(SCHEMA["properties"])


def test_every_kind_of_action_is_valid(make):
    """One plan with everything in it, and one with nothing."""
    value = validated(make.everything())
    assert {action["action"] for action in value["actions"]} == set(SCHEMA["$defs"]) & {
        "upload", "launch", "adopt", "keep", "wait", "forget", "evaluate", "keep_eval"
    }  # fmt: skip
    assert value["summary"] == {
        "uploads": 1,
        "launches": 6,
        "changed": 4,
        "adopted": 1,
        "reused": 4,
        "running": 1,
        "failed": 3,
        "waiting": 2,
        "relabelled": 1,
        "not_in_spec": 1,
        "evals": 2,
        "evals_reused": 1,
    }
    assert value["empty"] is False
    assert validated(make.plan())["empty"] is True


def test_the_schema_names_every_member_and_reason(make):
    """A member that is not in the schema is a member that nobody can rely on."""

    def undescribed(value, node, path=""):
        node = SCHEMA["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node
        if "anyOf" in node:
            node = node["anyOf"][0]
            return undescribed(value, node, path) if value is not None else []
        if "oneOf" in node:
            node = {"$ref": f"#/$defs/{value['action']}"}
            return undescribed(value, node, path)
        if isinstance(value, list) and "items" in node:
            return [one for item in value for one in undescribed(item, node["items"], f"{path}[]")]
        if isinstance(value, dict) and "properties" in node:
            extra = [f"{path}.{name}" for name in value if name not in node["properties"]]
            return extra + [
                one
                for name, item in value.items()
                if name in node["properties"]
                for one in undescribed(item, node["properties"][name], f"{path}.{name}")
            ]
        return []

    assert undescribed(validated(make.everything()), SCHEMA) == []
    assert set(SCHEMA["$defs"]["reason"]["examples"]) == {reason.value for reason in Reason}


def test_values_are_verbatim_and_unknown_is_null(make):
    """JSON is for programs: nothing is shortened, nothing unknown is zero."""
    value = validated(make.plan(make.changed("t", make.change("grader", {"a": [1, 2]}, None)), cost=Cost()))
    assert value["actions"][0]["changes"] == [
        {
            "field": "grader",
            "old": {"a": [1, 2]},
            "new": None,
            "at": {"path": "specs/tone.yaml", "line": 8, "column": 5, "end_column": None},
        }
    ]
    assert (value["cost"]["low"], value["cost"]["known"], value["cost"]["tokens"]) == (None, False, None)


def test_hostile_text_is_verbatim_for_programs_and_harmless_on_a_terminal(make, hostile):
    """Escaped in the text, the same after parsing; and no line is a command to a CI runner."""
    text = to_json(make.plan(make.launch(hostile), options={"target": [hostile]}))
    assert json.loads(text)["actions"][0]["address"] == hostile
    assert text.isascii()
    assert not any((ord(c) < 32 and c != "\n") or ord(c) == 127 for c in text)
    assert "##[" not in text
    assert not any(line.lstrip().startswith("::") for line in text.split("\n"))


def test_secrets_are_redacted(make):
    """Wherever foreign values are written."""
    plan = make.plan(
        make.launch("t", job={"hyperparameters": {"x": ["sk-abcdefghijkl"]}}), make.changed("u", make.change("a", "sk-abcdefghijkl"))
    )
    assert "sk-abc" not in to_json(plan)


@pytest.mark.parametrize("name", ["everything", "plan"])
def test_equal_plans_have_equal_bytes(make, name):
    """And they end in a line feed."""
    first: Plan = getattr(make, name)()
    assert to_json(first) == to_json(getattr(make, name)())
    assert to_json(first).endswith("}\n")
    canonical_json(json.loads(to_json(first)))
