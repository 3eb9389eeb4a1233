"""A job uses a training method that its engine, or its base model, does not have.

Why: the engine would refuse the job; some gateways even train it with another method.

Fix: choose another `method`, another engine, or another base model.
"""

from collections.abc import Iterator

from ftspec.diagnostics import Diagnostic, error
from ftspec.printable import printable
from ftspec.spec.view import View, matches


def check(view: View) -> Iterator[Diagnostic]:
    """Yield methods that an engine or a model lacks."""
    for job in view.setups:
        profile, method = view.profile(job), view.method(job)
        if method is None:
            known = " or ".join(f"`{name}`" for name in profile.methods) or "nothing"
            message = f"`{profile.name}` does not have the method `{job.method}`"
            yield error("method-unsupported", message, at=view.at(job, "method"), help=f"it has {known}")
        elif method.base_models is not None and not matches(view.root_model(job), method.base_models):
            message = f"`{printable(view.root_model(job))}` cannot be trained with the method `{job.method}` on `{profile.name}`"
            fix = "use " + ", ".join(f"`{glob}`" for glob in method.base_models if not glob.startswith("ft:"))
            yield error("method-unsupported", message, at=view.at(job, "method"), help=fix)
