"""Real applies that are really killed: processes, SQLite, files, signals.

    python -m ftspec.testing.crash points    --scratch DIR      # kill -9 at every step, apply again
    python -m ftspec.testing.crash pairs     --scratch DIR      # ... and at every step of the recovery
    python -m ftspec.testing.crash races     --scratch DIR      # two applies at once on one state
    python -m ftspec.testing.crash interrupts --scratch DIR     # SIGINT at random moments, once and twice

Each case is a fresh copy of a project of three jobs on the sandbox engine. A *step* is a moment
before or after state, an upload, a purchase, the server's own record of it, compaction or
the lockfile is written. What is imported once is forked for every case, so that a case costs a
fraction of a second. A single run that dies at a step can be had by hand, in any project:

    FTSPEC_CRASH_AT=17 python -m ftspec.testing.crash run apply -y

Only this entry point looks at the variable. Results are one JSON object on stdout.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from collections import Counter
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

VARIABLE = "FTSPEC_CRASH_AT"
STEPS = ".steps"
"""File in which a run that was not killed leaves how many steps it had."""

SPEC = """\
ftspec: 1
project: crash
datasets:
  tickets: {path: data/tickets.jsonl}
defaults: {engine: sandbox}
experiments:
  grid:
    train: tickets
    base_model: sandbox-nano
    epochs: 1
    suffix: "s{seed}"
    matrix: {seed: [1, 2, 3]}
"""
JOBS = 3


class Violation(Exception):
    """A promise did not hold after a case."""


# Steps


class Steps:
    """Counts steps and dies at one of them."""

    def __init__(self, fatal: int | None) -> None:
        self.fatal = fatal
        self.count = 0

    def __call__(self) -> None:
        """Be at a step."""
        self.count += 1
        if self.count == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)


def arm(step: Callable[[], None]) -> None:
    """Put steps around everything that an apply does to the world, in this process."""
    from ftspec.engines.client import WireEngine
    from ftspec.pipeline import locking
    from ftspec.server.store import Store
    from ftspec.state.jsonl import JsonlWriter

    for owner, name in (
        (JsonlWriter, "append"),
        (JsonlWriter, "compact"),
        (Store, "create_job"),
        (Store, "add_file"),
        (locking, "write_lockfile"),
    ):
        setattr(owner, name, _around(getattr(owner, name), step))
    for name in ("upload", "create_job"):
        setattr(WireEngine, name, _around_async(getattr(WireEngine, name), step))


def _around(real: Callable[..., Any], step: Callable[[], None]) -> Callable[..., Any]:
    @wraps(real)
    def stepped(*args: Any, **rest: Any) -> Any:
        step()
        value = real(*args, **rest)
        step()
        return value

    return stepped


def _around_async(real: Callable[..., Any], step: Callable[[], None]) -> Callable[..., Any]:
    @wraps(real)
    async def stepped(*args: Any, **rest: Any) -> Any:
        step()
        value = await real(*args, **rest)
        step()
        return value

    return stepped


# Processes


def begin(project: Path, fatal: int | None = None) -> int:
    """Fork an apply of a project; return its process id."""
    child = os.fork()
    if child:
        return child
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started us may have had it ignored
        os.chdir(project)
        output = os.open(".output", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        steps = Steps(fatal)
        arm(steps)
        from ftspec.cli import _console, group

        code = _console.run(group, ["apply", "-y"])
        sys.stdout.flush()
        Path(STEPS).write_text(str(steps.count))
    except BaseException as error:  # noqa: BLE001 a forked child must never go on with its parent's work
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        code = 99
    os._exit(code)


def end(child: int) -> int:
    """Wait for a process; return its exit code, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def applied(project: Path, fatal: int | None = None) -> int:
    """Apply a project in a process of its own."""
    return end(begin(project, fatal))


# Projects


