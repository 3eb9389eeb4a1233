"""Spec files, and the small languages that specs and command lines speak."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import yaml

from ftspec.diagnostics import has_errors
from ftspec.testing.fuzz.target import Check, Target, diagnosed, refusal, shown, simple

ROWS: Final = b"".join(
    b'{"messages": [{"role": "user", "content": "where is parcel %d"}, {"role": "assistant", "content": "shipping"}], "team": "t%d"}\n'
    % (i, i % 4)
    for i in range(30)
)
"""Rows of chats with a column, for whatever trains."""

SMALL: Final = """ftspec: 1
project: small
datasets:
  rows: {path: rows.jsonl, split: {train: 0.7, validation: 0.1, test: 0.2}}
defaults: {engine: sandbox, validation: rows.validation}
experiments:
  small: {train: rows.train, base_model: sandbox-nano, matrix: {epochs: [1, 2]}}
"""

_VARS: Final = "vars: {team: search, many: [1, 3]}\n"
FULL: Final = """ftspec: 1
vars: {team: search, many: [1, 3]}
project: support
engines:
  sandbox: {type: sandbox}
  openai: {type: openai, api_key_env: OPENAI_API_KEY, organization: org-acme, project: proj_x, limits: {max_running: 3, leave_free: 1, per_day: 8}}
  gateway: {type: openai-compatible, base_url: "http://127.0.0.1:9/v1"}
datasets:
  rows: {path: rows.jsonl, split: {train: 0.7, validation: 0.1, test: 0.2, seed: 0}}
  few: {path: rows.jsonl, transforms: [{type: dedupe}, {type: sample, n: 5, seed: 1}, {type: drop, fields: [team]}]}
  mixed: {path: rows.jsonl, format: chat, transforms: [{type: mix, with: {few: 0.5}}]}
defaults: {engine: sandbox, validation: rows.validation}
experiments:
  triage:
    train: rows.train
    tags: {owner: "{team}"}
    suffix: "triage-e{epochs}-s{seed}"
    matrix:
      base_model: [sandbox-mini, sandbox-small]
      epochs: "{many}"
      seed: [1, 2]
      exclude: [{base_model: sandbox-small, epochs: 1}]
      include: [{base_model: sandbox-mini, epochs: 10, seed: 1}]
      overrides: [{where: {seed: 2}, set: {batch_size: 4}}]
    evals: [holdout]
  polish:
    base_model: {from: triage, where: {seed: 1, epochs: 3}}
    train: few
    method: {type: supervised, hyperparameters: {learning_rate_multiplier: 1e-1}}
    engine_options: {}
    depends_on: [triage]
  hosted: {engine: openai, base_model: gpt-4.1-mini-2025-04-14, train: mixed, name: "hosted-{seed}", matrix: {zip: {seed: [1, 2], epochs: [1, 2]}}}
evals:
  holdout:
    dataset: rows.test
    sampling: {temperature: 0, max_tokens: 32}
    graders:
      exact: {type: string_check, operation: eq, input: "{{sample.output_text}}", reference: "{{item.team}}"}
    compare_to: base
    require: ["exact >= base.exact"]
