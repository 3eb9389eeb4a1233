"""A job validates or is evaluated on rows that it trains on.

Why: the figures then show how well it remembers, not how well it does. For validation this is
an error; for an eval a warning, because some do it on purpose to see how much was learnt.

Fix: use different parts of a split dataset: `train: tickets.train`, `validation: tickets.validation`.
"""

from collections.abc import Iterator

from ftspec.diagnostics import Diagnostic, error, warning
from ftspec.spec.view import View


def check(view: View) -> Iterator[Diagnostic]:
    """Yield validation and eval datasets that share rows with the training set by their names or files."""
    fix = "use different parts of a split dataset"
    for job in view.setups:
        if job.validation is not None and _overlap(view, job.train, job.validation):
            message = f"`{job.validation}` shares rows with the training data `{job.train}`"
            yield error("training-data-reused", message, at=view.at(job, "validation"), help=fix)
        for name in job.evals:
            one = view.spec.evals.get(name)
            if one is not None and one.dataset and _overlap(view, job.train, one.dataset):
                message = f"the eval `{name}` shares rows with the training data `{job.train}`"
                yield warning("training-data-reused", message, at=view.at(job, "evals"), help=fix)


def _overlap(view: View, first: str, second: str) -> bool:
    if first == second:
        return True
    one, two = _owner(view, first), _owner(view, second)
    if one == two:
        return first == one or second == two
    datasets = view.spec.datasets
    whole = first == one and second == two
    return whole and one in datasets and two in datasets and datasets[one].path == datasets[two].path and not datasets[two].transforms


def _owner(view: View, ref: str) -> str:
    return ref if ref in view.spec.datasets else ref.rpartition(".")[0]
