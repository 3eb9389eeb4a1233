"""`data check --online`: engines say whether they take a grader; nothing else is sent, and nothing without being asked for."""

from __future__ import annotations

import pytest

from ftspec.cli import _console, group
from ftspec.testing.tiny_http import JsonHandler, serving

KEY = "not-a-real-key"
REFUSALS = {
    "ilike": (400, {"error": {"message": "ilike is not taken by this model", "type": "invalid_request_error", "code": "invalid_grader"}}),
    "ne": (404, {"error": {"message": "no such route", "type": "invalid_request_error", "code": "unknown_url"}}),
    "like": (401, {"error": {"message": "wrong key", "type": "invalid_request_error", "code": "invalid_api_key"}}),
}


class Graders(JsonHandler):
    """An engine that takes the operation `eq` only."""

    def answer(self):
        body = self.body()
        self.server.asked.append((self.path, body))
        self.reply(*REFUSALS.get(body["grader"]["operation"], (200, {"grader": body["grader"]})))


@pytest.fixture
def server():
    with serving(Graders, asked=[]) as made:
        yield made


@pytest.fixture
def checked(folder, server, monkeypatch, capsys):
    monkeypatch.setenv("FTSPEC_OURS_KEY", KEY)
    folder.write("rows.jsonl", *[{"messages": [{"role": "user", "content": f"{n}?"}], "answer": str(n)} for n in range(60)])

    def check(*words, engine="ours", operations=("eq",)):
        jobs = [
            f"  t{n}: {{engine: {engine}, base_model: {'sandbox-nano' if engine == 'sandbox' else 'm'}, train: tasks, seed: {n},"
            " method: {type: reinforcement, grader: {type: string_check, input: '{{sample.output_text}}', reference: '{{item.answer}}',"
            f" operation: {operation}}}}}}}"
            for n, operation in enumerate(operations)
        ]
        address = f"http://127.0.0.1:{server.server_address[1]}/v1"
        folder.write(
            "ftspec.yaml",
            "ftspec: 1\n"
            f"engines: {{ours: {{type: openai-compatible, base_url: '{address}', api_key_env: FTSPEC_OURS_KEY}}}}\n"
            "datasets: {tasks: {path: rows.jsonl, format: reinforcement}}\nexperiments:",
            *jobs,
        )
        code = _console.run(group, ["data", "check", "-C", str(folder.root), *words])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return check


def test_a_grader_that_the_engine_refuses_is_an_error_at_the_grader(checked, server):
    """The engine's own words are shown, at the line of the spec; each grader is asked about once, and no row is sent."""
    code, out, _ = checked("--online", operations=("eq", "ilike", "eq"))
    assert code == 1
    assert "error[grader-refused]: `ours` refuses the grader: ilike is not taken by this model\n --> ftspec.yaml:6:" in out
    assert "`ours` takes the grader of `t0`" in out
    assert {path for path, _ in server.asked} == {"/v1/fine_tuning/alpha/graders/validate"}
    assert [(set(body), body["grader"]["operation"]) for _, body in server.asked] == [({"grader"}, "eq"), ({"grader"}, "ilike")]


def test_an_engine_that_cannot_say_is_no_problem(checked):
    """Not every engine of the protocol has the request."""
    code, out, _ = checked("--online", operations=("ne",))
    assert code == 0
    assert "`ours` does not say whether it takes a grader" in out
    assert "grader-refused" not in out


def test_an_engine_that_does_not_let_us_in_is_told_apart(checked):
    """A wrong key says nothing about a grader."""
    code, out, err = checked("--online", operations=("like",))
    assert code == 1
    assert "engine `ours` cannot be asked about a grader" in err
    assert "grader-refused" not in out + err


def test_the_sandbox_is_asked_too(checked):
    """It needs no key and no network."""
    code, out, _ = checked("--online", engine="sandbox")
    assert code == 0
    assert "`sandbox` takes the grader of `t0`" in out


def test_nothing_is_asked_without_the_option(checked, server):
    """Checks stay offline."""
    checked(operations=("ilike",))
    assert server.asked == []


@pytest.mark.parametrize("words", [("rows.jsonl",), ("--engine", "sandbox")])
def test_without_a_spec_there_is_no_grader_to_ask_about(checked, words):
    """A file by itself has none."""
    code, _, err = checked("--online", *words, engine="sandbox")
    assert (code, "no spec talks of these files" in err) == (1, True)
