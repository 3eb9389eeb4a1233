"""A plan sorted by what kind of thing its actions are: what every rendering starts from."""

from __future__ import annotations

from collections import Counter
from typing import assert_never

import msgspec

from ftspec.actions import AdoptJob, ForgetJob, KeepEval, KeepJob, LaunchJob, Plan, Reason, RunEval, UploadFile, WaitJob


class Summary(msgspec.Struct, kw_only=True):
    """The actions of a plan by kind. Jobs that are simply reused are only counted, by experiment."""

    uploads: list[UploadFile] = []
    changed: list[LaunchJob] = []
    """Launches beside a record that stays: changed, or replaced on request."""
    launches: list[LaunchJob] = []
    """All other launches."""
    adopted: list[AdoptJob] = []
    running: list[KeepJob] = []
    failed: list[KeepJob] = []
    """Failed, cancelled and retired: kept, not tried again by itself."""
    waiting: list[WaitJob] = []
    relabelled: list[KeepJob] = []
    forgotten: list[ForgetJob] = []
    evals: list[RunEval] = []
    failed_evals: list[KeepEval] = []
    kept: list[KeepJob] = []
    kept_evals: int = 0

    @property
    def reused(self) -> int:
        """How many jobs need nothing bought: recorded and succeeded, or still running."""
        return len(self.kept) + len(self.running)

    @property
    def doubts(self) -> int:
        """How many jobs wait for a person, because nobody knows whether they were bought."""
        return sum(one.reason is Reason.IN_DOUBT for one in self.waiting)

    @property
    def all_launches(self) -> list[LaunchJob]:
        """Everything that will be bought, changed jobs first."""
        return self.changed + self.launches

    def kept_by_experiment(self) -> Counter[str]:
        """Return how many jobs of each experiment are reused."""
        return Counter(action.job.experiment for action in self.kept)


_FAILED = frozenset({Reason.FAILED, Reason.CANCELLED, Reason.RETIRED})


def summarise(plan: Plan) -> Summary:
    """Sort the actions of a plan by kind."""
    found = Summary()
    for action in plan.actions:
        match action:
            case KeepJob():
                _kept(found, action)
            case KeepEval():
                if action.reason is Reason.FAILED:
                    found.failed_evals.append(action)
                else:
                    found.kept_evals += 1
            case LaunchJob():
                (found.launches if action.replaces is None else found.changed).append(action)
            case UploadFile():
                found.uploads.append(action)
            case RunEval():
                found.evals.append(action)
            case AdoptJob():
                found.adopted.append(action)
            case WaitJob():
                found.waiting.append(action)
            case ForgetJob():
                found.forgotten.append(action)
            case _:
                assert_never(action)
    return found


def _kept(found: Summary, action: KeepJob) -> None:
    if action.reason is Reason.RUNNING:
        found.running.append(action)
    elif action.reason in _FAILED:
        found.failed.append(action)
    else:
        found.kept.append(action)
    if action.relabelled:
        found.relabelled.append(action)
