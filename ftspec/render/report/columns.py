"""The columns of the grid table: what varies has a column, what is the same for all jobs is said once. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ftspec.address import axis_text
from ftspec.render.words import money

if TYPE_CHECKING:
    from ftspec.render.report.values import EvalTable, ReportJob

_CHOICES: Final = 12
"""How many different values a filter offers."""
SHORT: Final = "method.hyperparameters."


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What is shown, what sorts it, and whether it is a number."""

    text: str
    sort: float | str
    number: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A heading and one cell for each job. `filter`: few enough different values to choose from."""

    title: str
    cells: Sequence[Cell]
    help: str = ""
    filter: bool = False

    @property
    def number(self) -> bool:
        """Whether its cells are numbers, to the right."""
        return any(cell.number for cell in self.cells)

    @property
    def values(self) -> Sequence[str]:
        """The different texts, numbers by size."""
        return [cell.text for cell in sorted({cell.text: cell for cell in self.cells}.values(), key=lambda cell: _sort_key(cell.sort))]


def _sort_key(value: float | str) -> tuple[bool, float, str]:
    return (True, 0.0, value) if isinstance(value, str) else (False, value, "")


def value_cell(value: Any) -> Cell:
    """Return a cell for a setting's value."""
    if isinstance(value, bool) or value is None:
        return Cell(text="" if value is None else axis_text(value), sort="" if value is None else axis_text(value))
    if isinstance(value, (int, float)):
        return Cell(text=f"{value:g}" if isinstance(value, float) else str(value), sort=value, number=True)
    return Cell(text=axis_text(value), sort=axis_text(value))


def figure_cell(value: float | None, digits: int = 4) -> Cell:
    """Return a cell for a measured figure; none is empty and sorts last."""
    return Cell(text="", sort="", number=False) if value is None else Cell(text=f"{value:,.{digits}f}", sort=value, number=True)


def money_cell(low: float | None, high: float | None, currency: str | None) -> Cell:
    """Return a cell for money; what is not known is said to be, never zero."""
    if low is None or high is None:
        return Cell(text="unknown", sort="unknown")
    text = money(low) if money(low) == money(high) else f"{money(low)} to {money(high)}"
    return Cell(text=f"{text} {currency or 'USD'}" if high else "free", sort=high, number=True)


def grid(jobs: Sequence[ReportJob], evals: Sequence[EvalTable]) -> tuple[Sequence[Column], Sequence[tuple[str, str]]]:
    """Return the columns for these jobs, and (title, value) of what is the same for all of them."""
    columns: list[Column] = []
    same: list[tuple[str, str]] = []
    for title, help_text, of, setting in [*_settings(jobs), *_figures(evals), *_data()]:
        cells = [of(one) for one in jobs]
        texts = {cell.text for cell in cells}
        if texts == {""}:
            continue
        if len(texts) == 1 and len(jobs) > 1 and (setting or texts <= {"free", "unknown"}):
            same.append((title, cells[0].text))
        else:
            columns.append(Column(title=title, cells=cells, help=help_text, filter=setting and len(texts) <= _CHOICES))
    return columns, same


_Of: TypeAlias = "Callable[[ReportJob], Cell]"
_Entry: TypeAlias = tuple[str, str, _Of, bool]
"""Title, help, what makes a cell, and whether it is a setting (its values can be chosen from)."""

_READ: Final[Mapping[str, Callable[[ReportJob], Any]]] = {
    "engine": lambda one: one.job.engine + (" (simulated)" if one.simulated else ""),
    "base_model": lambda one: f"model of {one.job.parent}" if one.job.parent else one.job.base_model,
    "method": lambda one: one.job.method,
    "epochs": lambda one: _resolved(one, "n_epochs"),
    "batch_size": lambda one: _resolved(one, "batch_size"),
    "learning_rate_multiplier": lambda one: _resolved(one, "learning_rate_multiplier"),
    "seed": lambda one: one.job.seed if one.job.seed is not None else (one.attempt.seed if one.attempt else None),
}


def _settings(jobs: Sequence[ReportJob]) -> Iterator[_Entry]:
    """Yield the axes, then other settings; jobs of an experiment without an axis show the setting of its name."""
    axes = list(dict.fromkeys(axis for one in jobs for axis in one.job.axes))
    for name in (*axes, *(setting for setting in _READ if setting not in axes)):
        yield name.removeprefix(SHORT), "", _setting(name), True


def _setting(name: str) -> _Of:
    read = _READ.get(name, _nothing)
    return lambda one: value_cell(one.job.axes[name] if name in one.job.axes else read(one))


def _nothing(_: ReportJob) -> None:
    """Stand for a setting that only its axis knows."""


def _data() -> Iterator[_Entry]:
    yield "trained on", "", lambda one: value_cell(f"{one.train.ref} ({one.train.rows:,} rows, {one.train.digest[:12]})"), True
    yield (
        "validated on",
        "",
        lambda one: value_cell("nothing" if one.validation is None else f"{one.validation.ref} ({one.validation.rows:,} rows)"),
        True,
    )
    yield "base model ends", "the day on which its provider stops serving it", lambda one: value_cell(one.ends), True


def _resolved(one: ReportJob, name: str) -> Any:
    resolved = one.attempt.hyperparameters.get(name) if one.attempt is not None else None
    return resolved if resolved is not None else one.job.hyperparameters.get(name)


def _figures(evals: Sequence[EvalTable]) -> Iterator[_Entry]:
    for title, help_text, names in (
        ("train loss", "last training loss", ("train_loss",)),
        ("valid loss", "last validation loss, on all rows where the engine says so", ("full_valid_loss", "valid_loss")),
        ("train reward", "last mean reward in training", ("train_mean_reward", "reward")),
        ("valid reward", "last mean reward in validation", ("full_valid_mean_reward", "valid_mean_reward")),
    ):
        yield title, help_text, _metric(names), False
    yield "best step", "earlier checkpoint with a lower validation loss", _step_cell, False
    graders = list(dict.fromkeys((table.eval, table.grader) for table in evals))
    for name, grader in graders:
        several = sum(1 for other, _ in graders if other == name) > 1
        yield f"{name}.{grader}" if several else name, f"mean of {grader} on {name}", _score(evals, name, grader), False
    yield "tokens", "trained tokens", lambda one: figure_cell(one.attempt.trained_tokens if one.attempt else None, 0), False
    yield "estimated", "estimated cost of the last attempt", _estimate, False
    yield "cost", "actual cost of the last attempt", _cost, False


def _metric(names: Sequence[str]) -> _Of:
    return lambda one: figure_cell(one.metric(*names))


def _step_cell(one: ReportJob) -> Cell:
    return figure_cell(one.best.step if one.best is not None else None, 0)


def _score(evals: Sequence[EvalTable], name: str, grader: str) -> _Of:
    means = {
        label: mean for table in evals if (table.eval, table.grader) == (name, grader) for row in table.rows for label, mean in row.seeds
    }
    return lambda one: figure_cell(means.get(one.address), 3)


def _estimate(one: ReportJob) -> Cell:
    attempt = one.attempt
    if attempt is None:
        return Cell(text="", sort="")
    low, high = attempt.estimated_cost or (None, None)
    return money_cell(low, high, attempt.currency)


def _cost(one: ReportJob) -> Cell:
    attempt = one.attempt
    if attempt is None or not attempt.status.terminal:
        return Cell(text="", sort="")
    return money_cell(attempt.cost, attempt.cost, attempt.currency)
