"""One experiment as jobs: its cells, what each setting is in them, and the jobs they make."""

from __future__ import annotations

import re
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from msgspec.structs import force_setattr

from ftspec.address import axis_text
from ftspec.diagnostics import Diagnostic, Place, error
from ftspec.experiment import DesiredJob
from ftspec.printable import printable
from ftspec.spec.chains import Chain
from ftspec.spec.columns import AxisValue, Compiled, Compiler, Constant, UnknownValue, Varying, column, merged
from ftspec.spec.matrix import MAX_NAME, Grid, grid
from ftspec.spec.references import as_text, names_in
from ftspec.spec.settings import METHODS, Given, flatten, kind_of, spelled, wrong_value
from ftspec.spec.single import single_job
from ftspec.spec.tree import Map, Seq, plain
from ftspec.spec.variants import BLOCK, DEFAULTS, CellPlaces, Settings, Variant, unknown_method, variants

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ftspec.spec.columns import Budget
    from ftspec.spec.expand import Declared
    from ftspec.spec.matrix import Cell

_BAD_IN_NAME = re.compile(r"[\s*?\[\]\"'`\\!]")
_GROUPS: Final = ("hyperparameters", "lora", "engine_options", "tags")
_BY_LEAF: Final = ("train", "validation", "seed", "replicate", "suffix", "preset", "integrations", "evals", "depends_on")


class Whole(Protocol):
    """What an experiment needs of the expansion that it is part of."""

    declared: Declared
    problems: list[Diagnostic]
    budget: Budget

    def jobs_of(self, name: str, at: Place | None) -> list[DesiredJob] | None:
        """Return the jobs of another experiment."""
        ...

    def known(self, path: str, value: Any, at: Callable[[], Place | None]) -> Diagnostic | None:
        """Return what is wrong with a name that a setting refers to."""
        ...

    def take(self, jobs: int) -> None:
        """Count jobs (`TooMuch`: more than a spec may have)."""
        ...


def experiment_jobs(whole: Whole, name: str, block: Given) -> list[DesiredJob] | None:
    """Return the jobs of one experiment; `None` where they cannot be told."""
    node: Map = block.value
    base = Settings()
    base.overlay(whole.declared.defaults, DEFAULTS)
    flat, problems = flatten(node)
    whole.problems.extend(problems)
    base.overlay(flat, BLOCK)
    if "matrix" not in node:
        job = single_job(whole, name, base.copy(), CellPlaces(base, Grid(), block))
        if job is not None:
            whole.take(1)
            return [job]
    cells = _grid(whole, node, base)
    if cells is None:
        return None
    whole.take(len(cells.cells))
    shapes: list[Variant] = []
    for shape in variants(cells, base):
        fitted = _one_method(whole, name, block, shape, cells)
        if fitted is None:
            return None
        shapes.extend(fitted)
    made = [_Cells(whole, name, block, variant, cells).jobs() for variant in shapes]
    if len(made) == 1:
        return [job for _, job in made[0]] if made[0] is not None else None
    known = [jobs for jobs in made if jobs is not None]
    return (
        [job for _, job in sorted((pair for jobs in known for pair in jobs), key=lambda pair: pair[0])] if len(known) == len(made) else None
    )


def _grid(whole: Whole, node: Map, base: Settings) -> Grid | None:
    matrix = node.get("matrix")
    if not isinstance(matrix, Map):
        return Grid()
    variables = whole.declared.variables
    before = len(variables.problems)

    def where_filled(rows: Any) -> Any:
        """Replace variables in `where` only: what `set` gives is resolved per cell."""
        if not isinstance(rows, Seq):
            return rows
        return rows.with_items(
            [
                row.with_values({**row, "where": variables.fill(row["where"], row.at)}) if isinstance(row, Map) and "where" in row else row
                for row in rows
            ]
        )

    filled = matrix.with_values(
        {key: variables.fill(value, partial(matrix.value_at, key)) for key, value in matrix.items() if key != "overrides"}
    )
    if "overrides" in matrix:
        filled["overrides"] = where_filled(matrix["overrides"])
    if len(variables.problems) > before:
        return None
    references = names_in({key: value for key, value in node.items() if key != "matrix"})
    references |= names_in([given.value for given in whole.declared.defaults.values()]) | names_in(matrix.get("overrides"))
    cells, problems = grid(filled, references=references, given=set(base.given))
    whole.problems.extend(problems)
    return cells