@dataclass(frozen=True, slots=True)
class Lab:
    """Where cases are made."""

    scratch: Path

    def project(self, name: str) -> Path:
        """Return a fresh project."""
        folder = self.scratch / name
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "data").mkdir(parents=True)
        (folder / "ftspec.yaml").write_text(SPEC)
        (folder / "data" / "tickets.jsonl").write_bytes(_rows())
        return folder

    def judge(self, project: Path, what: str) -> None:
        """Apply until everything is there and hold the end to the promises (`Violation`)."""
        code = applied(project)
        if code != 0:
            raise Violation(f"{what}: the apply afterwards says {code}: {_output(project)}")
        self.compare(project, what)
        shutil.rmtree(project)

    def compare(self, project: Path, what: str, *, whole: bool = True) -> None:
        """Hold state against the server's own records (`Violation`)."""
        from ftspec.state.jsonl import JsonlState

        state, problems = JsonlState(project / "state").read()
        on_server = _server_jobs(project)
        doubled = [key for key, count in Counter(key for _, key in on_server).items() if count > 1]
        if doubled:
            raise Violation(f"{what}: bought twice: {doubled}")
        if any(problem.severity == "error" for problem in problems):
            raise Violation(f"{what}: state cannot be read: {problems}")
        recorded = {attempt.engine_job_id for record in state.jobs.values() for attempt in record.attempts}
        open_keys = {record.key for record in state.jobs.values() if record.in_doubt}
        lost = [job for job, key in on_server if job not in recorded and key not in open_keys]
        if lost:
            raise Violation(f"{what}: on the server and not in state: {lost}")
        if whole and (len(on_server) != JOBS or any(record.model is None for record in state.jobs.values()) or len(state.jobs) != JOBS):
            raise Violation(f"{what}: {len(on_server)} jobs on the server, {len(state.jobs)} in state")


def _rows() -> bytes:
    rows = []
    for number in range(12):
        said = {"role": "user", "content": f"money back, please ({number})"}
        rows.append({"messages": [said, {"role": "assistant", "content": "refund" if number % 2 else "bug"}]})
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _server_jobs(project: Path) -> list[tuple[str, str]]:
    """Return (id, key) of every job that the sandbox server has, from its own records."""
    path = project / ".ftspec" / "sandbox" / "server.sqlite3"
    if not path.exists():
        return []
    connection = sqlite3.connect(path)
    try:
        return list(connection.execute("SELECT id, ftspec_key FROM jobs"))
    except sqlite3.OperationalError:
        return []  # killed before its tables were made
    finally:
        connection.close()


def _output(project: Path) -> str:
    path = project / ".output"
    return path.read_text(errors="replace")[-8000:] if path.exists() else ""


# Campaigns


def points(lab: Lab, *, stride: int = 1) -> dict[str, int]:
    """Kill at every step, apply again, judge."""
    cases = 0
    for fatal in range(1, 10_000, stride):
        project = lab.project(f"point-{fatal}")
        killed = applied(project, fatal)
        cases += 1
        lab.judge(project, f"killed at step {fatal}")
        if killed != -signal.SIGKILL:
            break
    return {"cases": cases, "steps": fatal}


def pairs(lab: Lab, *, stride: int = 1) -> dict[str, int]:
    """Kill at every step, kill the recovery at every step, apply again, judge."""
    cases = 0
    for first in range(1, 10_000, stride):
        killed = 0
        for second in range(1, 10_000, stride):
            project = lab.project(f"pair-{first}-{second}")
            killed = applied(project, first)
            again = applied(project, second)
            cases += 1
            lab.judge(project, f"killed at step {first}, then at step {second}")
            if again != -signal.SIGKILL:
                break
        if killed != -signal.SIGKILL:
            break
    return {"cases": cases}


def races(lab: Lab, *, rounds: int = 20) -> dict[str, int]:
    """Start two applies on one state at once: together they do what is wanted, and a loser names the holder."""
    locked = 0
    for number in range(rounds):
        project = lab.project(f"race-{number}")
        children = [begin(project), begin(project)]
        codes = [end(child) for child in children]
        if not set(codes) <= {0, 6}:
            raise Violation(f"round {number}: exit codes {codes}: {_output(project)}")
        if 6 in codes:
            locked += 1
            if "state is locked by" not in _output(project) or not any(f"pid {child}" in _output(project) for child in children):
                raise Violation(f"round {number}: the loser does not name the holder: {_output(project)}")
        lab.compare(project, f"round {number}")
        lab.judge(project, f"round {number}")
    return {"rounds": rounds, "locked_out": locked}


