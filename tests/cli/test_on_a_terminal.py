"""What people see on a terminal of eighty columns: lines that fit, a live table, colour where it is wanted."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SPEC = """\
ftspec: 1
datasets: {tone: {path: tone.jsonl}}
experiments:
  a-rather-long-name-of-an-experiment:
    {engine: sandbox, train: tone, suffix: "a-long-suffix-{seed}", matrix: {base_model: [sandbox-nano], epochs: [1], seed: [1, 2]}}
evals:
  nobody-asks-for-it:
    {dataset: tone, graders: {exact: {type: string_check, operation: eq, input: "{{sample.output_text}}", reference: "{{item.reference}}"}}}
"""
ROW = '{"messages": [{"role": "user", "content": "say %d"}, {"role": "assistant", "content": "aye %d"}]}\n'
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two trained models."""
    folder = tmp_path_factory.mktemp("terminal")
    (folder / "ftspec.yaml").write_text(SPEC)
    (folder / "tone.jsonl").write_text("".join(ROW % (i, i) for i in range(12)))
    typed(folder, "apply", "-y")
    return folder


@pytest.fixture
def project(applied: Path, tmp_path: Path) -> Path:
    shutil.copytree(applied, tmp_path / "project")
    return tmp_path / "project"


def typed(folder: Path, *words: str, answer: str = "", **environment: str) -> str:
    """Run ftspec on a terminal of 80 columns, type an answer, and return everything it wrote there."""
    mine, theirs = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "CI")}
    env = {**kept, "COLUMNS": "80", "LINES": "40", "TERM": "xterm", "HOME": str(folder), **environment}
    process = subprocess.Popen(
        [sys.executable, "-m", "ftspec", *words], cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True
    )
    os.close(theirs)
    os.write(mine, answer.encode())
    written = []
    with contextlib.suppress(OSError):  # the other end is closed
        while piece := os.read(mine, 65536):
            written.append(piece)
    os.close(mine)
    process.wait(60)
    return b"".join(written).decode().replace("\r\n", "\n")


@pytest.mark.parametrize(
    "words",
    [
        "state list",
        "status a-rather-long-name-of-an-experiment/base_model=sandbox-nano,epochs=1,seed=1",
        "doctor",
        "validate",
        "plan --target nothing-of-this-name-is-in-the-spec-or-was-ever-in-it",
        "state log",
    ],
)
def test_lines_fit_the_terminal(project: Path, words: str) -> None:
    """Only what cannot be broken, a name to copy, goes beyond."""
    lines = ESCAPE.sub("", typed(project, *words.split())).split("\n")
    assert lines
    assert [line for line in lines if len(line) > 80 and len(line.split()[-1]) < 40] == []


def test_models_that_do_not_fit_beside_their_address_stand_below(project: Path) -> None:
    """In a pipe each model is one line, which can be searched."""
    shown = ESCAPE.sub("", typed(project, "models"))
    assert re.search(r"epochs=1,seed=1\n    sandbox-nano  [\d.]+  ft:sandbox-nano:ftspec:a-long-suffix-1:\w+\n", shown)
    piped = subprocess.run([sys.executable, "-m", "ftspec", "models"], cwd=project, capture_output=True, text=True, check=True)
    assert re.search(r"epochs=1,seed=1 .* ft:sandbox-nano:ftspec:a-long-suffix-1:\w+\n", piped.stdout)


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["colour", "no colour", "dumb"])
def test_apply_draws_a_table_where_the_terminal_can(project: Path, environment: dict[str, str]) -> None:
    """`NO_COLOR` takes the colour and nothing else; a dumb terminal gets a line for each transition."""
    shutil.rmtree(project / "state")
    shutil.rmtree(project / ".ftspec")
    shown = typed(project, "apply", "-y", **environment)
    dumb = "TERM" in environment
    assert ("2 of 2 jobs done in " in shown) is not dumb
    assert ("seed=1: launched ftjob-" in shown) is dumb
    assert bool(re.search(r"\x1b\[(\d;)?3\dm", shown)) is not bool(environment)


def test_status_says_when_a_job_should_be_done(project: Path) -> None:
    """As the engine estimates it, else by how long jobs like it took; in the table too."""
    (project / "ftspec.yaml").write_text(SPEC.replace("epochs: [1]", "epochs: [1, 40]"))
    typed(project, "apply", "-y", "--no-wait")
    shown = ESCAPE.sub("", typed(project, "status", "--offline"))
    assert re.search(r"epochs +seed +status +done", shown), shown
    assert re.search(r"40 +1 +(queued|running|launched) +(in \d+ (s|min)|any moment)", shown), shown


@pytest.mark.parametrize(("answer", "bought"), [("y", False), ("YES", False), ("yes", True)])
def test_only_yes_buys(project: Path, answer: str, bought: bool) -> None:
    """The question names the money; anything but `yes` buys nothing."""
    shutil.rmtree(project / "state")
    shutil.rmtree(project / ".ftspec")
    shown = typed(project, "apply", answer=f"{answer}\n")
    assert "This plan is " in shown
    assert "Its cost: free." in shown
    assert ("was not approved; nothing was bought" in shown) is not bought
    assert ("2 launched, 2 succeeded." in shown) is bought
    assert list((project / "state").glob("*.jsonl")) != [] if bought else "ftjob-" not in shown


def test_nothing_to_do_says_so_and_writes_nothing(project: Path) -> None:
    """A second apply asks nobody, buys nothing, and leaves the lockfile as it is, also the time of its file."""
    before = (project / "ftspec.lock").stat()
    shown = typed(project, "apply")
    assert "Apply: nothing to do." in shown
    assert "wrote" not in shown
    assert (project / "ftspec.lock").stat().st_mtime_ns == before.st_mtime_ns


def test_a_question_shows_that_it_was_asked(project: Path) -> None:
    """Until the answer begins; then nothing of that is left."""
    job = "a-rather-long-name-of-an-experiment/base_model=sandbox-nano,epochs=1,seed=1"
    shown = typed(project, "chat", job, "say 3")
    assert shown.startswith(f"asking {job} ...\r\x1b[K")
    assert "asking" not in typed(project, "chat", job, "say 3", TERM="dumb")
