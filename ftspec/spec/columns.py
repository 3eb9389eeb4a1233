"""Settings of many cells at once: what depends on which axes, computed once per distinct value.

A setting of an experiment is a constant, or a function of some axes. `Compiler` turns the
values of one *variant* (cells that share overrides and shape) into `Constant` or `Varying`,
resolving references; `column` evaluates one for all cells.

Besides its own axes a cell of a chained experiment has a last index: which parent's model it
trains on. References to the parent's axes go through it.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from ftspec.diagnostics import Diagnostic, error
from ftspec.spec.references import (
    MOST_SUBSTITUTED,
    Reference,
    Template,
    Variables,
    as_text,
    not_text,
    stray_brace,
    template,
    unknown_reference,
    untouched,
)
from ftspec.spec.settings import NAMES, Given, path_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ftspec.spec.matrix import Axis, Cell


class Constant(msgspec.Struct, frozen=True):
    """The same value in every cell."""

    value: Any


class Varying(msgspec.Struct, frozen=True):
    """A value that depends on some axes: their positions, and the function of the cell."""

    deps: tuple[int, ...]
    of: Callable[[Cell], Any]


Compiled = Constant | Varying


class UnknownValue(Exception):
    """The value cannot be told; why is among the problems."""


class Parents(Protocol):
    """The jobs that cells of a chained experiment train on."""

    def has_axis(self, name: str) -> bool:
        """Whether the parents have an axis of this name."""
        ...

    def axis(self, name: str, parent: int) -> Any:
        """Return a parent's value of an axis (`None` where it has none)."""
        ...


def column(compiled: Compiled, cells: Sequence[Cell]) -> list[Any]:
    """Return the value of every cell."""
    if isinstance(compiled, Constant):
        return [compiled.value] * len(cells)
    deps, of = compiled.deps, compiled.of
    memo: dict[Any, Any] = {}
    keys: list[Any] = list(map(itemgetter(*deps), cells))
    for key, cell in zip(keys, cells, strict=True):
        if key not in memo:
            memo[key] = of(cell)
    return [memo[key] for key in keys]


def merged(parts: Mapping[str, Compiled], build: Callable[[dict[str, Any]], Any]) -> Compiled:
    """Return `build` over several compiled values."""
    constants = {name: part.value for name, part in parts.items() if isinstance(part, Constant)}
    varying = {name: part for name, part in parts.items() if isinstance(part, Varying)}
    if not varying:
        return Constant(build(constants))
    deps = tuple(sorted({dep for part in varying.values() for dep in part.deps}))
    functions = [(name, varying[name].of if name in varying else None) for name in parts]

    def of(cell: Cell) -> Any:
        return build({name: constants[name] if function is None else function(cell) for name, function in functions})

    return Varying(deps, of)


