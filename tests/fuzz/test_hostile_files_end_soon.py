"""Hostile files and answers are refused within a second and 200 MiB each, measured in a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 5.0
"""Five times what is promised: test machines are busy."""

MEBIBYTES = 200
"""What reading one of them may add to a process that has imported everything."""

DRIVE = """
import json, os, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import hostile_files

def memory(name):
    lines = Path("/proc/self/status").read_text().splitlines() if Path("/proc/self/status").exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(name)), 0.0)

reader = hostile_files.READERS[sys.argv[2]](Path.cwd())
reader(b"{}")
for name, content in hostile_files.corpus(sys.argv[2]):
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")  # the high-water mark starts again
    before, start = memory("VmRSS"), time.process_time()
    said = reader(content)
    # Not ru_maxrss: it remembers the process that started this one.
    print(json.dumps([name, time.process_time() - start, memory("VmHWM") - before, said]), flush=True)
"""

EVERY_RUN = ("state", "dataset", "plan file", "reply")
CAMPAIGN = ("facts", "lockfile", "trust", "stream", "export", "result file", "request")


@pytest.mark.parametrize("reader", [*EVERY_RUN, *(pytest.param(one, marks=pytest.mark.slow) for one in CAMPAIGN)])
def test_hostile_content_is_refused_quickly_and_in_little_memory(reader, tmp_path):
    """Depth, length, number, numbers, bytes that are no text: an answer, and the process lives on."""
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", DRIVE, str(here), reader], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-2000:]
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) > 45
    for name, seconds, mebibytes, said in results:
        assert seconds < SECONDS, (name, seconds)
        assert mebibytes < MEBIBYTES, (name, mebibytes)
        assert [char for char in said if (char < " " and char != "\n") or "\x7f" <= char < "\xa0"] == [], name
