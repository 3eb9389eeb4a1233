"""An experiment trains without a validation dataset.

Why: without one nobody sees overfitting, and the best checkpoint cannot be told.

Fix: split the dataset (`split: {train: 0.9, validation: 0.1}`) and set `validation`. With
`policy: {require_validation: true}` this becomes a refusal.
"""

from collections.abc import Iterator

from ftspec.diagnostics import Diagnostic, warning
from ftspec.spec.view import View


def check(view: View) -> Iterator[Diagnostic]:
    """Yield experiments without validation rows, once each."""
    if view.spec.policy.require_validation:
        return
    seen: set[str] = set()
    for job in view.setups:
        method = view.method(job)
        if (
            job.validation is None
            and job.experiment not in seen
            and view.profile(job).validation
            and not (method and method.needs_validation)
        ):
            seen.add(job.experiment)
            message = f"experiment `{job.experiment}` has no validation dataset"
            yield warning("no-validation", message, at=view.at(job, "name"), help="split its dataset, and set `validation`")
