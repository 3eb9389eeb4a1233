"""Jobs that train on other jobs' models: `base_model: {from: triage, where: {seed: 1}}`.

One child for each parent that matches. The parent's axes whose values differ among the
matches become axes of the child, so that addresses stay unique; where the child already uses
such a name itself, the axis is called `<experiment>.<axis>`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftspec.diagnostics import Diagnostic, Place, error
from ftspec.printable import printable
from ftspec.spec.matrix import value_key
from ftspec.spec.settings import path_of
from ftspec.spec.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from ftspec.experiment import DesiredJob

_ABSENT: Any = object()


def setting_of(job: DesiredJob, name: str) -> Any:
    """Return a job's axis or setting by the name that people use, `None` where it has none."""
    if name in job.axes:
        return job.axes[name]
    path = path_of(name)
    if path is None:
        return None
    head, _, rest = path.partition(".")
    value = getattr(job, head, None)
    return value.get(rest) if rest and isinstance(value, dict) else value


class Chain:
    """The parents of one variant's cells: found once per distinct `{from, where}`."""

    def __init__(
        self, jobs_of: Callable[[str, Place | None], Sequence[DesiredJob] | None], *, known: Collection[str], taken: AbstractSet[str]
    ) -> None:
        self.jobs_of = jobs_of
        self.known = known
        self.taken = taken
        self.problems: list[Diagnostic] = []
        self.jobs: list[DesiredJob] = []
        self.labels: list[dict[str, str]] = []
        """For each of `jobs`: the axes that the child takes over, and what it calls them."""
        self._found: dict[Any, list[int] | None] = {}
        self._indexed: dict[tuple[str, tuple[str, ...]], dict[Any, list[DesiredJob]]] = {}

    def has_axis(self, name: str) -> bool:
        """Whether any parent has an axis of this name."""
        return any(name in job.axes or name.removeprefix(f"{job.experiment}.") in job.axes for job in self.jobs)

    def axis(self, name: str, parent: int) -> Any:
        """Return a parent's value of an axis."""
        job = self.jobs[parent]
        return job.axes.get(name, job.axes.get(name.removeprefix(f"{job.experiment}.")))

    def parents(self, link: Mapping[str, Any], at: Callable[[], Place | None]) -> list[int] | None:
        """Return the positions in `jobs` of the parents that `{from, where}` means, `None` where it means nothing."""
        key = value_key(dict(link))
        if key not in self._found:
            self._found[key] = self._find(link, at())
        return self._found[key]

    def _find(self, link: Mapping[str, Any], at: Place | None) -> list[int] | None:
        name, where = link.get("from"), link.get("where") or {}
        if not isinstance(name, str) or not isinstance(where, dict):
            self.problems.append(error("wrong-value", "`base_model` must be the name of a model, or `{from: EXPERIMENT}`", at=at))
            return None
        experiment, _, cell = name.partition("/")
        if experiment not in self.known:
            self.problems.append(
                error(
                    "unknown-experiment",
                    f"`{printable(experiment)}` is not an experiment",
                    at=at,
                    help=did_you_mean(experiment, self.known),
                )
            )
            return None
        jobs = self.jobs_of(experiment, at)
        if jobs is None:
            return None
        if cell:
            jobs = [job for job in jobs if job.address == name]
        matches = self._matching(name, jobs, where, at)
        if matches is None:
            return None
        if not matches:
            axes = dict.fromkeys(axis for job in jobs for axis in job.axes)
            hint = "its axes are " + ", ".join(f"`{axis}`" for axis in axes) if axes else "it has no axes"
            self.problems.append(error("no-parent", f"no job of `{printable(name)}` matches", at=at, help=hint))
            return None
        labels = self._labels(experiment, matches)
        first = len(self.jobs)
        self.jobs.extend(matches)
        self.labels.extend([labels] * len(matches))
        return list(range(first, len(self.jobs)))

    def _matching(self, name: str, jobs: Sequence[DesiredJob], where: Mapping[str, Any], at: Place | None) -> Sequence[DesiredJob] | None:
        names = tuple(where)
        for one in names:
            if path_of(one) is None and not any(one in job.axes for job in jobs):
                known = list(dict.fromkeys(axis for job in jobs for axis in job.axes))
                message = f"`{printable(one)}` in `where` is not an axis of `{printable(name)}`"
                self.problems.append(error("unknown-axis", message, at=at, help=did_you_mean(one, known)))
                return None
        if not names:
            return jobs
        index = self._indexed.get((name, names))
        if index is None:
            index = self._indexed[name, names] = {}
            for job in jobs:
                index.setdefault(tuple(value_key(setting_of(job, one)) for one in names), []).append(job)
        if any(isinstance(value, list) for value in where.values()):
            sets = [{value_key(one) for one in (value if isinstance(value, list) else [value])} for value in where.values()]
            keys = [key for key in index if all(one in some for one, some in zip(key, sets, strict=True))]
            return [job for key in keys for job in index[key]]
        return index.get(tuple(value_key(value) for value in where.values()), [])

    def _labels(self, experiment: str, matches: Sequence[DesiredJob]) -> dict[str, str]:
        """Return the axes that tell the matches apart, and what the child calls them."""
        axes = dict.fromkeys(axis for job in matches for axis in job.axes)
        labels = {}
        for axis in axes:
            values = {value_key(job.axes[axis]) if axis in job.axes else _ABSENT for job in matches}
            if len(values) > 1:
                labels[axis] = f"{experiment}.{axis}" if axis in self.taken else axis
        return labels
