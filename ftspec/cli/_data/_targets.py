"""What the words after `ftspec data check` and `data stats` mean: datasets of the spec, or files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ftspec.diagnostics import FtspecError
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.data.rows import Place
    from ftspec.experiment import DesiredDataset, Spec
    from ftspec.pipeline.project import Project
    from ftspec.profile import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """Datasets to look at, where they lie, and the spec that they belong to (`None`: files by themselves)."""

    datasets: Sequence[DesiredDataset]
    where: Place
    spec: Spec | None
    profiles: Mapping[str, Profile]


def targets_of(project: Project, words: Sequence[str]) -> Targets:
    """Return what was named: files that exist, else datasets of the spec; nothing: all that the spec uses."""
    from ftspec.data.rows import Place
    from ftspec.pipeline.planning import load, profiles

    files = [word for word in words if (project.root / word).exists()]
    if words and len(files) == len(words):
        found = [file_dataset(word) for word in files]
        roots = (*project.data_roots, *{(project.root / word).resolve().parent for word in files})
        return Targets(datasets=found, where=Place(root=project.root, data_roots=roots), spec=None, profiles=profiles())
    if not project.files:
        missing = next((word for word in words if word not in files), None)
        raise FtspecError(
            f"there is no file `{printable(missing)}`, and no spec that could have a dataset of that name"
            if missing
            else "name a file, or run where there is a spec (`ftspec.yaml`)",
            help="ftspec data check data/tickets.jsonl",
        )
    spec = load(project).spec
    unknown = [word for word in words if word not in spec.datasets and word not in files]
    if unknown:
        raise FtspecError(
            f"`{printable(unknown[0])}` is neither a file nor a dataset of the spec",
            help=f"the spec has: {', '.join(spec.datasets) or 'no datasets'}",
        )
    chosen = [spec.datasets[word] if word in spec.datasets else file_dataset(word) for word in words]
    where = Place(root=project.root, data_roots=project.data_roots, datasets=spec.datasets)
    return Targets(datasets=chosen or list(spec.datasets.values()), where=where, spec=spec, profiles=profiles())


def file_dataset(word: str) -> DesiredDataset:
    """Return a file that was named on the command line as a dataset."""
    from ftspec.experiment import DesiredDataset

    path = Path(word)
    return DesiredDataset(name=path.stem, path=path.as_posix())
