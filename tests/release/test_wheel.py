"""The wheel works outside of the repository, on every Python that is found here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OLDEST = (3, 11)
AMBIENT = dict(os.environ)
"""With proxies and indexes of whoever runs the tests: pip may need them, ftspec may not see them."""
OFFLINE = re.compile(
    r"No matching distribution|Could not find a version|ConnectionError|NewConnectionError|name resolution|ProxyError|ReadTimeout"
)

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel")]


def pip(python: str | Path, *arguments: str | Path) -> None:
    """Run pip; skip the test where it cannot reach an index."""
    done = subprocess.run(
        [str(python), "-m", "pip", *map(str, arguments)], capture_output=True, text=True, env=AMBIENT, check=False, timeout=900
    )
    if done.returncode and OFFLINE.search(done.stdout + done.stderr):
        pytest.skip(f"pip cannot download here: {done.stderr.strip().splitlines()[-1][:200]}")
    assert done.returncode == 0, done.stderr


@cache
def interpreters() -> dict[str, str]:
    """Return a Python of each minor version from 3.11 that is on the path, or installed beside this one."""
    found: dict[str, str] = {}
    beside = sorted(Path(sys.base_prefix).parent.glob("*/bin/python3"))
    on_path = [path for minor in range(11, 20) if (path := shutil.which(f"python3.{minor}"))]
    for candidate in [sys.executable, *on_path, *map(str, beside)]:
        asked = subprocess.run(
            [candidate, "-c", "import sys, venv, ensurepip; print(*sys.version_info[:2])"], capture_output=True, text=True, check=False
        )
        version = tuple(map(int, asked.stdout.split())) if asked.returncode == 0 else (0, 0)
        if version >= OLDEST:
            found.setdefault(".".join(map(str, version)), candidate)
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel from a copy of what is under version control."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "ftspec", source / "ftspec", ignore=shutil.ignore_patterns("__pycache__"))
    pip(sys.executable, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, source)
    return next(folder.glob("ftspec-*.whl"))


def test_everything_that_the_package_reads_is_in_the_wheel(wheel):
    """Templates, schemas, prices, report pages and `py.typed` are there; tests and caches are not."""
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "ftspec").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted - names == set()
    assert {name for name in names if not name.startswith(("ftspec/", "ftspec-"))} == set()
    assert [name for name in names if name.endswith(".pyc")] == []


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_the_quickstart_runs_from_the_wheel(version, wheel, tmp_path):
    """In a clean environment, far from the repository: every template is valid, twelve models are trained, and reused."""
    python = interpreters().get(version)
    if python is None:
        pytest.skip(f"no Python {version} with venv was found on the path or beside {sys.base_prefix}")
    subprocess.run([python, "-m", "venv", str(tmp_path / "venv")], check=True, capture_output=True)
    inside = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    pip(inside / "python", "install", "--quiet", wheel)
    work = tmp_path / "work"
    shutil.copytree(ROOT / "examples" / "specs", work)

    def run(*words: str) -> str:
        environment = {"PATH": str(inside), "HOME": str(tmp_path), "NO_COLOR": "1", "COLUMNS": "80", "OMP_NUM_THREADS": "1"}
        done = subprocess.run([str(inside / words[0]), *words[1:]], cwd=work, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert Path(run("python", "-c", "import ftspec; print(ftspec.__file__)").strip()).is_relative_to(tmp_path)
    assert run("python", "-m", "ftspec", "--version") == run("ftspec", "--version")
    for template in ("chat", "classification", "grid", "preference", "reinforcement"):
        run("ftspec", "init", template, "--template", template)
        assert run("ftspec", "validate", "-C", template).startswith("valid: ")
    assert '"$schema"' in run("ftspec", "schema")
    assert "Plan: 2 uploads, 12 launches" in run("ftspec", "plan", "-f", "quickstart.yaml")
    assert "12 succeeded, 14 evaluated" in run("ftspec", "apply", "-y", "-f", "quickstart.yaml")
    assert "Plan: nothing to do, 12 reused." in run("ftspec", "plan", "-f", "quickstart.yaml", "--detailed-exitcode", "--locked")
    code = "import ftspec; print(ftspec.model('triage/base_model=sandbox-mini,epochs=1,seed=1'))"
    assert run("python", "-c", code).startswith("ft:sandbox-mini:")
