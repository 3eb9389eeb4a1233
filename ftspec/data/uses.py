"""What a spec does with its datasets, as far as rules and limits must know: engines, methods, graders' references."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from ftspec.data.checks.base import Reads, Setting
from ftspec.data.checks.whole import NoEval
from ftspec.data.formats import EVAL
from ftspec.data.limits import limits, setting_for
from ftspec.data.tokens import choose
from ftspec.diagnostics import Diagnostic

if TYPE_CHECKING:
    from ftspec.actions import DatasetFacts
    from ftspec.experiment import DesiredJob, Spec
    from ftspec.profile import Profile

_ITEM = re.compile(r"\{\{\s*item\.([A-Za-z_][\w.-]*)")


def item_keys(value: Any) -> frozenset[str]:
    """Return every `x` of `{{item.x}}` in the texts of a JSON value."""
    if isinstance(value, str):
        return frozenset(_ITEM.findall(value))
    inner: Iterable[Any] = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return frozenset().union(*(item_keys(one) for one in inner))


def dataset_of(ref: str) -> str:
    """Return the dataset that a reference belongs to."""
    return ref.partition(".")[0]


def told_apart(spec: Spec) -> Spec:
    """Return the spec with one job for each different use of datasets: all that settings, tokenizers and limits ask about jobs."""
    ways: dict[tuple[Any, ...], DesiredJob] = {}
    for job in spec.jobs:
        ways.setdefault((job.train, job.validation, job.engine, job.method, job.preset, id(job.grader)), job)
    return replace(spec, jobs=tuple(ways.values()))


def profiles_of(spec: Spec, name: str, profiles: Mapping[str, Profile]) -> Iterator[Profile]:
    """Yield the profiles of the engines whose jobs read a dataset."""
    engines = {job.engine for job in spec.jobs for ref in (job.train, job.validation) if ref and dataset_of(ref) == name}
    for engine in sorted(engines):
        entry = spec.engines.get(engine)
        if entry is not None and entry.type in profiles:
            yield profiles[entry.type]


def setting_of(
    spec: Spec,
    name: str,
    profiles: Mapping[str, Profile],
    *,
    safety: bool = False,
    lacks: tuple[tuple[str, str], ...] = (),
    reads: tuple[Reads, ...] = (),
) -> Setting:
    """Return what the row rules must know of a dataset: what every engine takes, what bases lack and read, and which columns are meant."""
    needed = frozenset().union(
        *(item_keys(job.grader) for job in spec.jobs if name in {dataset_of(ref) for ref in (job.train, job.validation) if ref})
    )
    read = frozenset().union(
        *(item_keys(one.graders) | item_keys(one.prompt) for one in spec.evals.values() if dataset_of(one.dataset) == name)
    )
    columns = {key.partition(".")[0] for key in needed | read} | ({"reference"} if read else set())
    settings = [setting_for(profile) for profile in profiles_of(spec, name, profiles)] or [Setting()]
    formats = formats_of(spec, name, profiles)
    if not formats and any(dataset_of(one.dataset) == name for one in spec.evals.values()):
        formats = {EVAL}
    return Setting(
        wanted=formats.pop() if len(formats) == 1 else None,
        roles=frozenset.intersection(*(one.roles for one in settings)),
        max_images=min(one.max_images for one in settings),
        max_image_bytes=min(one.max_image_bytes for one in settings),
        max_image_rows=min(one.max_image_rows for one in settings),
        strict_tools=any(one.strict_tools for one in settings),
        columns=frozenset(columns),
        item_keys=tuple(sorted(needed)),
        labels=any(job.preset == "classification" for job in spec.jobs if dataset_of(job.train) == name),
        safety=safety,
        lacks=lacks,
        reads=reads,
    )


def formats_of(spec: Spec, name: str, profiles: Mapping[str, Profile]) -> set[str]:
    """Return the formats that the methods of a dataset's jobs want."""
    found = set()
    for train, validation, engine, name_of_method in {(job.train, job.validation, job.engine, job.method) for job in spec.jobs}:
        entry = spec.engines.get(engine)
        if name not in {dataset_of(ref) for ref in (train, validation) if ref} or entry is None or entry.type not in profiles:
            continue
        if (method := profiles[entry.type].methods.get(name_of_method)) is not None:
            found.add(str(method.dataset_format))
    return found


def tokenizer_of(spec: Spec, name: str, profiles: Mapping[str, Profile]) -> str:
    """Return the tokenizer that the engines of a dataset's jobs bill by."""
    return choose(profile.defaults.get("tokenizer") for profile in profiles_of(spec, name, profiles))


def spec_limits(spec: Spec, facts: Mapping[str, DatasetFacts], profiles: Mapping[str, Profile]) -> list[Diagnostic]:
    """Return what the engines of a spec do not take about the datasets of its jobs."""
    found: dict[Diagnostic, None] = {}
    # Jobs of a grid differ in other things; in the order of the spec.
    for train, validation, engine, name in dict.fromkeys((job.train, job.validation, job.engine, job.method) for job in spec.jobs):
        entry = spec.engines.get(engine)
        profile = profiles.get(entry.type) if entry is not None else None
        method = profile.methods.get(name) if profile is not None else None
        for ref, use in ((train, "train"), (validation, "validation")):
            if ref is not None and ref in facts:
                dataset = spec.datasets.get(dataset_of(ref))
                told = limits(
                    facts[ref],
                    profile,
                    use=use,
                    wanted_format=method.dataset_format if method is not None else None,
                    engine=engine,
                    at=dataset.path_at if dataset is not None else None,
                )
                found.update(dict.fromkeys(told))
    return list(found)


def unmeasured(spec: Spec) -> list[Diagnostic]:
    """Return the experiments that no eval measures."""
    measured = {job.experiment for job in spec.jobs if job.evals}
    first = {job.experiment: job for job in reversed(spec.jobs)}
    return [
        Diagnostic(
            code=NoEval.code,
            severity=NoEval.severity,
            message=f"no eval measures what experiment `{name}` makes",
            help=NoEval.help,
            at=job.origin.place("name", job.axes) if job.origin is not None else None,
        )
        for name, job in reversed(first.items())
        if name not in measured
    ]


def contexts_of(spec: Spec, name: str, profiles: Mapping[str, Profile]) -> dict[str, int]:
    """Return the base models that a dataset trains, with their training contexts as far as they are known."""
    found = {}
    for job in spec.jobs:
        entry = spec.engines.get(job.engine)
        if dataset_of(job.train) != name or entry is None or entry.type not in profiles:
            continue
        for model in profiles[entry.type].base_models:
            if model.context is not None and fnmatchcase(job.base_model, model.name):
                found[job.base_model] = model.context
    return found
