"""What clients may want of a job under way: its end, a pause, to go on.

A wish is a file in the job's folder, whoever trains; a trainer then sees to it that its workers notice.
`TrainerRefusal`: the job has ended, or the wish makes no sense.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftspec.server.trainers.base import Problem, TrainerRefusal
from ftspec.server.trainers.run_folder import Result, event

if TYPE_CHECKING:
    from ftspec.server.trainers.run_folder import RunFolder


def cancel(run: RunFolder, *, now: float) -> None:
    """End a job for good."""
    run.create()
    said = event("The job was cancelled", now=now)
    result = Result(status="cancelled", finished_at=int(now), hyperparameters=run.progress().hyperparameters, events=(said,))
    if not run.finish(result):
        raise _refused(f"The job has {_how_it_ended(run)} already.")


def pause(run: RunFolder, *, resumed: str, now: float) -> None:
    """Want a job to wait; `resumed` says how it will go on."""
    _check_unfinished(run)
    if run.paused:
        raise _refused("The job is paused already.")
    run.pause()
    run.say(f"The job was paused; resumed, it {resumed}", now=now)


def resume(run: RunFolder, *, now: float) -> None:
    """Want a paused job to go on."""
    _check_unfinished(run)
    if not run.paused:
        raise _refused("The job is not paused.")
    run.say("The job was resumed", now=now)
    run.resume()


def _check_unfinished(run: RunFolder) -> None:
    run.create()
    if run.result() is not None:
        raise _refused(f"The job has {_how_it_ended(run)} already.")


def _how_it_ended(run: RunFolder) -> str:
    result = run.result()
    return result.status if result else "ended"


def _refused(message: str) -> TrainerRefusal:
    return TrainerRefusal(Problem(message=message, code="invalid_job_status"))
