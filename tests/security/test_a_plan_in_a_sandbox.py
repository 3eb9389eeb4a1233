"""`plan` under watch: what it opens, starts, connects to and writes, for a spec that names everything there is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ftspec as package

SPEC = """ftspec: 1
project: everything
include: more.yaml
engines:
  hosted: {type: azure, api_key_env: AZURE_OPENAI_API_KEY, base_url: "https://acme.openai.azure.com/openai/v1"}
  elsewhere: {type: openai-compatible, base_url: "https://tunes.example.com/v1", api_key_env: TUNES_KEY}
datasets:
  rows: {path: rows.jsonl, split: {train: 0.7, validation: 0.1, test: 0.2}, transforms: [{type: system_prompt, file: system.txt}]}
defaults: {validation: rows.validation}
experiments:
  a: {engine: hosted, train: rows.train, base_model: some-model, evals: [held, program], matrix: {epochs: [1, 2]}}
  b: {engine: elsewhere, train: rows.train, base_model: any, epochs: 1}
  c: {engine: sandbox, train: rows.train, base_model: sandbox-nano, epochs: 1}
evals:
  held:
    dataset: rows.test
    prompt: {path: prompt.txt}
    graders: {g: {type: python, path: grade.py, function: f}, r: {type: regex, pattern: "(a+)+b"}}
  program: {kind: command, options: {command: ["python", "grade.py"]}}
notify: [{on: finished, command: ["python", "grade.py"]}]
policy: {max_jobs: 40}
"""
WATCHED = """
import json, os, sys
from pathlib import Path

root, log = Path(os.getcwd()), os.open(sys.argv.pop(1), os.O_WRONLY)
FORBIDDEN = ("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "pty.", "ctypes.dlopen", "urllib.", "http.")
CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown", "os.utime", "shutil.")

def watch(event, arguments):
    said = None
    if event.startswith(FORBIDDEN):
        said = [event, repr(arguments)[:200]]
    elif event == "open" and isinstance(arguments[0], (str, bytes)):
        path = os.path.abspath(os.fsdecode(arguments[0]))
        writing = arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        said = ["write" if writing else "read", path]
    elif event.startswith(CHANGES):
        said = ["write", *(os.path.abspath(os.fsdecode(one)) for one in arguments if isinstance(one, (str, bytes, os.PathLike)))]
    elif event == "import" and arguments[1]:
        said = ["read", os.path.abspath(arguments[1])]
    if said:
        os.write(log, (json.dumps(said) + chr(10)).encode())

sys.addaudithook(watch)
from ftspec.__main__ import main

main()
"""
KEYS = {"AZURE_OPENAI_API_KEY": "sk-proj-canary-0123456789abcdef", "TUNES_KEY": "tunes-canary-0123456789"}


@pytest.fixture
def everything(project):
    """Return a project whose spec names every kind of file, program and address."""
    (project / "ftspec.yaml").write_text(SPEC)
    (project / "more.yaml").write_text("vars: {unused: 1}\n")
    (project / "system.txt").write_text("be brief\n")
    (project / "prompt.txt").write_text("{{item.messages}}\n")
    (project / "grade.py").write_text("import pathlib\npathlib.Path('ran').touch()\ndef f(a, b):\n    return 1.0\n")
    return project


def environment() -> dict[str, str]:
    """Return an environment with keys, and without what would let tests in."""
    return {**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, **KEYS}


@pytest.mark.parametrize("words", [["--format", "json"], pytest.param(["--full"], marks=pytest.mark.slow)], ids=" ".join)
def test_a_plan_opens_only_the_project_and_writes_only_its_cache(words, everything, tmp_path):
    """No socket, no process; no file but the project's and Python's own; nothing is written but `.ftspec`."""
    log = tmp_path / "log"
    log.touch()
    before = {path: path.read_bytes() for path in everything.rglob("*")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", WATCHED, str(log), "plan", *words],
        cwd=everything,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert {event[0] for event in events} == {"read", "write"}, [event for event in events if event[0] not in {"read", "write"}]
    pythons = {sys.prefix, sys.base_prefix, str(Path(package.__file__).parent), "/dev/null", *map(str, Path(sys.prefix).glob("lib*"))}
    own = [str(everything), *pythons, *(str(Path(one).resolve()) for one in pythons)]
    read = {path for kind, path, *_ in events if kind == "read"}
    assert read, "nothing was watched"
    assert str(everything / "rows.jsonl") in read or str(everything) in {str(Path(path).parent) for path in read}
    system = ("/etc/localtime", "/usr/share/zoneinfo", "/proc/self", "/proc/cpuinfo", "/proc/stat", "/sys/")
    assert [path for path in read if not path.startswith((*own, *system))] == []
    written = {path for kind, *paths in events if kind == "write" for path in paths}
    bytecode = {path for path in written if "__pycache__" in path}
    assert [path for path in written - bytecode if not path.startswith(str(everything / ".ftspec"))] == []
    assert {path: path.read_bytes() for path in everything.rglob("*") if path.is_file() and ".ftspec" not in path.parts} == before
    assert "canary" not in done.stdout + done.stderr + "".join(
        path.read_bytes().decode("latin-1") for path in (everything / ".ftspec").rglob("*") if path.is_file()
    )


def test_a_plan_without_any_network(everything):
    """In a network namespace of its own, where not even this machine can be reached."""
    walls = ["unshare", "--user", "--map-root-user", "--net"]
    if shutil.which("unshare") is None or subprocess.run([*walls, "true"], capture_output=True, check=False).returncode:
        pytest.skip("`unshare` may not make namespaces here")
    done = subprocess.run(
        [*walls, sys.executable, "-P", "-m", "ftspec", "plan"],
        cwd=everything,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "4 launches" in done.stdout
    assert not (everything / "ran").exists()
    assert not (everything / "state").exists()
