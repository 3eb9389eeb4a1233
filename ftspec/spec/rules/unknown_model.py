"""The base model is not among those that the engine is known to train.

Why: most often it is a typing error. Engines also add models faster than profiles learn of
them, so it is a warning, except for engines whose models are all known (the sandbox).

Fix: correct the name, or ignore the warning if the engine has the model.
"""

from collections.abc import Iterator

from ftspec.diagnostics import Diagnostic, error, warning
from ftspec.printable import printable
from ftspec.spec.suggest import did_you_mean
from ftspec.spec.view import View


def check(view: View) -> Iterator[Diagnostic]:
    """Yield base models that a profile does not list; models trained before (`ft:...`) are fine."""
    for job in view.setups:
        profile = view.profile(job)
        if job.parent is not None or not profile.base_models or job.base_model.startswith("ft:"):
            continue
        names = [model.name for model in profile.base_models]
        if job.base_model not in names:
            report = error if profile.closed_models else warning
            message = f"`{profile.name}` is not known to train `{printable(job.base_model[:80])}`"
            yield report("unknown-model", message, at=view.at(job, "base_model"), help=did_you_mean(job.base_model, names))
