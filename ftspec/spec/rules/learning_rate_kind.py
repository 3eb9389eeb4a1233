"""A job gives the learning rate in the form that its engine does not take.

Why: some engines take an absolute `learning_rate`, others a `learning_rate_multiplier` of a
rate of their own. Neither can be turned into the other, so ftspec never converts them.

Fix: write the other setting, with a value of its own.
"""

from collections.abc import Iterator

from ftspec.diagnostics import Diagnostic, error
from ftspec.spec.rules.hyperparameter_unsupported import RATES
from ftspec.spec.view import View


def check(view: View) -> Iterator[Diagnostic]:
    """Yield rates of the kind that an engine does not take."""
    for job in view.setups:
        profile, method = view.profile(job), view.method(job)
        for name in RATES if method is not None else ():
            if name not in job.hyperparameters or method is None or name in method.hyperparameters:
                continue
            other = RATES[1 - RATES.index(name)]
            if other in method.hyperparameters:
                message = f"`{profile.name}` takes `{other}`, not `{name}`"
                fix = f"write `{other}`; there is no conversion, so choose its value anew"
                yield error("learning-rate-kind", message, at=view.at(job, name), help=fix)
