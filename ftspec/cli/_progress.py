"""What people see while `apply` and `status --watch` work: a live table, or one line per transition.

Both are `executor.progress.Progress` observers that write to stderr, so that stdout stays the
result. The table needs a terminal; without one (CI, a pipe) every transition is a line.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from ftspec.cli import _console
from ftspec.executor import progress as said
from ftspec.printable import printable

if TYPE_CHECKING:
    from types import TracebackType

    from ftspec.cli._awaited import Awaited

SPARKS = "▁▂▃▄▅▆▇█"
_LOSSES = ("train_loss", "train_mean_reward")
_ROWS = 18


def sparkline(values: list[float], *, width: int = 12) -> str:
    """Return values as a row of bars, the newest `width` of an even sampling."""
    if not values:
        return ""
    step = max(1, len(values) // width)
    shown = values[::step][-width:]
    low, high = min(shown), max(shown)
    scale = (len(SPARKS) - 1) / (high - low) if high > low else 0
    return "".join(SPARKS[round((value - low) * scale)] for value in shown)


def money(amount: float | None, currency: str | None) -> str:
    """Return an amount as people write it; unknown is said, not shown as zero."""
    return "unknown" if amount is None else f"{amount:,.2f} {currency or 'USD'}"


def remaining(finish: str | datetime | None, *, now: datetime) -> str:
    """Return when something should be done, seen from now: `in 4 min`; nothing where that is not known."""
    if finish is None:
        return ""
    from ftspec.render.words import span_text

    try:
        moment = datetime.fromisoformat(finish) if isinstance(finish, str) else finish
        seconds = (moment - now).total_seconds()
    except (ValueError, TypeError):  # not a time, or one without a zone: a record may hold anything
        return ""
    return f"in {span_text(seconds)}" if seconds > 0 else "any moment"


@dataclass(slots=True)
class _Row:
    engine: str
    status: str = "waiting"
    losses: list[float] = field(default_factory=list)
    step: int | None = None
    total: int | None = None
    finish: str | datetime | None = None


class PlainProgress:
    """One line per transition."""

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def __call__(self, event: said.Event) -> None:
        """Write the event, if it is one that a log should hold."""
        if line := sentence(event):
            _console.talk(line)


def sentence(event: said.Event) -> str | None:  # one line for each variant
    """Return an event as one line, or `None` for those that only move a bar."""
    from ftspec.render.words import time_text

    match event:
        case said.Uploaded(dataset=name, engine=engine, file_id=file_id, adopted=adopted):
            return f"{name}: {'found on' if adopted else 'uploaded to'} {engine} as {file_id}"
        case said.Launched(address=address, engine_job_id=job, adopted=adopted):
            return f"{address}: {'found on the engine' if adopted else 'launched'} {job}"
        case said.StatusChanged(address=address, new=new, raw=raw, estimated_finish=finish):
            # The end of a job is told by `Finished`, with its loss and model.
            return None if new.terminal else f"{address}: {printable(raw)}" + (f", done about {time_text(finish)}" if finish else "")
        case said.Finished():
            return _ending(event)
        case said.WaitingForSlot(engine=engine, jobs=jobs, why=why, until=until):
            return f"{engine}: {jobs} job{'s' if jobs != 1 else ''} queued, {why}" + (f"; next slot {time_text(until)}" if until else "")
        case said.Settling(address=address, window=window):
            return f"{address}: the answer was lost; looking for the job for up to {window:.0f} s"
        case said.InDoubt(address=address, why=why):
            return f"{address}: in doubt, {why}"
        case said.NotLaunched(address=address, error=error):
            return f"{address}: not launched, {error.code or 'error'}: {printable(error.message or '')}"
        case said.Skipped(address=address, because=because):
            return f"{address}: skipped, because of {because}"
        case said.Duplicate(address=address, kept=kept, cancelled=cancelled, extra=extra):
            return f"{address}: more than one job on the engine; kept {kept}, cancelled {', '.join(cancelled) or 'none'}, left {', '.join(extra) or 'none'}"
        case said.Evaluated(eval=name, address=address, model=model, status=status):
            return f"{name} of {address or model}: {status}"
        case said.EngineTrouble(engine=engine, message=message, retry_in=seconds):
            return f"{engine}: {printable(message)}; asking again in {seconds:.0f} s"
        case said.NotRecorded(address=address, engine_job_id=job, message=message):
            return f"{address}: bought as {job}, but state could not be written: {message}"
        case said.Stopping(calls=calls, running=running):
            return f"stopping: finishing {calls} call{'s' if calls != 1 else ''}; {running} running job{'s' if running != 1 else ''} go on. Again: stop at once"
        case _:
            return None


def _ending(event: said.Finished) -> str:
    if event.error is not None and event.status != "succeeded":
        return f"{event.address}: {event.status}, {event.error.code or 'no code'}: {printable(event.error.message or '')}"
    loss = "".join(f", loss {loss:.4f}" for loss in _loss(event.metrics or {}))
    return f"{event.address}: {event.status}{loss}" + (f" {event.model}" if event.model else "")


def _loss(metrics: Mapping[str, float | None]) -> list[float]:
    """Return the training loss, or reward, if there is one."""
    return [value for name in _LOSSES if (value := metrics.get(name)) is not None][:1]


class LiveProgress:
    """A table that is drawn again as jobs move: status, steps, loss, when each should be done, what was spent."""

    def __init__(self, *, awaited: Iterable[Awaited] = ()) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=sys.stderr, highlight=False)
        self._awaited = {one.address: one for one in awaited}
        self._rows: dict[str, _Row] = {
            one.address: _Row(one.engine, one.status, finish=one.finish) for one in self._awaited.values() if one.status is not None
        }
        self._uploads: dict[str, tuple[int, int]] = {}
        self._waiting: dict[str, str] = {}
        self._spent: dict[str, float] = {}
        self._evals = 0
        self._spoke = False
        self._began = time.monotonic()
        self._live = Live(get_renderable=self._draw, console=self._console, refresh_per_second=6, transient=True)

    def __enter__(self) -> LiveProgress:
        self._live.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.__exit__(kind, error, trace)
        if self._spoke:
            self._console.print()  # what follows is the result

    def __call__(self, event: said.Event) -> None:
        """Take notice of one event; draw a line above the table where it should stay visible."""
        match event:
            case said.Uploading(dataset=name, sent=sent, total=total):
                self._uploads[name] = (sent, total)
            case said.Uploaded(dataset=name):
                self._uploads.pop(name, None)
            case said.Launching(address=address, engine=engine):
                self._rows[address] = _Row(engine, "launching")
            case said.Launched(address=address, engine=engine):
                row = self._row(address, engine)
                row.status, row.finish = "launched", self._expected(address)
            case said.StatusChanged(address=address, engine=engine, raw=raw, estimated_finish=finish):
                row = self._row(address, engine)
                row.status, row.finish = raw, finish or row.finish
            case said.Metrics():
                self._metrics(event)
            case said.Finished(address=address, engine=engine, status=status, cost=cost, currency=currency, metrics=metrics):
                row = self._row(address, engine)
                row.status, row.step = status.value, row.total
                row.losses += _loss(metrics or {})
                if cost:
                    self._spent[currency or "USD"] = self._spent.get(currency or "USD", 0.0) + cost
            case said.WaitingForSlot(engine=engine):
                self._waiting[engine] = sentence(event) or ""
            case said.Evaluating():
                self._evals += 1
            case _:
                self._evals -= isinstance(event, said.Evaluated)
                if line := sentence(event):
                    self._console.print(line, markup=False)
                    self._spoke = True

    def _expected(self, address: str) -> datetime | None:
        """Return when a job that was launched now should be done, by how long jobs like it took."""
        one = self._awaited.get(address)
        return datetime.now(UTC) + timedelta(seconds=one.takes) if one is not None and one.takes is not None else None

    def _row(self, address: str, engine: str) -> _Row:
        return self._rows.setdefault(address, _Row(engine))

    def _metrics(self, event: said.Metrics) -> None:
        row = self._row(event.address, event.engine)
        row.step = event.step
        total = event.values.get("total_steps")
        row.total = int(total) if total else row.total
        row.losses += _loss(event.values)

    def _draw(self) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, expand=False)
        for name, style in (("job", ""), ("status", ""), ("steps", "dim"), ("loss", ""), ("", "cyan"), ("done", "")):
            table.add_column(name, style=style, no_wrap=True, overflow="ellipsis", max_width=36 if name == "job" else None)
        order = sorted(self._rows.items(), key=lambda item: _ORDER.get(item[1].status, 1))
        now = datetime.now(UTC)
        for address, row in order[:_ROWS]:
            steps = f"{row.step}/{row.total}" if row.total else (str(row.step) if row.step else "")
            loss = f"{row.losses[-1]:.3f}" if row.losses else ""
            table.add_row(
                Text(_AXES.sub("", address)),
                Text(printable(row.status), style=_STYLES.get(row.status, "")),
                steps,
                loss,
                sparkline(row.losses),
                "" if row.status in _ENDED else remaining(row.finish, now=now),
            )
        parts: list[Any] = [table] if order else []
        if len(order) > _ROWS:
            parts.append(Text(f"... and {len(order) - _ROWS} more", style="dim"))
        parts += [Text(f"uploading {name}: {sent:,} of {total:,} bytes", style="dim") for name, (sent, total) in self._uploads.items()]
        parts += [Text(line, style="yellow") for line in self._waiting.values()]
        parts.append(Text(self._summary(), style="bold"))
        return Group(*parts)

    def _summary(self) -> str:
        done = sum(1 for row in self._rows.values() if row.status in _ENDED)
        total = len(self._awaited.keys() | self._rows.keys())
        seconds = time.monotonic() - self._began
        left = f", about {seconds / done * (total - done):.0f} s left" if done and done < total else ""
        spent = "".join(f", spent {money(amount, currency)}" for currency, amount in self._spent.items())
        evals = f", evaluating {self._evals} model{'s' if self._evals != 1 else ''}" if self._evals else ""
        return f"{done} of {total} job{'s' if total != 1 else ''} done in {seconds:.0f} s{left}{spent}{evals}"


_AXES = re.compile(r"(?<=[/,])[^=,]+=")
"""Axis names in an address: the values say enough here, and fit."""

_ENDED = ("succeeded", "failed", "cancelled")
_ORDER: Mapping[str, int] = {"running": 0, "succeeded": 2, "failed": 2, "cancelled": 2}
_STYLES: Mapping[str, str] = {"running": "green", "succeeded": "bold green", "failed": "bold red", "cancelled": "yellow"}

Shown: TypeAlias = PlainProgress | LiveProgress


def progress(awaited: Iterable[Awaited] = ()) -> Shown:
    """Return the table on a terminal that can draw it (`NO_COLOR` takes only its colour), lines elsewhere."""
    drawable = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return LiveProgress(awaited=awaited) if drawable else PlainProgress()
