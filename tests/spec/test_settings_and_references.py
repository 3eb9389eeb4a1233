"""Settings merge by level; references in text stand for axes, settings and variables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.spec.conftest import Project


def test_an_experiment_overrides_defaults_key_by_key(project: Project) -> None:
    """Mappings are merged, scalars replaced, and null clears what the defaults set."""
    loaded = project.spec(
        """
        experiments:
          tone: {epochs: 5, tags: {b: 2}, validation: null, seed: null}
        """,
        head=project.HEAD.replace("data.validation}", "data.validation, epochs: 1, seed: 3, tags: {a: 1, b: 1}}"),
    )
    (job,) = loaded.jobs
    assert (job.hyperparameters, job.tags, job.validation, job.seed) == ({"n_epochs": 5}, {"a": "1", "b": "2"}, None, None)


@pytest.mark.parametrize(
    "written",
    [
        "epochs: 2, batch_size: 4",
        "method: {hyperparameters: {n_epochs: 2, batch_size: 4}}",
        "method: {type: supervised, hyperparameters: {batch_size: 4}}, epochs: 2",
        "method: supervised, batch_size: 4, epochs: 2",
    ],
)
def test_short_forms_mean_the_same_as_long_ones(project: Project, written: str) -> None:
    """However it is written, the job holds the wire names."""
    (job,) = project.experiments(f"tone: {{{written}}}").jobs
    assert (job.method, job.hyperparameters) == ("supervised", {"n_epochs": 2, "batch_size": 4})


def test_a_setting_given_in_two_forms_is_refused(project: Project) -> None:
    """Both places are shown."""
    loaded = project.experiments("tone: {epochs: 2, method: {hyperparameters: {n_epochs: 3}}}")
    problem = loaded.only("given-twice")
    assert problem.message == "`epochs` is given twice"
    assert problem.also


def test_the_two_rates_exclude_each_other_within_one_block(project: Project) -> None:
    """Between levels the later one wins instead."""
    loaded = project.experiments("tone: {learning_rate: 0.1, learning_rate_multiplier: 2}")
    assert "given-twice: `learning_rate_multiplier` and `learning_rate` exclude each other" in loaded.errors
    loaded = project.spec(
        "experiments: {tone: {learning_rate_multiplier: 2}}",
        head=project.HEAD.replace("engine: sandbox", "engine: sandbox, learning_rate: 0.1"),
    )
    assert loaded.jobs[0].hyperparameters == {"learning_rate_multiplier": 2}


def test_hyperparameters_belong_to_methods(project: Project) -> None:
    """What the method of the block cannot have is refused; what the defaults meant for another one is dropped."""
    loaded = project.experiments("tone: {method: {type: supervised, hyperparameters: {beta: 0.1}}}")
    assert loaded.errors == ["wrong-hyperparameter: `beta` is not a hyperparameter of the method `supervised`"]
    assert loaded.only("wrong-hyperparameter").help == "remove it, or set `method` to `dpo`"
    head = project.HEAD.replace("engine: sandbox", "engine: sandbox, method: {type: dpo, hyperparameters: {beta: 0.1}}, epochs: 2")
    loaded = project.spec("experiments: {tone: {method: supervised}}", head=head)
    assert (loaded.jobs[0].hyperparameters, loaded.errors) == ({"n_epochs": 2}, [])


def test_a_grader_needs_reinforcement(project: Project) -> None:
    """A supervised job with a grader is a mistake."""
    loaded = project.experiments("tone: {method: {grader: {type: string_check}}}")
    assert loaded.errors == ["wrong-hyperparameter: the method `supervised` has no grader"]


def test_every_setting_reaches_the_job(project: Project) -> None:
    """Names of the spec become members of `DesiredJob`, lists become tuples."""
    loaded = project.spec(
        """
        engines: {lab: {type: openai-compatible, base_url: "http://localhost:8080/v1", scope: lab}}
        evals: {exact: {dataset: data.validation, graders: {g: {type: string_check}}}}
        experiments:
          first: {seed: 1}
          tone:
            engine: lab
            base_model: some/model
            epochs: auto
            learning_rate_multiplier: 1e-1
            seed: 7
            replicate: b
            suffix: label
            name: short
            lora: {rank: 8, alpha: 16, dropout: 0.1, targets: [q, v]}
            engine_options: {packing: true, deep: {er: [1, 2]}}
            tags: {n: 1, x: yes}
            integrations: [{type: wandb, wandb: {project: p, tags: [a]}}]
            evals: exact
            depends_on: [first]
            preset: classification
        identity: {suffix: true}
        """
    )
    job = loaded.job("tone/short")
    assert (job.engine, job.scope, job.base_model, job.train, job.validation) == (
        "lab",
        "lab",
        "some/model",
        "data.train",
        "data.validation",
    )
    assert job.hyperparameters == {"n_epochs": "auto", "learning_rate_multiplier": 0.1}
    assert (job.seed, job.replicate, job.suffix, job.suffix_is_identity, job.preset) == (7, "b", "label", True, "classification")
    assert job.lora == {"rank": 8, "alpha": 16, "dropout": 0.1, "targets": ["q", "v"]}
    assert job.engine_options == {"packing": True, "deep": {"er": [1, 2]}}
    assert job.tags == {"n": "1", "x": "yes"}
    assert job.integrations == ({"type": "wandb", "wandb": {"project": "p", "tags": ["a"]}},)
    assert (job.evals, job.depends_on) == (("exact",), ("first",))
    assert {type(value) for value in (job.engine_options, job.lora, job.integrations[0])} == {dict}


def test_text_may_refer_to_axes_settings_and_variables(project: Project) -> None:
    """Numbers read as in addresses; doubled braces are braces."""
    loaded = project.spec(
        """
        vars: {team: search}
        experiments:
          tone:
            learning_rate_multiplier: 1e-5
            suffix: "{team}-{experiment}-e{epochs}-{learning_rate_multiplier}-{{x}}-{short}"
            matrix: {epochs: [1, 3], short: [a]}
        """
    )
    assert [job.suffix for job in loaded.jobs] == ["search-tone-e1-0.00001-{x}-a", "search-tone-e3-0.00001-{x}-a"]


def test_a_reference_that_is_the_whole_scalar_keeps_its_type(project: Project) -> None:
    """Numbers stay numbers, lists can become axes."""
    loaded = project.spec(
        """
        vars: {n: 3, seeds: [1, 2], options: {a: [1]}}
        experiments:
          tone:
            epochs: "{n}"
            engine_options: {x: "{options}"}
            matrix: {seed: "{seeds}"}
        """
    )
    assert [(job.seed, job.hyperparameters["n_epochs"], job.engine_options) for job in loaded.jobs] == [
        (1, 3, {"x": {"a": [1]}}),
        (2, 3, {"x": {"a": [1]}}),
    ]


def test_what_a_reference_stands_for_is_checked_like_a_written_value(project: Project) -> None:
    """The type is that of the setting, not of text."""
    loaded = project.spec('vars: {n: three}\nexperiments: {tone: {epochs: "{n}"}}')
    assert loaded.errors == ["wrong-value: `epochs` must be a whole number of at least 1, or `auto`, not the text `three`"]


def test_axis_values_are_checked_where_they_are_written(project: Project) -> None:
    """The place is that of the single wrong value."""
    loaded = project.experiments("tone: {matrix: {epochs: [1, two, 3.5]}}")
    assert [(str(one.at), one.message) for one in loaded.problems if one.code == "wrong-value"] == [
        ("ftspec.yaml:7:31", "`epochs` must be a whole number of at least 1, or `auto`, not the text `two`"),
        ("ftspec.yaml:7:36", "`epochs` must be a whole number of at least 1, or `auto`, not `3.5`"),
    ]


def test_a_setting_named_like_a_variable_can_refer_to_it(project: Project) -> None:
    """`seed: "{seed}"` means the variable."""
    loaded = project.spec('vars: {seed: 5}\nexperiments: {tone: {seed: "{seed}", suffix: "s{seed}"}}')
    assert (loaded.jobs[0].seed, loaded.jobs[0].suffix) == (5, "s5")


def test_unknown_references_are_named_with_the_nearest_word(project: Project) -> None:
    """Stray braces are told apart from wrong names."""
    loaded = project.experiments("""
        one: {suffix: "{sed}", seed: 1}
        two: {suffix: "a{b"}
        three: {suffix: "{seed}"}
        four: {suffix: "{suffix}"}
        """)
    assert loaded.errors == [
        "unknown-reference: `{sed}` refers to nothing",
        "bad-reference: `{` is not a reference",
        "unknown-reference: `{seed}` has no value here",
        "reference-cycle: `{suffix}` refers to itself",
    ]
    assert next(one.help for one in loaded.problems if one.severity == "error") == "did you mean `seed`?"


def test_variables_may_refer_to_variables_but_not_in_a_circle(project: Project) -> None:
    """The circle is spelled out."""
    loaded = project.spec('vars: {a: "{b}-x", b: "{c}", c: 1}\nexperiments: {tone: {suffix: "{a}"}}')
    assert loaded.jobs[0].suffix == "1-x"
    loaded = project.spec('vars: {a: "{b}", b: "{a}"}\nexperiments: {tone: {suffix: "{a}"}}')
    assert "reference-cycle: variables refer to each other: `a` -> `b` -> `a`" in loaded.errors


def test_var_options_replace_variables_and_keep_their_type(project: Project) -> None:
    """A text stays text, numbers and lists are read as YAML."""
    text = 'vars: {team: a, n: 1, seeds: [1]}\nexperiments: {tone: {suffix: "{team}", epochs: "{n}", matrix: {seed: "{seeds}"}}}'
    loaded = project.spec(text, variables={"team": "007", "n": "4", "seeds": "[5, 6]"})
    assert [(job.suffix, job.hyperparameters["n_epochs"], job.seed) for job in loaded.jobs] == [("007", 4, 5), ("007", 4, 6)]


def test_a_var_option_for_nothing_is_refused(project: Project) -> None:
    """Otherwise a typing error would plan something else than was asked for."""
    loaded = project.spec('vars: {team: a}\nexperiments: {tone: {suffix: "{team}"}}', variables={"taem": "b"})
    assert loaded.errors == ["unknown-variable: `--var taem` is not declared in the spec"]
    assert loaded.only("unknown-variable").help == "did you mean `team`?"


def test_graders_and_prompts_keep_their_templates(project: Project) -> None:
    """`{{item.x}}` belongs to the grader, in evals and in reinforcement alike."""
    grader = '{type: string_check, input: "{{sample.output_text}}", reference: "{{item.reference}} {x} {"}'
    loaded = project.spec(
        f"""
        evals:
          exact: {{dataset: data.validation, prompt: "{{{{item.q}}}} {{", graders: {{g: {grader}}}}}
        experiments:
          tone: {{method: {{type: reinforcement, grader: {grader}}}, evals: [exact]}}
        """
    )
    assert loaded.errors == []
    wanted = {"type": "string_check", "input": "{{sample.output_text}}", "reference": "{{item.reference}} {x} {"}
    assert loaded.jobs[0].grader == wanted
    assert loaded.spec is not None
    assert loaded.spec.evals["exact"].graders == {"g": wanted}
    assert loaded.spec.evals["exact"].prompt == "{{item.q}} {"


def test_one_member_of_a_grader_can_be_an_axis(project: Project) -> None:
    """The other members stay."""
    loaded = project.experiments("""
        tone:
          method: {type: reinforcement, grader: {type: string_check, operation: eq}}
          matrix: {method.grader.operation: [eq, ilike]}
        """)
    assert [job.grader for job in loaded.jobs] == [
        {"type": "string_check", "operation": "eq"},
        {"type": "string_check", "operation": "ilike"},
    ]


def test_a_name_template_shortens_addresses(project: Project) -> None:
    """It replaces the list of axes; odd characters are refused."""
    loaded = project.experiments('tone: {name: "s{seed}", matrix: {seed: [1, 2]}}')
    assert loaded.addresses == ["tone/s1", "tone/s2"]
    loaded = project.experiments('tone: {name: "s {seed}", matrix: {seed: [1, 2]}}')
    assert loaded.errors == ["wrong-value: `s 1` cannot be the name of a job"]


def test_long_axis_values_need_a_name(project: Project) -> None:
    """An address stays something that people can type."""
    text = f"tone: {{NAMEmatrix: {{engine_options.note: [{'x' * 300}]}}}}"
    assert "axis-value-too-long" in project.experiments(text.replace("NAME", "")).codes
    assert "axis-value-too-long" not in project.experiments(text.replace("NAME", "name: short, ")).codes


def test_the_engine_of_a_spec_with_one_engine_needs_no_mention(project: Project) -> None:
    """Without any entry it is the sandbox; with several somebody has to choose."""
    head = project.HEAD.replace("engine: sandbox, ", "")
    assert project.spec("experiments: {tone: {}}", head=head).jobs[0].engine == "sandbox"
    text = "engines: {hosted: {type: openai}}\nexperiments: {tone: {base_model: gpt-4.1}}"
    assert project.spec(text, head=head).jobs[0].engine == "hosted"
    text = "engines: {hosted: {type: openai}, other: {type: openai, project: p}}\nexperiments: {tone: {base_model: gpt-4.1}}"
    assert project.spec(text, head=head).errors == ["missing-setting: experiment `tone`: no engine is chosen"]


def test_missing_settings_are_named_per_experiment(project: Project) -> None:
    """The place is the experiment's name."""
    loaded = project.spec("experiments: {tone: {}}", head="ftspec: 1\ndefaults: {engine: sandbox}\n")
    assert loaded.errors == [
        "missing-setting: experiment `tone`: `base_model` is missing",
        "missing-setting: experiment `tone`: `train` is missing",
    ]


def test_unknown_names_are_named_with_the_nearest_one(project: Project) -> None:
    """Engines, datasets, evals and experiments are suggested."""
    loaded = project.spec(
        """
        evals: {exact: {dataset: data.validation, graders: {g: {type: string_check}}}}
        experiments:
          tone: {engine: sandbix, train: data.trian, evals: [exat], depends_on: [tune]}
        """
    )
    assert [(one.code, one.help) for one in loaded.problems if one.severity == "error"] == [
        ("unknown-engine", "did you mean `sandbox`?"),
        ("unknown-dataset", "did you mean `data.train`?"),
        ("unknown-eval", "did you mean `exact`?"),
        ("unknown-experiment", "name an experiment, or the address of one of its jobs"),
    ]
