"""Engines whose models answer once somebody has deployed them: the name is recorded, and used wherever a model is asked."""

import json
import time

import pytest

import ftspec
from ftspec.cli import _console, group
from ftspec.testing.faulty import FaultyServer
from ftspec.testing.tinyapi import TinyApi, refusal

ROWS = "".join(
    json.dumps({"messages": [{"role": "user", "content": f"say {n}"}, {"role": "assistant", "content": "aye"}]}) + "\n" for n in range(12)
)
SPEC = {
    "ftspec": 1,
    "datasets": {"rows": "rows.jsonl", "held": "held.jsonl"},
    "experiments": {"tone": {"engine": "foundry", "base_model": "an-open-model", "train": "rows", "epochs": 1, "seed": 1, "evals": ["e"]}},
    "evals": {
        "e": {
            "dataset": "held",
            "compare_to": None,
            "models": ["job"],
            "sampling": {"max_tokens": 5},
            "graders": {"g": {"type": "string_check", "operation": "like", "input": "{{sample.output_text}}", "reference": "says"}},
        }
    },
}


class Deploying(TinyApi):
    """An engine where only a deployment answers."""

    def __init__(self):
        super().__init__(now=time.time, statuses=("running", "succeeded"))
        self.asked = []

    def handle(self, request):
        if request.name == "POST /chat/completions":
            model = json.loads(request.body)["model"]
            self.asked.append(model)
            if model != "tone-prod":
                return refusal(404, "DeploymentNotFound", "The API deployment for this resource does not exist")
        return super().handle(request)


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "key-of-tests")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "rows.jsonl").write_text(ROWS)
    (tmp_path / "held.jsonl").write_text(ROWS.replace("say ", "tell "))
    with FaultyServer(api=Deploying()) as server:
        engines = {"foundry": {"type": "azure", "base_url": server.base_url}}
        (tmp_path / "ftspec.yaml").write_text(json.dumps({**SPEC, "engines": engines}))

        def typed(*words):
            return _console.run(group, [*words, "-C", str(tmp_path)])

        yield typed, server.api


def test_evals_wait_until_a_model_is_deployed_and_ask_by_that_name(project, tmp_path, capsys):
    """Nobody is asked before; the model's own name stays what is recorded."""
    typed, api = project
    assert typed("apply", "-y") == 4
    assert api.asked == []
    typed("status", "tone")
    shown = capsys.readouterr().out
    assert "On this engine: deploy the model" in shown
    assert "ftspec deployed 'tone' NAME" in shown

    assert typed("deployed", "tone", "tone-prod") == 0
    assert typed("apply", "-y") == 0
    assert set(api.asked) == {"tone-prod"}
    capsys.readouterr()
    assert typed("models", "--raw") == 0
    assert capsys.readouterr().out == "tone-prod\n"
    assert ftspec.model("tone", root=tmp_path) == "tone-prod"
    (row,) = ftspec.models(root=tmp_path)
    assert row.model != "tone-prod"
    assert typed("chat", "tone", "hello") == 0
    assert api.asked[-1] == "tone-prod"


def test_a_deployment_can_be_taken_back(project, capsys):
    """Then the model is named by its own name again; without a name or a model there is nothing to record."""
    typed, _ = project
    assert typed("deployed", "tone", "tone-prod") == 64
    typed("apply", "-y")
    typed("deployed", "tone", "tone-prod")
    assert typed("deployed", "tone", "--remove") == 0
    assert typed("deployed", "tone") == 64
    assert typed("deployed", "tone", "a\x1b[31mb") == 1
    capsys.readouterr()
    typed("models", "--raw")
    assert "tone-prod" not in capsys.readouterr().out


def test_an_eval_that_failed_is_not_called_done(project, tmp_path, capsys):
    """A server that does not answer for the model makes the eval fail: said, and the exit code is 4."""
    typed, api = project
    spec = json.loads((tmp_path / "ftspec.yaml").read_text())
    spec["engines"]["foundry"]["type"] = "openai-compatible"
    (tmp_path / "ftspec.yaml").write_text(json.dumps(spec))
    assert typed("apply", "-y") == 4
    assert api.asked
    shown = capsys.readouterr()
    assert "Apply: 1 uploaded, 1 launched, 1 succeeded, 1 failed." in shown.out
    assert "tone: refused: the eval `e` failed: The API deployment for this resource does not exist" in shown.err
