"""The GitHub action as a program: fake `GITHUB_*` variables and a fake `gh`, the real ftspec."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ACTION = ROOT / ".ci" / "action.sh"
COMMENT = ROOT / ".ci" / "comment.sh"
SPEC = """\
ftspec: 1
datasets: {tickets: {path: tickets.jsonl, split: {train: 0.8, validation: 0.2}}}
experiments:
  triage: {engine: sandbox, base_model: sandbox-nano, train: tickets.train, validation: tickets.validation, epochs: 1, seed: 1}
"""
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


class Runner:
    """A checkout on a runner of GitHub: no key, and nothing of ours in the environment."""

    def __init__(self, folder: Path) -> None:
        self.project, self.temp = folder / "project", folder / "temp"
        self.bin = folder / "bin"
        for one in (self.project, self.temp, self.bin, folder / "home"):
            one.mkdir()
        self.summary, self.output = folder / "summary.md", folder / "output"
        self.calls = folder / "calls.jsonl"
        shutil.copy(ROOT / "examples/specs/data/tickets.jsonl", self.project)
        self.write(SPEC)
        self.environment = {
            "PATH": os.pathsep.join([str(self.bin), os.environ.get("PATH", os.defpath)]),
            "HOME": str(folder / "home"),
            "FTSPEC": str(Path(sys.executable).with_name("ftspec")),
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "GITHUB_OUTPUT": str(self.output),
            "GITHUB_REPOSITORY": "acme/models",
            "RUNNER_TEMP": str(self.temp),
            "NUMBER": "7",
        }

    def write(self, spec: str) -> None:
        (self.project / "ftspec.yaml").write_text(spec)

    def run(self, script: Path, *before: str, **more: str) -> subprocess.CompletedProcess[str]:
        environment = {**self.environment, **more}
        return subprocess.run(
            [*before, "bash", str(script)], cwd=self.project, env=environment, capture_output=True, text=True, check=False, timeout=120
        )

    def with_gh(self, comments: list[dict]) -> None:
        """Put a `gh` on the path that lists these comments and records what it is asked to do."""
        (self.bin / "comments.json").write_text(json.dumps(comments))
        program = self.bin / "gh"
        program.write_text(f"#!{sys.executable}\n" + FAKE_GH)
        program.chmod(0o755)

    def recorded(self) -> list[dict]:
        path = self.bin / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


FAKE_GH = """
import json, os, shutil, subprocess, sys
from pathlib import Path
here = Path(__file__).parent
arguments = sys.argv[1:]
assert arguments[0] == "api"
if "--method" not in arguments:
    assert arguments[1:3] == ["--paginate", "repos/acme/models/issues/7/comments"], arguments
    assert arguments[3:] == ["--jq", ".[] | select((.body | startswith(env.MARKER)) and .user.login == env.AUTHOR) | .id"], arguments
    if shutil.which("jq"):  # what gh has inside
        sys.exit(subprocess.run(["jq", "-r", arguments[4], here / "comments.json"]).returncode)
    for one in json.loads((here / "comments.json").read_text()):
        if one["body"].startswith(os.environ["MARKER"]) and one["user"]["login"] == os.environ["AUTHOR"]:
            print(one["id"])
else:
    method, path, flag, body = arguments[2], arguments[3], arguments[4], arguments[5]
    assert flag == "-F" and body.startswith("body=@")
    call = {"method": method, "path": path, "body": Path(body[6:]).read_text()}
    with (here / "calls.jsonl").open("a") as file:
        file.write(json.dumps(call) + "\\n")
