"""`python -m ftspec.testing.toy_worker RUN_FOLDER SUBMISSION`: a worker like the real one that trains nothing.

It takes submissions and attempts, checkpoints each step, stops when told, ends with a value that
depends on every step, and says which GPU it was given.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import sys
import time
from pathlib import Path

from ftspec.server.trainers.base import JobFailure
from ftspec.server.trainers.local import claims
from ftspec.server.trainers.local.run import LocalRun
from ftspec.server.trainers.run_folder import Result

TOY = "ftspec.testing.toy_worker"
"""Its name, for a `Reconciler`."""


def value_of(steps: int) -> str:
    """Return the value that a toy ends with."""
    value = ""
    for step in range(1, steps + 1):
        value = hashlib.sha256(f"{value}{step}".encode()).hexdigest()
    return value


def main(path: Path, submission: int) -> int:
    """Work on a run folder like the real worker, with steps that take no time."""
    run = LocalRun(path)
    if not claims.take(path, submission) or run.result() is not None:
        return 0
    if LocalRun(path).paused:
        run.decline(submission)
        return 0
    number = run.begin_attempt(now=time.time())
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: told.append(1))
    (path / "gpu").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
    about = {"steps": 20, "fails": False, "dies_at": 0, **run.description()}
    resume = run.resume_folder()
    value = (resume[1] / "value").read_text() if resume else ""
    for step in range(resume[0] + 1 if resume else 1, about["steps"] + 1):
        time.sleep(0.05)
        if run.newest_attempt() != number:
            return 75
        if run.result() is not None or run.paused or told:
            run.end_attempt(number, "stopped")
            return 0
        value = hashlib.sha256(f"{value}{step}".encode()).hexdigest()
        work = run.work_folder(number)
        work.mkdir(exist_ok=True)
        (work / "value").write_text(value)
        run.keep_resume(step, work)
        if number == 1 and step == about["dies_at"]:
            os.kill(os.getpid(), signal.SIGKILL)
    if about["fails"]:
        run.finish(Result(status="failed", finished_at=int(time.time()), error=JobFailure(code="toy", message="as it should")))
    else:
        (path / "value").write_text(value)
        run.finish(Result(status="succeeded", finished_at=int(time.time()), step=about["steps"]))
    run.end_attempt(number, "ended")
    return 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
