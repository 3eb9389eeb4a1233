"""Every rule: the wrong spec, and what is said about it."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ftspec.render.diagnostics import to_text
from ftspec.spec import codes
from ftspec.spec.rules import rules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ftspec.profile import Profile
    from tests.spec.conftest import Project

HOSTED = "engines: {hosted: {type: openai}}\n"
NARROW = "engines: {n: {type: narrow, api_key_env: K}}\n"
OPEN = "engines: {lab: {type: openai-compatible, base_url: 'http://localhost/v1'}}\n"
GRADER = 'grader: {type: string_check, input: "{{sample.output_text}}"}'

CASES: dict[str, list[tuple[str, list[str]]]] = {
    "unused-dataset": [("experiments: {tone: {}}", ["nothing uses the dataset `pairs`"])],
    "unused-eval": [
        (
            "evals: {exact: {dataset: data.validation, graders: {g: {type: x}}}}\nexperiments: {tone: {}}",
            ["no experiment asks for the eval `exact`"],
        )
    ],
    "unused-variable": [("vars: {a: 1, b: '{a}', c: 3}\nexperiments: {tone: {suffix: '{b}'}}", ["nothing refers to the variable `c`"])],
    "suffix-invalid": [
        (f"experiments: {{tone: {{suffix: {'x' * 65}}}}}", [f"the suffix `{'x' * 65}` has 65 characters; `sandbox` takes 64"]),
        (
            NARROW + "experiments: {tone: {engine: n, validation: null, suffix: 'a-{seed}', matrix: {seed: [1, 2]}}}",
            ["`narrow` does not take the suffix `a-1`"],
        ),
    ],
    "suffix-reused": [
        (
            "experiments: {one: {suffix: a}, two: {suffix: a, train: data.validation, validation: null}, three: {suffix: a}}",
            ["`one` and `two` share the suffix `a` but train on different data"],
        )
    ],
    "seed-unsupported": [
        (NARROW + "experiments: {tone: {engine: n, validation: null, matrix: {seed: [1, 2]}}}", ["`narrow` takes no seed"])
    ],
    "hyperparameter-unsupported": [
        (
            NARROW + "experiments: {tone: {engine: n, validation: null, epochs: 2, method: {hyperparameters: {warmup: 1}}}}",
            [
                "`narrow` has no hyperparameter `n_epochs` for the method `supervised`",
                "`narrow` has no hyperparameter `warmup` for the method `supervised`",
            ],
        )
    ],
    "learning-rate-kind": [
        (
            NARROW + "experiments: {tone: {engine: n, validation: null, learning_rate_multiplier: 2}}",
            ["`narrow` takes `learning_rate`, not `learning_rate_multiplier`"],
        ),
        ("experiments: {tone: {learning_rate: 1e-5}}", ["`sandbox` takes `learning_rate_multiplier`, not `learning_rate`"]),
    ],
    "hyperparameter-range": [
        (
            "experiments: {tone: {matrix: {epochs: [1, 51, 99]}, batch_size: 300}}",
            [
                "`sandbox` takes a whole number of at least 1 and at most 50 or `auto` for `epochs`, not `51`",
                "`sandbox` takes a whole number of at least 1 and at most 50 or `auto` for `epochs`, not `99`",
                "`sandbox` takes a whole number of at least 1 and at most 256 or `auto` for `batch_size`, not `300`",
            ],
        ),
        (
            NARROW + "experiments: {tone: {engine: n, validation: null, learning_rate: auto}}",
            ["`narrow` takes a number above 0 and at most 1 for `learning_rate`, not the text `auto`"],
        ),
        (
            HOSTED
            + f"experiments: {{tone: {{engine: hosted, base_model: gpt-4.1, method: {{type: reinforcement, {GRADER}, hyperparameters: {{reasoning_effort: huge}}}}}}}}",
            ["`openai` takes `low` or `high` for `method.hyperparameters.reasoning_effort`, not the text `huge`"],
        ),
    ],
    "method-unsupported": [
        (NARROW + "experiments: {tone: {engine: n, validation: null, method: dpo}}", ["`narrow` does not have the method `dpo`"]),
        (
            HOSTED + "experiments: {tone: {engine: hosted, base_model: o4-mini, method: dpo}}",
            ["`o4-mini` cannot be trained with the method `dpo` on `openai`"],
        ),
    ],
    "lora-unsupported": [("experiments: {tone: {lora: {rank: 8}}}", ["`sandbox` has no `lora` settings"])],
    "option-unknown": [
        (NARROW + "experiments: {tone: {engine: n, validation: null, engine_options: {paking: true}}}", ["`narrow` has no option `paking`"])
    ],
    "validation-required": [
        (
            HOSTED
            + f"experiments: {{tone: {{engine: hosted, base_model: gpt-4.1, validation: null, method: {{type: reinforcement, {GRADER}}}}}}}",
            ["`openai` needs a validation dataset for the method `reinforcement`"],
        )
    ],
    "validation-unsupported": [(NARROW + "experiments: {tone: {engine: n}}", ["`narrow` takes no validation dataset"])],
    "no-validation": [
        (
            "experiments: {one: {validation: null, matrix: {seed: [1, 2]}}, two: {}, three: {validation: null, matrix: {epochs: [1, 2]}}}",
            ["experiment `one` has no validation dataset", "experiment `three` has no validation dataset"],
        )
    ],
    "integration-unsupported": [
        ("experiments: {tone: {integrations: [{type: wandb, wandb: {project: x}}]}}", ["`sandbox` does not report to `wandb`"])
    ],
    "grader-missing": [("experiments: {tone: {method: reinforcement}}", ["the method `reinforcement` needs a grader"])],
    "grader-unsupported": [
        (
            "experiments: {tone: {method: {type: reinforcement, grader: {type: multi, graders: {a: {type: string_check}, b: {type: score_model}}}}}}",
            ["`sandbox` cannot run graders of type `score_model`"],
        )
    ],
    "unknown-model": [
        ("experiments: {tone: {matrix: {base_model: [sandbox-min, sandbox-mini]}}}", ["`sandbox` is not known to train `sandbox-min`"]),
        (
            HOSTED + "experiments: {tone: {engine: hosted, matrix: {base_model: [gpt-9, 'ft:gpt-9:org::x']}}}",
            ["`openai` is not known to train `gpt-9`"],
        ),
    ],
    "model-ends": [
        (
            HOSTED + "experiments: {tone: {engine: hosted, matrix: {base_model: [gpt-4.1, gpt-4.1-nano]}}}",
            [
                "`gpt-4.1` takes no new jobs after 2027-01-06 and stops answering on 2027-01-14",
                "`gpt-4.1-nano` has taken no new jobs since 2026-10-23 and stopped answering on 2026-10-23",
            ],
        )
    ],
    "secret-in-spec": [
        ("# sk-abcdefghijklmnop1234\nexperiments: {tone: {suffix: a}}", ["this line holds text that looks like a key"]),
    ],
    "api-key-env-missing": [
        (
            "engines: {n: {type: narrow}}\nexperiments: {tone: {engine: n, validation: null}}",
            ["the engine `n` needs a key, and no variable is named"],
        )
    ],
    "insecure-base-url": [
        (
            """
            engines:
              a: {type: openai-compatible, base_url: "http://10.0.0.1/v1"}
              b: {type: openai-compatible, base_url: "http://127.0.0.1/v1"}
              c: {type: openai-compatible, base_url: "http://localhost:1/"}
              d: {type: openai-compatible, base_url: "http://127.0.0.1.evil.test/"}
            """,
            ["the engine `a` would be reached without encryption", "the engine `d` would be reached without encryption"],
        )
    ],
    "format-mismatch": [
        ("experiments: {tone: {train: pairs}}", ["`pairs` is declared as preference data; the method `supervised` trains on chat data"])
    ],
    "notify-unclear": [
        (
            "notify: [{webhook: 'https://a.test', command: [b]}, {on: failed}, {command: b, on: fail}]\nexperiments: {tone: {}}",
            [
                "a block of `notify` has one of `command`, `webhook` and `webhook_env`; this one has `command` and `webhook`",
                "a block of `notify` has one of `command`, `webhook` and `webhook_env`; this one has none",
                "`on` of a block of `notify` cannot be `fail`",
            ],
        )
    ],
    "training-data-reused": [
        (
            """
            evals: {exact: {dataset: data, graders: {g: {type: x}}}}
            experiments: {one: {validation: data.train}, two: {validation: data}, three: {evals: [exact]}}
            """,
            [
                "`data.train` shares rows with the training data `data.train`",
                "`data` shares rows with the training data `data.train`",
                "the eval `exact` shares rows with the training data `data.train`",
            ],
        ),
        (
            "datasets: {a: x.jsonl, b: x.jsonl}\nexperiments: {one: {train: a, validation: b}}",
            ["`b` shares rows with the training data `a`"],
        ),
    ],
}


@pytest.mark.parametrize(("code", "text", "messages"), [(code, *case) for code, cases in CASES.items() for case in cases])
def test_a_rule_finds_what_it_is_for(project: Project, code: str, text: str, messages: list[str]) -> None:
    """The message, in order of the file; each with a place and a way out."""
    head = project.HEAD.replace("datasets:", "datasets:" if "datasets:" not in text else "x-datasets:")
    loaded = project.spec(text, head=head)
    found = [one for one in loaded.problems if one.code == code]
    assert [one.message for one in found] == messages, loaded.problems
    assert all(one.at is not None and one.at.line and one.help for one in found)
    shown = to_text(found, width=80).split("\n")
    assert [line for line in shown if len(line) > 80 and len(max(line.split(), key=len)) < 60] == []


@pytest.mark.parametrize("code", sorted(rules()))
def test_every_rule_is_tested_and_explained(code: str) -> None:
    """Its docstring says what, why and how to put it right; it becomes a page of the docs."""
    assert code in CASES
    page = codes.pages()[code]
    assert "\n\nWhy: " in page
    assert "\n\nFix: " in page


@pytest.mark.parametrize("code", sorted(CASES))
def test_a_sound_spec_triggers_no_rule(project: Project, code: str) -> None:
    """Settings that the engine has, with values that it takes, pass without a word."""
    loaded = project.spec(
        """
        evals: {exact: {dataset: data.validation, graders: {g: {type: x}}}}
        engines: {hosted: {type: openai}, n: {type: narrow, api_key_env: K}, lab: {type: openai-compatible, base_url: "https://lab.test/v1"}}
        experiments:
          tone:
            matrix: {epochs: [1, auto, 50], seed: [1, 2]}
            batch_size: 256
            learning_rate_multiplier: 0.1
            suffix: "tone-{epochs}"
            evals: exact
          n: {engine: n, base_model: anything, validation: null, learning_rate: 1, suffix: abc, engine_options: {packing: true}}
          lab: {engine: lab, base_model: x, engine_options: {any: 1}, method: {hyperparameters: {own: 2}}}
          pairs: {method: {type: dpo, hyperparameters: {beta: 2}}, train: pairs}
        """
    )
    assert code not in loaded.codes
    assert loaded.errors == []


def test_documented_codes_are_those_that_the_code_can_give() -> None:
    """The table of pages and the sources name the same codes."""
    folder = Path(codes.__file__).parent
    text = "".join(path.read_text() for path in folder.rglob("*.py") if path.name != "codes.py")
    given = set(re.findall(r'(?:error|warning|report|problem|stop|TooMuch|code=)\(?\s*"([a-z0-9]+(?:-[a-z0-9]+)+)"', text))
    given |= set(re.findall(r'code="([a-z0-9-]+)"', text))
    assert given == set(codes.pages())


def test_dates_are_not_looked_at_without_a_day(project: Project) -> None:
    """The spec layer knows no clock."""
    loaded = project.spec(HOSTED + "experiments: {tone: {engine: hosted, base_model: gpt-4.1-nano}}", today=None)
    assert "model-ends" not in loaded.codes


def test_an_engine_may_end_before_its_models(project: Project, profiles_with: Callable[..., Mapping[str, Profile]]) -> None:
    """The earlier day counts, also for models that are not listed."""
    profiles = profiles_with("openai", ends="2026-12-01")
    text = HOSTED + "experiments: {tone: {engine: hosted, matrix: {base_model: [gpt-4.1, 'ft:x']}}}"
    loaded = project.spec(text, profiles=profiles, today=dt.date(2026, 11, 20))
    assert [one.message for one in loaded.problems if one.code == "model-ends"] == [
        "`gpt-4.1` takes no new jobs after 2026-12-01 and stops answering on 2027-01-14",
        "`openai` takes no new jobs after 2026-12-01",
    ]


def test_policy_makes_a_shared_suffix_an_error(project: Project) -> None:
    """As a warning it is easily missed where models are found by suffix."""
    loaded = project.spec(
        "policy: {distinct_suffixes: true}\nexperiments: {one: {suffix: a}, two: {suffix: a, train: data.validation, validation: null}}"
    )
    assert loaded.errors == ["suffix-reused: `one` and `two` share the suffix `a` but train on different data"]


def test_an_engine_without_suffixes_says_so(project: Project, profiles_with: Callable[..., Mapping[str, Profile]]) -> None:
    """`tags` label jobs everywhere."""
    loaded = project.spec("experiments: {tone: {suffix: a}}", profiles=profiles_with("sandbox", suffix_max=None))
    assert "suffix-invalid: `sandbox` takes no suffix" in loaded.errors


def test_a_key_is_never_shown(project: Project) -> None:
    """Not in messages, help, excerpts or reprs, wherever in the spec it was pasted."""
    key = "sk-proj-abcdefghijklmnopqrstuvwx123456"
    text = f"""
        vars: {{a: {key}}}
        engines: {{x: {{type: openai, api_key_env: {key}, {key}: 1}}}}
        {key}: 3
        experiments: {{tone: {{epochs: {key}, suffix: "{{a}}", train: {key}, matrix: {{seed: [{key}]}}}}}}
        """
    loaded = project.spec(text, variables={"a": key, key: "1"})
    assert loaded.problems
    assert key not in repr(loaded.problems)
    assert "secret-in-spec" in loaded.codes


@pytest.mark.parametrize(
    "text",
    ["sk-abcdefgh1", "rk_1234567", "AKIA" + "A" * 16, "BEARER abcdef123456", "eyJabcdefgh.abcdefgh.x", "v1.CmQ-12345678", "task-specific"],
)
def test_a_long_text_is_searched_for_keys_like_a_short_one(text: str) -> None:
    """The quick look for how keys begin leaves none out."""
    from ftspec.printable import looks_secret

    padding = "x " * 10_000
    assert looks_secret(text) == looks_secret(padding + text + " " + padding) == (text != "task-specific")