"""


@pytest.fixture
def runner(tmp_path):
    return Runner(tmp_path)


def test_a_plan_goes_to_the_summary_and_changes_are_no_failure(runner):
    """Changes end with 0, the output says 2, the summary is the Markdown plan, nothing is written to the project."""
    done = runner.run(ACTION, COMMAND="plan", GITHUB_EVENT_NAME="pull_request")
    assert done.returncode == 0, done.stderr
    assert runner.output.read_text() == "exit-code=2\n"
    assert runner.summary.read_text().startswith("## Plan: 2 uploads, 1 launch, 0 reused")
    assert not (runner.project / "state").exists()


def test_nothing_to_do_is_said_as_such(runner):
    """After `apply` on the default branch the same plan ends with 0 and says 0."""
    applied = runner.run(ACTION, COMMAND="apply", GITHUB_EVENT_NAME="push")
    assert applied.returncode == 0, applied.stderr
    assert "Apply: 2 uploaded, 1 launched, 1 succeeded." in runner.summary.read_text()
    assert runner.summary.read_text().count("``````") == 2
    assert runner.run(ACTION, COMMAND="plan").returncode == 0
    assert runner.output.read_text() == "exit-code=0\nexit-code=0\n"


@pytest.mark.parametrize("event", ["pull_request", "pull_request_target", "pull_request_review"])
def test_apply_is_refused_for_pull_requests(runner, event):
    """Whatever the workflow says, a pull request buys nothing."""
    done = runner.run(ACTION, COMMAND="apply", GITHUB_EVENT_NAME=event)
    assert done.returncode == 64
    assert "does not run for pull requests" in done.stderr
    assert not (runner.project / "state").exists()


def test_problems_become_annotations_and_replace_the_old_plan(runner):
    """A wrong spec fails the run with its file and line, and the comment does not go on showing an earlier plan."""
    runner.run(ACTION, COMMAND="plan")
    runner.write(SPEC.replace("epochs", "epoch"))
    done = runner.run(ACTION, COMMAND="plan")
    assert done.returncode == 1
    assert "::error file=ftspec.yaml,line=4" in done.stdout
    assert (runner.temp / "ftspec-plan.md").read_text().startswith("## No plan")


def test_a_plan_that_policy_refuses_fails_and_is_shown(runner):
    """Exit 5, with the plan and the rule in the summary."""
    runner.write(SPEC + "policy: {max_jobs: 0}\n")
    done = runner.run(ACTION, COMMAND="plan")
    assert (done.returncode, runner.output.read_text()) == (5, "exit-code=5\n")
    assert "**refused**" in runner.summary.read_text()


def test_files_and_arguments_are_passed_on(runner):
    """Several files, globs and options reach ftspec; an unknown command does not."""
    (runner.project / "specs").mkdir()
    (runner.project / "ftspec.yaml").rename(runner.project / "specs" / "a.yaml")
    (runner.project / "tickets.jsonl").rename(runner.project / "specs" / "tickets.jsonl")
    done = runner.run(ACTION, COMMAND="plan", FILES="specs/*.yaml", ARGUMENTS="--sample 50 --exclude status:failed")
    assert done.returncode == 0, done.stderr
    assert "--sample 50" in runner.summary.read_text()
    assert runner.run(ACTION, COMMAND="destroy").returncode == 64


def test_a_fork_needs_no_key_no_network_and_runs_no_code(runner):
    """A hosted engine, a grader with code and a program as eval: planned without a network, and nothing of it is run."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("network namespaces are not available")
    trap = f"open({str(runner.temp / 'ran')!r}, 'w')"
    runner.write(
        SPEC.replace("engine: sandbox", "engine: hosted, evals: [coded, program]").replace("sandbox-nano", "some-model")
        + "engines: {hosted: {type: azure, base_url: 'https://acme.openai.azure.com/openai/v1'}}\nevals:\n"
        + "  coded: {dataset: tickets.validation, graders: {g: {type: python, path: g.py, function: grade}}}\n"
        + f'  program: {{kind: command, dataset: tickets.validation, options: {{command: [python, -c, "{trap}"]}}}}\n'
    )
    (runner.project / "g.py").write_text(f"{trap}\ndef grade(a, b):\n    return 1\n")
    done = runner.run(ACTION, unshare, "-rn", COMMAND="plan", GITHUB_EVENT_NAME="pull_request", HTTPS_PROXY="http://127.0.0.1:1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 launch" in runner.summary.read_text()
    assert not (runner.temp / "ran").exists()


def test_the_comment_is_made_once_and_then_updated(runner):
    """The first run posts; when the comment is there it is patched, and comments of others are left alone."""
    runner.run(ACTION, COMMAND="plan")
    marker = "<!-- ftspec plan: . -->"
    stranger = {"id": 1, "body": f"{marker}\nfake", "user": {"login": "mallory"}}
    runner.with_gh([stranger, {"id": 2, "body": "nice", "user": {"login": "github-actions[bot]"}}])
    first = runner.run(COMMENT)
    runner.with_gh([stranger, {"id": 3, "body": f"{marker}\nold", "user": {"login": "github-actions[bot]"}}])
    second = runner.run(COMMENT)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert [(call["method"], call["path"]) for call in runner.recorded()] == [
        ("POST", "repos/acme/models/issues/7/comments"),
        ("PATCH", "repos/acme/models/issues/comments/3"),
    ]
    assert all(call["body"].startswith(f"{marker}\n## Plan: ") for call in runner.recorded())


def test_without_a_plan_there_is_no_comment(runner):
    """Nothing was planned, so nothing is said."""
    runner.with_gh([])
    assert runner.run(COMMENT).returncode == 0
    assert runner.recorded() == []


def test_the_action_passes_inputs_by_environment_only():
    """No expression stands inside of a script, where a value could become code; comments are for this repository's own branches."""
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    steps = action["runs"]["steps"]
    assert [step["run"] for step in steps if "${{" in step["run"]] == []
    assert "head.repo.full_name == github.repository" in steps[-1]["if"]
    named = {name for step in steps for value in step.get("env", {}).values() for name in action["inputs"] if f"inputs.{name}" in value}
    assert named | {"working-directory", "command", "comment"} == set(action["inputs"])


def test_hooks_name_commands_that_exist():
    """Every pre-commit hook starts a command of ftspec."""
    from ftspec.cli import group

    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert {hook["entry"].split()[1] for hook in hooks} <= set(group.list_commands(None))
