"""The columns of the grid table: what varies has a column, what is the same for all jobs is said once. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ftspec.address import axis_text
from ftspec.render.words import money

if TYPE_CHECKING:
    from ftspec.render.report.values import EvalTable, ReportJob

SHORT: Final = "method.hyperparameters."


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What is shown, what sorts it, and whether it is a number."""

    text: str
    sort: float | str
    number: bool = False
    kind: str = ""


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
    for title, help_text, of in _settings(jobs):
        cells = [of(one) for one in jobs]
        texts = {cell.text for cell in cells}
        if len(texts) == 1 and len(jobs) > 1:
            if texts != {""}:
                same.append((title, cells[0].text))
        elif texts != {""}:
            columns.append(Column(title=title, cells=cells, help=help_text, filter=len(texts) <= 12))
    for title, help_text, of in _figures(evals):
        cells = [of(one) for one in jobs]
        texts = {cell.text for cell in cells}
        if title in ("estimated", "cost") and len(texts) == 1 and len(jobs) > 1 and texts <= {"free", "unknown"}:
            same.append((title, cells[0].text))
        elif texts != {""}:
            columns.append(Column(title=title, cells=cells, help=help_text))
    return columns, same


_Of = Callable[["ReportJob"], Cell]


def _settings(jobs: Sequence[ReportJob]) -> Sequence[tuple[str, str, _Of]]:
    axes = list(dict.fromkeys(axis for one in jobs for axis in one.job.axes))
    fixed: dict[str, Callable[[ReportJob], Any]] = {
        "engine": lambda one: one.job.engine + (" (simulated)" if one.simulated else ""),
        "base_model": lambda one: f"model of {one.job.parent}" if one.job.parent else one.job.base_model,
        "method": lambda one: one.job.method,
        "train": lambda one: f"{one.train.ref} ({one.train.rows:,} rows, {one.train.digest[:12]})",
        "validation": lambda one: "none" if one.validation is None else f"{one.validation.ref} ({one.validation.rows:,} rows)",
        "epochs": lambda one: _resolved(one, "n_epochs"),
        "batch_size": lambda one: _resolved(one, "batch_size"),
        "learning_rate_multiplier": lambda one: _resolved(one, "learning_rate_multiplier"),
        "seed": lambda one: one.job.seed if one.job.seed is not None else (one.attempt.seed if one.attempt else None),
        "base model ends": lambda one: one.ends,
    }

    def axis(name: str) -> _Of:
        return lambda one: value_cell(one.job.axes.get(name))

    def plain(read: Callable[[ReportJob], Any]) -> _Of:
        return lambda one: value_cell(read(one))

    found: list[tuple[str, str, _Of]] = [(name.removeprefix(SHORT), "", axis(name)) for name in axes]
    found += [(name, "", plain(read)) for name, read in fixed.items() if name not in axes]
    return found


def _resolved(one: ReportJob, name: str) -> Any:
    resolved = one.attempt.hyperparameters.get(name) if one.attempt is not None else None
    return resolved if resolved is not None else one.job.hyperparameters.get(name)


def _figures(evals: Sequence[EvalTable]) -> Sequence[tuple[str, str, _Of]]:
    found: list[tuple[str, str, _Of]] = [
        ("train", "last training loss", lambda one: figure_cell(one.metric("train_loss", "train_mean_reward", "reward"))),
        ("valid", "last validation loss, on all rows where the engine says so", lambda one: figure_cell(_valid(one))),
        ("best step", "earlier checkpoint with a lower validation loss", lambda one: _step_cell(one)),
    ]
    for table in evals:
        several = len({other.grader for other in evals if other.eval == table.eval}) > 1
        title = f"{table.eval}.{table.grader}" if several else table.eval
        if title not in [known for known, _, _ in found]:
            found.append((title, f"mean of `{table.grader}` on `{table.eval}`", _score(evals, table.eval, table.grader)))
    found += [
        ("tokens", "trained tokens", lambda one: figure_cell(one.attempt.trained_tokens if one.attempt else None, 0)),
        ("estimated", "estimated cost of training", _estimate),
        ("cost", "actual cost of training", _cost),
    ]
    return found


def _valid(one: ReportJob) -> float | None:
    return one.metric("full_valid_loss", "full_valid_mean_reward", "valid_loss", "valid_mean_reward")


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