policy: {max_cost: 60, max_jobs: 40, require_validation: true, allow_leakage: true}
prices: {openai: {"gpt-4.1*": {training: 25, input: 0.4, output: 1.6, currency: USD, date: 2026-11-20}}}
notify: [{on: [failed], command: [echo, done]}]
identity: {suffix: true}
"""


@contextmanager
def project(folder: Path) -> Iterator[Path]:
    """Make a small project in a folder, and yield the path of its spec."""
    (folder / "rows.jsonl").write_bytes(ROWS)
    (folder / "ftspec.yaml").write_text(SMALL)
    yield folder / "ftspec.yaml"


@contextmanager
def _planned(folder: Path, *, included: bool = False) -> Iterator[Check]:
    """A spec, or a file that it includes, is refused with diagnostics, or its plan can be made, shown, saved and locked."""
    from ftspec.pipeline.applying import request_of
    from ftspec.pipeline.planning import make_plan
    from ftspec.pipeline.project import open_project
    from ftspec.planner import saved
    from ftspec.render.json import to_json
    from ftspec.render.markdown import to_markdown
    from ftspec.render.text import to_text
    from ftspec.state import lockfile

    with project(folder) as spec:
        opened = open_project(directory=folder, files=[spec])
        if included:
            spec.write_text(f"ftspec: 1\ninclude: part.yaml\n{_VARS}")
        path = folder / "part.yaml" if included else spec

        def check(content: bytes) -> None:
            path.write_bytes(content)
            with refusal():
                planned = make_plan(opened, now="2026-11-20T10:00:00.000Z")
                diagnosed(planned.diagnostics)
                plan = planned.plan
                shown(to_text(plan), to_text(plan, full=True), to_markdown(plan))
                json.loads(to_json(plan))
                kept = saved.save(plan, planned.state, request_of=request_of(planned))
                assert saved.check(saved.load(kept), plan, planned.state, request_of=request_of(planned)) == []
                lock = lockfile.build(planned.jobs, planned.datasets, planned.state)
                read, problems = lockfile.parse(lockfile.render(lock))
                assert read == lock, problems

        yield check


@contextmanager
def _given(folder: Path) -> Iterator[Check]:
    """A variable of the command line is refused, or its plan can be made. The input is its value."""
    from ftspec.pipeline.planning import make_plan
    from ftspec.pipeline.project import open_project
    from ftspec.render.text import to_text

    with project(folder) as spec:
        spec.write_text(FULL)

        def check(content: bytes) -> None:
            value = content.decode(errors="surrogateescape")
            for name in ("team", "many"):
                with refusal():
                    shown(to_text(make_plan(open_project(directory=folder, files=[spec], variables={name: value})).plan))

        yield check


def _formatted(content: bytes) -> None:
    """A formatted spec means the same, and formatting it again changes nothing."""
    from ftspec.spec.format import NotFormatted, formatted
    from ftspec.spec.source import parse
    from ftspec.spec.tree import plain

    before, _, problems = parse(content, "spec.yaml")
    diagnosed(problems)
    try:
        text = content.decode()
        result = formatted(text)
    except (UnicodeDecodeError, NotFormatted):
        return
    after, _, _ = parse(result.encode(), "spec.yaml")
    assert formatted(result) == result
    if not has_errors(problems):
        assert repr(plain(after)) == repr(plain(before))


def _scalar(content: bytes) -> None:
    """A plain scalar means something finite, or says why not."""
    from ftspec.spec.source import scalar

    text = content.decode(errors="replace")
    try:
        value = scalar(text)
    except ValueError:
        return
    assert not isinstance(value, float) or value - value == 0


def _template(content: bytes) -> None:
    """A template is refused when it is read, or can be filled, or misses a field."""
    from ftspec.evals.template import MissingField, Template, fill_tree

    item: dict[str, object] = {"a": [1, {"b": "x"}], "team": None, "0": {}, "text": "hi"}
    text = content.decode(errors="replace")
    try:
        template = Template(text)
    except ValueError as wrong:
        shown(str(wrong))
        return
    try:
        template.fill(item, {"output_text": "x", "choices": [1]})
        fill_tree([text, {"a": text}], item, None)
    except MissingField:
        return


def _formula(content: bytes) -> None:
    """A formula is refused, or has one finite value, soon."""
    import math

    from ftspec.evals.formula import Formula

    with refusal():
        formula = Formula(content.decode(errors="replace"))
        assert math.isfinite(formula.number(dict.fromkeys(formula.names, 2.5)))


def _selected(content: bytes) -> None:
    """A selector means some of the candidates, or is refused."""
    from ftspec.planner.selectors import Candidate, select_from

    some = [
        Candidate(address="a/seed=1", experiment="a", engine="sandbox", key="1" * 64, status="failed", tags={"k": "v"}),
        Candidate(address="b[x]/seed=2", experiment="b[x]", engine="openai", key="2" * 64, status="new", parents=("a/seed=1",)),
    ]
    with refusal():
        found = select_from([content.decode(errors="surrogateescape")], some)
        assert found <= {one.address for one in some}


def _address(content: bytes) -> None:
    """An address is refused, or means the same when it is written and read again."""
    from ftspec.engines.origin import parse_base_url, parse_origin

    text = content.decode(errors="surrogateescape")
    with refusal():
        origin, path = parse_base_url(text)
        assert parse_base_url(f"{origin}{path}") == (origin, path)
        assert parse_origin(str(origin)) == origin
    with refusal():
        parse_origin(text)


def _filtered(content: bytes) -> None:
    """A filter of calls is refused, or says yes or no to any call."""
    from ftspec.data.importers.base import Call
    from ftspec.data.importers.where import test_of

    calls = [
        Call(messages=[], answer={}),
        Call(messages=[], answer={}, model="m", time="2026-11-20", tags=("a",), scores={"q": 0.5}, metadata={"a": {"b": [1]}, "n": 9**400}),
    ]
    with refusal():
        test = test_of(content.decode(errors="surrogateescape"))
        assert {test(call) for call in calls} <= {True, False}


def _grader(content: bytes) -> None:
    """A grader definition is refused with sentences, or grades any sample."""
    from ftspec.evals.base import PureGrader, check_definition, parse
    from ftspec.evals.grading import SyncGrader, sample_of

    try:
        definition = json.loads(content)
    except (ValueError, RecursionError):
        return
    if not isinstance(definition, dict):
        return
    shown(*check_definition("g", definition))
    grader, problems = parse(definition)
    if not isinstance(grader, PureGrader) or problems:
        return
    for text in ("", "yes", '{"a": 1}', "x" * 2000):
        with refusal():
            grade = SyncGrader(definition).grade(sample_of(text), {"reference": "yes", "n": 1, "labels": ["a"]})
            shown(grade.error or "", grade.detail or "")


def _prices(content: bytes) -> None:
    """A price table is refused, or finds a price or none for any model."""
    from ftspec.planner.prices import price_table
    from ftspec.spec.source import parse
    from ftspec.spec.tree import plain

    given = plain(parse(content, "spec.yaml")[0])
    if isinstance(given, dict):
        with refusal():
            table = price_table(given)
            table.find(("openai",), "gpt-4.1-mini", parameters=1e9)


def _printable(content: bytes) -> None:
    """What went through `printable` and `redacted` speaks to no terminal, and stays as it is."""
    from ftspec.printable import looks_secret, printable, redacted

    text = content.decode(errors="surrogateescape")
    safe = printable(redacted(text))
    shown(safe)
    assert printable(safe) == safe
    assert not looks_secret(redacted(text)) or "[redacted]" in redacted(text)


GRADERS: Final = (
    b'{"type":"string_check","operation":"eq","input":"{{sample.output_text}}","reference":"{{item.reference}}"}',
    b'{"type":"text_similarity","evaluation_metric":"bleu","input":"{{sample.output_text}}","reference":"{{item.reference}}","pass_threshold":0.5}',
    b'{"type":"regex","pattern":"(a+)+$","input":"{{sample.output_text}}","ignore_case":true,"group":1}',
    b'{"type":"exact_set","input":"{{sample.output_text}}","reference":"{{item.labels}}"}',
    b'{"type":"json_schema","schema":{"type":"object","properties":{"a":{"type":"integer"}}},"input":"{{sample.output_text}}"}',
    b'{"type":"tool_call","reference":"{{item.reference}}"}',
    b'{"type":"multi","graders":{"a":{"type":"string_check","operation":"eq","input":"x","reference":"x"}},"calculate_output":"0.5 * a + 1"}',
    b'{"type":"score_model","model":"gpt-4.1","input":[{"role":"user","content":"{{sample.output_text}}"}],"range":[0,1]}',
    b'{"type":"label_model","model":"m","input":[{"role":"user","content":"x"}],"labels":["a","b"],"passing_labels":["a"]}',
    b'{"type":"pairwise","model":"m","criteria":"which is right?","input":"{{sample.output_text}}","reference":"{{item.reference}}"}',
    b'{"type":"python","source":"def grade(sample, item):\\n    return 1.0\\n"}',
)

TARGETS: Final = (
    Target(name="spec", form="yaml", prepare=_planned, seeds=(SMALL.encode(), FULL.encode(), json.dumps(yaml.safe_load(FULL), default=str).encode())),
    Target(name="spec part", form="yaml", prepare=partial(_planned, included=True), seeds=(SMALL.encode(), FULL.replace(_VARS, "").encode())),
    Target(name="spec variable", form="text", prepare=_given, seeds=(b"search", b"[1, 3]", b"3", b"{team}", b"1e-5")),
    Target(name="spec layout", form="yaml", prepare=simple(_formatted), seeds=(SMALL.encode(), FULL.encode(), b"a: |\n  x\n\n  y\n# c\nb: [1,\n 2]\n")),
    Target(name="scalar", form="text", prepare=simple(_scalar), seeds=(b"1e-5", b"0x1f", b"0o17", b".inf", b"12:30", b"-1_0", b"~", b"+1.")),
    Target(
        name="template", form="text", prepare=simple(_template),
        seeds=(b"a {{ item.a[1].b }} {{sample.output_text}}", b"{{item.a.0}}", b"{{sample.choices[0]}}", b"{{item.team}} }}", b"{{item}}"),
    ),
    Target(name="formula", form="text", prepare=simple(_formula), seeds=(b"0.5 * a + min(b, 2) ^ 2", b"sqrt(a.b) / -3 - exp(1)", b"2**3", b"log(a)")),
    Target(
        name="selector", form="text", prepare=simple(_selected),
        seeds=(b"a/*", b"+b*+", b"tag:k=v", b"status:failed", b"experiment:a", b"b[[]x]/seed=?", b"engine:sandbox", b"a/seed=1"),
    ),
    Target(
        name="address", form="text", prepare=simple(_address),
        seeds=(b"https://api.openai.com/v1", b"http://127.0.0.1:8000/v1", b"http://[::1]:80/", b"https://a-b.example:8443", b"http://localhost"),
    ),
    Target(name="filter", form="text", prepare=simple(_filtered), seeds=(b"score>=4", b"metadata.a.b~1", b"tag!='a'", b"time>=2026-10-01", b"scores.q=0.5", b"metadata.n>1")),
    Target(name="grader", prepare=simple(_grader), seeds=GRADERS),
    Target(name="prices", form="yaml", prepare=simple(_prices), seeds=(b'{"openai":{"gpt-4.1*":{"training":25,"input":0.4,"output":1.6,"currency":"USD","date":"2026-11-20"},"x":3}}',)),
    Target(name="printable", form="text", prepare=simple(_printable), seeds=(b"a\x1b[2J ::set-output ##[x] sk-abcdefghijkl \xe2\x80\xae bearer abcdefg12345", b"eyJabcdefghi.abcdefghij.x")),
)  # fmt: skip
