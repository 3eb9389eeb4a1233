"""A job asks its engine to report to a service that the engine does not know.

Why: the engine would refuse the job or report nothing.

Fix: remove the integration for this engine's jobs.
"""

from collections.abc import Iterator

from ftspec.diagnostics import Diagnostic, error
from ftspec.printable import printable
from ftspec.spec.view import View


def check(view: View) -> Iterator[Diagnostic]:
    """Yield integrations that an engine lacks."""
    for job in view.setups:
        profile = view.profile(job)
        for integration in job.integrations:
            kind = str(integration.get("type"))
            if kind not in profile.integrations:
                known = ", ".join(f"`{name}`" for name in profile.integrations) or "none"
                message = f"`{profile.name}` does not report to `{printable(kind[:64])}`"
                yield error("integration-unsupported", message, at=view.at(job, "integrations"), help=f"it knows {known}")
