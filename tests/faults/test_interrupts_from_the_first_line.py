"""Ctrl-C from the first line of the command to the last: quiet, 130, and never forgotten."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SPEC = """ftspec: 1
project: small
datasets: {rows: {path: rows.jsonl, split: {train: 0.8, validation: 0.2}}}
defaults: {engine: sandbox, validation: rows.validation}
experiments:
  small: {train: rows.train, base_model: sandbox-nano, matrix: {epochs: [1, 2], seed: [1, 2]}}
"""
BELL = """
import os, signal, sys, weakref

class Bell:
    # Rings when a module is looked for; `lost` rings where Python forgets what a callback raises.
    def find_spec(self, name, path=None, target=None):
        if name == moment:
            if how == "lost":
                thing = Bell()
                kept = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
                del thing
            else:
                signal.raise_signal(signal.SIGINT)

moment, how = sys.argv[1:3]
del sys.argv[1:3]
sys.meta_path.insert(0, Bell())
from ftspec.__main__ import main

main()
"""


@pytest.fixture
def project(tmp_path):
    """Return a folder with a grid of four jobs."""
    rows = [{"messages": [{"role": "user", "content": f"parcel {i}"}, {"role": "assistant", "content": "shipping"}]} for i in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "ftspec.yaml").write_text(SPEC)
    return tmp_path


def rung(project: Path, moment: str, how: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command that is interrupted when a module is imported."""
    return subprocess.run([sys.executable, "-c", BELL, moment, how, *words], cwd=project, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("how", ["plain", "lost"])
@pytest.mark.parametrize("moment", ["click", "ftspec.cli._console", "ftspec.cli.plan", "yaml", "ftspec.render.text"])
def test_an_interrupt_among_imports_ends_quietly(moment, how, project):
    """One line, 130, no traceback: before the command, in it, and where Python would only print it and go on."""
    done = rung(project, moment, how, "plan")
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.endswith("interrupted\n")
    assert "Traceback" not in done.stderr
    assert "ignored" not in done.stderr


@pytest.mark.parametrize("moment", ["ftspec.executor.doubt", "ftspec.executor.lane"])
def test_an_apply_that_is_interrupted_before_its_walk_has_bought_nothing(moment, project):
    """asyncio alone would deliver the interrupt at the first wait of the walk; here it counts at once."""
    done = rung(project, moment, "plain", "apply", "-y")
    assert done.returncode == 130
    assert done.stderr.endswith("interrupted\n")
    assert "Traceback" not in done.stderr
    assert not list((project / "state").rglob("*.jsonl"))
    again = subprocess.run([sys.executable, "-m", "ftspec", "apply", "-y"], cwd=project, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr


@pytest.mark.slow
def test_interrupts_at_random_moments_of_a_whole_process(project, figure):
    """From the start of Python to its end: 0 or 130, no traceback of ours, and another apply finishes what was begun."""
    choose, command = random.Random(11), [str(Path(sys.executable).with_name("ftspec"))]  # noqa: S311 moments, not secrets
    codes: dict[int, int] = {}
    for _ in range(25):
        process = subprocess.Popen([*command, "apply", "-y"], cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        time.sleep(choose.uniform(0, 1.2))
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
        # Until our first line runs Python answers, not we: killed (which shells call 130), or 1 while it sets itself up.
        if (process.returncode == -signal.SIGINT or "Fatal Python error" in said) and "ftspec/__main__.py" not in said:
            continue
        assert process.returncode in (0, 130), said
        assert "Traceback" not in said
        assert "Exception ignored" not in said
        codes[process.returncode] = codes.get(process.returncode, 0) + 1
        if process.returncode == 0:
            for name in ("state", ".ftspec"):
                os.rename(project / name, project / f"{name}-{time.monotonic_ns()}")  # noqa: PTH104 short
    again = subprocess.run([*command, "apply", "-y"], cwd=project, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    figure(json.dumps(codes))
    assert codes[130] >= 5
