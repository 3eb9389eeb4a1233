"""A job sets a hyperparameter that its engine does not have for this method.

Why: the engine would refuse the job or ignore the value, and the job's key would name a
difference that does not exist.

Fix: remove it, or choose an engine that has it.
"""

from collections.abc import Iterator

from ftspec.diagnostics import Diagnostic, error
from ftspec.printable import printable
from ftspec.spec.settings import METHODS
from ftspec.spec.suggest import did_you_mean
from ftspec.spec.view import View

RATES = ("learning_rate", "learning_rate_multiplier")


def check(view: View) -> Iterator[Diagnostic]:
    """Yield hyperparameters that an engine lacks (which kind of rate it takes is a rule of its own)."""
    for job in view.setups:
        profile, method = view.profile(job), view.method(job)
        if method is None:
            continue
        for name in job.hyperparameters:
            if name in method.hyperparameters or (name in RATES and not method.hyperparameters.keys().isdisjoint(RATES)):
                continue
            if view.unknown_server(profile) and name not in METHODS[job.method]:
                continue
            message = f"`{profile.name}` has no hyperparameter `{printable(name[:64])}` for the method `{job.method}`"
            fix = did_you_mean(name, list(method.hyperparameters)) or "remove it"
            yield error("hyperparameter-unsupported", message, at=view.at(job, f"method.hyperparameters.{name}"), help=fix)
