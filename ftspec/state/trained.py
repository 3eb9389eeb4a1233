"""The models that were trained: rows for tables, CSV, shells and programs.

A row is *current* while its job is what an address means now: the lockfile says so; without one,
the newest job of an address counts. Rows of other jobs are history: `models` leaves them out
unless asked for `history`.

Rows are found by selectors (`planner.selectors`) and by settings: `base_model`, `seed`, `suffix`, any
hyperparameter (`epochs` is short for `n_epochs`), a dotted member of the request, an axis of the
address, a tag.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ftspec.address import axis_text
from ftspec.diagnostics import FtspecError
from ftspec.printable import printable
from ftspec.record import Attempt, Checkpoint, RecordedJob, State

if TYPE_CHECKING:
    from ftspec.state.lockfile import Lock

_SHORT: Final = {"epochs": "n_epochs"}
_NAMES: Final = ("address", "engine", "scope", "base_model", "method", "suffix", "seed", "replicate", "key", "model", "job")
"""What every row can be asked for, whether it has a value or not."""


class NoModel(FtspecError):
    """An address has no model (yet)."""

    @classmethod
    def of(cls, record: RecordedJob) -> NoModel:
        """Say what became of the job instead."""
        status = "in doubt" if record.in_doubt else f"`{record.status.value}`"
        return cls(f"`{printable(record.address)}` has no model: its job is {status}", help=f"ftspec status '{printable(record.address)}'")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """One fine-tuned model and where it comes from.

    `given` are the settings that the spec gave, by dotted name, `hyperparameters` what the
    engine made of them.
    """

    address: str
    model: str
    job: str
    key: str
    engine: str
    scope: str
    base_model: str
    method: str
    suffix: str | None
    seed: int | None
    given: Mapping[str, Any]
    hyperparameters: Mapping[str, Any]
    tags: Mapping[str, str]
    checkpoints: tuple[Checkpoint, ...]
    metrics: Mapping[str, float | None]
    trained_tokens: int | None
    cost: float | None
    currency: str | None
    finished_at: str | None
    deployment: str | None = None
    """The name to ask the model by, where its engine deploys models."""
    step: int | None = None
    """Set for a model saved during training."""
    current: bool = True

    @property
    def asked(self) -> str:
        """What requests name the model by."""
        return self.deployment or self.model

    def saved(self) -> Iterator[TrainedModel]:
        """Yield the models saved during training, beside the last one."""
        for one in self.checkpoints:
            if one.model != self.model:
                yield replace(self, model=one.model, step=one.step, metrics=one.metrics, checkpoints=(), deployment=None)

    def get(self, name: str) -> Any:
        """Return a setting, hyperparameter, axis or tag (`KeyError`: this row has none of that name)."""
        if name in _NAMES:
            return getattr(self, name, self.given.get(name))
        short = _SHORT.get(name, name).removeprefix("method.hyperparameters.").removeprefix("hyperparameters.")
        for known in (self.hyperparameters, _under(self.given, "hyperparameters"), self.given, self.tags, _axes(self.address)):
            if short in known:
                return known[short]
        return self.tags[name.removeprefix("tags.")]

    def names(self) -> Iterator[str]:
        """Yield every name that `get` knows."""
        yield from (*_NAMES, *self.hyperparameters, *self.given, *self.tags, *_axes(self.address))
        yield from (short for short, name in _SHORT.items() if name in self.hyperparameters)

    def flat(self) -> dict[str, Any]:
        """Return the row as columns: scalars under fixed names, then hyperparameters and tags."""
        fixed = {name: getattr(self, name) for name in _COLUMNS}
        fixed |= {"deployment": self.deployment} if self.deployment else {}
        given = _under(self.given, "hyperparameters") | dict(self.hyperparameters)
        return (
            fixed | {f"hyperparameters.{n}": v for n, v in sorted(given.items())} | {f"tags.{n}": v for n, v in sorted(self.tags.items())}
        )


_COLUMNS: Final = (
    "address", "model", "step", "engine", "base_model", "method", "suffix", "seed", "trained_tokens", "cost", "currency", "finished_at",
    "job", "scope", "key", "current",
)  # fmt: skip


def models(state: State, lock: Lock | None = None, *, history: bool = False, where: Mapping[str, str] | None = None) -> list[TrainedModel]:
    """Return the models, sorted by address, that all of `where` (setting to text) fit."""
    rows = [row for row in _rows(state, lock) if row.current or history]
    for name, wanted in (where or {}).items():
        _known(name, rows)
        rows = [row for row in rows if _fits(row, name, wanted)]
    return sorted(rows, key=lambda row: (row.address, not row.current, row.finished_at or "", row.key))


def model(state: State, lock: Lock | None, address: str) -> TrainedModel:
    """Return the model of an address, or of the only address that begins with it. Raises `NoModel`."""
    rows = models(state, lock)
    found = [row for row in rows if row.address == address] or [row for row in rows if row.address.partition("/")[0] == address]
    if len(found) == 1:
        return found[0]
    shown = printable(address)
    if found:
        names = ", ".join(f"`{printable(row.address)}`" for row in found[:3]) + (", ..." if len(found) > 3 else "")
        raise NoModel(f"`{shown}` means {len(found)} models", help=f"name one of them: {names}")
    near = difflib.get_close_matches(address, [row.address for row in rows], n=1)
    raise NoModel(f"`{shown}` has no model", help=f"did you mean `{printable(near[0])}`?" if near else "see `ftspec status`")


def as_csv(rows: Sequence[TrainedModel]) -> str:
    """Return rows as CSV. Text that a spreadsheet would take for a formula gets a `'` before it, control characters are spelled out."""
    import csv
    import io

    flat = [row.flat() for row in rows]
    columns = [*_COLUMNS, *sorted({name for row in flat for name in row} - set(_COLUMNS))]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in flat)
    return buffer.getvalue()


def as_json(rows: Sequence[TrainedModel]) -> str:
    """Return rows as JSON, checkpoints and metrics included."""
    from ftspec.render.json import dumps

    plain = [{name: value for name, value in _plain(row).items() if value is not None} for row in rows]
    return dumps({"format_version": "1.0", "models": plain})


def _plain(row: TrainedModel) -> dict[str, Any]:
    members: dict[str, Any] = msgspec.to_builtins(row)
    return members


def as_shell(rows: Sequence[TrainedModel]) -> str:
    """Return rows as shell assignments: `TRIAGE_SEED_1='ft:...'`. Two addresses with one name: the key tells them apart."""
    names = [_shell_name(row) for row in rows]
    lines = []
    for row, name in zip(rows, names, strict=True):
        unique = name if names.count(name) == 1 else f"{name}_{row.key[:8].upper()}"
        lines.append(f"{'_' if unique[0].isdigit() else ''}{unique}={shlex.quote(row.asked)}\n")
    return "".join(lines)


def _shell_name(row: TrainedModel) -> str:
    step = "" if row.step is None else f"_STEP_{row.step}"
    return re.sub(r"[^A-Z0-9]+", "_", row.address.upper()).strip("_") + step or "MODEL"


def _cell(value: Any) -> Any:
    if isinstance(value, (dict, list, tuple)):
        value = axis_text(value)
    if not isinstance(value, str):
        return value
    return printable(f"'{value}" if value[:1] in set("=+-@\t\r\n") else value)


def _rows(state: State, lock: Lock | None) -> Iterator[TrainedModel]:
    addresses = {locked.key: address for address, locked in lock.jobs.items()} if lock else {}
    newest: dict[str, str] = {}
    for record in sorted(state.jobs.values(), key=lambda record: (record.last.created_at or "", record.key)):
        if record.model and not record.forgotten:
            newest[record.address] = record.key
    for record in state.jobs.values():
        attempt = next((a for a in reversed(record.attempts) if a.model), None)
        if attempt is not None and not record.forgotten:
            address = addresses.get(record.key, record.address)
            current = record.key in addresses or (address not in (lock.jobs if lock else {}) and newest[record.address] == record.key)
            yield _row(state, record, attempt, address=address, current=current)


def _row(state: State, record: RecordedJob, attempt: Attempt, *, address: str, current: bool) -> TrainedModel:
    image = record.preimage
    base = image.get("base_model")
    parent = state.jobs.get(base["job"]) if isinstance(base, dict) and "job" in base else None
    named = base if isinstance(base, str) else (parent.address if parent else None)
    seed = image.get("seed", attempt.seed)
    return TrainedModel(
        address=address,
        model=attempt.model or "",
        deployment=attempt.deployment,
        job=attempt.engine_job_id or "",
        key=record.key,
        engine=record.engine,
        scope=record.scope,
        base_model=named or attempt.base_model or "",
        method=str(image.get("method", "supervised")),
        suffix=record.suffix,
        seed=seed,
        given={name: value for name, value in _dotted(image) if name not in {"recipe", "scope", "base_model", "method", "seed"}},
        hyperparameters=attempt.hyperparameters,
        tags=record.tags,
        checkpoints=attempt.checkpoints,
        metrics=attempt.metrics,
        trained_tokens=attempt.trained_tokens,
        cost=attempt.cost,
        currency=attempt.currency,
        finished_at=attempt.finished_at,
        current=current,
    )


def _dotted(members: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in members.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _under(given: Mapping[str, Any], name: str) -> dict[str, Any]:
    prefix = f"{name}."
    return {key.removeprefix(prefix): value for key, value in given.items() if key.startswith(prefix)}


def _axes(address: str) -> dict[str, str]:
    """Return the axes that an address shows (a value with a comma in it is cut there)."""
    pairs = (part.partition("=") for part in address.partition("/")[2].split(","))
    return {name: value for name, equals, value in pairs if equals}


def _known(name: str, rows: Sequence[TrainedModel]) -> None:
    names = {known for row in rows for known in row.names()} | set(_NAMES)
    if rows and name not in names and not any(_has(row, name) for row in rows):
        near = difflib.get_close_matches(name, sorted(names), n=1)
        raise FtspecError(
            f"no model has a setting, axis or tag `{printable(name)}`", help=f"did you mean `{printable(near[0])}`?" if near else None
        )


def _has(row: TrainedModel, name: str) -> bool:
    try:
        row.get(name)
    except KeyError:
        return False
    return True


def _fits(row: TrainedModel, name: str, wanted: str) -> bool:
    try:
        value = row.get(name)
    except KeyError:
        return False
    if value is None:
        return wanted == ""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(wanted) == float(value)
        except ValueError:
            return False
    return axis_text(value) == wanted
