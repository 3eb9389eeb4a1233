"""The engine demands a validation dataset for this method, and the job has none.

Why: the engine would refuse the job.

Fix: add `validation: DATASET`.
"""

from collections.abc import Iterator

from ftspec.diagnostics import Diagnostic, error
from ftspec.spec.view import View


def check(view: View) -> Iterator[Diagnostic]:
    """Yield jobs that need validation rows and have none."""
    for job in view.setups:
        method = view.method(job)
        if method is not None and method.needs_validation and job.validation is None:
            message = f"`{view.profile(job).name}` needs a validation dataset for the method `{job.method}`"
            yield error("validation-required", message, at=view.at(job, "method"), help="add `validation: DATASET`")
