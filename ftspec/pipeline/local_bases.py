"""What local engines cannot do with a spec, found before anything is uploaded: settings, adapters, bases and their chat templates.

The trainer itself refuses the same when a job is created; here it has a place in the spec. Entries with an
address have a server that knows its bases. `bases_of` looks once at every base that jobs of the spec start from.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from ftspec.data.checks.base import Reads
from ftspec.diagnostics import Diagnostic, FtspecError, error
from ftspec.planner.identify import place_of
from ftspec.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ftspec.experiment import DesiredJob, EngineEntry, Spec
    from ftspec.pipeline.project import Project

T = TypeVar("T")
Lacks = tuple[tuple[str, str], ...]
_ENGINE_LACKS = ("parts", "task_tools")
_LORA = {"rank": "lora_r", "alpha": "lora_alpha", "dropout": "lora_dropout", "targets": "lora_target_modules"}


class Bases(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with the local engines of a spec, what the rows of each dataset must do without, and how long they may be."""

    diagnostics: list[Diagnostic] = []
    _lacks: Mapping[str, Lacks] = {}
    _reads: Mapping[str, tuple[Reads, ...]] = {}

    def lacks(self, dataset: str) -> Lacks:
        """Return what the bases of a dataset's jobs, and their engines, do not have."""
        return self._lacks.get(dataset, ())

    def reads(self, dataset: str) -> tuple[Reads, ...]:
        """Return how many tokens of a row the bases of a dataset's jobs take, where they are known."""
        return self._reads.get(dataset, ())


def local_entries(spec: Spec) -> dict[str, EngineEntry]:
    """Return the entries of local engines that run in this process."""
    return {name: entry for name, entry in spec.engines.items() if entry.type == "local" and entry.base_url is None}


def bases_of(spec: Spec, project: Project) -> Bases:
    """Return what local engines cannot do with this spec."""
    entries = local_entries(spec)
    jobs = [job for job in spec.jobs if job.engine in entries]
    if not jobs:
        return Bases()
    from ftspec.pipeline.base_files import examine, folder_of
    from ftspec.server.trainers.local.resolve import most_tokens
    from ftspec.server.trainers.local.settings import settings

    problems: list[Diagnostic] = []
    lacks: dict[str, set[tuple[str, str]]] = defaultdict(set)
    reads: dict[str, set[Reads]] = defaultdict(set)
    starts = _starts(spec, jobs)
    for name, entry in entries.items():
        try:
            models = settings(entry.options, folder=project.root, entry=name).models
        except FtspecError as wrong:
            problems.append(error("engine-setting", wrong.message, at=entry.at, help=wrong.help))
            continue
        for base, (first, datasets) in starts.items():
            if base[0] != name:
                continue
            known = models.get(base[1])
            folder = folder_of(known, project) if known is not None else None
            found = examine(folder, project, fetched=known.path is None) if folder is not None and known is not None else None
            if found is not None and found.wrong is not None:
                message = f"the base `{printable(base[1][:80])}` cannot be trained: {found.wrong}"
                problems.append(error("base-untrainable", message, at=place_of(first, "base_model"), help="take another base"))
            for dataset, longest in datasets.items():
                lacks[dataset] |= {(base[1], lack) for lack in (found.lacks if found else ())}
                lacks[dataset] |= {(name, lack) for lack in _ENGINE_LACKS}
                if (most := most_tokens(found.config if found else {}, {"max_length": longest})) is not None:
                    tokenizer, digest = (found.tokenizer if found else None) or ("", "")
                    reads[dataset].add(Reads(base=base[1], tokens=most, tokenizer=tokenizer, digest=digest))
    problems += _wrong_options(spec, jobs)
    return Bases(diagnostics=problems, _lacks=_sorted(lacks), _reads=_sorted(reads))


def _sorted(found: Mapping[str, Iterable[T]]) -> dict[str, tuple[T, ...]]:
    return {name: tuple(sorted(values)) for name, values in found.items()}  # type: ignore[type-var] # texts, and structs that are ordered


def _starts(spec: Spec, jobs: list[DesiredJob]) -> dict[tuple[str, str], tuple[DesiredJob, dict[str, int | None]]]:
    """Return each base by engine and name: a job that starts from it, and the datasets of all of them with the least `max_length`."""
    by_address = {job.address: job for job in spec.jobs}
    starts: dict[tuple[str, str], tuple[DesiredJob, dict[str, int | None]]] = {}
    for job in jobs:
        root = job
        while root.parent is not None and root.parent in by_address:
            root = by_address[root.parent]
        _, datasets = starts.setdefault((job.engine, root.base_model), (root, {}))
        given = job.engine_options.get("max_length")
        for dataset in {ref.partition(".")[0] for ref in (job.train, job.validation) if ref}:
            lengths = (given if isinstance(given, int) else None, datasets.get(dataset))
            datasets[dataset] = min((one for one in lengths if one is not None), default=None)
    return starts


def _wrong_options(spec: Spec, jobs: list[DesiredJob]) -> Iterator[Diagnostic]:
    """Yield adapters and options that the engine refuses."""
    from ftspec.server.trainers.local.resolve import check_adapter, check_extra

    by_address = {job.address: job for job in spec.jobs}
    adapters: dict[str, Mapping[str, Any] | None] = {}
    told: dict[Diagnostic, None] = {}
    ways: dict[tuple[int, int, str | None], DesiredJob] = {}
    for job in jobs:
        ways.setdefault((id(job.lora), id(job.engine_options), job.parent), job)  # cells share what their experiment says
    for job in ways.values():
        given = _given(job)
        problems = list(check_extra(given, within=""))
        parent = by_address.get(job.parent or "")
        if not problems and parent is not None and not given.get("full") and (adapter := _adapter(parent, by_address, adapters)):
            problems = list(check_adapter(given, adapter, within=""))
        for problem in problems:
            setting = _setting(str(problem.param).removeprefix("."))
            message = _in_words_of_specs(problem.message)
            told[error("option-refused", message, at=place_of(job, setting), help="choose another value, or leave it out")] = None
    yield from told


def _given(job: DesiredJob) -> dict[str, Any]:
    """Return a job's settings beyond OpenAI's under the trainer's names."""
    given = {_LORA[name]: value for name, value in job.lora.items() if name in _LORA}
    given |= {name: job.engine_options[name] for name in ("full", "max_length") if name in job.engine_options}
    return given


def _adapter(job: DesiredJob, by_address: Mapping[str, DesiredJob], known: dict[str, Mapping[str, Any] | None]) -> Mapping[str, Any] | None:
    """Return the LoRA settings of what a job makes; `None`: a whole model, or not known."""
    if job.address not in known:
        from ftspec.server.trainers.local.resolve import LORA, resolved

        given, parent = _given(job), by_address.get(job.parent or "")
        inherited = _adapter(parent, by_address, known) if parent is not None else None
        made = {} if given.get("full") else resolved(job.method, given, rows=1, adapter=dict(inherited) if inherited else None)
        known[job.address] = {name: made[name] for name in LORA} if made else None
    return known[job.address]


def _setting(param: str) -> str:
    """Return how a spec calls a setting of the trainer."""
    ours = {theirs: f"lora.{name}" for name, theirs in _LORA.items()}
    return ours.get(param, f"engine_options.{param}")


def _in_words_of_specs(message: str) -> str:
    for theirs in (*_LORA.values(), "full", "max_length"):
        for written in (f"'.{theirs}'", f"'{theirs}'"):
            message = message.replace(written, f"`{_setting(theirs)}`")
    return message[0].lower() + message[1:].rstrip(".")
