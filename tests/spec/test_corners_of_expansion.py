"""Corners: what a reference may stand for, what axes may hold, and what is too much."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.spec.conftest import Project


def test_variables_work_in_every_section(project: Project) -> None:
    """Engines, datasets, evals, policy, project and state; numbers keep their type."""
    loaded = project.spec(
        """
        vars: {lang: en, n: 2, share: 0.5, url: "https://lab.test/v1"}
        project: "p-{lang}"
        state: "state-{lang}"
        engines: {lab: {type: openai-compatible, base_url: "{url}", limits: {max_running: "{n}"}}}
        datasets: {x: {path: "{lang}/x.jsonl", split: {a: "{share}", b: 0.5}}, y: "{lang}.jsonl"}
        evals: {e: {dataset: "x.a", repeat: "{n}", graders: {g: {type: x}}}}
        policy: {max_jobs: "{n}"}
        experiments: {tone: {}}
        """,
        head="ftspec: 1\ndefaults: {engine: lab, base_model: m, train: x.a, validation: x.b}\n",
    )
    spec = loaded.spec
    assert spec is not None
    assert loaded.errors == []
    assert (spec.project, spec.state_dir, spec.policy.max_jobs) == ("p-en", "state-en", 2)
    assert (spec.engines["lab"].base_url, spec.engines["lab"].limits.max_running) == ("https://lab.test/v1", 2)
    assert (spec.datasets["x"].path, spec.datasets["y"].path) == ("en/x.jsonl", "en.jsonl")
    assert spec.datasets["x"].split is not None
    assert spec.datasets["x"].split.shares == {"a": 0.5, "b": 0.5}
    assert spec.evals["e"].repeat == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("engines: {e: {type: openai, limits: {max_running: '{v}'}}}", "wrong-value: `max_running` must be a whole number of at least 1, not the text `word`"),
        ("datasets: {x: {path: x, split: {a: '{v}', b: 0.5}}}", "wrong-value: `a` must be a number above 0, not the text `word`"),
        ("evals: {e: {dataset: data, repeat: '{v}', graders: {g: {}}}}", "wrong-value: `repeat` must be a whole number of at least 1, not the text `word`"),
        ("policy: {max_jobs: '{v}'}", "wrong-value: `max_jobs` must be a number, not the text `word`"),
        ("datasets: {x: '{nothing}'}", "unknown-reference: `{nothing}` refers to nothing"),
        ("datasets: {x: '{'}", "bad-reference: `{` is not a reference"),
        ("datasets: {x: 'a{list}b'}", "bad-reference: `{list}` is a list or a mapping, which cannot be part of text"),
        ("experiments: {tone: {suffix: 'a{list}b'}}", "bad-reference: `{list}` is a list or a mapping, which cannot be part of text"),
        ("experiments: {tone: {matrix: {base_model: [sandbox-mini, '{nothing}']}}}", "unknown-reference: `{nothing}` refers to nothing"),
        ("experiments: {tone: {matrix: {seed: '{v}'}}}", "wrong-value: the axis `seed` must be a list of values, not the text `word`"),
        ("experiments: {tone: {matrix: {seed: '{empty}'}}}", "wrong-value: the axis `seed` must be a list of values, not an empty list"),
        ("experiments: {tone: {method: '{v}'}}", "wrong-value: `method` must be `supervised`, `dpo` or `reinforcement`, not the text `word`"),
        ("experiments: {tone: {method: '{nothing}'}}", "unknown-reference: `{nothing}` refers to nothing"),
        ("experiments: {tone: {base_model: '{nothing}'}}", "unknown-reference: `{nothing}` refers to nothing"),
        ("experiments: {tone: {base_model: '{list}'}}", "wrong-value: `base_model` must be the name of a model, or `{from: EXPERIMENT}`, not a list"),
        ("experiments: {tone: {base_model: {from: '{n}'}}}", "wrong-value: `base_model` must be the name of a model, or `{from: EXPERIMENT}`"),
        ("experiments: {tone: {matrix: {method: [supervised, sft]}}}", "wrong-value: `method` must be `supervised`, `dpo` or `reinforcement`, not the text `sft`"),
        ("experiments: {tone: {matrix: {seed: [1], zip: {seed: [2]}}}}", "given-twice: the axis `seed` is given twice"),
        ("experiments: {tone: {matrix: {seed: [1], overrides: [{where: {seed: 1}, set: {epoch: 2}}]}}}", "unknown-key: `epoch` is not a setting of a job"),
        ("experiments: {tone: {matrix: {seed: [1], overrides: [{where: {sed: 1}, set: {epochs: 2}}]}}}", "unknown-axis: `sed` in `overrides` is not an axis"),
        ("experiments: {tone: {matrix: {seed: [1], exclude: [{sed: 1}]}}}", "unknown-axis: `sed` in `exclude` is not an axis"),
        ("experiments: {tone: {replicate: true}}", "wrong-value: `replicate` must be a whole number or text, not `true`"),
        ("experiments: {tone: {lora: {rnak: 8}}}", "unknown-key: `rnak` is not a setting of `lora`"),
        ("experiments: {tone: {integrations: [{wandb: {}}]}}", "missing-key: this mapping needs `type`"),
        ("defaults: {epoch: 3}", "unknown-key: `epoch` is not a setting of a job"),
        ("vars: {v: .inf}", "bad-number: `.inf` is a number that is not finite"),
    ],
)  # fmt: skip
def test_what_a_reference_or_axis_holds_is_checked(project: Project, text: str, message: str) -> None:
    """The problem has the words of a written value, and nothing follows from it."""
    head = project.HEAD + "vars: {v: word, n: 3, list: [a], empty: []}\n"
    if text.startswith(("datasets", "defaults", "vars")):
        section = text.partition(":")[0]
        head = "".join(
            line for line in head.splitlines(keepends=True) if not line.startswith((section, "  ") if section == "datasets" else section)
        )
        if section == "vars":
            head += "experiments: {tone: {suffix: '{v}'}}\n"
    loaded = project.spec(text, head=head)
    assert message in loaded.errors
    assert {one.split(":")[0] for one in loaded.errors} <= {message.split(":", maxsplit=1)[0], "unknown-dataset", "unknown-reference"}


def test_children_of_an_unknown_method_cause_no_further_errors(project: Project) -> None:
    """The parent is not known, so nothing is said about who trains on it."""
    loaded = project.experiments("a: {matrix: {method: [sft]}}\nb: {base_model: {from: a}}\nc: {depends_on: a}")
    assert [one.split(":")[0] for one in loaded.errors] == ["wrong-value"]


def test_methods_may_come_from_a_reference(project: Project) -> None:
    """Cells of different methods have different hyperparameters."""
    loaded = project.experiments("""
        tone:
          train: pairs
          validation: null
          method: "{how}"
          suffix: "{method}-{beta}"
          matrix: {how: [dpo], method.hyperparameters.beta: [0.1, 0.5]}
        """)
    assert [(job.method, job.hyperparameters, job.suffix) for job in loaded.jobs] == [
        ("dpo", {"beta": 0.1}, "dpo-0.1"),
        ("dpo", {"beta": 0.5}, "dpo-0.5"),
    ]
    place = loaded.jobs[1].origin.place("method.hyperparameters.beta", loaded.jobs[1].axes)
    assert (place.line, place.column) == (13, 61)


def test_deep_members_of_graders_can_be_axes(project: Project) -> None:
    """Missing mappings on the way are made."""
    loaded = project.experiments("""
        tone:
          method: {type: reinforcement, grader: {type: multi, graders: {a: {type: string_check}}}}
          matrix: {method.grader.graders.a.operation: [eq], method.grader.extra.deep: [1], method.grader.type.x: [1]}
        """)
    assert loaded.jobs[0].grader == {"type": "multi", "graders": {"a": {"type": "string_check", "operation": "eq"}}, "extra": {"deep": 1}}


def test_null_among_axis_values_leaves_the_setting_out(project: Project) -> None:
    """A grid can compare a setting with its absence."""
    loaded = project.experiments("tone: {matrix: {seed: [null, 1], batch_size: [null, 4]}}")
    assert [(job.address, job.seed, job.hyperparameters) for job in loaded.jobs][::3] == [
        ("tone/seed=null,batch_size=null", None, {}),
        ("tone/seed=1,batch_size=4", 1, {"batch_size": 4}),
    ]


def test_lists_in_settings_may_hold_references(project: Project) -> None:
    """Evals, dependencies and integrations of a cell."""
    loaded = project.spec(
        """
        evals: {a: {dataset: data.validation, graders: {g: {}}}, b: {dataset: data.validation, graders: {g: {}}}}
        experiments:
          first: {matrix: {seed: [1, 2]}}
          tone:
            evals: ["{which}"]
            depends_on: ["first/seed={seed}"]
            engine_options: {note: ["{which}", 1], plain: [1]}
            matrix: {which: [a, b], seed: [1]}
        """
    )
    assert [(job.evals, job.depends_on, job.engine_options) for job in loaded.jobs[2:]] == [
        (("a",), ("first/seed=1",), {"note": ["a", 1], "plain": [1]}),
        (("b",), ("first/seed=1",), {"note": ["b", 1], "plain": [1]}),
    ]


def test_too_much_is_refused_in_words(project: Project) -> None:
    """Cells, text and conditions have bounds; the message names them."""
    many = ", ".join(map(str, range(1_000)))
    loaded = project.experiments(
        f"a: {{matrix: {{seed: [{many}], epochs: [1, 2]}}}}\nb: {{base_model: {{from: a}}, matrix: {{replicate: [{many}]}}}}"
    )
    assert "too-many-cells: the spec has more than 100,000 jobs" in loaded.errors
    pairs = ", ".join(f"{{seed: [{i}], epochs: [1, 2], batch_size: [{i % 7}]}}" for i in range(40))
    loaded = project.experiments(
        f"a: {{matrix: {{seed: [{many}], epochs: [1, 2], batch_size: [1, 2, 3, 4, 5, 6, 7], exclude: [{pairs}]}}}}"
    )
    assert loaded.errors == []
    loaded = project.experiments(f"a: {{name: '{{seed}}', tags: {{t: '{'x' * 60_000}{{seed}}'}}, matrix: {{seed: [{many}]}}}}")
    assert "too-much-text: the cells of this experiment hold too much text" in loaded.errors


def test_hundreds_of_problems_are_cut_short(project: Project) -> None:
    """Nobody reads more, and finding them takes time."""
    loaded = project.experiments("\n".join(f"e{i}: {{train: x{i}}}" for i in range(1_500)))
    assert loaded.problems[-1].code == "more-problems"
    assert len(loaded.problems) == 501
    loaded = project.experiments("\n".join(f"e{i}: {{epochs: x{i}}}" for i in range(3_000)))
    assert "not-a-spec" in loaded.codes


def test_a_place_is_told_for_settings_that_are_not_given(project: Project) -> None:
    """As near as known: the mapping, or the experiment."""
    loaded = project.experiments("tone: {lora: {rank: 8}, engine: sandbox}")
    job = loaded.jobs[0]
    assert [job.origin.place(name, {}).column for name in ("lora", "lora.alpha", "scope", "seed", "parent")] == [23, 23, 35, 3, 41]


@pytest.mark.parametrize(
    ("name", "what"), [("engine", "no engine is chosen"), ("base_model", "`base_model` is missing"), ("train", "`train` is missing")]
)
def test_null_among_the_values_of_a_needed_setting_is_an_error(project: Project, name: str, what: str) -> None:
    """No cell goes without engine, base model or data."""
    value = {"engine": "sandbox", "base_model": "sandbox-mini", "train": "data.train"}[name]
    loaded = project.experiments(f"tone: {{matrix: {{{name}: [{value}, null]}}}}")
    assert loaded.errors == [f"missing-setting: experiment `tone`: {what}"]
