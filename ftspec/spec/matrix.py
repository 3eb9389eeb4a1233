"""A `matrix` block as cells: product, then `zip`, `exclude`, `include` and `overrides`.

A cell is a tuple of indices, one for each axis, into the values of that axis; -1 means that
the cell has no such axis (a row of `include` may leave one out, or bring one of its own).
Working on indices keeps a grid of ten thousand cells cheap: values, their texts and their
places exist once per axis.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ftspec.address import axis_text
from ftspec.diagnostics import Diagnostic, Place, Severity, error, warning
from ftspec.fingerprint import canonical_json
from ftspec.printable import printable
from ftspec.spec.settings import NAMES, Given, described, flatten_one, path_of, spelled
from ftspec.spec.suggest import did_you_mean
from ftspec.spec.tree import Map, Seq, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_CELLS: Final = 100_000
KEYWORDS: Final = ("zip", "exclude", "include", "overrides")

MAX_NAME: Final = 200
"""How long the name of a job, and a value in an address, may be."""
MOST_EFFORT: Final = 2_000_000
_MOST_LISTED: Final = 1_000

Cell = tuple[int, ...]
Where = dict[int, frozenset[int]]
"""A condition: the indices that are wanted of some axes."""


def value_key(value: Any) -> tuple[str, Any]:
    """Return what two equal values share (`1` and `1.0` are equal, `1` and `true` are not)."""
    match value:
        case bool():
            return "bool", value
        case int() | float():
            return "number", value
        case str():
            return "text", value
        case None:
            return "null", None
        case _:
            return "json", canonical_json(value)


def _called(value: Any) -> Any:
    if isinstance(value, dict) and isinstance(value.get("from"), str) and not value.get("where"):
        return value["from"]
    return plain(value)


class Axis(msgspec.Struct):
    """One axis: its name, its distinct values and where each is written."""

    name: str
    at: Given
    values: list[Any] = []
    givens: list[Given] = []
    _index: dict[tuple[str, Any], int] = {}
    _shown: list[Any] | None = None
    _texts: list[str] | None = None

    @property
    def shown(self) -> list[Any]:
        """What each value is called: a chain by its experiment, all else by itself."""
        if self._shown is None:
            self._shown = [_called(value) for value in self.values]
        return self._shown

    @property
    def texts(self) -> list[str]:
        """Each value as part of an address."""
        if self._texts is None:
            name = self.name
            self._texts = [f"{name}={printable(axis_text(value))}" for value in self.shown]
        return self._texts

    def too_long(self) -> Diagnostic | None:
        """Return what is wrong with a value that does not fit into an address."""
        for text, given in zip(self.texts, self.givens, strict=True):
            if len(text) > MAX_NAME + len(self.name):
                length = len(text) - len(self.name) - 1
                message = f"a value of the axis `{printable(self.name)}` has {length} characters, too many for an address"
                return error("axis-value-too-long", message, at=given.place(), help='give the jobs a short `name: "..."`')
        return None

    def index(self, value: Any) -> int | None:
        """Return the index of a value of this axis."""
        return self._index.get(value_key(value))

    def add(self, given: Given) -> tuple[int, bool]:
        """Return the index of a value, and whether it is new."""
        key = value_key(given.value)
        found = self._index.get(key)
        if found is not None:
            return found, False
        self._index[key] = len(self.values)
        self.values.append(given.value)
        self.givens.append(given)
        return len(self.values) - 1, True


class Conditions:
    """Which of many `{axis: value}` conditions a cell meets, looked up rather than tried one by one."""

    def __init__(self, wanted: Sequence[Where | None]) -> None:
        self._tables: dict[tuple[int, ...], dict[tuple[int, ...], list[int]]] = {}
        self._tried: list[tuple[int, Where]] = []
        for number, where in enumerate(wanted):
            if where is None or not all(where.values()):
                continue
            if math.prod(map(len, where.values())) > _MOST_LISTED:
                self._tried.append((number, where))
                continue
            table = self._tables.setdefault(tuple(where), {})
            for key in itertools.product(*where.values()):
                table.setdefault(key, []).append(number)

    @property
    def effort(self) -> int:
        """How many look-ups one cell takes."""
        return len(self._tables) + len(self._tried)

    def met(self, cell: Cell) -> tuple[int, ...]:
        """Return the numbers of the conditions that a cell meets, in order."""
        found: list[int] = []
        for axes, table in self._tables.items():
            found.extend(table.get(tuple([cell[axis] for axis in axes]), ()))
        found.extend(number for number, where in self._tried if all(cell[axis] in some for axis, some in where.items()))
        return tuple(sorted(found))


class Grid(msgspec.Struct):
    """The cells of one experiment. Without a matrix: one cell without axes."""

    axes: list[Axis] = []
    cells: list[Cell] = msgspec.field(default_factory=lambda: [()])
    overrides: list[dict[str, Given]] = []
    """What each override sets, by path."""
    applied: list[tuple[int, ...]] = []
    """The overrides that apply to each cell; empty where there are none."""
    rows: dict[Cell, Map] = {}
    """The rows of `include` by cell, for places."""

    def axis(self, name: str) -> int | None:
        """Return the position of an axis."""
        return next((i for i, axis in enumerate(self.axes) if axis.name == name), None)


def grid(node: Map, *, references: set[str], given: set[str]) -> tuple[Grid | None, list[Diagnostic]]:
    """Return the cells that a `matrix` block means.

    `references` are the names that strings of the experiment refer to, `given` the paths that
    the experiment sets without its matrix. `None`: no cells can be told.
    """
    return _Reader(node, references, given).read()


class _Reader:
    def __init__(self, node: Map, references: set[str], given: set[str]) -> None:
        self.node = node
        self.references = references
        self.given = given
        self.problems: list[Diagnostic] = []
        self.grid = Grid()

    def read(self) -> tuple[Grid | None, list[Diagnostic]]:
        axes = [self.axis(name, Given(self.node[name], self.node, name)) for name in self.node if name not in KEYWORDS]
        groups = list(self.zipped())
        if any(one.severity is Severity.ERROR for one in self.problems):
            return None, self.problems
        singles = [(len(axis.values), [(i,) for i in range(len(axis.values))]) for axis in axes]
        dimensions = singles + [(len(rows), rows) for _, rows in groups]
        self.grid.axes = axes + [axis for members, _ in groups for axis in members]
        count = math.prod(size for size, _ in dimensions)
        if count > MAX_CELLS:
            message = f"{count:,} cells are more than {MAX_CELLS:,}"
            self.problems.append(error("too-many-cells", message, at=self.node.at(), help="leave out values, or use `zip`"))
            return None, self.problems
        if dimensions:
            product = itertools.product(*(rows for _, rows in dimensions))
            self.grid.cells = [tuple(itertools.chain.from_iterable(parts)) for parts in product]
        elif "include" in self.node:
            self.grid.cells = []
        self.exclude()
        self.include()
        self.overrides()
        self.unused_axes()
        return self.grid, self.problems

    # The product and `zip`

    def axis(self, name: str, given: Given) -> Axis:
        axis = Axis(name, given)
        values = given.value
        if not isinstance(values, Seq) or not values:
            self.problems.append(
                error(
                    "wrong-value",
                    f"the axis `{printable(name)}` must be a list of values, not {described(values)}",
                    at=given.place(),
                    help=f"write `{printable(name)}: [...]`",
                )
            )
            return axis
        for i, value in enumerate(values):
            index, new = axis.add(Given(value, values, i))
            if not new:
                self.problems.append(
                    Diagnostic(
                        code="duplicate-axis-value",
                        severity=Severity.ERROR,
                        message=f"{described(value)} is listed twice in the axis `{printable(name)}`",
                        at=values.item_at(i),
                        help="remove one, or use `replicate` to train the same cell again",
                        also=_also("first listed here", axis.givens[index].place()),
                    )
                )
        return axis

    def zipped(self) -> Iterator[tuple[list[Axis], list[Cell]]]:
        node = self.node.get("zip")
        groups = node if isinstance(node, Seq) else [node]
        for group in groups:
            if not isinstance(group, Map):
                continue
            lists = {name: value for name, value in group.items() if isinstance(value, Seq)}
            lengths = {len(value) for value in lists.values()}
            if len(lists) < len(group) or len(lengths) != 1 or 0 in lengths:
                message = "the lists of `zip` must be equally long" if len(lists) == len(group) else "`zip` takes a list for each axis"
                self.problems.append(error("wrong-value", message, at=group.at(), help="give every axis one value for each cell"))
                continue
            members = []
            for name in group:
                if name in self.node:
                    self.problems.append(error("given-twice", f"the axis `{printable(name)}` is given twice", at=group.key_at(name)))
                members.append(Axis(name, Given(group[name], group, name)))
            rows = [tuple(axis.add(Given(lists[axis.name][i], lists[axis.name], i))[0] for axis in members) for i in range(lengths.pop())]
            yield members, rows

    # What is taken away and added

    def exclude(self) -> None:
        rows = list(self.rows("exclude"))
        wanted = [self.where(row, "exclude") for row in rows]
        found = self.matched(wanted, rows)
        if found is None:
            return
        matched = {i for some in found for i in some}
        self.grid.cells = [cell for cell, some in zip(self.grid.cells, found, strict=True) if not some]
        for i, row in enumerate(rows):
            if wanted[i] is not None and i not in matched:
                self.problems.append(
                    warning("matches-nothing", "this `exclude` matches no cell", at=row.at(), help="remove it, or correct its values")
                )

    def matched(self, wanted: Sequence[Where | None], rows: Sequence[Map]) -> list[tuple[int, ...]] | None:
        """Return which of the conditions each cell meets; `None` where that would take too long."""
        if not wanted:
            return [()] * len(self.grid.cells)
        conditions = Conditions(wanted)
        if conditions.effort * len(self.grid.cells) > MOST_EFFORT:
            message = "there are too many different conditions for this many cells"
            self.problems.append(error("too-many-cells", message, at=rows[0].at(), help="use lists in conditions: `{seed: [1, 2, 3]}`"))
            return None
        return [conditions.met(cell) for cell in self.grid.cells]

    def include(self) -> None:
        rows = list(self.rows("include"))
        extra: list[str] = []
        for row in rows:
            extra.extend(name for name in row if self.grid.axis(name) is None and name not in extra)
        known = len(self.grid.axes)
        for name in extra:
            at = next(Given(row[name], row, name) for row in rows if name in row)
            self.grid.axes.append(Axis(name, at))
        if extra:
            self.grid.cells = [(*cell, *([-1] * len(extra))) for cell in self.grid.cells]
        for row in rows:
            missing = [axis.name for axis in self.grid.axes[:known] if axis.name not in row and path_of(axis.name) not in self.given]
            if missing:
                names = ", ".join(f"`{printable(name)}`" for name in missing)
                self.problems.append(
                    error(
                        "missing-axis", f"an included cell must give every axis: {names} is missing", at=row.at(), help="add it to the row"
                    )
                )
                continue
            cell = tuple(axis.add(Given(row[axis.name], row, axis.name))[0] if axis.name in row else -1 for axis in self.grid.axes)
            self.grid.cells.append(cell)
            self.grid.rows.setdefault(cell, row)

    def overrides(self) -> None:
        rows = [row for row in self.rows("overrides") if isinstance(row.get("where"), Map) and isinstance(row.get("set"), Map)]
        wanted = [self.where(row["where"], "overrides") for row in rows]
        self.grid.overrides = [self.set_by(row["set"]) for row in rows]
        found = self.matched(wanted, rows)
        if found is None:
            return
        self.grid.applied = found if rows else []
        matched = {i for some in found for i in some}
        for i, row in enumerate(rows):
            if wanted[i] is not None and i not in matched:
                at = row["where"].at()
                self.problems.append(
                    warning("matches-nothing", "this override matches no cell", at=at, help="remove it, or correct its values")
                )

    def set_by(self, settings: Map) -> dict[str, Given]:
        """Return what an override sets, by path."""
        flat: dict[str, Given] = {}
        for name, value in settings.items():
            if path_of(name) is None and name != "method.hyperparameters":
                self.problems.append(unknown_setting(name, settings.key_at(name)))
            elif self.grid.axis(name) is not None:
                message = f"`{printable(name)}` is an axis, so its value is part of the address"
                help_text = "use `exclude` and `include` to change the cells"
                self.problems.append(error("override-of-axis", message, at=settings.key_at(name), help=help_text))
            else:
                flat.update(flatten_one(name, Given(value, settings, name)))
        return flat

    def rows(self, keyword: str) -> Iterator[Map]:
        rows = self.node.get(keyword)
        for row in rows if isinstance(rows, Seq) else ():
            if isinstance(row, Map):
                yield row

    def where(self, row: Map, keyword: str) -> Where | None:
        """Return the wanted indices of each axis; a list means any of its values."""
        wanted: Where = {}
        for name, value in row.items():
            position = self.grid.axis(name)
            if position is None:
                known = [axis.name for axis in self.grid.axes]
                message = f"`{printable(name)}` in `{keyword}` is not an axis"
                self.problems.append(error("unknown-axis", message, at=row.key_at(name), help=did_you_mean(name, known)))
                return None
            axis = self.grid.axes[position]
            alternatives = value if isinstance(value, list) and axis.index(value) is None else [value]
            wanted[position] = frozenset(i for one in alternatives if (i := axis.index(one)) is not None)
        return wanted

    def unused_axes(self) -> None:
        for axis in self.grid.axes:
            if path_of(axis.name) is None and axis.name not in self.references:
                holder = axis.at.holder
                at = holder.key_at(axis.name) if isinstance(holder, Map) else None
                self.problems.append(unknown_axis(axis.name, at))


def unknown_axis(name: str, at: Place | None) -> Diagnostic:
    """Return the diagnostic for an axis that changes nothing."""
    shown = printable(name[:64])
    message = f"the axis `{shown}` is not a setting of a job, and nothing refers to `{{{shown}}}`"
    return error("unknown-axis", message, at=at, help=_setting_meant(name))


def unknown_setting(name: str, at: Place | None) -> Diagnostic:
    """Return the diagnostic for a name that is not a setting."""
    return error("unknown-key", f"`{printable(name[:64])}` is not a setting of a job", at=at, help=_setting_meant(name))


def _setting_meant(name: str) -> str | None:
    known = {spelled(path).rpartition(".")[2]: spelled(path) for path in _DOTTED}
    if name in known:
        return f"did you mean `{known[name]}`?"
    return did_you_mean(name, [*NAMES, *map(spelled, _DOTTED)], others={"n_epochs": "epochs"})


_DOTTED = (
    *(f"hyperparameters.{name}" for name in ("beta", "reasoning_effort", "compute_multiplier", "eval_interval", "eval_samples")),
    *(f"lora.{name}" for name in ("rank", "alpha", "dropout", "targets")),
)


def _also(label: str, place: Place | None) -> tuple[tuple[str, Place], ...]:
    return ((label, place),) if place else ()