def _one_method(whole: Whole, name: str, block: Given, shape: Variant, cells: Grid) -> list[Variant] | None:
    """Return a shape as variants of one training method each, so that each has the settings of its method (`None`: unknown)."""
    given = shape.settings.given.get("method")
    if given is None:
        whole.problems.extend(shape.settings.fit("supervised"))
        return [shape]
    compiler = _compiler(whole, name, shape, cells)
    try:
        compiled = compiler.setting("method") or Constant("supervised")
        methods = column(compiled, shape.cells)
    except UnknownValue:
        return None
    finally:
        whole.problems.extend(compiler.problems)
    groups: dict[str, list[int]] = {}
    places = CellPlaces(shape.settings, cells, block)
    for i, method in enumerate(methods):
        if not isinstance(method, str) or method not in METHODS:
            axes = {axis.name: axis.values[index] for axis, index in zip(cells.axes, shape.cells[i], strict=True) if index >= 0}
            whole.problems.append(unknown_method(method, places.place("method", axes)))
            return None
        groups.setdefault(method, []).append(i)
    return [_fitted(whole, shape, cells, method, members) for method, members in groups.items()]


def _fitted(whole: Whole, shape: Variant, cells: Grid, method: str, members: Sequence[int]) -> Variant:
    settings = shape.settings.copy()
    given = settings.given["method"]
    if isinstance(given.value, AxisValue):
        axis = cells.axes[given.value.position]
        given = axis.givens[axis.index(method) or 0]
    settings.given["method"] = Given(method, given.holder, given.key)
    whole.problems.extend(settings.fit(method))
    if len(members) == len(shape.cells):
        return Variant(shape.positions, shape.cells, shape.present, settings)
    return Variant([shape.positions[i] for i in members], [shape.cells[i] for i in members], shape.present, settings)


def _compiler(whole: Whole, name: str, variant: Variant, cells: Grid) -> Compiler:
    builtins = {"experiment": name} | ({"project": whole.declared.project} if whole.declared.project else {})
    return Compiler(
        settings=variant.settings.given,
        axes=cells.axes,
        present=variant.present,
        variables=whole.declared.variables,
        builtins=builtins,
        budget=whole.budget,
    )


