"""Evals of other programs: a local address for one model, and what the program reports."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ftspec.diagnostics import FtspecError
from ftspec.engines.base import Refused
from ftspec.evals.base import GraderStopped
from ftspec.evals.gateway import Gateway
from ftspec.evals.harness_run import read_output, run_elsewhere
from ftspec.evals.inspect_logs import inspect_command, read_log, write_log
from ftspec.evals.items import eval_items
from ftspec.evals.money import Money
from ftspec.evals.prepare import prepare
from ftspec.evals.result import EvalResult
from ftspec.evals.runner import EvalTask, RunOptions
from ftspec.evals.samples import SampleStore
from ftspec.experiment import DesiredEval

from .conftest import ROWS, Bench, Scripted, answer

PROGRAM = """
import json, os, urllib.request
def ask(messages):
    body = json.dumps({"model": "any", "messages": messages, "temperature": 0}).encode()
    headers = {"content-type": "application/json", "authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
    request = urllib.request.Request(os.environ["OPENAI_BASE_URL"] + "/chat/completions", body, headers)
    return json.load(urllib.request.urlopen(request))["choices"][0]["message"]["content"]
samples = []
for line in open(os.environ["FTSPEC_DATASET"]):
    row = json.loads(line)
    said = ask(row["messages"])
    samples.append({"id": row["id"], "scores": {"right": said == row["item"]["reference"]}, "output": said, "reference": row["item"]["reference"]})
json.dump({"samples": samples}, open(os.environ["FTSPEC_OUTPUT"], "w"))
"""


def run(folder: Path, engine: Any, program: str, *, allow: bool = True, price: Any = None, **about: Any) -> EvalResult:
    (folder / "program.py").write_text(program)
    options = {"kind": "command", "command": ["python", "program.py"], **about.pop("options", {})}
    given, problems = prepare(DesiredEval(**{"name": "mine", "dataset": "rows", "graders": {}, "options": options, **about}), root=folder)
    assert [one.code for one in problems] == ["runs-code"]
    task = EvalTask(eval=given, key="k", items=lambda: eval_items(ROWS), engine=engine, model="m", identity={"name": "m"}, price=price)
    return asyncio.run(run_elsewhere(task, store=SampleStore(folder / "evals"), root=folder, options=RunOptions(allow_code=allow)))


def test_a_command_asks_the_model_and_reports_samples(tmp_path: Path) -> None:
    """It gets rows and an address; its samples are kept like ours, and counted and priced."""
    engine = Scripted(lambda model, question, times: answer("a" + question[1:] if question < "q3" else "?"))
    result = run(tmp_path, engine, PROGRAM, price=lambda entry, model, i, o: (0.01 * i, "USD"))
    assert result.status == "succeeded"
    score = result.summary.scores["right"]
    assert (score["mean"], score["n"], score["passed"]) == (0.5, 6, 0.5)
    assert (result.cost, result.summary.input_tokens) == (pytest.approx(0.6), 60)
    assert {model for model, _ in engine.asked} == {"m"}
    assert not (tmp_path / "evals" / "k" / "rows.jsonl").exists()
    assert [sample.text for sample in SampleStore(tmp_path / "evals").samples("k")][:2] == ["a0", "a1"]


def test_a_command_may_report_figures_only(tmp_path: Path) -> None:
    """They have no interval, because nobody knows of how many items they are."""
    result = run(
        tmp_path,
        Scripted(lambda *asked: answer("x")),
        'import json, os; json.dump({"scores": {"f1": 0.7}}, open(os.environ["FTSPEC_OUTPUT"], "w"))',
    )
    assert result.summary.scores["f1"] == {"mean": 0.7, "low": None, "high": None, "method": "none", "n": 0, "ungraded": 0}


def test_a_command_sees_no_other_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys stay here; `env` names what is passed on."""
    monkeypatch.setenv("OTHER_API_KEY", "secret")
    monkeypatch.setenv("WANTED", "yes")
    program = 'import json, os; seen = {"scores": {n: float(n in os.environ) for n in ("OTHER_API_KEY", "WANTED", "FTSPEC_MODEL")}}\njson.dump(seen, open(os.environ["FTSPEC_OUTPUT"], "w"))'
    scores = run(tmp_path, Scripted(lambda *asked: answer("x")), program, options={"env": ["WANTED"]}).summary.scores
    assert {name: score["mean"] for name, score in scores.items()} == {"OTHER_API_KEY": 0, "WANTED": 1, "FTSPEC_MODEL": 1}


def test_a_command_runs_only_when_code_is_allowed(tmp_path: Path) -> None:
    """It is code of the project."""
    with pytest.raises(GraderStopped, match=r"eval `mine` runs a program: `python program\.py`"):
        run(tmp_path, Scripted(lambda *asked: answer("x")), PROGRAM, allow=False)


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("raise SystemExit(3)", "the program ended with 3; see `k/harness.log`"),
        ("pass", "the program wrote nothing into `FTSPEC_OUTPUT`"),
        ("import os; open(os.environ['FTSPEC_OUTPUT'], 'w').write('{')", "what the program wrote into `FTSPEC_OUTPUT` is not a result: "),
        ("import os; open(os.environ['FTSPEC_OUTPUT'], 'w').write('{}')", "the program reports neither samples nor scores"),
        ("import time; time.sleep(60)", "the program took longer than 1 s"),
    ],
)
def test_a_command_that_fails_leaves_the_eval_unfinished(tmp_path: Path, program: str, error: str) -> None:
    """Its words are kept beside the samples; the next run tries again."""
    result = run(tmp_path, Scripted(lambda *asked: answer("x")), program, options={"timeout": 1 if "sleep" in program else 60})
    assert result.status == "running"
    assert result.error is not None
    assert result.error.startswith(error)


