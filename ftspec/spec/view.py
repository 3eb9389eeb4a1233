"""A loaded spec as its rules see it: setups instead of cells, profiles instead of names."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    from ftspec.diagnostics import Place
    from ftspec.experiment import DesiredJob, Spec
    from ftspec.profile import BaseModel, MethodProfile, Profile
    from ftspec.spec.references import Variables
    from ftspec.spec.tree import Source


class View(msgspec.Struct, frozen=True, dict=True):
    """What a rule may look at. `broken` are blocks that already have errors: (section, name)."""

    spec: Spec
    profiles: Mapping[str, Profile]
    today: dt.date | None
    sources: Sequence[Source]
    variables: Variables
    broken: frozenset[tuple[str, str]]

    @cached_property
    def setups(self) -> list[DesiredJob]:
        """One job for each different way to train: what tells them apart is more than seed, replicate and labels."""
        found: dict[tuple[object, ...], DesiredJob] = {}
        for job in self.spec.jobs:
            key = (
                job.experiment,
                job.engine,
                job.base_model,
                job.method,
                job.train,
                job.validation,
                id(job.hyperparameters),
                id(job.lora),
                id(job.engine_options),
                id(job.grader),
                id(job.integrations),
                job.parent if job.parent is not None and len(found) < _MANY else None,
            )
            if key not in found:
                found[key] = job
        return list(found.values())

    @cached_property
    def by_address(self) -> dict[str, DesiredJob]:
        """The jobs by address."""
        return {job.address: job for job in self.spec.jobs}

    def at(self, job: DesiredJob, setting: str) -> Place | None:
        """Return where a job's setting is written."""
        place: Place | None = job.origin.place(setting, job.axes) if job.origin is not None else None
        return place

    def profile(self, job: DesiredJob) -> Profile:
        """Return the profile of a job's engine."""
        return self._profiles[job.engine]

    @cached_property
    def _profiles(self) -> dict[str, Profile]:
        return {name: self.profiles[entry.type] for name, entry in self.spec.engines.items()}

    @staticmethod
    def unknown_server(profile: Profile) -> bool:
        """Whether nothing is known of what the engine can do: any server of the protocol, by address."""
        return not profile.in_process and not profile.origins

    def method(self, job: DesiredJob) -> MethodProfile | None:
        """Return what the engine says about a job's method, if it has it."""
        return self._profiles[job.engine].methods.get(job.method)

    def root_model(self, job: DesiredJob) -> str:
        """Return the engine's model at the start of a job's chain."""
        if job.parent is None:
            return job.base_model
        above: list[str] = []
        name = job.base_model
        parent: str | None = job.parent
        while parent is not None and parent in self.by_address:
            above.append(parent)
            if parent in self._roots:
                name = self._roots[parent]
                break
            name, parent = self.by_address[parent].base_model, self.by_address[parent].parent
        self._roots.update(dict.fromkeys(above, name))
        return name

    @cached_property
    def _roots(self) -> dict[str, str]:
        return {}

    def model(self, job: DesiredJob) -> BaseModel | None:
        """Return what the engine says about a job's base model, if it knows it."""
        name = self.root_model(job)
        return next((model for model in self.profile(job).base_models if model.name == name), None)


_MANY = 1_000


def matches(name: str, globs: Sequence[str]) -> bool:
    """Whether a model's name fits any of the globs of a profile."""
    return any(fnmatchcase(name, glob) for glob in globs)
