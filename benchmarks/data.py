"""How fast datasets are read, against the limits of hashing and decoding alone.

    python benchmarks/data.py [--mb N] [--rows FILE] [--only WORD]
    python benchmarks/data.py --mb 1074 --only 'data check'        a GiB, whose memory stays below 300 MB
    python benchmarks/data.py --mixed          texts with escapes and accents; rows that are not only roles and texts among them

Each figure is the CPU time of a process of its own (its workers included), with its peak of
memory (workers included: as many times the largest one's); the ratios are against bare sha256 and bare msgspec decoding of the same file in the same
run. Wall time depends on what else the machine does; it is shown for the runs that share the work.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SETUP = """
import os, resource, sys, time
from pathlib import Path
root, name = Path(sys.argv[1]), sys.argv[2]
def peak():
    own = int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
    return (own + int(os.environ["FTSPEC_DATA_WORKERS"]) * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024
"""

WORK = {
    "sha256 alone": "import hashlib\nSTART\nwith (root / name).open('rb') as file: hashlib.file_digest(file, 'sha256')",
    "msgspec decode alone": """
import msgspec
from ftspec.data.boring import PlainChat
decode = msgspec.json.Decoder(PlainChat).decode
START
for line in (root / name).open('rb'):
    try: decode(line)
    except msgspec.ValidationError: msgspec.json.decode(line)
""",
    "json.loads alone": "import json\nSTART\nfor line in (root / name).open('rb'): json.loads(line)",
    "digest": """
from ftspec.data.rows import Place
from ftspec.data.source import Source
from ftspec.data.onepass import run
import msgspec
from ftspec.experiment import DesiredDataset
START
place = Place(root=root)
source = Source(DesiredDataset(name="data", path=name), place)
run(source, place, msgspec.structs.replace(source.order, keep=True, check=False))
""",
    "digest + rules": """
from ftspec.data.digest import digest
from ftspec.experiment import DesiredDataset
START
digest(DesiredDataset(name="data", path=name), root=root, tokenizer=None)
""",
    "digest + rules + secrets": """
from ftspec.data.checks.base import Setting
from ftspec.data.digest import digest
from ftspec.experiment import DesiredDataset
START
digest(DesiredDataset(name="data", path=name), root=root, tokenizer=None, setting=Setting(safety=True))
""",
    "digest + rules + split": """
from ftspec.data.digest import digest
from ftspec.experiment import DesiredDataset, SplitRule
START
digest(DesiredDataset(name="data", path=name, split=SplitRule(shares={"train": .8, "test": .2})), root=root, tokenizer=None)
""",
    "digest + rules + tokens (TOKENIZER)": """
from ftspec.data.digest import digest
from ftspec.experiment import DesiredDataset
START
digest(DesiredDataset(name="data", path=name), root=root, tokenizer="TOKENIZER")
""",
    "data check (all rules, statistics)": """
from ftspec.data.audit import audit
from ftspec.data.rows import Place
from ftspec.experiment import DesiredDataset
START
audit(DesiredDataset(name="data", path=name), Place(root=root), tokenizer="estimate")
""",
    "write for upload": """
import tempfile
from ftspec.data.digest import materialise
from ftspec.experiment import DesiredDataset
START
with tempfile.TemporaryDirectory(dir=root) as into: materialise(DesiredDataset(name="data", path=name), "data", root=root, into=Path(into))
""",
    "leakage before a plan (1,000 rows)": """
from ftspec.data.leakage import Part, compare
from ftspec.data.rows import Place
from ftspec.experiment import DesiredDataset
held = root / "held.jsonl"
with (root / name).open("rb") as file: held.write_bytes(b"".join(next(file) for _ in range(1000)))
START
compare(Part(dataset=DesiredDataset(name="data", path=name), ref="data"), [Part(dataset=DesiredDataset(name="held", path="held.jsonl"), ref="held")], Place(root=root), near=False)
""",
    "leakage (1,000 held-out rows)": """
from ftspec.data.leakage import Part, compare
from ftspec.data.rows import Place
from ftspec.experiment import DesiredDataset
held = root / "held.jsonl"
with (root / name).open("rb") as file: held.write_bytes(b"".join(next(file) for _ in range(1000)))
START
compare(Part(dataset=DesiredDataset(name="data", path=name), ref="data"), [Part(dataset=DesiredDataset(name="held", path="held.jsonl"), ref="held")], Place(root=root))
""",
    "unchanged, from the cache": """
from ftspec.data.cache import DigestCache
from ftspec.data.digest import digest
from ftspec.experiment import DesiredDataset
cache = DigestCache(root / "cache", now=lambda: 2**62)
dataset = DesiredDataset(name="data", path=name)
digest(dataset, root=root, cache=cache, tokenizer=None)
START
digest(dataset, root=root, cache=cache, tokenizer=None)
""",
}

MEASURE = """
started, cpu = time.perf_counter(), sum(os.times()[:4])
"""
REPORT = """
wall, used = time.perf_counter() - started, sum(os.times()[:4]) - cpu
print(wall, used, peak())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=200, help="size of the file that is made")
    parser.add_argument("--rows", type=Path, help="measure this file instead")
    parser.add_argument("--mixed", action="store_true", help="make rows of all sorts")
    parser.add_argument("--only", default="", help="measure only work with this in its name (and the limits)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = given.rows or make(Path(folder) / "data.jsonl", given.mb, mixed=given.mixed)
        if given.rows:
            path = Path(folder) / "data.jsonl"
            path.symlink_to(given.rows.resolve())
        show(path, given.only)


def make(path: Path, megabytes: int, *, mixed: bool) -> Path:
    """Write chat rows of about 1.2 kB: a system prompt, a question, an answer; `mixed`: one in fifty with a weight."""
    dice = random.Random(1)  # noqa: S311 the same file every time
    words = ["".join(dice.choices("etaoinshrdlucmfw", k=dice.randint(2, 10))) for _ in range(5000)]
    if mixed:
        words += ["\u00fcber", "na\u00efve", "don\u2019t", '"so"', "\u65e5\u672c", "one\n\ntwo"] * 40
    with path.open("w", encoding="utf-8") as file:
        while file.tell() < megabytes * 1_000_000:
            for number in range(1000):
                texts = [" ".join(dice.choices(words, k=count)) for count in (100, 60)]
                messages: list[dict[str, Any]] = [
                    {"role": role, "content": text}
                    for role, text in zip(("system", "user", "assistant"), ("Be nice.", *texts), strict=True)
                ]
                if mixed and number % 50 == 0:
                    messages[-1]["weight"] = 1
                file.write(json.dumps({"messages": messages}, ensure_ascii=number % 2 == 0) + "\n")
    return path


def show(path: Path, only: str) -> None:
    size = path.stat().st_size / 1e6
    cores = len(os.sched_getaffinity(0))
    print(f"{size:.0f} MB of chat rows, {cores} cores\n")
    print(f"{'work':40} {'MB/s of CPU':>12} {'of sha256':>10} {'of decode':>10} {'peak MB':>8}   wall")
    limits: dict[str, float] = {}
    for title, code in variants():
        if only not in title and "alone" not in title:
            continue
        rates = []
        for workers in ("1", str(cores)) if title.startswith(("digest", "data check")) else ("1",):
            wall, used, peak = measured(code, path, workers)
            rates.append((wall, used, peak))
        wall, used, peak = rates[0]
        rate = size / max(used, 1e-4)
        limits.setdefault(title, rate)
        of_hash, of_decode = rate / limits["sha256 alone"], rate / limits.get("msgspec decode alone", rate)
        shared = f"; {cores} processes: {rates[1][0]:.2f} s, CPU {rates[1][1]:.2f} s, {rates[1][2]:.0f} MB" if len(rates) > 1 else ""
        print(f"{title:40} {rate:12,.0f} {of_hash:9.0%} {of_decode:10.0%} {peak:8.0f}   {wall:.3f} s{shared}")


def variants() -> list[tuple[str, str]]:
    """Return the pieces of work, with the tokenizers that are here."""
    from ftspec.data.tokens import counter

    found = []
    for title, code in WORK.items():
        if "TOKENIZER" not in title:
            found.append((title, code))
            continue
        names = ["estimate", "words", *(["o200k"] if counter("o200k").exact else [])]
        found += [(title.replace("TOKENIZER", name), code.replace("TOKENIZER", name)) for name in names]
    return found


def measured(code: str, path: Path, workers: str) -> tuple[float, float, float]:
    """Return wall seconds, CPU seconds and peak megabytes of some work in a process of its own."""
    program = SETUP + code.replace("START", MEASURE) + REPORT
    environment = {**os.environ, "FTSPEC_DATA_WORKERS": workers}
    command = [sys.executable, "-c", program, str(path.parent), path.name]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    wall, used, peak = map(float, done.stdout.split())
    return wall, used, peak


if __name__ == "__main__":
    main()