def test_a_command_that_does_not_start_is_named(tmp_path: Path) -> None:
    """A program that is not installed."""
    result = run(tmp_path, Scripted(lambda *asked: answer("x")), "", options={"command": "no-such-program --now"})
    assert result.error == "the program `no-such-program` does not start: No such file or directory"


def test_a_command_cannot_spend_more_than_the_budget(tmp_path: Path) -> None:
    """The address stops answering, and the run says why."""
    engine = Scripted(lambda *asked: answer("x"))
    result = run(tmp_path, engine, PROGRAM, budget=0.25, price=lambda entry, model, i, o: (0.1, "USD"))
    assert (len(engine.asked), result.error_code, result.error) == (2, "budget", "the budget of 0.25 allows no further answer")


def test_samples_with_errors_and_without_scores_are_counted(tmp_path: Path) -> None:
    """What a program could not do is not dropped."""
    program = 'import json, os; json.dump({"samples": [{"id": 1, "scores": {"a": 1}}, {"id": 2, "scores": {"a": None}}, {"id": 3, "scores": {}, "error": "broke"}]}, open(os.environ["FTSPEC_OUTPUT"], "w"))'
    result = run(tmp_path, Scripted(lambda *asked: answer("x")), program.replace("None", "None"))
    assert result.status == "running"
    assert (result.summary.counts.errors, result.summary.scores["a"]["ungraded"], result.summary.scores["a"]["mean"]) == (1, 2, 1.0)


async def _ask(gateway: Gateway, path: str = "/chat/completions", *, key: str | None = None, body: Any = None) -> tuple[int, Any]:
    import httpx2

    async with httpx2.AsyncClient() as client:
        headers = {"authorization": f"Bearer {gateway.key if key is None else key}"}
        if body is None:
            reply = await client.get(gateway.base_url + path, headers=headers)
        else:
            reply = await client.post(
                gateway.base_url + path, headers=headers, content=body if isinstance(body, bytes) else json.dumps(body)
            )
        return reply.status_code, reply.json()


def test_the_address_answers_only_who_has_its_key_and_only_for_its_model() -> None:
    """Strangers on this machine are refused; the asked-for name does not matter; tools come back."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    engine = Scripted(
        lambda model, question, times: answer("hi", tool_calls=(call,)) if question == "q" else Refused("too long", status=400)
    )

    async def talk() -> None:
        async with Gateway(engine, "m", Money(None, None)) as gateway:
            question = {"model": "gpt-9", "messages": [{"role": "user", "content": "q"}], "temperature": 0, "user": "me"}
            assert (await _ask(gateway, key="guess", body=question))[0] == 401
            assert (await _ask(gateway, "/models", key="guess"))[0] == 401
            status, reply = await _ask(gateway, body=question)
            assert status == 200
            assert reply["choices"][0]["message"]["tool_calls"] == [call]
            assert reply["usage"] == {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
            assert engine.requests == [{"model": "m", "messages": question["messages"], "temperature": 0}]
            assert [one["id"] for one in (await _ask(gateway, "/models"))[1]["data"]] == ["m"]
            assert (await _ask(gateway, body=b"{"))[0] == 400
            assert (await _ask(gateway, body={}))[0] == 400
            assert (await _ask(gateway, body=question | {"stream": True}))[0] == 400
            status, reply = await _ask(gateway, body={"messages": [{"role": "user", "content": "other"}]})
            assert (status, reply["error"]["message"]) == (400, "too long")

    asyncio.run(talk())


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"kind": "command"}, "options.command: is missing"),
        ({"kind": "command", "command": [1]}, "options.command: is missing"),
        ({"kind": "inspect", "task": "x", "limits": 3}, "options.limits: `kind: inspect` has no such option"),
        ({"kind": "inspect", "task": "x", "timeout": 0}, "options.timeout: must be a number of seconds"),
        ({"kind": "inspect", "task": "x", "env": "HOME"}, "options.env: must be a list of names of variables"),
    ],
)
def test_wrong_options_of_a_program_are_named(tmp_path: Path, options: dict[str, Any], problem: str) -> None:
    """When the spec is read."""
    _, problems = prepare(DesiredEval(name="e", dataset="", graders={}, options=options), root=tmp_path)
    assert [one.message for one in problems] == [f"eval `e`: {problem}"]


def test_a_program_has_no_graders_of_ours(tmp_path: Path) -> None:
    """Nor a prompt; gates must at least be gates."""
    given = DesiredEval(name="e", dataset="", graders={"x": {}}, prompt="p", require=("a >=",), options={"kind": "inspect", "task": "t"})
    assert len(prepare(given, root=tmp_path)[1]) == 3


def test_the_key_holds_the_program_and_the_files_it_names(tmp_path: Path) -> None:
    """Another program, or a changed file, is another eval; time limits are not."""
    (tmp_path / "p.py").write_text("1")

    def graders(**options: Any) -> Any:
        return prepare(
            DesiredEval(name="e", dataset="", graders={}, options={"kind": "command", "command": "python p.py", **options}), root=tmp_path
        )[0].graders

    first = graders()
    assert graders(timeout=5) == first
    (tmp_path / "p.py").write_text("2")
    assert graders() != first


def test_an_inspect_task_is_called_with_the_evals_sampling(tmp_path: Path) -> None:
    """Model, sampling, arguments, limit and repeats, in Inspect's words."""
    given = DesiredEval(
        name="e", dataset="", graders={}, repeat=2, sampling={"temperature": 0, "max_tokens": 9},
        options={"task": "x.py@t", "limit": 5, "args": {"level": 1}, "max_connections": 3},
    )  # fmt: skip
    words = inspect_command(given, model="ft:m", logs=tmp_path / "logs")
    assert words[:5] == [sys.executable, "-m", "inspect_ai", "eval", "x.py@t"]
    assert " ".join(words[5:]) == (
        f"--model openai-api/ftspec/ft:m --log-format json --log-dir {tmp_path / 'logs'} --display none"
        " --temperature 0 --max-tokens 9 -T level=1 --limit 5 --max-connections 3 --epochs 2"
    )


