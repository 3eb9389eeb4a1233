"""A plan reads, writes and runs nothing outside the project, and waits for nobody."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EVALS = {
    "open quote in a command": '    kind: command\n    options: {command: "python \\"x"}\n',
    "NUL in a command": '    kind: command\n    options: {command: ["python", "a\\0b"]}\n',
    "NUL in a task": '    kind: inspect\n    options: {task: "a\\0b"}\n',
    **{
        f"grader at {path}": f'    graders: {{g: {{type: python, path: "{path}", function: f}}}}\n'
        for path in ("a\\0b", "pipe", "../outside/x.py", "/dev/zero", ".", "/etc/passwd")
    },
    "prompt is a pipe": ("    prompt: {path: pipe}\n    graders: {g: {type: string_check, operation: eq, input: a, reference: b}}\n"),
}
CODE = "import pathlib\npathlib.Path(__file__).with_name('ran').touch()\n"


@pytest.fixture
def outside(tmp_path):
    """Return a folder that is not the project's."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "ftspec.yaml").write_text("ftspec: 1\nsecret_words: 1\n")
    (folder / "rows.jsonl").write_text('{"secret": "words"}\n')
    return folder


@pytest.mark.parametrize("what", ["ftspec.yaml", "rows.jsonl"])
def test_a_link_out_of_the_project_is_not_read(what, project, outside, ftspec):
    """Neither a spec nor a dataset comes from elsewhere, and nothing of it is quoted."""
    (project / what).unlink()
    (project / what).symlink_to(outside / what)
    ran = ftspec("plan")
    assert ran.code == 1
    assert "outside the project" in ran.err
    assert "secret" not in ran.said


@pytest.mark.parametrize(
    "path", ["/proc/self/environ", "/dev/zero", "../outside/rows.jsonl", "x/../../outside/rows.jsonl", "~/x", "$HOME/x"]
)
def test_a_path_out_of_the_project_is_not_read(path, project, outside, ftspec):
    """However it is written; `~` and variables mean nothing."""
    spec = project / "ftspec.yaml"
    spec.write_text(spec.read_text().replace("rows.jsonl", path))
    ran = ftspec("plan")
    assert ran.code == 1
    assert "secret" not in ran.said


def test_a_linked_cache_is_not_used(project, outside, ftspec):
    """`.ftspec` that leads elsewhere is neither written nor believed; the plan is the same."""
    plain = ftspec("plan").out
    shutil.rmtree(project / ".ftspec")
    (project / ".ftspec").symlink_to(outside)
    before = sorted(outside.iterdir())
    assert ftspec("plan").out == plain
    assert sorted(outside.iterdir()) == before


@pytest.mark.parametrize("name", ["valid-specs", "data"])
def test_a_cache_entry_that_is_a_link_or_a_pipe_is_left_alone(name, project, outside, ftspec):
    """Reading `/dev/zero` would never end; an entry is a regular file or none."""
    plain = ftspec("plan").out
    cache = project / ".ftspec" / "cache"
    entries = [path for path in cache.iterdir() if path.name.startswith(name)]
    assert entries
    for entry in entries:
        entry.unlink()
        entry.symlink_to("/dev/zero")
    assert ftspec("plan").out == plain
    assert Path("/dev/zero").is_char_device()


@pytest.mark.parametrize("kind", ["pipe", "/dev/zero", "../outside/rows.jsonl", "folder"])
def test_a_lockfile_that_is_no_file_is_refused_and_replaced(kind, project, outside, ftspec):
    """`plan --locked` names it and does not wait; `apply` puts a lockfile in its place, where that is possible."""
    assert ftspec("apply", "-y").code == 0
    lock = project / "ftspec.lock"
    content = lock.read_bytes()
    lock.unlink()
    if kind == "pipe":
        os.mkfifo(lock)
    elif kind == "folder":
        lock.mkdir()
    else:
        lock.symlink_to(kind)
    checked = ftspec("plan", "--locked")
    assert checked.code == 1
    assert "error[bad-lock]: `ftspec.lock` cannot be read" in checked.err
    assert ftspec("models").code == 0
    if kind != "folder":
        assert ftspec("lock").code == 0
        assert lock.read_bytes() == content
        assert not lock.is_symlink()
    assert (outside / "rows.jsonl").read_text() == '{"secret": "words"}\n'