def interrupts(lab: Lab, *, rounds: int = 20, twice: bool = False, number: int = signal.SIGINT) -> dict[str, float]:
    """Interrupt at random moments: the first signal ends within 10 s with everything recorded, the second at once."""
    dice = random.Random(7)  # noqa: S311 chosen once, so that rounds can be talked about
    slowest, stopped = 0.0, 0
    for round_ in range(rounds):
        project = lab.project(f"interrupt-{round_}")
        child = begin(project)
        time.sleep(dice.uniform(0.02, 1.2))
        began = time.monotonic()
        os.kill(child, number)
        if twice:
            time.sleep(dice.uniform(0.0, 0.05))
            os.kill(child, number)
        code = end(child)
        took = time.monotonic() - began
        slowest = max(slowest, took)
        # A signal that comes before Python or after the walk has its own, equally clean, end.
        if code not in {0, 128 + number, -number}:
            raise Violation(f"round {round_}: exit code {code}: {_output(project)}")
        stopped += code != 0
        if took > (2.0 if twice else 10.0):
            raise Violation(f"round {round_}: it took {took:.1f} s to stop")
        lab.compare(project, f"round {round_}", whole=False)
        lab.judge(project, f"round {round_}")
    return {"rounds": rounds, "stopped": stopped, "slowest": round(slowest, 2)}


def warm_up() -> None:
    """Import once what every forked apply needs."""
    for name in (
        "numpy",
        "openai",
        "ftspec.cli.apply",
        "ftspec.engines.client",
        "ftspec.executor.apply",
        "ftspec.pipeline.applying",
        "ftspec.pipeline.evaluating",
        "ftspec.pipeline.session",
        "ftspec.server.inprocess",
        "ftspec.state.jsonl",
    ):
        importlib.import_module(name)


def run_by_hand(arguments: Sequence[str]) -> int:
    """Run one command that dies at the step that the variable names."""
    fatal = os.environ.get(VARIABLE)
    steps = Steps(int(fatal) if fatal else None)
    arm(steps)
    from ftspec.cli import _console, group

    code = _console.run(group, list(arguments))
    sys.stderr.write(f"{steps.count} steps\n")
    return code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a campaign and print what it did."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["run"]:
        return run_by_hand(arguments[1:])
    parser = argparse.ArgumentParser(prog="python -m ftspec.testing.crash")
    parser.add_argument("campaign", choices=["points", "pairs", "races", "interrupts", "interrupts-twice", "terminations"])
    parser.add_argument("--scratch", type=Path, required=True, help="folder in which projects are made")
    parser.add_argument("--stride", type=int, default=1, help="every n-th step only")
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args(arguments)
    warm_up()
    lab = Lab(given.scratch)
    campaigns: dict[str, Callable[[], dict[str, Any]]] = {
        "points": lambda: points(lab, stride=given.stride),
        "pairs": lambda: pairs(lab, stride=given.stride),
        "races": lambda: races(lab, rounds=given.rounds),
        "interrupts": lambda: interrupts(lab, rounds=given.rounds),
        "interrupts-twice": lambda: interrupts(lab, rounds=given.rounds, twice=True),
        "terminations": lambda: interrupts(lab, rounds=given.rounds, number=signal.SIGTERM),
    }
    began = time.monotonic()
    try:
        report = campaigns[given.campaign]()
    except Violation as violation:
        report = {"violation": str(violation)}
    report["seconds"] = round(time.monotonic() - began, 1)
    sys.stdout.write(json.dumps(report) + "\n")
    return 1 if "violation" in report else 0


if __name__ == "__main__":
    raise SystemExit(main())
