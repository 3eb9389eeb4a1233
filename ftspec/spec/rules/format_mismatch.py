"""A dataset's declared format is not the one that the job's method trains on.

Why: the engine would refuse every row. `supervised` takes chats, `dpo` preferences,
`reinforcement` prompts with references.

Fix: use another dataset or another `method`; correct `format` if it is declared wrongly.
"""

from collections.abc import Iterator

from ftspec.diagnostics import Diagnostic, error
from ftspec.experiment import DesiredDataset
from ftspec.spec.view import View


def check(view: View) -> Iterator[Diagnostic]:
    """Yield training and validation datasets of a format that the method does not take."""
    for job in view.setups:
        method = view.method(job)
        for setting, ref in (("train", job.train), ("validation", job.validation)):
            dataset = _dataset(view, ref)
            if method is None or dataset is None or dataset.format in (None, method.dataset_format):
                continue
            message = f"`{ref}` is declared as {dataset.format} data; the method `{job.method}` trains on {method.dataset_format} data"
            yield error("format-mismatch", message, at=view.at(job, setting), help="use another dataset, or another `method`")


def _dataset(view: View, ref: str | None) -> DesiredDataset | None:
    if ref is None:
        return None
    return view.spec.datasets.get(ref) or view.spec.datasets.get(ref.rpartition(".")[0])
