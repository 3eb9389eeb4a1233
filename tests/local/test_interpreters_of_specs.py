"""What `python:` of a local engine names is started only if it is this interpreter, or trusted on this machine."""

import datetime as dt
import shutil
import sys
from pathlib import Path

import pytest

from ftspec.engines.trust import TrustStore
from ftspec.experiment import EngineEntry
from ftspec.pipeline.interpreters import InterpreterNotTrusted, check_interpreter, foreign_interpreter, missing_packages


def entry(python, **more):
    return EngineEntry(name="mine", type="local", scope="mine", options={} if python is None else {"python": python}, **more)


@pytest.fixture
def project(tmp_path):
    """A project with an environment whose interpreter is a link, and one whose interpreter is a file of the project."""
    root = tmp_path / "project"
    (root / ".venv" / "bin").mkdir(parents=True)
    (root / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (root / "tool").write_text("#!/bin/sh\nexit 0\n")
    return root


@pytest.fixture
def environ(tmp_path):
    return {"XDG_CONFIG_HOME": str(tmp_path / "config")}


def trust(environ, root, path):
    TrustStore.load(environ).add_command([str(path)], root=root, day=dt.date(2026, 11, 20).isoformat())


def test_the_interpreter_that_runs_this_needs_no_trust(project, environ):
    """Not named, named by its path, or an engine with an address: nothing foreign is started."""
    for given in (entry(None), entry(sys.executable), entry(".venv/bin/python", base_url="https://a.test/v1")):
        assert foreign_interpreter(given, root=project) is None
        check_interpreter(given, root=project, environ=environ)


def test_another_interpreter_is_refused_until_it_is_trusted(project, environ):
    """The message names it and what to type; trust holds for that path alone, also in another project's words."""
    with pytest.raises(InterpreterNotTrusted, match=r"`mine` would start `.*project/\.venv/bin/python`") as refused:
        check_interpreter(entry(".venv/bin/python"), root=project, environ=environ)
    assert refused.value.help == f"if you made it: ftspec trust --command {project}/.venv/bin/python"
    trust(environ, project, ".venv/bin/python")  # the words of the spec are those of any project
    with pytest.raises(InterpreterNotTrusted):
        check_interpreter(entry(".venv/bin/python"), root=project, environ=environ)
    trust(environ, project, project / ".venv/bin/python")
    check_interpreter(entry(".venv/bin/python"), root=project, environ=environ)
    check_interpreter(entry("./x/../.venv/bin/python"), root=project, environ=environ)
    with pytest.raises(InterpreterNotTrusted):
        check_interpreter(entry("tool"), root=project, environ=environ)


def test_a_trusted_file_of_the_project_that_changed_is_asked_for_anew(project, environ):
    """What a pull request puts in its place was not trusted, be it a file or where a link was."""
    trust(environ, project, project / "tool")
    trust(environ, project, project / ".venv/bin/python")
    check_interpreter(entry("./tool"), root=project, environ=environ)
    (project / "tool").write_text("#!/bin/sh\nexit 1\n")
    (project / ".venv" / "bin" / "python").unlink()
    (project / ".venv" / "bin" / "python").write_text("#!/bin/sh\nexit 1\n")
    for python in ("./tool", ".venv/bin/python"):
        with pytest.raises(InterpreterNotTrusted):
            check_interpreter(entry(python), root=project, environ=environ)


def test_a_bare_name_is_the_program_that_would_be_found(project, environ):
    """It is trusted by the path that it stands for; one that is not there by its name."""
    assert foreign_interpreter(entry("sh"), root=project) == shutil.which("sh")
    assert foreign_interpreter(entry("no-such-program"), root=project) == "no-such-program"


def test_nothing_starts_what_nobody_trusts(project, environ, monkeypatch):
    """Sessions (`apply`, `status`, `chat`) and `calibrate` stop before the engine opens."""
    import asyncio

    from ftspec.pipeline.calibrating import calibrate
    from ftspec.pipeline.planning import load
    from ftspec.pipeline.project import open_project
    from ftspec.pipeline.session import Session

    (project / "t.jsonl").write_text('{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n')
    (project / "ftspec.yaml").write_text(
        "ftspec: 1\nengines: {mine: {type: local, python: ./tool, models: {a: a}}}\ndatasets: {t: t.jsonl}\n"
        "experiments: {e: {engine: mine, base_model: a, train: t}}\n"
    )
    monkeypatch.setenv("XDG_CONFIG_HOME", environ["XDG_CONFIG_HOME"])
    opened = open_project(directory=project)
    with pytest.raises(InterpreterNotTrusted):
        Session(opened, load(opened).spec).engine("mine")
    with pytest.raises(InterpreterNotTrusted):
        asyncio.run(calibrate(opened, engine="mine", model="a", rows=8, words=8, say=print))
    assert not (project / ".ftspec" / "local").exists()


def test_what_this_environment_lacks_is_found_without_importing(project, monkeypatch):
    """Names of packages, for the interpreter that runs this; another one is not asked."""
    monkeypatch.setattr("ftspec.pipeline.interpreters.find_spec", lambda name: None if name == "peft" else Path(name))
    assert missing_packages(entry(None), root=project) == ["peft"]
    assert missing_packages(entry(".venv/bin/python"), root=project) == []
