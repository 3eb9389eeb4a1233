"""Specs written from jobs that exist: the text, and the address that each job has in it.

Jobs with the same engine, files and method become one experiment. What all of them share is
written once, what differs becomes a matrix: a product where the jobs are one, otherwise a list
of cells. Jobs that are equal in everything are told apart by `replicate`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ftspec.address import NAME, format_address
from ftspec.fingerprint import canonical_json
from ftspec.printable import printable
from ftspec.spec.source import scalar

if TYPE_CHECKING:
    from collections.abc import Collection

SETTINGS = (
    "base_model", "epochs", "batch_size", "learning_rate_multiplier", "learning_rate", "method.hyperparameters.beta",
    "method.hyperparameters.reasoning_effort", "method.hyperparameters.compute_multiplier", "method.hyperparameters.eval_interval",
    "method.hyperparameters.eval_samples", "seed", "replicate", "suffix",
)  # fmt: skip
"""What may differ between the jobs of an experiment, in the order in which it is written."""

_SHORT = {"n_epochs": "epochs"} | {name: name for name in ("batch_size", "learning_rate_multiplier", "learning_rate")}
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*\Z")
_INDENT = "  "


@dataclass(frozen=True, slots=True, kw_only=True)
class StubJob:
    """A job that exists. `settings` are spec settings by (dotted) name; `source` says where it is, such as its id."""

    engine: str
    train: str
    settings: Mapping[str, Any]
    validation: str | None = None
    method: str = "supervised"
    grader: Mapping[str, Any] | None = None
    engine_options: Mapping[str, Any] = field(default_factory=dict)
    integrations: tuple[Mapping[str, Any], ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    experiment: str | None = None
    """What to call its experiment; by default it is called like the training data."""
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StubDataset:
    """A dataset: its file relative to the project's root, and a remark."""

    name: str
    path: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StubEngine:
    """An engine entry to declare, and a remark."""

    name: str
    members: Mapping[str, Any]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stub:
    """A spec to be. `remarks` go to its top; `addresses` are those of the jobs, in the order of `jobs`."""

    jobs: Sequence[StubJob]
    datasets: Sequence[StubDataset] = ()
    engines: Sequence[StubEngine] = ()
    remarks: Sequence[str] = ()
    taken: Collection[str] = ()
    """Names of experiments that exist already: the spec is read together with theirs, and with their defaults."""

    def addresses(self) -> list[str]:
        """Return the address of each job."""
        found = {id(job): address for group in _groups(self) for job, address in zip(group.jobs, group.addresses(), strict=True)}
        return [found[id(job)] for job in self.jobs]

    def text(self, *, prefix: str = "") -> str:
        """Return the spec. `prefix` leads from its folder to the project's root (`../`)."""
        lines = [*(f"# {printable(one)}".rstrip() for one in self.remarks), "ftspec: 1", ""]
        lines += _engines(self.engines)
        lines += _datasets(self.datasets, prefix)
        groups = _groups(self)
        if groups:
            lines.append("experiments:")
        for group in groups:
            lines += [*group.lines(explicit=bool(self.taken)), ""]
        return "\n".join(lines).rstrip("\n") + "\n"


