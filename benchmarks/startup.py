"""How long `ftspec --help` and `--version` take, counted in bare starts of Python.

    python benchmarks/startup.py [--runs 15] [--check]

All commands are run by turns, so that a busy machine slows all of them. `--check` exits 1 when
one takes more than six bare starts.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TARGET = 6.0
BARE = (sys.executable, "-c", "pass")
COMMANDS = {
    "python -c pass": BARE,
    "import click": (sys.executable, "-c", "import click"),
    "ftspec --version": (sys.executable, "-m", "ftspec", "--version"),
    "ftspec --help": (sys.executable, "-m", "ftspec", "--help"),
    "ftspec plan --help": (sys.executable, "-m", "ftspec", "plan", "--help"),
}


def seconds(command: tuple[str, ...], folder: Path) -> float:
    """Return how long one process takes; its byte code is kept in the folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["PYTHONPYCACHEPREFIX"] = str(folder / ".pycache")
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    found: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        for command in COMMANDS.values():  # byte code first
            seconds(command, Path(folder))
        for _ in range(options.runs):
            for name, command in COMMANDS.items():
                found[name].append(seconds(command, Path(folder)))
    bare = statistics.median(found["python -c pass"])
    ratios = {name: statistics.median(times) / bare for name, times in found.items()}
    for name, times in found.items():
        print(f"{name:<20} {statistics.median(times) * 1000:>6.0f} ms {ratios[name]:>6.1f} x")
    if options.check and max(ratios.values()) > TARGET:
        raise SystemExit(f"more than {TARGET} bare starts")


if __name__ == "__main__":
    main()
