"""Experiments as jobs: every cell of every grid with its settings resolved.

`expand` takes the merged sections of a spec (see `load`) and returns the jobs in declared
order. Ten thousand cells share their constant parts: a setting is computed once for each
distinct combination of the axes that it depends on (`columns`), never once per cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from ftspec.diagnostics import Diagnostic, Place, Severity, error
from ftspec.printable import printable
from ftspec.spec.cells import experiment_jobs
from ftspec.spec.columns import Budget, TooMuch
from ftspec.spec.matrix import MAX_CELLS
from ftspec.spec.suggest import did_you_mean
from ftspec.spec.tree import Map

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ftspec.experiment import DesiredDataset, DesiredJob, EngineEntry
    from ftspec.spec.references import Variables
    from ftspec.spec.settings import Given

DEEPEST_CHAIN: Final = 24
MOST_PROBLEMS: Final = 1_000
_EVEN_IN_BROKEN: Final = frozenset(
    {
        "bad-reference",
        "no-parent",
        "unknown-dataset",
        "unknown-engine",
        "unknown-eval",
        "unknown-experiment",
        "unknown-reference",
        "wrong-value",
    }
)


class Declared(msgspec.Struct):
    """What jobs can refer to. `broken` names what is declared but not understood: no follow-up errors."""

    experiments: Mapping[str, Given]
    defaults: Mapping[str, Given]
    engines: Mapping[str, EngineEntry]
    datasets: Mapping[str, DesiredDataset]
    evals: Sequence[str]
    variables: Variables
    project: str | None = None
    default_engine: str | None = None
    suffix_is_identity: bool = False
    broken: set[tuple[str, str]] = set()
    partial: Mapping[str, Given] = {}
    """Broken experiments without what is wrong in them: their references are still checked."""


def expand(declared: Declared) -> tuple[list[DesiredJob], list[Diagnostic]]:
    """Return all jobs, in declared order, and what is wrong."""
    return _Expansion(declared).run()


class _Expansion:
    def __init__(self, declared: Declared) -> None:
        self.declared = declared
        self.problems: list[Diagnostic] = []
        self.done: dict[str, list[DesiredJob] | None] = {}
        self.open: list[str] = []
        self.budget = Budget()
        self.refs = {ref for dataset in declared.datasets.values() for ref in dataset.refs()}
        self.total = 0

    def run(self) -> tuple[list[DesiredJob], list[Diagnostic]]:
        for name in self.declared.experiments:
            self.jobs_of(name, None)
            if len(self.problems) > MOST_PROBLEMS:
                break
        jobs = [job for name in self.declared.experiments for job in self.done.get(name) or ()]
        self.declared.broken.update(("experiments", name) for name, known in self.done.items() if known is None)
        self.unique(jobs)
        return jobs, self.problems

    def jobs_of(self, name: str, at: Place | None) -> list[DesiredJob] | None:
        """Return the jobs of an experiment (`None`: not known), expanding it when first asked."""
        if name in self.done:
            return self.done[name]
        if name in self.open or len(self.open) >= DEEPEST_CHAIN:
            chain = " -> ".join(f"`{one}`" for one in [*self.open[self.open.index(name) if name in self.open else 0 :], name])
            message = (
                f"experiments depend on each other: {chain}" if name in self.open else f"more than {DEEPEST_CHAIN} experiments in a chain"
            )
            self.problems.append(error("dependency-cycle", message, at=at, help="remove one of the `from` or `depends_on`"))
            return None
        given = self.declared.experiments[name]
        if ("experiments", name) in self.declared.broken or not isinstance(given.value, Map):
            self.done[name] = None
            if name in self.declared.partial:
                self.look(name, self.declared.partial[name])
            return None
        self.done[name] = self.expanded(name, given)
        return self.done[name]

    def expanded(self, name: str, given: Given) -> list[DesiredJob] | None:
        self.open.append(name)
        try:
            return experiment_jobs(self, name, given)
        except TooMuch as much:
            self.problems.append(error(much.code, much.message, at=given.value.at(), help=much.fix))
            return None
        finally:
            self.open.pop()

    def look(self, name: str, rest: Given) -> None:
        """Report names that lead nowhere in an experiment that is broken otherwise."""
        sound, self.problems = self.problems, []
        self.expanded(name, rest)
        missing = self.declared.experiments[name].value.keys() - rest.value.keys()
        excused = [f"`{{{key}}}`" for key in missing]
        found = [one for one in self.problems if one.code in _EVEN_IN_BROKEN and not any(word in one.message for word in excused)]
        self.problems = sound + found

    def take(self, jobs: int) -> None:
        """Count jobs (`TooMuch`: more than a spec may have)."""
        self.total += jobs
        if self.total > MAX_CELLS:
            raise TooMuch("too-many-cells", f"the spec has more than {MAX_CELLS:,} jobs", "leave out values, or use `zip`")
        if len(self.problems) > MOST_PROBLEMS:
            raise TooMuch("more-problems", "the experiments have more problems than are worth finding at once", "correct the others first")

    def unique(self, jobs: Sequence[DesiredJob]) -> None:
        """Report addresses that two jobs have, once for each experiment."""
        first: dict[str, DesiredJob] = {}
        clashes: dict[str, tuple[DesiredJob, int]] = {}
        for job in jobs:
            if first.setdefault(job.address, job) is not job:
                known, count = clashes.get(job.experiment, (job, 0))
                clashes[job.experiment] = known, count + 1
        for job, count in clashes.values():
            places = job.origin
            other = first[job.address].origin.place("name", first[job.address].axes)
            more = f", and {count - 1} more like it" if count > 1 else ""
            self.problems.append(
                Diagnostic(
                    code="duplicate-address",
                    severity=Severity.ERROR,
                    message=f"two jobs have the address `{job.address}`{more}",
                    at=places.place("name", job.axes),
                    help="add an axis, such as `replicate: [1, 2]`, that tells them apart",
                    also=(("first given here", other),) if other else (),
                )
            )

    def known(self, path: str, value: Any, at: Callable[[], Place | None]) -> Diagnostic | None:
        """Return what is wrong with a name that a setting refers to."""
        declared = self.declared
        if path == "engine" and value not in declared.engines and ("engines", value) not in declared.broken:
            return error("unknown-engine", f"`{printable(value)}` is not an engine", at=at(), help=did_you_mean(value, declared.engines))
        if path in ("train", "validation") and value not in self.refs and not self.broken_dataset(value):
            return error(
                "unknown-dataset",
                f"`{printable(value)}` is not a dataset or a part of one",
                at=at(),
                help=did_you_mean(value, sorted(self.refs)),
            )
        if path == "evals":
            for name in [value] if isinstance(value, str) else value:
                if name not in declared.evals and ("evals", name) not in declared.broken:
                    return error("unknown-eval", f"`{printable(name)}` is not an eval", at=at(), help=did_you_mean(name, declared.evals))
        return None

    def broken_dataset(self, ref: str) -> bool:
        return any(("datasets", name) in self.declared.broken for name in (ref, ref.rpartition(".")[0]))