class _Cells:
    """The cells of one variant on their way to jobs."""

    def __init__(self, whole: Whole, name: str, block: Given, variant: Variant, cells: Grid) -> None:
        self.whole = whole
        self.declared = whole.declared
        self.name = name
        self.settings = variant.settings
        self.grid = cells
        self.present = variant.present
        self.cells: Sequence[Cell] = variant.cells
        self.positions: Sequence[int] = variant.positions
        self.places = CellPlaces(variant.settings, cells, block)
        self.compiler = _compiler(whole, name, variant, cells)
        self.chain: Chain | None = None
        self.broken = False
        self.unknown: set[str] = set()

    def jobs(self) -> list[tuple[int, DesiredJob]] | None:
        """Return each job with the position of its cell."""
        base_model = self.base_models()
        fields = self.fields(base_model)
        if self.broken:
            self.whole.problems.extend(self.compiler.problems)
            return None
        constants = {name: one.value for name, one in fields.items() if isinstance(one, Constant)}
        varying = {name: column(one, self.cells) for name, one in fields.items() if isinstance(one, Varying)}
        for name in ("engine", "base_model", "train"):
            if None in varying.get(name, ()):
                self.missing(name)
        varying["axes"] = self.axes()
        varying["address"] = self.addresses()
        if self.broken:
            self.whole.problems.extend(self.compiler.problems)
            return None
        self.whole.problems.extend(self.compiler.problems)
        constants |= {"experiment": self.name, "origin": self.places, "suffix_is_identity": self.declared.suffix_is_identity}
        return list(zip(self.positions, _jobs(constants, varying, len(self.cells)), strict=True))

    # Which model each cell trains

    def base_models(self) -> Compiled:
        """Return the base model of each cell; cells of a chain are repeated for each parent."""
        try:
            compiled = self.compiler.setting("base_model")
            models = column(compiled or Constant(None), self.cells)
        except UnknownValue:
            self.broken = True
            return Constant("")
        if not any(isinstance(model, dict) for model in models):
            return self.checked("base_model", compiled) if compiled is not None else self.missing("base_model")
        self.link(models)
        chain, own = self.chain, compiled or Constant("")
        if chain is None or isinstance(own, Constant):
            return Constant("")
        return self.checked(
            "base_model", Varying((*own.deps, len(self.grid.axes)), lambda cell: own.of(cell) if cell[-1] < 0 else ""), empty=True
        )

    def link(self, models: Sequence[Any]) -> None:
        """Find the parents of each cell that trains on another job's model."""
        taken = {axis.name for axis in self.grid.axes} | {spelled(path) for path in self.settings.given if path != "base_model"}
        chain = Chain(self.whole.jobs_of, known=self.declared.experiments, taken=taken)
        cells: list[Cell] = []
        positions: list[int] = []
        for cell, position, model in zip(self.cells, self.positions, models, strict=True):
            parents = chain.parents(model, partial(self.at, "base_model", cell)) if isinstance(model, dict) else [-1]
            if parents is None:
                self.broken = True
                continue
            self.whole.take(len(parents) - 1)
            cells.extend((*cell, parent) for parent in parents)
            positions.extend([position] * len(parents))
        self.whole.problems.extend(chain.problems)
        self.chain = self.compiler.parents = chain
        self.cells, self.positions = cells, positions

    # What each setting is

    def fields(self, base_model: Compiled) -> dict[str, Compiled]:
        method = self.settings.given.get("method")
        fields: dict[str, Compiled] = {
            "base_model": base_model,
            "method": Constant(method.value if method else "supervised"),
            **self.engines(),
        }
        for name in _BY_LEAF:
            fields[name] = self.leaf(name)
        if fields["train"] == Constant(None):
            self.missing("train")
        for name in _GROUPS:
            fields[name] = self.group(name)
        fields["grader"] = self.grader()
        fields["integrations"] = _converted(fields["integrations"], lambda value: tuple(plain(value)) if isinstance(value, list) else ())
        fields["evals"] = _converted(fields["evals"], _names)
        fields["depends_on"] = _converted(fields["depends_on"], self.addresses_of)
        if self.chain is not None:
            jobs = self.chain.jobs
            fields["parent"] = Varying((len(self.grid.axes),), lambda cell: jobs[cell[-1]].address if cell[-1] >= 0 else None)
        defaults: dict[str, Any] = {"validation": None, "seed": None, "replicate": None, "suffix": None, "preset": None, "grader": None}
        return {name: one for name, one in fields.items() if not (name in defaults and one == Constant(None))}

    def engines(self) -> dict[str, Compiled]:
        """Return the engine and its scope; a chained job trains where its parent did unless it says otherwise."""
        engines = self.declared.engines
        own = self.leaf("engine")
        if own == Constant(None):
            own = Constant(self.declared.default_engine)
        chain = self.chain
        engine = own
        if chain is not None and self.settings.level.get("engine", DEFAULTS) == DEFAULTS:
            parent = len(self.grid.axes)
            deps = (*(own.deps if isinstance(own, Varying) else ()), parent)
            engine = Varying(
                deps,
                lambda cell: chain.jobs[cell[-1]].engine if cell[-1] >= 0 else own.value if isinstance(own, Constant) else own.of(cell),
            )
        if engine == Constant(None):
            self.missing("engine")

        def scope(name: Any) -> str:
            if isinstance(name, str) and name in engines:
                return engines[name].scope
            self.broken = True
            return ""

        scopes = _converted(engine, scope)
        if chain is not None:
            self.same_scope(chain, scopes)
        return {"engine": engine, "scope": scopes}

    def same_scope(self, chain: Chain, scopes: Compiled) -> None:
        for cell, scope in zip(self.cells, column(scopes, self.cells), strict=True):
            if cell[-1] >= 0 and scope and chain.jobs[cell[-1]].scope != scope:
                parent = chain.jobs[cell[-1]]
                message = f"the model of `{parent.address}` is in `{printable(parent.scope)}` and cannot be trained in `{printable(scope)}`"
                self.problem(error("other-scope", message, at=self.at("engine", cell), help=f"set `engine: {parent.engine}`"))
                return

    def leaf(self, path: str) -> Compiled:
        try:
            compiled = self.compiler.setting(path)
        except UnknownValue:
            self.broken = True
            self.unknown.add(path)
            return Constant(None)
        return Constant(None) if compiled is None else self.checked(path, compiled)

    def group(self, name: str) -> Compiled:
        prefix = f"{name}."
        parts = {path.removeprefix(prefix): self.leaf(path) for path in self.settings.given if path.startswith(prefix)}
        if name == "tags":
            return merged(parts, lambda values: {key: as_text(value) for key, value in values.items() if value is not None})
        return merged(parts, lambda values: {key: plain(value) for key, value in values.items() if value is not None})

    def grader(self) -> Compiled:
        parts = {path: self.leaf(path) for path in self.settings.given if path == "grader" or path.startswith("grader.")}
        return merged(parts, _grader) if parts else Constant(None)

    def addresses_of(self, value: Any) -> tuple[str, ...]:
        """Return the addresses that `depends_on` means: jobs, or whole experiments."""
        found: list[str] = []
        at = self.places.place("depends_on", {})
        for name in _names(value):
            experiment = name.partition("/")[0]
            jobs = self.whole.jobs_of(experiment, at) if experiment in self.declared.experiments else []
            if jobs is None:
                self.broken = True
                continue
            addresses = [job.address for job in jobs if name in (experiment, job.address)]
            if not addresses:
                hint = "name an experiment, or the address of one of its jobs"
                self.problem(
                    error("unknown-experiment", f"`{printable(name)}` in `depends_on` is not a job or an experiment", at=at, help=hint)
                )
            found.extend(addresses)
        return tuple(dict.fromkeys(found))

    # Checks and places

    def checked(self, path: str, compiled: Compiled, *, empty: bool = False) -> Compiled:
        """Return the setting with every distinct value checked when it is computed."""
        kind = kind_of(path)
        as_is = path not in ("suffix", "name")

        def check(value: Any, cell: Cell) -> Any:
            if value is None or (empty and value == ""):
                return value
            if not as_is and not isinstance(value, str):
                value = as_text(value)
            if kind is not None and not kind.accepts(value):
                self.problem(wrong_value(path, value, self.at(path, cell)))
            elif (unknown := self.whole.known(path, value, lambda: self.at(path, cell))) is not None:
                self.problem(unknown)
            return value

        if isinstance(compiled, Constant):
            return Constant(check(compiled.value, self.cells[0] if self.cells else ()))
        of = compiled.of
        return Varying(compiled.deps, lambda cell: check(of(cell), cell))

    def problem(self, problem: Diagnostic) -> None:
        self.broken = True
        self.whole.problems.append(problem)
        self.whole.take(0)

    def missing(self, name: str) -> Compiled:
        if name in self.unknown:
            return Constant("")
        what = "no engine is chosen" if name == "engine" else f"`{name}` is missing"
        hint = {"engine": "set `engine`, here or in `defaults`", "base_model": "add `base_model: MODEL`", "train": "add `train: DATASET`"}[
            name
        ]
        message = f"experiment `{self.name}`: {what}"
        self.problem(error("missing-setting", message, at=self.places.experiment(), help=hint))
        return Constant("")

    def at(self, path: str, cell: Cell) -> Place | None:
        axes = {axis.name: axis.values[index] for axis, index in zip(self.grid.axes, cell, strict=False) if index >= 0}
        return self.places.place(path, axes)

    # Addresses

    def axes(self) -> list[dict[str, Any]]:
        own = [(axis, i) for i, axis in enumerate(self.grid.axes) if self.present[i]]
        names = [axis.name for axis, _ in own]
        order = [(axis.shown, i) for axis, i in own]
        found = [dict(zip(names, [some[cell[i]] for some, i in order], strict=True)) for cell in self.cells]
        if self.chain is not None:
            for axes, cell in zip(found, self.cells, strict=True):
                if cell[-1] >= 0:
                    parent = self.chain.jobs[cell[-1]]
                    axes |= {label: parent.axes[axis] for axis, label in self.chain.labels[cell[-1]].items() if axis in parent.axes}
        return found

    def addresses(self) -> list[str]:
        name = self.leaf("name")
        if name != Constant(None):
            return self.named(column(name, self.cells))
        order = [(axis.texts, i) for i, axis in enumerate(self.grid.axes) if self.present[i]]
        if not order and self.chain is None:
            return [self.name] * len(self.cells)
        prefix = f"{self.name}/"
        found = [prefix + ",".join([some[cell[i]] for some, i in order]) for cell in self.cells]
        if self.chain is not None:
            found = [self.with_parent(address, cell) for address, cell in zip(found, self.cells, strict=True)]
        self.whole.budget.spend(sum(map(len, found)))
        for axis in self.grid.axes:
            if (long := axis.too_long()) is not None:
                self.problem(long)
        return found

    def with_parent(self, address: str, cell: Cell) -> str:
        """Return the address of a cell with the axes that tell its parent from the others."""
        parts = [] if address.endswith("/") else [address]
        if self.chain is not None and cell[-1] >= 0:
            parent = self.chain.jobs[cell[-1]]
            labels = self.chain.labels[cell[-1]]
            own = [f"{label}={printable(axis_text(parent.axes[axis]))}" for axis, label in labels.items() if axis in parent.axes]
            parts += own if parts else [address + own[0], *own[1:]] if own else []
        return ",".join(parts) or self.name

    def named(self, names: Sequence[Any]) -> list[str]:
        for name, cell in zip(names, self.cells, strict=True):
            if name is None or len(name) > MAX_NAME or _BAD_IN_NAME.search(name) or printable(name) != name:
                shown = printable(str(name)[:40])
                message = f"`{shown}` cannot be the name of a job"
                hint = f"use at most {MAX_NAME} characters, and no spaces, quotes or `*?[]!`"
                self.problem(error("wrong-value", message, at=self.at("name", cell), help=hint))
                return []
        return [f"{self.name}/{name}" for name in names]