def settings_of(method: str, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return hyperparameters under the names that a spec gives them; what it has no name for is left out."""
    named = {_SHORT.get(name, f"method.hyperparameters.{name}"): value for name, value in hyperparameters.items() if value is not None}
    allowed = {name for name in SETTINGS if not name.startswith("method.") or method != "supervised"}
    return {name: value for name, value in named.items() if name in allowed}


def slug(text: str, *, taken: Iterable[str] = ()) -> str:
    """Return a name that an experiment or dataset may have, and that nobody has yet."""
    cleaned = re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")[:48] or "jobs"
    cleaned = cleaned if NAME.match(cleaned) and scalar(cleaned) == cleaned else f"x-{cleaned}"  # `true` is no name in YAML
    used = set(taken)
    return next(name for name in (cleaned, *(f"{cleaned}-{i}" for i in range(2, len(used) + 3))) if name not in used)


@dataclass(frozen=True, slots=True)
class _Group:
    """The jobs of one experiment."""

    name: str
    jobs: Sequence[StubJob]

    @property
    def axes(self) -> list[str]:
        """The settings in which the jobs differ."""
        first = self.jobs[0].settings
        return [name for name in _ordered(first) if any(job.settings[name] != first[name] for job in self.jobs)]

    def addresses(self) -> list[str]:
        axes = self.axes
        return [printable(format_address(self.name, {axis: job.settings[axis] for axis in axes})) for job in self.jobs]

    def lines(self, *, explicit: bool) -> list[str]:
        """Return the experiment. `explicit`: what it does without is said, because defaults might give it."""
        job, axes = self.jobs[0], self.axes
        sources = [one.source for one in self.jobs if one.source]
        lines = [f"  {self.name}:" + (f"{_INDENT}# {printable(sources[0])}" if sources and len(self.jobs) == 1 else "")]
        lines += [f"    engine: {yaml(job.engine)}", f"    train: {yaml(job.train)}"]
        lines += [f"    validation: {yaml(job.validation)}"] if job.validation or explicit else []
        shared = {name: job.settings[name] for name in _ordered(job.settings) if name not in axes}
        lines += [f"    {name}: {yaml(value)}" for name, value in shared.items() if "." not in name]
        lines += _method(job, {name.rpartition(".")[2]: value for name, value in shared.items() if "." in name})
        members = {"engine_options": dict(job.engine_options), "integrations": list(job.integrations), "tags": dict(job.tags)}
        lines += [f"    {name}: {yaml(value)}" for name, value in members.items() if value]
        return lines + (self._matrix(axes) if axes else [])

    def _matrix(self, axes: list[str]) -> list[str]:
        values = {axis: _distinct(job.settings[axis] for job in self.jobs) for axis in axes}
        size = 1
        for each in values.values():
            size *= len(each)
        if size == len(self.jobs):
            return ["    matrix:", *(f"      {axis}: {yaml(each)}" for axis, each in values.items())]
        lines = ["    matrix:", "      include:"]
        for job in self.jobs:
            cell = ", ".join(f"{axis}: {yaml(job.settings[axis])}" for axis in axes)
            lines.append(f"        - {{{cell}}}" + (f"{_INDENT}# {printable(job.source)}" if job.source else ""))
        return lines


def _groups(stub: Stub) -> list[_Group]:
    """Return the experiments, in the order of their first jobs, with every job told apart from the others."""
    grouped: dict[bytes, list[StubJob]] = {}
    for job in stub.jobs:
        grouped.setdefault(_alike(job), []).append(job)
    taken = list(stub.taken)
    groups = []
    for jobs in grouped.values():
        name = slug(jobs[0].experiment or jobs[0].train, taken=taken)
        taken.append(name)
        groups.append(_Group(name, jobs))
    return groups


def told_apart(jobs: Sequence[StubJob]) -> list[StubJob]:
    """Return the jobs with a `replicate` for those that repeat an earlier one in everything but the suffix."""
    seen: dict[bytes, int] = {}
    result = []
    for job in jobs:
        training = {name: value for name, value in job.settings.items() if name != "suffix"}
        key = _alike(job) + canonical_json(training)
        seen[key] = seen.get(key, 0) + 1
        result.append(replace(job, settings={**job.settings, "replicate": seen[key]}) if seen[key] > 1 else job)
    return result


def _alike(job: StubJob) -> bytes:
    """Return what the jobs of one experiment have in common: everything but the values of settings."""
    whole = [job.engine, job.train, job.validation, job.method, job.grader, job.engine_options, job.integrations, job.tags, job.experiment]
    return canonical_json([*(dict(one) if isinstance(one, Mapping) else one for one in whole), sorted(job.settings)])


def _ordered(settings: Mapping[str, Any]) -> list[str]:
    return sorted(settings, key=SETTINGS.index)


def _distinct(values: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return sorted(found) if all(isinstance(value, (int, float)) for value in found) else found


def _method(job: StubJob, hyperparameters: Mapping[str, Any]) -> list[str]:
    if job.method == "supervised" and not hyperparameters and job.grader is None:
        return []
    block: dict[str, Any] = {"type": job.method}
    if hyperparameters:
        block["hyperparameters"] = dict(hyperparameters)
    lines = [f"    method: {yaml(block)}"]
    if job.grader is not None:
        # A grader's own braces are not references of the spec.
        lines = ["    method:", *(f"      {name}: {yaml(value)}" for name, value in block.items())]
        lines.append(f"      grader: {yaml(dict(job.grader), braces=False)}")
    return lines


def _engines(engines: Sequence[StubEngine]) -> list[str]:
    if not engines:
        return []
    lines = ["engines:"]
    for engine in engines:
        lines += [f"  # {printable(engine.note)}"] if engine.note else []
        lines += [f"  {engine.name}:", *(f"    {name}: {yaml(value)}" for name, value in engine.members.items())]
    return [*lines, ""]


def _datasets(datasets: Sequence[StubDataset], prefix: str) -> list[str]:
    if not datasets:
        return []
    lines = ["datasets:"]
    for dataset in datasets:
        note = f"{_INDENT}# {printable(dataset.note)}" if dataset.note else ""
        lines.append(f"  {dataset.name}: {{path: {yaml(prefix + dataset.path)}}}{note}")
    return [*lines, ""]


def yaml(value: Any, *, braces: bool = True) -> str:
    """Return a JSON value as YAML in one line. With `braces`, text is safe from being read as a reference."""
    match value:
        case str():
            return _text(value.replace("{", "{{").replace("}", "}}") if braces else value)
        case bool() | None | int() | float():
            return canonical_json(value).decode()
        case Mapping():
            return "{" + ", ".join(f"{_text(str(name))}: {yaml(inner, braces=braces)}" for name, inner in value.items()) + "}"
        case _:
            return "[" + ", ".join(yaml(inner, braces=braces) for inner in value) + "]"


def _text(text: str) -> str:
    if _PLAIN.match(text) and scalar(text) == text:
        return text
    quoted = json.dumps(text, ensure_ascii=False).replace("##[", "#\\u0023[")  # a command to a runner
    return "".join(character if character.isprintable() else _escaped(ord(character)) for character in quoted)


def _escaped(code: int) -> str:
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
