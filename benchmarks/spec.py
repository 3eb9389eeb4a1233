"""What reading specs costs: YAML against PyYAML's loaders, a grid, written-out jobs, the cache of valid specs.

    python benchmarks/spec.py [--runs 5] [--check]

Ratios are firm where seconds are not: both sides are measured in one run, by turns, in CPU
seconds, with the garbage collector off. `--check` exits 1 when expanding 10,000 cells takes more than
80 ms, or when 1 MiB of YAML takes more than 0.7 of what PyYAML's C loader needs (it keeps no
places, reads `1e-5` as text and takes the last of two equal keys).
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ftspec.engines.profiles import load_profiles
from ftspec.spec import load
from ftspec.spec.expand import Declared, expand
from ftspec.spec.references import Variables
from ftspec.spec.settings import Given
from ftspec.spec.source import parse

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_EXPANDING = 0.080
MOST_OF_C_LOADER = 0.7
JOB = """\
  job{n:05d}:
    base_model: sandbox-mini
    epochs: 3
    batch_size: 8
    learning_rate_multiplier: 1e-1
    seed: {n}
    suffix: "run-{n}"
    tags: {{team: search, index: "{n}"}}
"""
HEAD = """\
ftspec: 1
datasets: {tickets: {path: tickets.jsonl, split: {train: 0.8, validation: 0.2}}}
defaults: {engine: sandbox, train: tickets.train, validation: tickets.validation}
"""
GRID = """\
experiments:
  grid:
    suffix: "g-{epochs}-{seed}"
    batch_size: 4
    matrix:
      base_model: [sandbox-nano, sandbox-mini, sandbox-small, sandbox-nano-2]
      epochs: [1, 2, 3, 4, 5]
      learning_rate_multiplier: [0.1, 0.2, 0.5, 1, 2]
      seed: [SEEDS]
""".replace("SEEDS", ", ".join(map(str, range(100))))


def main() -> int:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--check", action="store_true")
    given = options.parse_args()
    gc.disable()

    text = "experiments:\n" + "".join(JOB.format(n=n) for n in range(4_600))
    data = text.encode()[: 1 << 20]
    data = data[: data.rfind(b"\n  job") + 1]
    ours, theirs = by_turns(lambda: parse(data, "x.yaml"), lambda: yaml.load(data, yaml.CSafeLoader), runs=given.runs)
    ratio = ours / theirs
    print(f"1 MiB of YAML, {data.count(b'seed:'):,} jobs: {ours * 1e3:.0f} ms; {ratio:.2f} x CSafeLoader")

    tree, _, _ = parse((HEAD + GRID).encode(), "x.yaml")
    expanding = median(lambda: cells(tree), runs=given.runs)
    print(f"10,000 cells expanded: {expanding * 1e3:.0f} ms")

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for part in range(4):
            jobs = "".join(JOB.format(n=n) for n in range(part * 2_500, part * 2_500 + 2_500))
            (root / f"part{part}.yaml").write_text("experiments:\n" + jobs)
        (root / "flat.yaml").write_text(HEAD + "include: [part0.yaml, part1.yaml, part2.yaml, part3.yaml]\n")
        (root / "grid.yaml").write_text(HEAD + GRID.replace(", sandbox-nano-2", ""))
        profiles = load_profiles()
        for name in ("grid.yaml", "flat.yaml"):
            cold = median(lambda name=name: load([root / name], root=root, profiles=profiles), runs=given.runs)
            load([root / name], root=root, profiles=profiles, cache=root / "cache")
            known = median(lambda name=name: load([root / name], root=root, profiles=profiles, cache=root / "cache"), runs=given.runs)
            print(f"{name}: {cold * 1e3:.0f} ms, known to be valid {known * 1e3:.0f} ms")
    return int(given.check and (expanding > MOST_EXPANDING or ratio > MOST_OF_C_LOADER))


def cells(tree: Any) -> None:
    """Expand the grid alone, without files, schema and rules."""
    from ftspec.experiment import DesiredDataset, EngineEntry, SplitRule

    split = SplitRule(shares={"train": 0.8, "validation": 0.2})
    defaults = {name: Given(value, tree["defaults"], name) for name, value in tree["defaults"].items()}
    jobs, problems = expand(
        Declared(
            experiments={"grid": Given(tree["experiments"]["grid"], tree["experiments"], "grid")},
            defaults=defaults,
            engines={"sandbox": EngineEntry(name="sandbox", type="sandbox", scope="sandbox")},
            datasets={"tickets": DesiredDataset(name="tickets", path="tickets.jsonl", split=split)},
            evals=(),
            variables=Variables({}, {}),
        )
    )
    if len(jobs) != 10_000 or problems:
        raise AssertionError(problems)


def median(work: Callable[[], Any], *, runs: int) -> float:
    """Return the median CPU seconds of some runs, after one that does not count."""
    return by_turns(work, lambda: None, runs=runs)[0]


def by_turns(first: Callable[[], Any], second: Callable[[], Any], *, runs: int) -> tuple[float, float]:
    """Return the median CPU seconds of two things done by turns, after one turn that does not count."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs + 1):
        for work, spent in zip((first, second), seconds, strict=True):
            start = time.process_time()
            work()
            spent.append(time.process_time() - start)
    return statistics.median(seconds[0][1:]), statistics.median(seconds[1][1:])


if __name__ == "__main__":
    sys.exit(main())