def _jobs(constants: Mapping[str, Any], columns: Mapping[str, Sequence[Any]], count: int) -> list[DesiredJob]:
    """Return the jobs that share `constants`: copies of one, whose `columns` are filled in. Five times as fast as calling the class."""
    if not count:
        return []
    first = DesiredJob(**constants, **{name: values[0] for name, values in columns.items()})
    jobs = [copy(first) for _ in range(count)]
    for name, values in columns.items():
        for job, value in zip(jobs, values, strict=True):
            force_setattr(job, name, value)
    return jobs


def _converted(compiled: Compiled, convert: Callable[[Any], Any]) -> Compiled:
    if isinstance(compiled, Constant):
        return Constant(convert(compiled.value))
    of = compiled.of
    return Varying(compiled.deps, lambda cell: convert(of(cell)))


def _names(value: Any) -> tuple[str, ...]:
    """Return the names of a list; what is none has been told already."""
    names = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return tuple(dict.fromkeys(name for name in names if isinstance(name, str)))


def _grader(parts: dict[str, Any]) -> Any:
    """Return the grader with single members replaced (`method.grader.model` as an axis)."""
    whole = plain(parts.get("grader") or {})
    for path, value in parts.items():
        at = whole
        *above, last = path.split(".")[1:] or [""]
        for member in above:
            at = at.setdefault(member, {})
            if not isinstance(at, dict):
                break
        if last and isinstance(at, dict):
            at[last] = plain(value)
    return whole or None
