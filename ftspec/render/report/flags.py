"""What a person should know before they believe a figure: a list of sentences, worst first. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING, Final

from ftspec.printable import printable, redacted
from ftspec.render.report.curves import overfit, smoothed
from ftspec.render.report.values import Flag, checkpoint_loss
from ftspec.render.words import count, error_text

if TYPE_CHECKING:
    from ftspec.record import Checkpoint
    from ftspec.render.report.values import EvalTable, ReportJob

FEW_ROWS: Final = 50
FEW_VALIDATION_ROWS: Final = 20
FEW_ITEMS: Final = 100
MOST: Final = 6
"""How many flags of one kind are said one by one."""
_ORDER: Final = {"problem": 0, "warning": 1, "note": 2}


def flags(jobs: Sequence[ReportJob], evals: Sequence[EvalTable]) -> tuple[Flag, ...]:
    """Return everything that is odd about these jobs and evals, problems first."""
    found = [*_failed(jobs), *_overfitting(jobs), *_too_much(evals), *_diverged(jobs), *_few_rows(jobs), *_seeds(jobs), *_few_items(evals)]
    kinds = list(dict.fromkeys(flag.kind for flag in found))
    found.sort(key=lambda flag: (_ORDER[flag.severity], kinds.index(flag.kind)))
    return tuple(_folded(found))


def _folded(found: Sequence[Flag]) -> Iterator[Flag]:
    """Yield the first few flags of each kind, and one that counts the others."""
    groups: dict[tuple[str, str], list[Flag]] = {}
    for flag in found:
        groups.setdefault((flag.kind, flag.severity), []).append(flag)
    for theirs in groups.values():
        if len(theirs) <= MOST + 1:
            yield from theirs
            continue
        yield from theirs[:MOST]
        rest = theirs[MOST:]
        addresses = [address for flag in rest for address in flag.jobs]
        sentence = f"and {len(rest):,} more like this"
        yield Flag(kind=rest[0].kind, severity=rest[0].severity, sentence=sentence, jobs=addresses)


def _failed(jobs: Sequence[ReportJob]) -> Iterator[Flag]:
    for one in jobs:
        attempt = one.attempt
        if attempt is not None and one.status in ("failed", "refused"):
            why = _quoted(error_text(attempt.error.code, attempt.error.message)) if attempt.error else "no reason given"
            yield Flag(kind="failed", severity="problem", sentence=f"{_name(one)} {one.status}: {why}", jobs=(one.address,))
    for one in jobs:
        if one.status == "in doubt":
            sentence = f"{_name(one)} may or may not have been bought: `ftspec apply` looks it up"
            yield Flag(kind="in-doubt", severity="problem", sentence=sentence, jobs=(one.address,))
        if one.status == "cancelled":
            yield Flag(kind="cancelled", severity="note", sentence=f"{_name(one)} was cancelled", jobs=(one.address,))
    if unfinished := [one.address for one in jobs if one.status in ("queued", "running", "launched")]:
        yield Flag(kind="unfinished", severity="note", sentence=f"{count(len(unfinished), 'job')} not finished yet", jobs=unfinished)
    if new := [one.address for one in jobs if one.status in ("not launched", "absent")]:
        yield Flag(kind="not-launched", severity="note", sentence=f"{count(len(new), 'job')} not launched yet", jobs=new)
    for one in jobs:
        if one.record is not None and one.record.duplicates:
            ids = ", ".join(map(_quoted, one.record.duplicates))
            sentence = f"{_name(one)} was bought more than once on its engine, not by ftspec: {ids}"
            yield Flag(kind="duplicate", severity="problem", sentence=sentence, jobs=(one.address,))


def _overfitting(jobs: Sequence[ReportJob]) -> Iterator[Flag]:
    for one in jobs:
        found = overfit(one.curves)
        if found is not None:
            what = "validation loss" if found.full else "validation loss (minibatches, smoothed)"
            sentence = (
                f"{_name(one)} overfits: {what} was lowest at step {found.step:,.0f}{_epoch(one, found.step)} with {found.lowest:.3f}"
                f" and rose to {found.last:.3f}, while training loss kept falling"
            )
            yield Flag(kind="overfitting", severity="warning", sentence=sentence, jobs=(one.address,))
        best = one.best
        if best is not None:
            sentence = (
                f"an earlier checkpoint of {_name(one)} is better: step {best.step:,} has validation loss {_loss(best)},"
                f" the last {_loss(one.checkpoints[-1])}; its model is {_quoted(best.model)}"
            )
            yield Flag(kind="earlier-checkpoint", severity="warning", sentence=sentence, jobs=(one.address,))


def _loss(checkpoint: Checkpoint) -> str:
    loss = checkpoint_loss(checkpoint)
    return "unknown" if loss is None else f"{loss:.3f}"


def _epoch(one: ReportJob, step: float) -> str:
    """Say in which epoch a step was, where the engine said how many there were."""
    epochs = one.attempt.hyperparameters.get("n_epochs") if one.attempt is not None else None
    last = max((points[-1][0] for points in one.curves.all), default=0)
    if not isinstance(epochs, int) or last <= 0 or epochs < 2:
        return ""
    return f" (epoch {max(1, ceil(step / last * epochs))} of {epochs})"


def _too_much(evals: Sequence[EvalTable]) -> Iterator[Flag]:
    for table in evals:
        for sentence in table.too_much:
            kind = "overfitting" if "overfits" in sentence else "too-much"
            yield Flag(kind=kind, severity="warning", sentence=f"{_quoted(table.eval)}, {_quoted(table.grader)}: {sentence}")


def _diverged(jobs: Sequence[ReportJob]) -> Iterator[Flag]:
    for one in jobs:
        train = smoothed(one.curves.train) if one.curves.measure == "loss" else ()
        if len(train) >= 10 and train[-1][1] > train[0][1]:
            sentence = f"{_name(one)} did not learn: training loss ends at {train[-1][1]:.3f} and began at {train[0][1]:.3f}"
            yield Flag(kind="diverged", severity="warning", sentence=sentence, jobs=(one.address,))


def _few_rows(jobs: Sequence[ReportJob]) -> Iterator[Flag]:
    for rows, ref, users in _by_data({one.address: (one.train.ref, one.train.rows) for one in jobs}):
        if rows < FEW_ROWS:
            sentence = f"only {count(rows, 'row')} in {_quoted(ref)}: under {FEW_ROWS}, results change with every row"
            yield Flag(kind="few-rows", severity="warning", sentence=sentence, jobs=users)
    measured = {one.address: (one.validation.ref, one.validation.rows) for one in jobs if one.validation is not None}
    for rows, ref, users in _by_data(measured):
        if rows < FEW_VALIDATION_ROWS:
            sentence = f"only {count(rows, 'row')} in {_quoted(ref)}: validation loss is a rough figure"
            yield Flag(kind="few-rows", severity="note", sentence=sentence, jobs=users)
    blind = [one.address for one in jobs if one.validation is None]
    if blind:
        sentence = f"{count(len(blind), 'job has', 'jobs have')} no validation data: overfitting would show only in evals"
        yield Flag(kind="no-validation", severity="note", sentence=sentence, jobs=blind)


def _by_data(uses: Mapping[str, tuple[str, int]]) -> Iterator[tuple[int, str, Sequence[str]]]:
    for ref, rows in dict.fromkeys(uses.values()):
        yield rows, ref, [address for address, use in uses.items() if use == (ref, rows)]


def _seeds(jobs: Sequence[ReportJob]) -> Iterator[Flag]:
    for experiment in dict.fromkeys(one.job.experiment for one in jobs):
        mine = [one for one in jobs if one.job.experiment == experiment]
        cells: dict[str, list[str]] = {}
        for one in mine:
            cells.setdefault(one.cell, []).append(one.address)
        single = [addresses[0] for addresses in cells.values() if len(addresses) == 1]
        if single:
            some = f"{len(single)} of {len(cells)} cells of " if len(single) < len(cells) else ""
            sentence = f"one seed only in {some}{_quoted(experiment)}: nobody knows how much another seed would differ"
            yield Flag(kind="one-seed", severity="note", sentence=sentence, jobs=single)


def _few_items(evals: Sequence[EvalTable]) -> Iterator[Flag]:
    said = set()
    for table in evals:
        n = min((row.n for row in table.rows if row.n), default=0)
        if 0 < n < FEW_ITEMS and table.eval not in said:
            said.add(table.eval)
            sentence = f"{_quoted(table.eval)} has {count(n, 'item')}: only large differences can be told from chance"
            yield Flag(kind="few-items", severity="note", sentence=sentence)


def _name(one: ReportJob) -> str:
    return _quoted(one.address)


def _quoted(text: str) -> str:
    """Return foreign text in backticks, which renderers show as code; it cannot close them."""
    shown = printable(redacted(text)).replace("`", "'")
    return f"`{shown}`"
