"""Engines, datasets, evals and policy of a spec as values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ftspec.experiment import Limits, SplitRule
from ftspec.spec.sections import origin_of

if TYPE_CHECKING:
    from tests.spec.conftest import Project


def test_engines_in_process_need_no_entry(project: Project) -> None:
    """The sandbox is there without being declared; an entry of its name replaces it."""
    loaded = project.spec("experiments: {}")
    assert loaded.spec is not None
    assert {name: (one.type, one.scope) for name, one in loaded.spec.engines.items()} == {"sandbox": ("sandbox", "sandbox")}
    loaded = project.spec("engines: {sandbox: {limits: {max_running: 2, leave_free: 1, per_day: 8}}}")
    assert loaded.spec is not None
    assert loaded.spec.engines["sandbox"].limits == Limits(max_running=2, leave_free=1, per_day=8)


@pytest.mark.parametrize(
    ("entry", "scope"),
    [
        ("type: openai", "openai"),
        ("type: openai, organization: org-acme, project: proj_triage", "openai/org-acme/proj_triage"),
        ("type: openai, project: p", "openai/p"),
        ("type: openai, base_url: 'https://API.openai.com:443/v1/'", "openai"),
        ("type: openai, base_url: 'https://proxy.test/v1'", "openai/https://proxy.test"),
        ("type: openai-compatible, base_url: 'http://127.0.0.1:8000/v1'", "openai-compatible/http://127.0.0.1:8000"),
        ("type: openai-compatible, base_url: 'http://[::1]:80/'", "openai-compatible/http://[::1]"),
        ("type: openai, project: p, scope: mine", "mine"),
    ],
)
def test_the_scope_is_the_account(project: Project, entry: str, scope: str) -> None:
    """Type, origin where it is not the type's own, organization and project; or the label."""
    loaded = project.spec(f"engines: {{x: {{{entry}}}}}")
    assert loaded.spec is not None
    assert loaded.spec.engines["x"].scope == scope


def test_the_key_variable_defaults_to_the_types(project: Project) -> None:
    """Names of variables, never keys; a pattern is kept."""
    loaded = project.spec("engines: {a: {type: openai, project: a}, b: {type: openai, project: b, api_key_env: OPENAI_API_KEY_*}}")
    assert loaded.spec is not None
    assert [loaded.spec.engines[name].api_key_env for name in "ab"] == ["OPENAI_API_KEY", "OPENAI_API_KEY_*"]


def test_two_keys_for_one_account_are_refused(project: Project) -> None:
    """They may be two accounts, and files of one are no use in the other."""
    loaded = project.spec("engines: {a: {type: openai}, b: {type: openai, api_key_env: OTHER}}")
    problem = loaded.only("shared-scope")
    assert problem.message == "the engines `a` and `b` use different keys for one account, `openai`"
    assert problem.help == "tell the accounts apart: add `project:` or `scope:` to one of them"
    loaded = project.spec("engines: {a: {type: openai, scope: s}, b: {type: narrow, scope: s}}")
    assert loaded.errors == ["shared-scope: the engines `a` and `b` use different engines for one account, `s`"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("type: opanai", "unknown-engine-type: `opanai` is not an engine type"),
        ("type: openai-compatible", "missing-key: engine `x` needs `base_url`"),
        ("type: narrow, regoin: eu", "unknown-key: `regoin` is not a setting of the engine type `narrow`"),
        ("type: openai, api_key: abc", "unknown-key: `api_key` is not a setting of the engine type `openai`"),
        ("type: openai, base_url: 'ftp://x'", "bad-base-url: `base_url` is not a URL of an engine"),
        ("type: openai, base_url: 'https://api.openai.com@evil.test/'", "bad-base-url: `base_url` is not a URL of an engine"),
        ("type: openai, base_url: 'https://x.test/?a=b'", "bad-base-url: `base_url` is not a URL of an engine"),
        (
            "type: openai, api_key_env: sk-abcdefghijklmnop1234",
            "wrong-value: `api_key_env` must be the name of an environment variable, not text that looks like a key",
        ),
    ],
)
def test_wrong_engine_entries_are_named(project: Project, entry: str, message: str) -> None:
    """Experiments that use them cause no further errors."""
    loaded = project.spec(f"engines: {{x: {{{entry}}}}}\nexperiments: {{tone: {{engine: x}}}}")
    assert message in loaded.errors
    assert {one.split(":")[0] for one in loaded.errors} <= {message.split(":", maxsplit=1)[0], "secret-in-spec"}
    assert "sk-abc" not in repr(loaded.problems)


def test_settings_of_an_engine_type_reach_its_options(project: Project) -> None:
    """What the profile declares is passed on."""
    loaded = project.spec("engines: {x: {type: narrow, region: eu, api_key_env: K}}")
    assert loaded.spec is not None
    assert loaded.spec.engines["x"].options == {"region": "eu"}


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://a.test/v1", "https://a.test"),
        ("https://a.test:8443", "https://a.test:8443"),
        ("HTTP://A.test:80/", "http://a.test"),
        ("https://a.test:99999", None),
        ("https://user@a.test", None),
        ("https://", None),
        ("a.test", None),
        ("https://a.test\\@b.test", None),
        ("https://a.test/#x", None),
        ("https://a b.test", None),
        ("https://a\u202e.test", None),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: str | None) -> None:
    """Anything that could hide the real host has none."""
    assert origin_of(url) == origin


