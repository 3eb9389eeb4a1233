"""A campaign against the parsers: `python -m ftspec.testing.fuzz [TARGET ...] --runs 20000`.

With atheris (`pip install atheris`) inputs are guided by what they cover; without it they are seeded
mutations of valid inputs, and the table says so. Each target runs in a process of its own, with a
limit on memory and on the time of an input. `--sweep` leaves nothing to chance (`sweep.py`). One line a target: runs, seconds, what was covered by
the seeds and in the end, findings; each finding is written to `--findings`, the smallest input of
each. `--replay FILE TARGET` runs one input and shows the traceback.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, Final

from ftspec.evals.code_worker import lower_limits
from ftspec.testing.fuzz.mutate import mutated
from ftspec.testing.fuzz.sweep import swept
from ftspec.testing.fuzz.target import SECONDS, Check, Finding, Target, all_targets, finding

MEBIBYTES: Final = 1500
"""What a process may hold: coverage and a server take their part, and no single input needs it."""

CORPUS: Final = Path("tests/fuzz/corpus")
MEMORY: Final = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 a folder of our own is made in it
"""Where scratch folders are: state is synced at every write, and here that costs nothing."""


class Recorder:
    """Runs inputs, and keeps the smallest of each finding in a folder."""

    def __init__(self, target: Target, check: Check, folder: Path, *, seconds: float = SECONDS) -> None:
        self._target = target
        self._check = check
        self._folder = folder
        self._seconds = seconds
        self.found: dict[str, Finding] = {}

    def __call__(self, content: bytes) -> None:
        """Run one input."""
        start = time.process_time()
        try:
            self._check(content)
            taken = time.process_time() - start
            assert taken < self._seconds, f"took {taken:.1f} s"
        except Exception as error:  # noqa: BLE001 whatever it is, it is a finding
            self._note(finding(self._target.name, error, content))

    def _note(self, one: Finding) -> None:
        known = self.found.get(one.where)
        if known is not None and len(known.content) <= len(one.content):
            return
        self.found[one.where] = one
        folder = self._folder / self._target.folder
        folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(one.where.encode()).hexdigest()[:12]
        (folder / name).write_bytes(one.content)
        (folder / f"{name}.txt").write_text(f"{one.where}\n{one.error}\n", errors="backslashreplace")


def seeds_of(target: Target, corpus: Path) -> list[bytes]:
    """Return the valid inputs of a target, and what was found before."""
    folder = corpus / target.folder
    kept = sorted(folder.iterdir()) if folder.is_dir() else []
    return [*target.seeds, *(path.read_bytes() for path in kept)]


def by_seeds(record: Recorder, target: Target, seeds: list[bytes], options: argparse.Namespace) -> None:
    """Run mutations that a number chooses."""
    choose, started, done = Random(options.seed), time.monotonic(), 0  # noqa: S311 mutations, not secrets
    for done in range(1, options.runs + 1):  # noqa: B007 told afterwards
        record(mutated(choose, choose.choice(seeds), target.form))
        if time.monotonic() - started > options.seconds:
            break
    sys.stderr.write(f"#{done} DONE mutations\n")


def by_sweep(record: Recorder, target: Target, options: argparse.Namespace) -> None:
    """Run what the sweep makes of the valid inputs: all of it, or one in so many."""
    done = 0
    for done, content in enumerate(islice(swept(target.seeds, target.form), 0, None, options.one_in), start=1):  # noqa: B007 told afterwards
        record(content)
    sys.stderr.write(f"#{done} DONE sweep\n")


def guided(record: Recorder, target: Target, seeds: list[bytes], options: argparse.Namespace) -> None:
    """Let atheris choose inputs by what they cover. Does not return: libFuzzer ends the process."""
    import atheris

    def mutator(content: bytes, most: int, seed: int) -> bytes:
        if seed % 3 == 0:
            return bytes(atheris.Mutate(content, most))
        choose = Random(seed)  # noqa: S311 mutations, not secrets
        made = (mutated(choose, bytes(content), target.form) for _ in range(4))
        return next((one for one in made if len(one) <= most), bytes(content))

    corpus = options.scratch / "corpus"
    corpus.mkdir()
    for number, content in enumerate(seeds):
        (corpus / str(number)).write_bytes(content)
    words = [f"-runs={options.runs}", f"-max_total_time={options.seconds}", "-max_len=30000", f"-rss_limit_mb={MEBIBYTES}", "-timeout=30"]
    words += [f"-seed={options.seed}", f"-artifact_prefix={options.findings}/{target.folder}-", "-len_control=0"]
    atheris.Setup([sys.argv[0], *words, str(corpus)], record, custom_mutator=mutator)
    atheris.Fuzz()


def alone(name: str, options: argparse.Namespace) -> None:
    """Run one target in this process."""
    if options.guided:
        import atheris

        with atheris.instrument_imports(include=["ftspec"], exclude=["ftspec.testing"], enable_loader_override=False):
            target = all_targets()[name]
            _warm(target)
    else:
        target = all_targets()[name]
        lower_limits({"RLIMIT_AS": 4 * MEBIBYTES * 2**20})  # of addresses: threads and libraries reserve many
    place = options.scratch / "place"
    place.mkdir()
    with target.prepare(place) as check:
        record = Recorder(target, check, options.findings, seconds=options.slow)
        seeds = seeds_of(target, options.corpus)
        for content in seeds:
            record(content)
        if options.sweep:
            by_sweep(record, target, options)
        elif options.guided:
            guided(record, target, seeds, options)
        else:
            by_seeds(record, target, seeds, options)


def _warm(target: Target) -> None:
    """Import what the target imports only when it runs, so that it is instrumented."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, target.prepare(Path(folder)) as check:
        for content in target.seeds:
            try:
                check(content)
            except Exception:  # noqa: BLE001, S112 it is found again, and told, afterwards
                continue


