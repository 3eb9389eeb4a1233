"""A dataset is declared, and no job and no eval uses it.

Why: a misspelled name elsewhere, or a leftover, goes unnoticed. A part of a split dataset
counts as a use of the dataset.

Fix: use it, or remove it from `datasets`.
"""

from collections.abc import Iterator

from ftspec.diagnostics import Diagnostic, warning
from ftspec.spec.view import View


def check(view: View) -> Iterator[Diagnostic]:
    """Yield the datasets that nothing refers to; nothing where a broken block might."""
    if any(section in ("experiments", "evals", "defaults") for section, _ in view.broken):
        return
    used = {ref for job in view.setups for ref in (job.train, job.validation)} | {one.dataset for one in view.spec.evals.values()}
    for dataset in view.spec.datasets.values():
        used |= {name for step in dataset.transforms if isinstance(step.get("with"), dict) for name in step["with"]}
    for name, dataset in view.spec.datasets.items():
        if used.isdisjoint(dataset.refs()):
            yield warning("unused-dataset", f"nothing uses the dataset `{name}`", at=dataset.at, help="use it, or remove it")
