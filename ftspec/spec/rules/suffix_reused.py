"""Two jobs of one account have the same suffix and different training data.

Why: their models carry the same label, and people will take one for the other.

With `policy: {distinct_suffixes: true}` this is an error.

Fix: put what differs into the suffix, such as `suffix: "tone-{train}"`.
"""

from collections.abc import Iterator

from ftspec.diagnostics import Diagnostic, Severity
from ftspec.experiment import DesiredJob
from ftspec.printable import printable
from ftspec.spec.view import View

_MOST = 10


def check(view: View) -> Iterator[Diagnostic]:
    """Yield suffixes that label different data, with both jobs."""
    first: dict[tuple[str, str], DesiredJob] = {}
    reported: set[tuple[str, str]] = set()
    for job in view.spec.jobs:
        if job.suffix is None:
            continue
        key = (job.scope, job.suffix)
        other = first.setdefault(key, job)
        if other.train == job.train or key in reported or len(reported) == _MOST:
            continue
        reported.add(key)
        place = view.at(other, "suffix")
        yield Diagnostic(
            code="suffix-reused",
            severity=Severity.ERROR if view.spec.policy.distinct_suffixes else Severity.WARNING,
            message=f"`{other.address}` and `{job.address}` share the suffix `{printable(job.suffix)}` but train on different data",
            at=view.at(job, "suffix"),
            help="put what differs into the suffix, such as `{train}`",
            also=(("the other job's suffix", place),) if place else (),
        )