LOG = {
    "status": "success",
    "samples": [
        {"id": 1, "epoch": 1, "input": "q", "target": "a", "output": {"completion": "a"}, "scores": {"match": {"value": "C"}, "f": {"value": {"p": 0.5, "n": 1}}}},
        {"id": 2, "epoch": 1, "input": [{"role": "user"}], "target": ["a"], "output": {}, "scores": {"match": {"value": "I"}, "f": {"value": "P"}}},
        {"id": 3, "epoch": 2, "input": "q", "target": None, "output": {"completion": ""}, "scores": {"match": {"value": "??"}}, "error": {"message": "broke"}},
    ],
}  # fmt: skip


def test_an_inspect_log_is_read_as_samples(tmp_path: Path) -> None:
    """Letters and dictionaries become numbers; what is no number is not scored."""
    (tmp_path / "log.json").write_text(json.dumps(LOG))
    samples = read_log(tmp_path).samples
    assert [one.scores for one in samples] == [{"match": True, "f.p": 0.5, "f.n": 1}, {"match": False, "f": 0.5}, {"match": None}]
    assert (samples[1].question, samples[1].reference, samples[2].error, samples[2].epoch) == ('[{"role": "user"}]', '["a"]', "broke", 2)


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (None, "wrote no log"),
        ({"status": "error", "error": {"message": "no model"}}, "task failed: no model"),
        ({"status": "cancelled"}, "task failed: cancelled"),
    ],
)
def test_a_failed_inspect_task_says_why(tmp_path: Path, log: Any, message: str) -> None:
    """No log, an error, a cancelled task."""
    if log is not None:
        (tmp_path / "log.json").write_text(json.dumps(log))
    with pytest.raises(FtspecError, match=message):
        read_log(tmp_path)


def test_too_much_output_is_not_read(tmp_path: Path) -> None:
    """A program cannot fill the memory."""
    path = tmp_path / "out.json"
    with path.open("wb") as file:
        file.truncate((256 << 20) + 1)
    with pytest.raises(FtspecError, match="more than 256 MiB"):
        read_output(path)


def test_a_run_is_written_as_a_log_that_inspect_reads(bench: Bench, tmp_path: Path) -> None:
    """Every sample with its question, answer, reference and scores; needs inspect-ai."""
    logs: Any = pytest.importorskip("inspect_ai.log")
    result = bench.run(Scripted(lambda model, question, times: answer("a0")))
    header = bench.store.header("k1")
    assert header is not None
    items = {item.id: item for item in eval_items(ROWS)}
    path = write_log(tmp_path, header, samples=bench.store.samples("k1"), items=items, scores=result.summary.scores, dataset="rows")
    log = logs.read_eval_log(str(path))
    assert (log.status, log.eval.task, log.results.total_samples) == ("success", "holdout", 6)
    assert log.samples[0].scores["exact"].value == 1.0
    assert log.samples[1].input[0].content == "q1"
    assert log.samples[1].target == "a1"


def test_without_inspect_the_export_says_what_to_install(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence and a command."""
    monkeypatch.setitem(sys.modules, "inspect_ai.log", None)
    bench.run(Scripted(lambda *asked: answer("x")))
    header = bench.store.header("k1")
    assert header is not None
    with pytest.raises(FtspecError, match="needs Inspect") as stop:
        write_log(tmp_path, header, samples=[], items={}, scores={}, dataset="")
    assert stop.value.help == "`pip install 'ftspec[inspect]'`"
