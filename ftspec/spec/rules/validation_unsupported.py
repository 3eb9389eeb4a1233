"""A job names a validation dataset, and its engine does not take one.

Why: the rows would be uploaded for nothing, and the job's key would name a difference that
does not exist.

Fix: write `validation: null` for this engine's jobs.
"""

from collections.abc import Iterator

from ftspec.diagnostics import Diagnostic, error
from ftspec.spec.view import View


def check(view: View) -> Iterator[Diagnostic]:
    """Yield validation datasets on engines that ignore them."""
    for job in view.setups:
        if job.validation is not None and not view.profile(job).validation:
            message = f"`{view.profile(job).name}` takes no validation dataset"
            yield error("validation-unsupported", message, at=view.at(job, "validation"), help="write `validation: null`")
