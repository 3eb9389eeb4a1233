"""Job files of azd's `azure.ai.finetune` extension become a spec.

Such a file is one request: `model`, `training_file` and `validation_file` (`local:PATH` or a file
id), `suffix`, `seed`, `metadata`, `method.<type>.hyperparameters` (with `epochs`), `grader`,
`integrations`, `extra_body`. azd keeps no record of the jobs it submits, so they are found on the
engine afterwards: `ftspec import ADDRESS --search`. The files are read as data: nothing in them
is run or asked.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ftspec.diagnostics import FtspecError, has_errors
from ftspec.pipeline.importing.stub import Stub, StubDataset, StubEngine, StubJob, settings_of, slug, told_apart
from ftspec.pipeline.planning import InvalidSpec, load, profiles
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.experiment import Spec
    from ftspec.pipeline.project import Project

ENGINE = "azure"
METHODS = ("supervised", "dpo", "reinforcement")
_LOCAL = "local:"
_KNOWN = (
    "model", "training_file", "validation_file", "suffix", "seed", "metadata", "method", "integrations", "extra_body", "name", "description",
)  # fmt: skip
_SECRETS = frozenset({"api_key", "key", "token"})


class NotAJob(FtspecError):
    """The file is not a job of azd's extension."""


def translate(project: Project, files: Sequence[Path], *, engine: str | None = None) -> tuple[Stub, list[str]]:
    """Return a spec for these job files, and what could not be taken over."""
    spec = load(project).spec if project.files else None
    name, declared = _engine(spec, engine)
    datasets = _Datasets(project, spec)
    notes: list[str] = []
    jobs = [_job(path, name, datasets, notes) for path in files]
    stub = Stub(
        jobs=told_apart(jobs),
        datasets=datasets.made,
        engines=declared,
        remarks=["Jobs of azd's fine-tuning extension. Those that it has submitted already are found by", "ftspec import ADDRESS --search"],
        taken={job.experiment for job in spec.jobs} if spec else (),
    )
    return stub, notes


def _engine(spec: Spec | None, name: str | None) -> tuple[str, list[StubEngine]]:
    engines = spec.engines if spec is not None else {}
    if name is not None:
        if name not in engines:
            raise FtspecError(f"no spec declares an engine `{printable(name)}`", help="declare it under `engines:`")
        return name, []
    hosted = sorted(entry.name for entry in engines.values() if entry.type == ENGINE)
    if hosted:
        return hosted[0], []
    members = {"type": ENGINE, "base_url": "https://my-resource.openai.azure.com/openai/v1"}
    return ENGINE, [StubEngine(name=ENGINE, members=members, note="put the address of your resource here")]


class _Datasets:
    """The datasets that the job files name."""

    def __init__(self, project: Project, spec: Spec | None) -> None:
        self._project = project
        self._declared = {one.path: one.name for one in spec.datasets.values() if one.split is None and not one.transforms} if spec else {}
        self._taken = list(spec.datasets) if spec else []
        self._names: dict[str, str] = {}
        self.made: list[StubDataset] = []

    def name(self, written: str, *, folder: Path) -> str:
        """Return the name of the dataset that a job file calls `local:PATH` or by a file id."""
        note = ""
        if written.startswith(_LOCAL):
            places = [base / written.removeprefix(_LOCAL) for base in (folder, self._project.root)]
            path = self._relative(next((place for place in places if os.path.isfile(place)), places[0]))  # noqa: PTH113 no name is too long for it
        else:
            path, note = f"data/{slug(written)}.jsonl", f"put the rows of the engine's file {written} here"
        if path in self._declared:
            return self._declared[path]
        if path not in self._names:
            self._names[path] = slug(PurePosixPath(path).stem, taken=(*self._taken, *self._names.values()))
            self.made.append(StubDataset(name=self._names[path], path=path, note=note))
        return self._names[path]

    def _relative(self, path: Path) -> str:
        lexical = Path(os.path.normpath(path))
        if not lexical.is_relative_to(self._project.root):
            raise NotAJob(f"`{printable(lexical.name)}` is outside the project's root", help="run in a folder that holds it: -C DIR")
        return lexical.relative_to(self._project.root).as_posix()


