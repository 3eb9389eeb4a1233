"""Recorded jobs as tables of eighty columns, one per experiment: axes, status, losses, model.

Axis values have columns of their own instead of long addresses. A model name that would not fit
is shortened in its middle (`ft:..:triage-s1:1f2e3d4c`); `ftspec models --raw` prints all of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from ftspec.address import axis_text, experiment_of, natural
from ftspec.printable import printable
from ftspec.record import JobStatus, model_of
from ftspec.render.table import table
from ftspec.render.words import count

if TYPE_CHECKING:
    from ftspec.record import RecordedJob

_TRAIN = ("train_loss",)
_VALID = ("full_valid_loss", "valid_loss")
_REWARD = ("train_mean_reward", "reward")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLine:
    """One job to show: its address now, the matrix values of its cell, what is recorded (nothing yet: `None`).

    `done` says when it should be done, seen from now (`in 4 min`).
    """

    address: str
    axes: Mapping[str, Any] = field(default_factory=dict)
    record: RecordedJob | None = None
    done: str = ""


def jobs_text(lines: Sequence[JobLine], *, width: int = 80, color: bool = False) -> str:
    """Return a heading and a table for each experiment, in the order of `lines`."""
    groups: dict[str, list[JobLine]] = {}
    for line in lines:
        groups.setdefault(experiment_of(line.address), []).append(line)
    return "\n\n".join(_group(name, group, width, color=color) for name, group in groups.items())


def _group(name: str, lines: Sequence[JobLine], width: int, *, color: bool) -> str:
    lines = sorted(lines, key=lambda line: natural(line.address))
    axes = list(dict.fromkeys(axis for line in lines for axis in line.axes))
    columns: dict[str, list[Any]] = {axis: [_value(line.axes.get(axis)) for line in lines] for axis in axes}
    if not axes and len(lines) > 1:
        columns["job"] = [line.address for line in lines]
    shown = [_shown(line.record) for line in lines]
    statuses = [one.status for one in shown]
    if len(set(statuses)) > 1:
        columns["status"] = statuses
    if any(line.done for line in lines):
        columns["done"] = [line.done or None for line in lines]
    for title, names in (("loss", _TRAIN), ("reward", _REWARD), ("valid", _VALID)):
        values = [_metric(one.metrics, names) for one in shown]
        if any(value is not None for value in values):
            columns[title] = [f"{value:.4f}" if value is not None else None for value in values]
    models = [one.model for one in shown]
    if any(models):
        columns["model"] = _fitting(models, width - _used(columns))
    heading = f"{printable(name)}: {_tally(statuses)}"
    titles = [title.removeprefix("method.hyperparameters.") for title in columns]
    return heading if not columns else f"{heading}\n{_indented(table(titles, list(zip(*columns.values(), strict=True)), color=color))}"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.split("\n"))


def _tally(statuses: Sequence[str]) -> str:
    counts: dict[str, int] = {}
    for status in statuses:
        counts[status] = counts.get(status, 0) + 1
    if len(counts) == 1:
        return (
            f"{count(len(statuses), 'job')}, {statuses[0]}" if len(statuses) == 1 else f"{count(len(statuses), 'job')}, all {statuses[0]}"
        )
    return f"{count(len(statuses), 'job')}, " + ", ".join(f"{number} {status}" for status, number in counts.items())


class _Shown(NamedTuple):
    """What is shown of a record: the attempts of a loaded one are decoded whenever they are asked for, so once is enough."""

    status: str
    metrics: Mapping[str, float | None]
    model: str | None


def _shown(record: RecordedJob | None) -> _Shown:
    if record is None:
        return _Shown("not launched", {}, None)
    attempts = record.attempts
    last = attempts[-1]
    status = "in doubt" if last.status is JobStatus.INTENT else last.status.value
    return _Shown(status, last.metrics, model_of(attempts))


def _value(value: Any) -> Any:
    return value if value is None or isinstance(value, (int, float)) else axis_text(value)


def _metric(metrics: Mapping[str, float | None], names: Sequence[str]) -> float | None:
    return next((value for name in names if (value := metrics.get(name)) is not None), None)


def _used(columns: Mapping[str, Sequence[Any]]) -> int:
    """Return the width of the columns so far, with the gaps and the indent."""
    return 2 + sum(max(len(title), *(len(str(cell or "")) for cell in cells)) + 2 for title, cells in columns.items())


def _fitting(models: Sequence[str | None], room: int) -> list[str | None]:
    return [short_model(model, room) if model is not None else None for model in models]


def short_model(model: str, room: int) -> str:
    """Return a model name of at most about `room` characters: without its middle, then without its suffix, never without its end."""
    parts = model.split(":")
    if len(model) <= room or len(parts) < 4:
        return model
    short = ":".join([parts[0], "..", *parts[3:]])
    return short if len(short) <= room else ":".join([parts[0], "..", parts[-1]])