@pytest.mark.parametrize("name", ["jobs.jsonl", "files.jsonl", "evals.jsonl", "log"])
@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_state_that_is_no_file_stops(name, kind, project, outside, ftspec, no_bug):
    """A link or a pipe in the state folder is neither followed nor waited for, and nothing is bought."""
    (project / "state").mkdir()
    if kind == "link":
        (project / "state" / name).symlink_to(outside)
    else:
        os.mkfifo(project / "state" / name)
    for command in (["plan"], ["apply", "-y"], ["status"]):
        no_bug(ftspec(*command), [1])
    assert not (project / ".ftspec" / "sandbox").exists()


@pytest.mark.parametrize("text", EVALS.values(), ids=EVALS.keys())
def test_words_and_files_of_an_eval_never_break_a_plan(text, project, ftspec, no_bug):
    """NUL, open quotes, pipes and paths to elsewhere in an eval are problems of the spec."""
    os.mkfifo(project / "pipe")
    spec = (project / "ftspec.yaml").read_text().replace("matrix:", "evals: [held], matrix:")
    (project / "ftspec.yaml").write_text(f"{spec}evals:\n  held:\n    dataset: rows.test\n{text}")
    no_bug(ftspec("plan"), [1])


def test_modules_of_the_project_are_not_imported(project, tmp_path):
    """The command, and `python -m` where the folder has no `ftspec` of its own, import nothing from it."""
    for name in ("sitecustomize", "usercustomize", "openai", "yaml", "msgspec", "click", "json", "numpy", "conftest", "multiprocessing"):
        (project / f"{name}.py").write_text(CODE)
    (project / "evil-1.dist-info").mkdir()
    (project / "evil-1.dist-info" / "entry_points.txt").write_text("[ftspec.commands]\nevil = evil:x\n")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    script, module = [str(Path(sys.executable).with_name("ftspec"))], [sys.executable, "-m", "ftspec"]

    def plan(start):
        done = subprocess.run([*start, "plan"], cwd=project, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "launch" in done.stdout
        assert not (project / "ran").exists(), start

    plan(script)
    plan(module)
    (project / "ftspec").mkdir()
    (project / "ftspec" / "__init__.py").write_text(CODE.replace("with_name('ran')", "parent.with_name('ran')"))
    plan(script)
    plan([sys.executable, "-P", "-m", "ftspec"])


def test_the_local_engine_starts_its_processes_without_the_project(project, tmp_path):
    """The interpreter that is asked about a base runs in the project's folder, whose modules it does not import."""
    from ftspec.server.trainers.local.probe import ask
    from ftspec.server.trainers.local.settings import Base

    for name in ("json", "torch", "logging", "dataclasses"):
        (project / f"{name}.py").write_text(CODE)
    (project / "tiny").mkdir()
    (project / "tiny" / "config.json").write_text("{}")
    facts = ask(Base(name="tiny", path=project / "tiny"), python=sys.executable, cache=tmp_path / "cache")
    assert facts.problem
    assert not (project / "ran").exists(), facts


@pytest.mark.parametrize(
    "word", ["--output=/etc/x", "-o/etc/x", "--export=ALL,LD_PRELOAD=./x.so", "--wrap=id", "--chdir=/", "--mail-user=a@b", "id"]
)
def test_a_spec_gives_a_cluster_no_files_variables_or_programs(word):
    """Slurm's own options can do all that; a spec says where, when and with how much."""
    from ftspec.diagnostics import FtspecError
    from ftspec.server.trainers.local.settings import settings

    assert settings({"slurm": {"arguments": ["--nice=5", "--exclusive"]}}, folder=Path(), entry="mine").slurm["arguments"]
    with pytest.raises(FtspecError, match=r"`slurm\.arguments` of engine `mine`"):
        settings({"slurm": {"arguments": ["--nice=5", word]}}, folder=Path(), entry="mine")


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap")
def test_a_plan_needs_no_network_and_no_writable_folder(project):
    """All namespaces of its own, a read-only file system, no environment."""
    command = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-all", "--clearenv", "--chdir", str(project)]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("bubblewrap may not make namespaces here")
    done = subprocess.run([*command, sys.executable, "-P", "-m", "ftspec", "plan"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 launches" in done.stdout
    assert not (project / ".ftspec").exists()


def test_a_plan_opens_no_connection(project, ftspec, monkeypatch):
    """Also for a spec of a hosted engine, and without its key."""
    import socket

    def never(*_, **__):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", never)
    spec = (project / "ftspec.yaml").read_text().replace("sandbox-nano", "some-model")
    spec = spec.replace(
        "defaults: {engine: sandbox",
        "engines: {hosted: {type: azure, base_url: 'https://acme.openai.azure.com/openai/v1'}}\ndefaults: {engine: hosted",
    )
    (project / "ftspec.yaml").write_text(spec)
    ran = ftspec("plan")
    assert ran.code == 0, ran.err
    assert "2 launches" in ran.out