def campaign(names: Iterable[str], options: argparse.Namespace) -> int:
    """Run each target in a process of its own; return how many findings there are."""
    total = 0
    _say(f"{'target':<24} {'runs':>8} {'s':>5} {'coverage':>16} {'findings':>8}")
    for name in names:
        started = time.monotonic()
        before = _findings(options.findings, name)
        with tempfile.TemporaryDirectory(dir=MEMORY) as scratch:  # of this process: libFuzzer ends the other one without a word
            command = [sys.executable, "-m", "ftspec.testing.fuzz", "--alone", name, "--scratch", scratch, *sys.argv[1:]]
            done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)  # noqa: S603 ourselves
        said = done.stderr.decode(errors="replace")
        new = _findings(options.findings, name) - before
        if done.returncode != 0:
            path = options.findings / f"{name.replace(' ', '-')}.log"
            path.write_text(said[-20_000:], encoding="utf-8", errors="backslashreplace")
            new.add(f"{name}: the process ended with {done.returncode}; see {path}")
        total += len(new)
        _say(f"{name:<24} {_runs(said):>8} {time.monotonic() - started:>5.0f} {_coverage(said):>16} {len(new):>8}")
        for one in sorted(new):
            _say(f"    {one}")
    return total


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _findings(folder: Path, name: str) -> set[str]:
    return {path.read_text().split("\n")[0] for path in (folder / name.replace(" ", "-")).glob("*.txt")}


def _runs(said: str) -> str:
    numbers = re.findall(r"^#(\d+)", said, re.MULTILINE)
    return f"{int(numbers[-1]):,}" if numbers else "?"


def _coverage(said: str) -> str:
    covered = re.findall(r"(?:INITED|NEW|REDUCE|RELOAD|pulse|DONE)\s+cov: (\d+)", said)
    return f"{int(covered[0]):,} > {int(covered[-1]):,}" if covered else "not measured"


def main() -> None:
    """Read the command line."""
    about: Any = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m ftspec.testing.fuzz", description=__doc__, formatter_class=about)
    parser.add_argument("target", nargs="*", help="names of targets (none: all)")
    parser.add_argument("--runs", type=int, default=2000, metavar="N", help="inputs for each target")
    parser.add_argument("--seconds", type=int, default=3600, metavar="S", help="at most so long for each target")
    parser.add_argument("--slow", type=float, default=SECONDS, metavar="S", help="CPU seconds after which one input is a finding")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--findings", type=Path, default=Path(tempfile.gettempdir(), "ftspec-fuzz"), metavar="DIR")
    parser.add_argument("--corpus", type=Path, default=CORPUS, metavar="DIR", help="inputs that were found before")
    parser.add_argument("--mutate", action="store_true", help="seeded mutation, even where atheris is installed")
    parser.add_argument("--sweep", action="store_true", help="every hostile value in every place of the valid inputs, without chance")
    parser.add_argument("--one-in", type=int, default=1, metavar="N", help="of what the sweep makes, run one in N")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run this input and show what happens")
    parser.add_argument("--list", action="store_true", help="show the names of the targets")
    parser.add_argument("--alone", metavar="TARGET", help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.guided = not (options.mutate or options.sweep) and find_spec("atheris") is not None
    options.findings.mkdir(parents=True, exist_ok=True)
    targets = all_targets() if not options.alone else {}
    if options.list:
        _say("\n".join(targets))
    elif options.alone:
        alone(options.alone, options)
    elif options.replay is not None:
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder, targets[options.target[0]].prepare(Path(folder)) as check:
            check(options.replay.read_bytes())
        _say("survived")
    else:
        if unknown := [name for name in options.target if name not in targets]:
            parser.error(f"no target {', '.join(unknown)}; `--list` shows them")
        if not (options.guided or options.sweep):
            sys.stderr.write("atheris is not used: seeded mutations, nothing measures what they cover\n")
        sys.exit(1 if campaign(options.target or targets, options) else 0)


if __name__ == "__main__":
    main()