def _job(path: Path, engine: str, datasets: _Datasets, notes: list[str]) -> StubJob:
    members = _read(path)
    shown = printable(path.name)
    for name in ("model", "training_file"):
        if not isinstance(members.get(name), str) or not members[name]:
            raise NotAJob(f"`{shown}` is not a job of azd's fine-tuning extension: it needs `{name}`")
    notes += [f"{shown}: `{printable(name)}` has no place in a spec and is left out" for name in members if name not in _KNOWN]
    method, block = _method(members.get("method"), shown)
    hyperparameters = dict(_mapping(block.get("hyperparameters")))
    options = dict(_mapping(members.get("extra_body")))
    if "prompt_loss_weight" in hyperparameters:
        options["prompt_loss_weight"] = hyperparameters.pop("prompt_loss_weight")
    if "epochs" in hyperparameters:
        hyperparameters["n_epochs"] = hyperparameters.pop("epochs")
    settings = {"base_model": members["model"], **settings_of(method, hyperparameters)}
    for name in ("seed", "suffix"):
        if members.get(name) is not None:
            settings[name] = members[name]
    kept = len(settings_of(method, hyperparameters))
    if lost := len(hyperparameters) - kept:
        notes.append(
            f"{shown}: {lost} hyperparameter{' has' if lost == 1 else 's have'} no place in a spec and {'is' if lost == 1 else 'are'} left out"
        )
    given = members.get("integrations")
    integrations = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    unknown = [one for one in integrations if str(one.get("type")) not in profiles()[ENGINE].integrations]
    notes += [f"{shown}: the engine type `{ENGINE}` does not report to `{printable(str(one.get('type')))}`: left out" for one in unknown]
    integrations = [one for one in integrations if one not in unknown]
    if any(_SECRETS & _mapping(one.get("config")).keys() for one in integrations):
        notes.append(f"{shown}: a key of an integration is left out; give it to the engine's account instead")
    validation = members.get("validation_file")
    folder = path.parent
    return StubJob(
        engine=engine,
        train=datasets.name(members["training_file"], folder=folder),
        validation=datasets.name(validation, folder=folder) if isinstance(validation, str) and validation else None,
        method=method,
        grader=_mapping(block.get("grader")) or None,
        settings=settings,
        engine_options=options,
        integrations=tuple(_integration(one) for one in integrations),
        tags={str(name): str(value) for name, value in _mapping(members.get("metadata")).items()},
        experiment=slug(str(members.get("name") or path.stem)),
        source=path.name,
    )


def _read(path: Path) -> dict[str, Any]:
    from ftspec.spec.source import parse
    from ftspec.spec.tree import plain

    try:
        content = path.read_bytes()
    except OSError as error:
        raise NotAJob(f"`{printable(path.name)}` cannot be read: {error.strerror}") from None
    tree, _, problems = parse(content, path.name)
    if has_errors(problems):
        raise InvalidSpec(problems)
    value = plain(tree)
    if not isinstance(value, dict):
        raise NotAJob(f"`{printable(path.name)}` is not a mapping")
    return value


def _method(value: Any, shown: str) -> tuple[str, Mapping[str, Any]]:
    method = _mapping(value)
    name = method.get("type") or "supervised"
    if name not in METHODS:
        raise NotAJob(f"`{shown}` has the method `{printable(str(name))}`, which is none of {', '.join(METHODS)}")
    return name, _mapping(method.get(name))


def _integration(one: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(one.get("type"))
    return {"type": kind, kind: {name: value for name, value in _mapping(one.get("config")).items() if name not in _SECRETS}}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
