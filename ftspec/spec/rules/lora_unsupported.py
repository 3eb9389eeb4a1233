"""A job sets `lora`, and its engine does not let anybody choose that.

Why: the setting would be ignored, and the job's key would name a difference that does not
exist.

Fix: remove `lora`, or choose an engine that trains adapters of a given shape.
"""

from collections.abc import Iterator

from ftspec.diagnostics import Diagnostic, error
from ftspec.spec.view import View


def check(view: View) -> Iterator[Diagnostic]:
    """Yield LoRA settings on engines without them."""
    for job in view.setups:
        if job.lora and not view.profile(job).lora:
            message = f"`{view.profile(job).name}` has no `lora` settings"
            yield error("lora-unsupported", message, at=view.at(job, "lora"), help="remove `lora`")