class Compiler:
    """Turns the settings of one variant into constants and functions of its cells."""

    def __init__(
        self,
        *,
        settings: Mapping[str, Given],
        axes: Sequence[Axis],
        present: Sequence[bool],
        variables: Variables,
        builtins: Mapping[str, str],
        budget: Budget,
    ) -> None:
        self.settings = settings
        self.axes = axes
        self.variables = variables
        self.builtins = builtins
        self.budget = budget
        self.parents: Parents | None = None
        self.problems: list[Diagnostic] = []
        self._position = {axis.name: i for i, axis in enumerate(axes) if present[i]}
        self._open: list[str] = []
        self._done: dict[str, Compiled] = {}

    def setting(self, path: str) -> Compiled | None:
        """Return the compiled setting, or `None` where it is not given."""
        if path in self._done:
            return self._done[path]
        given = self.settings.get(path)
        if given is None:
            return None
        self._open.append(path)
        try:
            compiled = self.value(given.value, given) if path != "grader" else Constant(given.value)
        finally:
            self._open.pop()
        self._done[path] = compiled
        return compiled

    def axis(self, position: int) -> Varying:
        """Return the value of one of the cell's own axes."""
        values = self.axes[position].values
        return Varying((position,), lambda cell: values[cell[position]])

    def value(self, value: Any, given: Given) -> Compiled:
        """Return a value with its references resolved. Raises `UnknownValue`."""
        match value:
            case AxisValue():
                return self.axis(value.position)
            case str():
                return self._text(value, given) if "{" in value or "}" in value else Constant(value)
            case dict():
                parts = {key: Constant(item) if untouched(key) else self.value(item, given) for key, item in value.items()}
                if all(isinstance(part, Constant) for part in parts.values()) and not self._changed(parts.values(), value.values()):
                    return Constant(value)
                return merged(parts, dict)
            case list():
                items = {str(i): self.value(item, given) for i, item in enumerate(value)}
                if all(isinstance(part, Constant) for part in items.values()) and not self._changed(items.values(), value):
                    return Constant(value)
                return merged(items, lambda by_index: list(by_index.values()))
            case _:
                return Constant(value)

    @staticmethod
    def _changed(parts: Any, values: Any) -> bool:
        return any(part.value is not value for part, value in zip(parts, values, strict=True))

    def _text(self, text: str, given: Given) -> Compiled:
        try:
            found = template(text)
        except ValueError as problem:
            self.problems.append(stray_brace(problem, given.place()))
            raise UnknownValue from None
        if isinstance(found, str):
            return Constant(found)
        parts = {
            str(i): self.reference(part.name, given) if isinstance(part, Reference) else Constant(part)
            for i, part in enumerate(found.parts)
        }
        if found.whole:
            return parts["0"]
        pieces = [
            str(part.value) if isinstance(piece, str) else self._piece(part, found, given) for part, piece in self._paired(parts, found)
        ]
        deps = tuple(sorted({dep for part in parts.values() if isinstance(part, Varying) for dep in part.deps}))
        if not deps:
            return Constant(self._joined(pieces, ()))
        return Varying(deps, lambda cell: self._joined(pieces, cell))

    @staticmethod
    def _paired(parts: Mapping[str, Compiled], found: Template) -> list[tuple[Any, str | Reference]]:
        return list(zip(parts.values(), found.parts, strict=True))

    def _piece(self, part: Compiled, found: Template, given: Given) -> str | Callable[[Cell], str]:
        """Return how a reference reads inside text: text, or a function of the cell that remembers."""

        def read(value: Any) -> str:
            if isinstance(value, (dict, list)):
                self.problems.append(not_text(found, given.place()))
                return ""
            return as_text(value)

        if isinstance(part, Constant):
            return read(part.value)
        key_of = itemgetter(*part.deps)
        of = part.of
        memo: dict[Any, str] = {}

        def read_cell(cell: Cell) -> str:
            key = key_of(cell)
            known = memo.get(key)
            if known is None:
                known = memo[key] = read(of(cell))
            return known

        return read_cell

    def _joined(self, pieces: Sequence[str | Callable[[Cell], str]], cell: Cell) -> str:
        text = "".join([piece if piece.__class__ is str else piece(cell) for piece in pieces])  # type: ignore[operator]  # a function
        self.budget.spend(len(text))
        return text

    def reference(self, name: str, given: Given) -> Compiled:
        """Return what `{name}` stands for: an axis, a setting, a parent's axis, a variable, in this order."""
        if name in self._position:
            return self.axis(self._position[name])
        path = path_of(name) or path_of(f"method.hyperparameters.{name}")
        if path is not None and path not in self._open and not self._is_chain(path):
            compiled = self.setting(path)
            if compiled is not None:
                return compiled
        parents = self.parents
        if parents is not None and parents.has_axis(name):
            return Varying((len(self.axes),), lambda cell: parents.axis(name, cell[-1]))
        if name in self.variables:
            return Constant(self.variables[name])
        if name in self.builtins:
            return Constant(self.builtins[name])
        if path is not None and path in self._open:
            self.problems.append(
                error("reference-cycle", f"`{{{name}}}` refers to itself", at=given.place(), help="name a variable or an axis")
            )
        elif path is not None and name in NAMES:
            self.problems.append(
                error("unknown-reference", f"`{{{name}}}` has no value here", at=given.place(), help=f"set `{name}` in the experiment")
            )
        else:
            known = [*self._position, *self.variables.names(), *NAMES, *self.builtins]
            self.problems.append(unknown_reference(name, known, given.place()))
        raise UnknownValue

    def _is_chain(self, path: str) -> bool:
        given = self.settings.get(path)
        return path == "base_model" and given is not None and not isinstance(given.value, str)


class AxisValue(msgspec.Struct, frozen=True):
    """Stands for the value of an axis among the settings of a variant."""

    position: int


class TooMuch(Exception):
    """The spec means more than anybody can mean; what, and what to do instead."""

    def __init__(self, code: str, message: str, fix: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.fix = fix


class Budget:
    """Bounds how much text all cells of a spec may hold together."""

    def __init__(self, limit: int = 10 * MOST_SUBSTITUTED) -> None:
        self.left = limit

    def spend(self, amount: int) -> None:
        """Take `amount` away (`TooMuch`: nothing is left)."""
        self.left -= amount
        if self.left < 0:
            raise TooMuch("too-much-text", "the cells of this experiment hold too much text", "shorten axis values and references")
