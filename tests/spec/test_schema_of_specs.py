"""The authoring schema: what editors see, and what is said about files that do not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from pydantic import TypeAdapter, ValidationError

from ftspec.spec import publish, schema, settings
from ftspec.spec.schema import BLOCKS, SpecFile, fields_of, json_schema

if TYPE_CHECKING:
    from tests.spec.conftest import Project

SCHEMA = json_schema()


def test_the_checked_in_schema_is_the_generated_one() -> None:
    """`python -m ftspec.spec.publish` writes it anew."""
    assert publish.PATH.read_text(encoding="utf-8") == publish.published()


def test_the_schema_is_valid_json_schema() -> None:
    """By its own meta schema."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def _properties(node: Any, path: str = "") -> list[tuple[str, dict[str, Any]]]:
    found = []
    for name, one in node.get("properties", {}).items():
        found.append((f"{path}.{name}", one))
    return found


@pytest.mark.parametrize(
    ("path", "node"),
    [pair for name, block in {"": SCHEMA, **SCHEMA["$defs"]}.items() for pair in _properties(block, name)],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_setting_has_a_description_for_editors(path: str, node: dict[str, Any]) -> None:
    """A sentence that ends with a full stop or an example."""
    assert len(node.get("description", "")) > 8, path
    assert node["description"].endswith("."), path


def test_every_block_has_a_description() -> None:
    """Also for hovers."""
    assert all(block.get("description") for block in SCHEMA["$defs"].values())


GOOD = """
ftspec: 1
project: x
x-anchors: {a: 1}
vars: {n: 3, list: [1, 2]}
engines: {sandbox: , hosted: {type: openai, api_key_env: A_*, limits: {per_day: 3}}}
datasets: {a: a.jsonl, b: {path: b.jsonl, split: {train: 0.5, test: 0.5, seed: 1}, transforms: [dedupe]}}
defaults: {engine: sandbox, epochs: "{n}", validation: null}
experiments:
  tone:
    base_model: {from: other, where: {seed: [1, 2]}}
    method: {type: dpo, hyperparameters: {beta: auto, own: 3}}
    learning_rate_multiplier: 1e-3
    lora: {rank: 8, targets: all}
    tags: {a: 1, b: text, c: true}
    matrix:
      seed: "{list}"
      zip: [{a: [1], b: [2]}]
      exclude: [{seed: 1}]
      overrides: [{where: {seed: 2}, set: {lora.rank: 4}}]
evals: {e: {dataset: a, graders: {g: {type: x}}, require: "g >= 1"}}
policy: {max_cost: 3.5, max_jobs: "{n}"}
notify: [{command: echo}]
protect: tone/*
"""

BAD = [
    "ftspec: 2",
    "unknown: 1",
    "experiments: {tone: {epoch: 3}}",
    "experiments: {tone: {epochs: three}}",
    "experiments: {tone: {epochs: 0}}",
    "experiments: {tone: {epochs: 1.5}}",
    "experiments: {tone: {epochs: true}}",
    "experiments: {tone: {seed: -1}}",
    "experiments: {tone: {learning_rate: 0}}",
    "experiments: {tone: {method: sft}}",
    "experiments: {tone: {method: {type: dpo, beta: 1}}}",
    "experiments: {tone: {base_model: {where: {}}}}",
    "experiments: {tone: {matrix: {seed: 1}}}",
    "experiments: {tone: {matrix: {seed: []}}}",
    "experiments: {'a b': {}}",
    "experiments: [tone]",
    "datasets: {a: {file: x}}",
    "datasets: {a: {path: x, format: csv}}",
    "engines: {a: {api_key_env: 'a b'}}",
    "evals: {e: {grader: x}}",
    "policy: {max_jobs: many}",
    "notify: {command: x}",
    "identity: {suffix: maybe}",
]


def _value(text: str) -> Any:
    from ftspec.spec.source import parse
    from ftspec.spec.tree import plain

    return plain(parse(text.encode(), "x")[0])


def test_editors_and_the_loader_accept_the_same_spec() -> None:
    """JSON Schema and models are one thing."""
    jsonschema.Draft202012Validator(SCHEMA).validate(_value(GOOD))
    SpecFile.model_validate({key: value for key, value in _value(GOOD).items() if not key.startswith("x-")})


@pytest.mark.parametrize("text", BAD)
def test_editors_and_the_loader_refuse_the_same_spec(text: str) -> None:
    """Red underlines mean that `validate` will complain."""
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(_value(text))
    with pytest.raises(ValidationError):
        SpecFile.model_validate(_value(text))


SAMPLES = [
    None,
    True,
    False,
    0,
    1,
    3,
    -1,
    2**31 - 1,
    2**31,
    1.5,
    0.0,
    0.5,
    -0.5,
    1e-5,
    "",
    "auto",
    "max",
    "text",
    "dpo",
    "classification",
    [],
    ["a"],
    [1],
    ["a", ""],
    [{}],
    {},
    {"a": 1},
]


@pytest.mark.parametrize("path", sorted(settings.KINDS))
def test_a_setting_accepts_the_same_values_before_and_after_expansion(path: str) -> None:
    """The schema checks what is written, the kinds check what references and axes stand for."""
    block, _, member = settings.spelled(path).rpartition(".")
    model = {
        "": schema.Settings,
        "lora": schema.LoraBlock,
        "method.hyperparameters": schema.HyperparametersBlock,
        "method": schema.MethodBlock,
    }[block]
    written = TypeAdapter(model.model_fields[member].rebuild_annotation(), config={"strict": True})
    as_text = path in {"suffix", "name"}
    for value in SAMPLES:
        if value is None or (path, value) in (("integrations", [{}]), ("method", {})) or (as_text and isinstance(value, (int, float))):
            continue
        try:
            written.validate_python(value)
        except ValidationError:
            accepted = False
        else:
            accepted = True
        assert accepted == settings.KINDS[path].accepts(value), value


def test_hyperparameters_are_those_of_the_openai_package() -> None:
    """Every one of its three methods can be given, and typed."""
    from openai.types.fine_tuning import dpo_hyperparameters_param, reinforcement_hyperparameters_param, supervised_hyperparameters_param

    theirs = {
        "supervised": supervised_hyperparameters_param.SupervisedHyperparametersParam,
        "dpo": dpo_hyperparameters_param.DpoHyperparametersParam,
        "reinforcement": reinforcement_hyperparameters_param.ReinforcementHyperparametersParam,
    }
    for method, names in settings.METHODS.items():
        assert set(names) == {*theirs[method].__annotations__, "learning_rate"}
        assert set(names) <= set(schema.HyperparametersBlock.model_fields)


def test_every_setting_of_the_schema_has_a_path() -> None:
    """What a spec may write reaches the job."""
    assert set(schema.Settings.model_fields) == set(settings.NAMES)
    assert all(settings.path_of(name) for name in settings.NAMES)


@pytest.mark.parametrize(
    ("text", "message", "help_text", "place"),
    [
        ("experiments: {tone: {epoch: 3}}", "unknown-key: `epoch` is not a setting of an experiment", "did you mean `epochs`?", "2:22"),
        ("experiments: {tone: {model: x}}", "unknown-key: `model` is not a setting of an experiment", "did you mean `base_model`?", "2:22"),
        (
            "experiments: {tone: {n_epochs: 3}}",
            "unknown-key: `n_epochs` is not a setting of an experiment",
            "did you mean `epochs`?",
            "2:22",
        ),
        ("experiment: {}", "unknown-key: `experiment` is not a section of a spec", "did you mean `experiments`?", "2:1"),
        ("datasets: {a: {file: x}}", "unknown-key: `file` is not a setting of a dataset", "did you mean `path`?", "2:16"),
        ("datasets: {a: {split: {x: 1}}}", "missing-key: a dataset needs `path`", "add `path: ...`", "2:12"),
        ("experiments: {tone: {base_model: {form: x}}}", "missing-key: `base_model` needs `from`", "add `from: ...`", "2:22"),
        (
            "experiments: {tone: {method: sft}}",
            "wrong-value: `method` must be `supervised`, `dpo` or `reinforcement`, not the text `sft`",
            "did you mean `supervised`?",
            "2:30",
        ),
        (
            "experiments: {tone: {epochs: [1, 2]}}",
            "wrong-value: `epochs` must be a whole number of at least 1, or `auto`, not a list",
            None,
            "2:30",
        ),
        ("experiments: {tone: 3}", "wrong-value: `tone` must be a mapping, not `3`", None, "2:21"),
        ("experiments: [a]", "wrong-value: `experiments` must be a mapping, not a list", None, "2:14"),
        (
            "experiments: {'a b': {}}",
            "bad-name: `a b` cannot be a name",
            "use letters, digits, `_`, `-` and `.`, at most 64, starting with a letter or `_`",
            "2:15",
        ),
        ("experiments: {tone: {matrix: {seed: 3}}}", "wrong-value: `seed` must be a list of values, not `3`", None, "2:37"),
        ("identity: {suffix: no}", "wrong-value: `suffix` must be `true` or `false`, not the text `no`", None, "2:20"),
        ("policy: {max_jobs: -1}", "wrong-value: `max_jobs` must be a whole number of at least 0, not `-1`", None, "2:20"),
        ("evals: {e: {dataset: a, graders: [x]}}", "wrong-value: `graders` must be a mapping, not a list", None, "2:34"),
        ("project: a b", "wrong-value: `project` must be a name, not the text `a b`", None, "2:10"),
    ],
)
def test_what_does_not_fit_is_said_in_words(project: Project, text: str, message: str, help_text: str | None, place: str) -> None:
    """With the place of the key or value, and the nearest known word."""
    loaded = project.spec(text, head="ftspec: 1\n")
    problem = next(one for one in loaded.problems if f"{one.code}: {one.message}" == message)
    assert (problem.help, str(problem.at)) == (help_text, f"ftspec.yaml:{place}")


def test_all_problems_of_a_spec_are_reported_in_one_run(project: Project) -> None:
    """Structure, names, references and rules, by line; a broken block hides no other."""
    loaded = project.spec(
        """
        engines: {hosted: {typ: openai}}
        datasets: {x: {path: ../x.jsonl}}
        policy: {max_job: 3}
        experiments:
          one: {epoch: 3, train: dat.train}
          two: {suffix: "{sed}"}
          three: {engine: hosted}
          four: {base_model: {from: for}, epochs: 99}
        """,
        head="ftspec: 1\ndefaults: {engine: sandbox, base_model: sandbox-mini, train: data}\nx-datasets: {}\n",
    )
    assert [(one.at.line if one.at else 0, one.code) for one in loaded.problems if one.severity == "error"] == [
        (2, "unknown-dataset"),
        (5, "unknown-key"),
        (6, "path-outside"),
        (7, "unknown-key"),
        (9, "unknown-key"),
        (9, "unknown-dataset"),
        (10, "unknown-reference"),
        (12, "unknown-experiment"),
    ]


def test_repeated_problems_are_reported_once_with_a_count(project: Project) -> None:
    """A grid of a hundred experiments with one mistake reads as one problem."""
    loaded = project.experiments("\n".join(f"e{i}: {{epochs: 99}}" for i in range(100)))
    problem = loaded.only("hyperparameter-range")
    assert (problem.count, len(problem.places)) == (100, 5)


def test_a_block_table_covers_every_model() -> None:
    """Suggestions know which keys each mapping may have."""
    assert all(fields_of(model) for model, _ in BLOCKS.values())
