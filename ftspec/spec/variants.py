"""Cells that share the shape of their settings, and what is in force in them.

Settings come in levels: `defaults`, the experiment, its axes, its overrides. Mappings merge
key by key, a later level wins, `null` clears. Cells differ in shape where an override applies
to some only, where an `include` row has other axes, or where an axis holds whole mappings
(`lora: [{rank: 8}, {rank: 16}]`); each such shape is one `Variant`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from ftspec.diagnostics import Diagnostic, Place, error
from ftspec.spec.columns import AxisValue, TooMuch
from ftspec.spec.settings import EXCLUSIVE, GROUPS, METHODS, OTHER_METHODS, Given, flatten_one, path_of, wrong_value
from ftspec.spec.suggest import did_you_mean
from ftspec.spec.tree import Map

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ftspec.spec.matrix import Cell, Grid

DEFAULTS: Final = 0
BLOCK: Final = 1
AXES: Final = 2
OVERRIDES: Final = 3
MOST_VARIANTS: Final = 2_000

_OF_SOME_METHOD: Final = frozenset(name for names in METHODS.values() for name in names)


class Settings:
    """The settings in force, by path, and the level that each comes from."""

    __slots__ = ("given", "level")

    def __init__(self) -> None:
        self.given: dict[str, Given] = {}
        self.level: dict[str, int] = {}

    def overlay(self, flat: Mapping[str, Given], level: int) -> None:
        """Put a level on top."""
        for path, given in flat.items():
            if given.value is None:
                self._clear(path)
                continue
            if path in EXCLUSIVE:
                self._clear(EXCLUSIVE[path])
            if path == "grader":
                self._clear(path)
            self.given[path] = given
            self.level[path] = level

    def _clear(self, path: str) -> None:
        for one in [path, *(other for other in self.given if other.startswith(f"{path}."))]:
            self.given.pop(one, None)
            self.level.pop(one, None)

    def copy(self) -> Settings:
        """Return settings that can be overlaid without changing these."""
        other = Settings()
        other.given = dict(self.given)
        other.level = dict(self.level)
        return other

    def fit(self, method: str) -> list[Diagnostic]:
        """Drop what a lower level meant for another method; return what the method cannot have."""
        problems: list[Diagnostic] = []
        known = METHODS[method]
        chosen = self.level.get("method", -1)
        for path in [path for path in self.given if path.startswith("hyperparameters.")]:
            name = path.partition(".")[2]
            if name in known or name not in _OF_SOME_METHOD:
                continue
            if self.level[path] >= chosen:
                others = " or ".join(f"`{other}`" for other, names in METHODS.items() if name in names)
                message = f"`{name}` is not a hyperparameter of the method `{method}`"
                problems.append(
                    error("wrong-hyperparameter", message, at=self.given[path].place(), help=f"remove it, or set `method` to {others}")
                )
            self._clear(path)
        if method != "reinforcement" and "grader" in self.given:
            if self.level["grader"] >= chosen:
                message = f"the method `{method}` has no grader"
                problems.append(
                    error("wrong-hyperparameter", message, at=self.given["grader"].place(), help="set `method` to `reinforcement`")
                )
            self._clear("grader")
        return problems


class Variant(msgspec.Struct, frozen=True):
    """Cells of one shape: their positions in the grid, which axes they have, what is in force."""

    positions: Sequence[int]
    cells: Sequence[Cell]
    present: tuple[bool, ...]
    settings: Settings


def variants(grid: Grid, base: Settings) -> list[Variant]:
    """Return the variants of a grid, in the order of their first cells."""
    whole = [
        i
        for i, axis in enumerate(grid.axes)
        if path_of(axis.name) in ("method", *GROUPS) and any(isinstance(value, dict) for value in axis.values)
    ]
    ragged = any(-1 in cell for cell in grid.cells)
    if not any(grid.applied) and not whole and not ragged:
        present = (True,) * len(grid.axes)
        return [_variant(grid, base, (), present, range(len(grid.cells)), ())] if grid.cells else []
    groups: dict[Any, list[int]] = {}
    for position, cell in enumerate(grid.cells):
        shape = (grid.applied[position] if grid.applied else (), tuple(index >= 0 for index in cell), tuple(cell[i] for i in whole))
        groups.setdefault(shape, []).append(position)
    if len(groups) > MOST_VARIANTS:
        message = f"the cells of this matrix have more than {MOST_VARIANTS:,} different shapes"
        raise TooMuch("too-many-cells", message, "use fewer overrides, or make an axis of what they set")
    return [_variant(grid, base, shape[0], shape[1], positions, whole) for shape, positions in groups.items()]


def _variant(
    grid: Grid, base: Settings, applied: Sequence[int], present: tuple[bool, ...], positions: Sequence[int], whole: Sequence[int]
) -> Variant:
    settings = base.copy()
    cells = grid.cells if len(positions) == len(grid.cells) else [grid.cells[i] for i in positions]
    for i, axis in enumerate(grid.axes):
        path = path_of(axis.name)
        if path is None or not present[i]:
            continue
        if i in whole:
            settings.overlay(flatten_one(axis.name, axis.givens[cells[0][i]]), AXES)
        else:
            settings.overlay({path: Given(AxisValue(i), axis.at.holder, axis.at.key)}, AXES)
    for i in applied:
        settings.overlay(grid.overrides[i], OVERRIDES)
    return Variant(positions, cells, present, settings)


class CellPlaces:
    """Where the settings of one variant's jobs are written: a `SettingPlaces`."""

    __slots__ = ("_block", "_grid", "_settings")

    def __init__(self, settings: Settings, grid: Grid, block: Given) -> None:
        self._settings = settings
        self._grid = grid
        self._block = block

    def place(self, setting: str, axes: Mapping[str, Any]) -> Place | None:
        """Return where `setting` of the cell `axes` got its value; the experiment's own place where it has none."""
        given = self._given(setting)
        if given is None:
            return self.experiment()
        if isinstance(given.value, AxisValue):
            axis = self._grid.axes[given.value.position]
            index = axis.index(axes[axis.name]) if axis.name in axes else None
            return axis.givens[index].place() if index is not None else axis.at.place()
        return given.place()

    def experiment(self) -> Place | None:
        """Return where the experiment's name is written."""
        holder = self._block.holder
        return holder.key_at(str(self._block.key)) if isinstance(holder, Map) else None

    def _given(self, setting: str) -> Given | None:
        given = self._settings.given
        path = path_of(setting) or setting
        if path in given:
            return given[path]
        if path == "scope":
            return given.get("engine")
        if path == "parent":
            return given.get("base_model")
        below = next((one for one in given if one.startswith(f"{path}.")), None)
        if below is not None:
            return given[below]
        above = path.rpartition(".")[0]
        return self._given(above) if above else None


def unknown_method(value: Any, at: Place | None) -> Diagnostic:
    """Return the diagnostic for a method that does not exist."""
    problem = wrong_value("method", value, at)
    return error(problem.code, problem.message, at=at, help=did_you_mean(str(value)[:40], METHODS, others=OTHER_METHODS))