def test_datasets_have_a_path_a_split_and_transforms(project: Project) -> None:
    """Short forms mean the same as long ones."""
    loaded = project.spec(
        """
        datasets:
          short: a.jsonl
          long:
            path: sub/b.jsonl
            format: chat
            split: {train: 0.5, test: 0.5, seed: 3, group_by: meta.user}
            transforms: [dedupe, {type: sample, n: 10}]
            description: for {people}
        """,
        head="ftspec: 1\n",
    )
    assert loaded.spec is not None
    short, long = loaded.spec.datasets["short"], loaded.spec.datasets["long"]
    assert (short.path, short.split, short.refs(), str(short.path_at)) == ("a.jsonl", None, ("short",), "ftspec.yaml:4:10")
    assert (long.path, long.format, long.description) == ("sub/b.jsonl", "chat", "for {people}")
    assert long.split == SplitRule(shares={"train": 0.5, "test": 0.5}, seed=3, group_by="meta.user")
    assert long.transforms == ({"type": "dedupe"}, {"type": "sample", "n": 10})
    assert long.refs() == ("long", "long.train", "long.test")


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("{train: 0.8, test: 0.1}", "bad-split: the shares of a split add up to 1; they add up to 0.9"),
        ("{seed: 1}", "bad-split: the shares of a split add up to 1; there are none"),
        ("{train: 1.5, test: -0.5}", "wrong-value: `test` must be a number above 0, not `-0.5`"),
        ("{train: a}", "wrong-value: `train` must be a number above 0, not the text `a`"),
    ],
)
def test_shares_of_a_split_add_up(project: Project, split: str, message: str) -> None:
    """Thirds are fine, rounding is forgiven, nonsense is not."""
    assert project.spec(f"datasets: {{x: {{path: x.jsonl, split: {split}}}}}", head="ftspec: 1\n").errors == [message]
    third = "{a: 0.3333333, b: 0.3333333, c: 0.3333334}"
    assert project.spec(f"datasets: {{x: {{path: x.jsonl, split: {third}}}}}", head="ftspec: 1\n").errors == []


def test_a_dataset_named_like_a_part_is_ambiguous(project: Project) -> None:
    """`data.train` could then mean two things."""
    loaded = project.spec("datasets: {a: {path: a.jsonl, split: {x: 1}}, a.x: b.jsonl}", head="ftspec: 1\n")
    assert loaded.errors == ["ambiguous-dataset: `a.x` is both a dataset and a part of `a`"]


def test_evals_reach_their_members(project: Project) -> None:
    """Names are checked, graders are passed on, options are collected."""
    loaded = project.spec(
        """
        evals:
          full:
            dataset: data.validation
            sampling: {temperature: 0}
            repeat: 3
            models: [base, job@checkpoints]
            compare_to: null
            require: exact >= 0.5
            budget: 2
            max_connections: 4
            graders: {exact: {type: string_check}}
          labels: {dataset: data.validation, preset: classification}
          other: {kind: inspect, options: {task: x}}
          broken: {dataset: nothing, graders: {a: {type: x}}}
          empty: {dataset: data.validation}
        """
    )
    assert loaded.spec is not None
    full = loaded.spec.evals["full"]
    assert (full.repeat, full.models, full.compare_to, full.require, full.budget) == (
        3,
        ("base", "job@checkpoints"),
        None,
        ("exact >= 0.5",),
        2,
    )
    assert (full.graders, full.options, full.sampling) == ({"exact": {"type": "string_check"}}, {"max_connections": 4}, {"temperature": 0})
    assert str(full.grader_places["exact"]) == "ftspec.yaml:17:15"
    assert loaded.spec.evals["labels"].options == {"preset": "classification"}
    assert loaded.spec.evals["other"].options == {"task": "x", "kind": "inspect"}
    assert loaded.errors == ["unknown-dataset: `nothing` is not a dataset or a part of one", "missing-key: eval `empty` needs `graders`"]


def test_the_rest_of_a_spec_reaches_its_members(project: Project) -> None:
    """Policy, state folder, prices, notify and protect."""
    loaded = project.spec(
        """
        project: triage
        vars: {most: 5}
        state: records
        policy: {max_cost: "{most}", require_validation: true, allow_engines: [sandbox]}
        prices: {openai: {gpt-4.1: {training: 25}}}
        notify: [{command: [echo, done], on: failed}, {webhook_env: HOOK}]
        protect: ["triage/*", tag:keep=yes]
        """
    )
    spec = loaded.spec
    assert spec is not None
    assert (spec.project, spec.state_dir, spec.policy.max_cost, spec.policy.require_validation) == ("triage", "records", 5, True)
    assert (spec.policy.allow_engines, spec.prices) == (("sandbox",), {"openai": {"gpt-4.1": {"training": 25}}})
    assert spec.notify == ({"command": ["echo", "done"], "on": "failed"}, {"webhook_env": "HOOK"})
    assert spec.protect == ("triage/*", "tag:keep=yes")


def test_a_policy_names_engines_that_exist(project: Project) -> None:
    """A typing error would forbid everything."""
    assert project.spec("policy: {allow_engines: [sandbux]}").errors == ["unknown-engine: `sandbux` is not an engine"]
