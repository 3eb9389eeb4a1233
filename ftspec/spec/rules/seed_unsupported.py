"""A job has a seed, and its engine does not take one.

Why: the engine would ignore it, so a grid over seeds would train the same thing several times
and look as if it had varied something.

Fix: remove `seed`. To train the same thing several times on purpose, use `replicate`.
"""

from collections.abc import Iterator

from ftspec.diagnostics import Diagnostic, error
from ftspec.spec.view import View


def check(view: View) -> Iterator[Diagnostic]:
    """Yield the first job of each experiment whose engine would ignore its seed."""
    without = {name for name, entry in view.spec.engines.items() if not view.profiles[entry.type].seed}
    reported: set[tuple[str, str]] = set()
    for job in view.spec.jobs if without else ():
        if job.seed is not None and job.engine in without and (job.experiment, job.engine) not in reported:
            reported.add((job.experiment, job.engine))
            message = f"`{view.profile(job).name}` takes no seed"
            yield error(
                "seed-unsupported", message, at=view.at(job, "seed"), help="remove `seed`, or use `replicate` to train it several times"
            )
