"""Every rule that is not about one row (those are in `test_row_rules`) speaks for a case that breaks it, and not for one beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from ftspec.actions import DatasetFacts
from ftspec.cli import _console, group
from ftspec.data.checks import all_codes
from ftspec.data.checks.base import RowCheck, Setting
from ftspec.data.digest import digest
from ftspec.data.limits import limits
from ftspec.data.rows import MAX_ROW
from ftspec.engines.profiles import load_profiles
from ftspec.testing.tiny_http import JsonHandler, serving, url_of

ROW = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}
LINE = json.dumps(ROW)


def rows(number: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"messages": [{"role": "user", "content": f"q {n}"}, {"role": "assistant", "content": f"a {n}"}], **more} for n in range(number)
    ]


def answers(*texts: str) -> list[dict[str, Any]]:
    return [{"messages": [{"role": "user", "content": f"q {n}"}, {"role": "assistant", "content": text}]} for n, text in enumerate(texts)]


def asked(text: str) -> list[dict[str, Any]]:
    return [{"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "billing"}]}]


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {}}}


def pair(prompt: str, preferred: str, other: str) -> dict[str, Any]:
    return {
        "input": {"messages": [{"role": "user", "content": prompt}]},
        "preferred_output": [{"role": "assistant", "content": preferred}],
        "non_preferred_output": [{"role": "assistant", "content": other}],
    }


def image(number: int) -> dict[str, Any]:
    shown = {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9j/4AAQ"}}
    question = {"role": "user", "content": [{"type": "text", "text": str(number)}, shown]}
    return {"messages": [question, {"role": "assistant", "content": "x"}]}


class Checked:
    """What `ftspec data check` says, by code."""

    def __init__(self, folder: Any, capsys: Any, address: str) -> None:
        self.folder, self.address, self._capsys = folder, address, capsys

    def run(self, *words: str) -> set[str]:
        """Run the command."""
        assert _console.run(group, ["data", "check", "-C", str(self.folder.root), "--json", *words]) in (0, 1)
        return {one["code"] for one in json.loads(self._capsys.readouterr().out)["diagnostics"]}

    def file(self, *lines: Any, words: tuple[str, ...] = ()) -> set[str]:
        """Check a file by itself."""
        self.folder.write("rows.jsonl", *lines)
        return self.run("rows.jsonl", *words)

    def raw(self, content: bytes) -> set[str]:
        """Check these bytes."""
        return self.file(content)

    def spec(
        self, *, words: tuple[str, ...] = (), engine: str = "sandbox", job: str = "", dataset: str = "", **files: list[Any]
    ) -> set[str]:
        """Check a spec with a job that trains on dataset `a`."""
        for name, lines in files.items():
            self.folder.write(f"{name}.jsonl", *lines)
        model = {"sandbox": "sandbox-mini", "openai": "gpt-4.1-mini-2025-04-14", "ours": "m"}[engine]
        spec = [
            "ftspec: 1",
            "engines:",
            "  openai: {type: openai}",
            f"  ours: {{type: openai-compatible, base_url: '{self.address}', api_key_env: FTSPEC_OURS_KEY}}",
            "datasets:",
            *(f"  {name}: {{path: {name}.jsonl{dataset if name == 'a' else ''}}}" for name in dict.fromkeys(["a", *files])),
            "evals:",
            "  e: {dataset: e, graders: {g: {type: string_check, operation: eq, input: '{{sample.output_text}}', reference: x}}}"
            if "e" in files
            else "  {}",
            f"experiments: {{t: {{engine: {engine}, base_model: {model}, train: a{'.train' if 'split' in dataset else ''}{job}}}}}",
        ]
        self.folder.write("ftspec.yaml", "\n".join(spec))
        return self.run(*words)


@pytest.fixture
def checked(folder, capsys, moderation_server, monkeypatch):
    monkeypatch.setenv("FTSPEC_OURS_KEY", "not-a-real-key")
    return Checked(folder, capsys, f"http://127.0.0.1:{moderation_server.server_address[1]}/v1")


def changing(checked: Checked, *, writing: bool) -> set[str]:
    """Read a file of several blocks, to which somebody may append meanwhile."""
    dataset = checked.folder.dataset("data", *[ROW] * 20_000)

    def meanwhile(_done: int, _size: int) -> None:
        if writing:
            with (checked.folder.root / dataset.path).open("a") as file:
                file.write(LINE)

    return {one.code for one in digest(dataset, root=checked.folder.root, tokenizer=None, progress=meanwhile)[1]}


def long_line(checked: Checked, size: int) -> set[str]:
    """Read a line of so many bytes."""
    with (checked.folder.root / "long.jsonl").open("wb") as file:
        file.write(b'{"a": "')
        for _ in range(size >> 20):
            file.write(b"x" * (1 << 20))
    return {one.code for one in digest(checked.folder.dataset("long"), root=checked.folder.root, tokenizer=None)[1]}


def taken(engine: str, *, rows: int = 1000, size: int = 1000, form: str = "chat") -> set[str]:
    """Compare a part of this size with what an engine takes for supervised training."""
    facts = DatasetFacts(ref="data", key="k", rows=rows, bytes=size, format=form)
    return {one.code for one in limits(facts, load_profiles()[engine], wanted_format="chat")}


def outside(checked: Checked, *, leads_out: bool) -> set[str]:
    """Check a link of the project."""
    project = checked.folder.root / "project"
    project.mkdir()
    for place in (checked.folder.root, project):
        (place / "rows.jsonl").write_text(LINE)
    (project / "link.jsonl").symlink_to("../rows.jsonl" if leads_out else "rows.jsonl")
    dataset = checked.folder.dataset("link")
    return {one.code for one in digest(dataset, root=project)[1]}


def leak(checked: Checked, held: dict[str, Any] | None = None, *, dataset: str = "", job: str = ", evals: [e]") -> set[str]:
    """Check a spec that trains on one row and measures with another."""
    return checked.spec(a=[ROW | {"customer": 1}], e=[held] if held else [], job=job, dataset=dataset)


def calling(name: str) -> dict[str, Any]:
    """Return a row that declares a tool and calls it."""
    call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": "{}"}}
    return {"messages": [ROW["messages"][0], {"role": "assistant", "tool_calls": [call]}], "tools": [tool(name)]}


class Refusing(JsonHandler):
    """An engine that takes nothing."""

    def answer(self):
        self.body()
        self.reply(400, {"error": {"message": "no", "type": "invalid_request_error", "code": "invalid_grader"}})


def refused(checked: Checked, **spec: Any) -> set[str]:
    """Check a spec whose engine takes nothing."""
    with serving(Refusing) as server:
        checked.address = url_of(server)
        return checked.spec(**spec)


def graded(operation: str) -> str:
    """Return the method of a reinforcement job."""
    grader = f"{{type: string_check, operation: {operation}, input: '{{{{sample.output_text}}}}', reference: '{{{{item.label}}}}'}}"
    return f", method: {{type: reinforcement, grader: {grader}}}"


TASK = {"messages": [{"role": "user", "content": "Which?"}], "label": "bug"}
LONG = "please send me the invoice of last month for my order of two blue chairs"
Case = Callable[[Checked], set[str]]

CASES: dict[str, tuple[Case, Case]] = {
    "file-missing": (lambda on: on.spec(), lambda on: on.spec(a=[ROW])),
    "not-a-file": (lambda on: (os.mkfifo(on.folder.root / "a.jsonl"), on.spec())[1], lambda on: on.spec(a=[ROW])),
    "file-unreadable": (
        lambda on: {one.code for one in digest(on.folder.dataset("x" * 300), root=on.folder.root)[1]},
        lambda on: {one.code for one in digest(on.folder.dataset("x"), root=on.folder.root)[1]},
    ),
    "outside-project": (lambda on: outside(on, leads_out=True), lambda on: outside(on, leads_out=False)),
    "empty-file": (lambda on: on.raw(b""), lambda on: on.raw(LINE.encode())),
    "empty-part": (
        lambda on: on.spec(a=[ROW], dataset=", split: {train: 0.999, rest: 0.001}"),
        lambda on: on.spec(a=rows(40), dataset=", split: {train: 0.5, rest: 0.5}"),
    ),
    "changed-while-read": (lambda on: changing(on, writing=True), lambda on: changing(on, writing=False)),
    "not-utf8": (
        lambda on: on.raw(LINE.replace("Hi", "H\u00e9").encode("latin-1")),
        lambda on: on.raw(LINE.replace("Hi", "H\u00e9").encode()),
    ),
    "binary-file": (lambda on: on.raw(b"PK\x03\x04rest"), lambda on: on.raw(LINE.encode())),
    "json-array": (lambda on: on.raw(f"[{LINE}]".encode()), lambda on: on.raw(LINE.encode())),
    "json-pretty": (lambda on: on.raw(json.dumps(ROW, indent=2).encode()), lambda on: on.raw(LINE.encode())),
    "row-too-long": (lambda on: long_line(on, MAX_ROW + (2 << 20)), lambda on: long_line(on, 1 << 20)),
    "byte-order-mark": (lambda on: on.raw(b"\xef\xbb\xbf" + LINE.encode()), lambda on: on.raw(LINE.encode())),
    "crlf": (lambda on: on.raw(LINE.encode() + b"\r\n"), lambda on: on.raw(LINE.encode() + b"\n")),
    "blank-line": (lambda on: on.raw(b"\n" + LINE.encode()), lambda on: on.raw(LINE.encode() + b"\n")),
    "bad-json": (lambda on: on.raw(b"{oops}\n"), lambda on: on.raw(LINE.encode())),
    "torn-row": (lambda on: on.raw(LINE.encode()[:30]), lambda on: on.raw(LINE.encode())),
    "not-an-object": (lambda on: on.raw(b"7\n"), lambda on: on.raw(LINE.encode())),
    "duplicate-key": (lambda on: on.raw(b'{"a": 1, "a": 2}\n'), lambda on: on.raw(b'{"a": 1, "b": {"a": 2}}\n')),
    "not-finite": (lambda on: on.raw(b'{"a": NaN}\n'), lambda on: on.raw(b'{"a": null}\n')),
    "lone-surrogate": (lambda on: on.raw(b'{"a": "\\ud83d"}\n'), lambda on: on.raw(b'{"a": "\\ud83d\\ude00"}\n')),
    "too-deep": (lambda on: on.raw(b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}\n"), lambda on: on.raw(b'{"a": [[[[]]]]}\n')),
    "unknown-format": (lambda on: on.file({"question": "a"}), lambda on: on.spec(a=[ROW], e=[{"question": "a"}], job=", evals: [e]")),
    "foreign-format": (
        lambda on: on.file({"instruction": "a", "output": "b"}),
        lambda on: on.spec(a=[ROW], e=[{"instruction": "a", "output": "b"}], job=", evals: [e]"),
    ),
    "group-missing": (
        lambda on: on.spec(a=rows(40), dataset=", split: {train: 0.5, rest: 0.5, group_by: customer}"),
        lambda on: on.spec(a=rows(40, customer=1) + rows(40, customer=2), dataset=", split: {train: 0.5, rest: 0.5, group_by: customer}"),
    ),
    "too-few-rows": (lambda _: taken("openai", rows=9), lambda _: taken("openai", rows=10)),
    "too-many-rows": (lambda _: taken("bedrock", rows=20_001), lambda _: taken("bedrock", rows=20_000)),
    "few-rows": (lambda _: taken("openai", rows=49), lambda _: taken("openai", rows=50)),
    "file-too-large": (lambda _: taken("azure", size=512 * 10**6 + 1), lambda _: taken("azure", size=512 * 10**6)),
    "wrong-format": (lambda _: taken("openai", form="preference"), lambda _: taken("openai")),
    "duplicate-row": (lambda on: on.file(ROW, ROW), lambda on: on.file(*rows(2))),
    "ambiguous-prompt": (lambda on: on.file(*answers("a"), *answers("b")), lambda on: on.file(*answers("a", "b"))),
    "label-skew": (lambda on: on.file(*answers(*["yes"] * 90, *["no"] * 10)), lambda on: on.file(*answers(*["yes"] * 60, *["no"] * 40))),
    "rare-label": (
        lambda on: on.spec(a=answers("yes", "yes", "no", "no", "ye"), job=", preset: classification"),
        lambda on: on.spec(a=answers("yes", "yes", "no", "no"), job=", preset: classification"),
    ),
    "mixed-system": (
        lambda on: on.file(*rows(2), {"messages": [{"role": "system", "content": "Be kind."}, *ROW["messages"]]}),
        lambda on: on.file({"messages": [{"role": "system", "content": "Be kind."}, *ROW["messages"]]}),
    ),
    "mixed-tools": (
        lambda on: on.file(ROW | {"tools": [tool("a")]}, ROW | {"tools": [tool("b")]}),
        lambda on: on.file(*rows(2, tools=[tool("a")])),
    ),
    "unused-tool": (lambda on: on.file(calling("a") | {"tools": [tool("a"), tool("b")]}), lambda on: on.file(calling("a"))),
    "images-skipped": (lambda on: on.file(image(1)), lambda on: on.file(ROW)),
    "too-many-image-rows": (lambda on: images(on, most=2), lambda on: images(on, most=3)),
    "reversed-pair": (
        lambda on: on.file(pair("q", "a", "b"), pair("q", "b", "a")),
        lambda on: on.file(pair("q", "a", "b"), pair("p", "b", "a")),
    ),
    "length-bias": (
        lambda on: on.file(*[pair(f"q{n}", "a", "bb") for n in range(50)]),
        lambda on: on.file(*[pair(f"q{n}", *(("a", "bb") if n % 2 else ("aa", "b"))) for n in range(50)]),
    ),
    "source-mix": (lambda on: on.file(ROW | {"source": "a"}, ROW | {"source": "b"}), lambda on: on.file(*rows(2, source="a"))),
    "over-context": (
        lambda on: {one.code for one in context(on, 2)},
        lambda on: {one.code for one in context(on, 4000)},
    ),
    "estimated-tokens": (
        lambda on: on.file(ROW, words=("--engine", "openai")) | {one.code for one in counted(on, "estimate")},
        lambda on: on.file(ROW, words=("--engine", "sandbox")),
    ),
    "leaked-row": (lambda on: leak(on, ROW | {"customer": 1}), lambda on: leak(on, rows(1)[0])),
    "leaked-prompt": (
        lambda on: leak(on, {"messages": [ROW["messages"][0], {"role": "assistant", "content": "Other."}]}),
        lambda on: leak(on, rows(1)[0]),
    ),
    "near-duplicate": (
        lambda on: on.spec(a=asked(LONG), e=asked(LONG.replace("blue", "red")), job=", evals: [e]"),
        lambda on: on.spec(
            a=asked(LONG), e=asked("where is the parcel that I was promised for this week by your shop"), job=", evals: [e]"
        ),
    ),
    "leaked-group": (
        lambda on: on.spec(a=rows(40, customer=1), e=[TASK | {"customer": 1}], **GROUPED),
        lambda on: on.spec(a=rows(40, customer=1), e=[TASK | {"customer": 2}], **GROUPED),
    ),
    "low-reference": (lambda on: on.spec(a=[TASK], job=graded("ne")), lambda on: on.spec(a=[TASK], job=graded("eq"))),
    "no-eval": (lambda on: on.spec(a=rows(1)), lambda on: on.spec(a=rows(1), e=answers("x", "y")[1:], job=", evals: [e]")),
    "data-leaves": (lambda on: on.spec(a=rows(60), engine="openai"), lambda on: on.spec(a=rows(60))),
    "grader-refused": (
        lambda on: refused(on, a=[TASK], engine="ours", job=graded("eq"), words=("--online",)),
        lambda on: on.spec(a=[TASK], job=graded("eq"), words=("--online",)),
    ),
    "flagged-content": (
        lambda on: on.spec(a=answers("I will hurt you"), words=("--moderation", "ours")),
        lambda on: on.spec(a=answers("I will help you"), words=("--moderation", "ours")),
    ),
}
GROUPED: dict[str, Any] = {"dataset": ", split: {train: 1.0, group_by: customer}", "job": ", evals: [e]"}


def images(checked: Checked, *, most: int) -> set[str]:
    """Audit three rows with images for an engine that takes so many."""
    return {one.code for one in audited(checked, [image(n) for n in range(3)], setting=Setting(max_image_rows=most))[1]}


def counted(checked: Checked, tokenizer: str) -> list[Any]:
    """Audit a row with this tokenizer."""
    return audited(checked, [ROW], tokenizer=tokenizer)[1]


def context(checked: Checked, tokens: int) -> list[Any]:
    """Compare a row with the context of a model."""
    from ftspec.data.audit import over_context

    passed, _ = audited(checked, [ROW, *rows(3)], tokenizer="words")
    return over_context(checked.folder.dataset("data"), passed, "model", tokens)


def audited(checked: Checked, lines: list[Any], **more: Any) -> tuple[Any, list[Any]]:
    from ftspec.data.audit import audit

    return audit(checked.folder.dataset("data", *lines), checked.folder.place(), **more)


@pytest.mark.parametrize("code", CASES)
def test_a_rule_speaks_for_a_case_that_breaks_it(checked, code):
    """The code is among what is said."""
    assert code in CASES[code][0](checked)


@pytest.mark.parametrize("code", CASES)
def test_a_rule_is_silent_for_the_case_beside_it(checked, code):
    """The code is not among what is said."""
    assert code not in CASES[code][1](checked)


def test_every_rule_has_both_cases():
    """No rule is without them: rules about one row have theirs in `test_row_rules`."""
    assert set(CASES) == {code for code, rule in all_codes().items() if not issubclass(rule, RowCheck)}
