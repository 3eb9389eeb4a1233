"""Files that a spec names lie in the project, when it is planned and when it is applied; so do the files that are written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

SPEC = """ftspec: 1
project: small
{include}datasets:
  rows: {{path: {rows}, split: {{train: 0.7, validation: 0.1, test: 0.2}}{transforms}}}
defaults: {{engine: sandbox, validation: rows.validation}}
experiments:
  small: {{train: rows.train, base_model: sandbox-nano, epochs: 1, evals: [held]}}
evals:
  held:
    dataset: rows.test
    prompt: {prompt}
    graders: {{g: {grader}}}
"""
PLAIN = {
    "include": "",
    "rows": "rows.jsonl",
    "transforms": "",
    "prompt": '"{{item.messages}}"',
    "grader": "{type: string_check, operation: eq, input: a, reference: b}",
}
CONTENT = {
    "rows": None,
    "include": "vars: {secret: words}\n",
    "transforms": "secret words\n",
    "prompt": "secret words {{item.messages}}\n",
    "grader": "def f(prediction, target):\n    return 1.0  # secret words\n",
}
"""What each setting names; `rows` stay what they are."""


def spec(which: str, path: str) -> str:
    """Return a spec that names a file in one of its settings."""
    named = {
        "rows": path,
        "include": f"include: {path}\n",
        "transforms": f", transforms: [{{type: system_prompt, file: {path}}}]",
        "prompt": f"{{path: {path}}}",
        "grader": f"{{type: python, path: {path}, function: f}}",
    }
    return SPEC.format(**{**PLAIN, which: named[which]})


@pytest.fixture
def named(project, tmp_path):
    """Return a function that makes a setting's file in a folder and returns its path."""
    (tmp_path / "outside").mkdir()

    def make(which: str, folder: Path) -> Path:
        path = folder / f"{which}.yaml"
        content = CONTENT[which]
        path.write_text((project / "rows.jsonl").read_text() if content is None else content)
        return path

    return make


@pytest.mark.parametrize("which", CONTENT)
def test_a_file_inside_is_read(which, project, named, ftspec):
    """Every setting of the table works: what is refused below is refused for where it lies."""
    (project / "ftspec.yaml").write_text(spec(which, named(which, project).name))
    ran = ftspec("plan")
    assert "1 launch" in ran.out, ran.said


@pytest.mark.parametrize("how", ["climbs", "is absolute", "is a link", "is below a link", "is a pipe", "is a device", "is a folder"])
@pytest.mark.parametrize("which", CONTENT)
def test_no_setting_reads_a_file_elsewhere(which, how, project, tmp_path, named, ftspec, no_bug):
    """Neither when planned nor when applied; nothing of it is shown, nobody waits for a pipe, nothing is bought."""
    there = named(which, tmp_path / "outside")
    here = project / there.name
    match how:
        case "climbs":
            written = f"../outside/{there.name}"
        case "is absolute":
            written = str(there)
        case "is a link":
            here.symlink_to(there)
            written = here.name
        case "is below a link":
            (project / "linked").symlink_to(there.parent)
            written = f"linked/{there.name}"
        case "is a pipe":
            os.mkfifo(here)
            written = here.name
        case "is a device":
            here.symlink_to("/dev/zero")
            written = here.name
        case _:
            here.mkdir()
            written = here.name
    (project / "ftspec.yaml").write_text(spec(which, written))
    for words in (["plan"], ["apply", "-y"]):
        ran = ftspec(*words)
        no_bug(ran, [1])
        assert "secret words" not in ran.said
    assert not (project / ".ftspec" / "sandbox").exists()


@pytest.mark.parametrize("which", [*CONTENT, "spec"])
def test_a_file_that_became_a_link_since_the_plan_is_refused(which, project, tmp_path, named, ftspec, no_bug):
    """A saved plan does not open the door: the same bytes from outside of the project are still from outside."""
    if which == "spec":
        path, there = project / "ftspec.yaml", tmp_path / "outside" / "ftspec.yaml"
    else:
        path = named(which, project)
        there = tmp_path / "outside" / path.name
        (project / "ftspec.yaml").write_text(spec(which, path.name))
    assert ftspec("plan", "-o", "plan.json").code == 0
    shutil.move(path, there)
    path.symlink_to(there)
    no_bug(ftspec("apply", "plan.json"), [1])
    assert not (project / ".ftspec" / "sandbox").exists()
    path.unlink()
    shutil.move(there, path)
    assert ftspec("apply", "plan.json", *(["--allow-code"] if which == "grader" else [])).code == 0


@pytest.mark.parametrize("name", ["sandbox", "evals"])
def test_records_are_not_written_through_a_link(name, project, tmp_path, ftspec, no_bug):
    """A checkout whose `.ftspec` leads elsewhere gets nothing written there; the user may allow that."""
    there = tmp_path / "there"
    there.mkdir()
    (project / "ftspec.yaml").write_text(SPEC.format(**PLAIN))
    (project / ".ftspec").mkdir()
    (project / ".ftspec" / name).symlink_to(there)
    ran = ftspec("apply", "-y")
    no_bug(ran, [1])
    assert f"`.ftspec/{name}` leads out of the project" in ran.err
    assert list(there.iterdir()) == []
    assert ftspec("apply", "-y", "--data-root", str(there)).code == 0
    assert list(there.iterdir()) != []


@pytest.mark.parametrize("name", [".git", ".git/HEAD", ".git/packed-refs", ".git/refs/heads/main"])
def test_a_repository_of_pipes_is_no_repository(name, project, ftspec):
    """Nobody waits for what git would never leave there."""
    path = project / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name not in {".git", ".git/HEAD"}:
        (project / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    os.mkfifo(path)
    for words in (["plan"], ["apply", "-y"], ["doctor"]):
        assert ftspec(*words).code == 0


@pytest.mark.parametrize("how", ["pipe", "/dev/zero", "folder", "large"])
def test_a_saved_plan_is_a_file_of_some_size(how, project, ftspec, no_bug):
    """`apply PLAN` neither waits nor reads for ever."""
    path = project / "plan.json"
    if how == "pipe":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    elif how == "large":
        path.touch()
        os.truncate(path, 2**40)
    else:
        path.symlink_to(how)
    ran = ftspec("apply", "plan.json")
    no_bug(ran, [1])
    assert "the saved plan `plan.json` cannot be read" in ran.err


@pytest.mark.parametrize("depth", [900, 100_000])
def test_a_saved_plan_that_is_nested_deeply_is_refused(depth, project, ftspec, no_bug):
    """Whether reading or comparing it would be too much."""
    assert ftspec("plan", "-o", "plan.json").code == 0
    path = project / "plan.json"
    path.write_text(path.read_text().replace('"request": {', f'"request": {{"deep": {"[" * depth}{"]" * depth},', 1))
    no_bug(ftspec("apply", "plan.json"), [1, 3])
