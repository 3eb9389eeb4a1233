"""Show what dataset files are made of: rows, tokens, lengths, labels, cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from ftspec.cli import _console
from ftspec.cli._data._progress import bar
from ftspec.cli._data._targets import Targets, targets_of
from ftspec.cli._options import project_options
from ftspec.diagnostics import FtspecError, Severity
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.actions import Cost, DatasetFacts
    from ftspec.data.stats import Statistics
    from ftspec.experiment import DesiredDataset, DesiredJob
    from ftspec.pipeline.project import Project

_BAR = 40
_LABELS = 20


class _Many(int):
    """A number that may be large, written with separators."""

    def __str__(self) -> str:
        return f"{int(self):,}"


@click.command()
@project_options(need_spec=False)  # type: ignore[untyped-decorator]
@click.argument("targets", nargs=-1, metavar="[DATASET|FILE]...")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.option(
    "--tokenizer", type=click.Choice(["o200k", "cl100k", "words", "estimate"]), help="Count with this one (default: the engine's)."
)
@click.option("--context", type=int, multiple=True, metavar="TOKENS", help="Count the rows that are longer (repeatable).")
@click.option("--engine", metavar="TYPE", help="Show the cost on this engine (specs say it themselves).")
@click.option("--model", metavar="NAME", help="Of this base model, with --engine.")
@click.option("--epochs", type=int, help="For this many epochs, with --engine.")
def command(
    project: Project,
    *,
    targets: tuple[str, ...],
    as_json: bool,
    tokenizer: str | None,
    context: tuple[int, ...],
    engine: str | None,
    model: str | None,
    epochs: int | None,
) -> None:
    r"""Show what dataset files are made of: rows, tokens, lengths, labels, cost.

    \b
        ftspec data stats
        ftspec data stats tickets --context 4096
        ftspec data stats a.jsonl --engine openai --model gpt-4.1-mini
    """
    from ftspec.data import uses
    from ftspec.data.audit import audit
    from ftspec.data.onepass import facts_of
    from ftspec.data.stats import statistics_of
    from ftspec.render.words import count

    if (model is None) != (engine is None):
        raise click.UsageError("--engine and --model go together")
    chosen = targets_of(project, targets)
    shown: list[dict[str, Any]] = []
    for dataset in chosen.datasets:
        known = chosen.spec is not None and dataset.name in chosen.spec.datasets
        wanted = tokenizer or (
            uses.tokenizer_of(chosen.spec, dataset.name, chosen.profiles) if known and chosen.spec else _of_engine(chosen, engine)
        )
        with bar(dataset.path) as progress:
            passed, problems = audit(dataset, chosen.where, tokenizer=wanted, progress=progress)
        wrong = [one for one in problems if one.severity is Severity.ERROR]
        if passed is None or not passed.counts[""].rows:
            raise FtspecError(f"`{printable(dataset.path)}` has no rows that can be read", diagnostics=wrong)
        if wrong:
            errors = count(sum(one.count for one in wrong), "error")
            _console.warn(
                f"{errors} in `{printable(dataset.path)}`, which `ftspec data check` shows; rows that cannot be read are not counted"
            )
        contexts = uses.contexts_of(chosen.spec, dataset.name, chosen.profiles) if known and chosen.spec else {}
        statistics = statistics_of(dataset, passed, contexts=tuple(sorted({*context, *contexts.values()})))
        costs = _costs(chosen, facts_of(dataset, passed), engine, model, epochs)
        if as_json:
            shown += [one.as_json() | {"costs": costs.get(ref, [])} for ref, one in statistics.items()]
        else:
            _show(dataset, statistics, costs)
    if as_json:
        _console.out_raw(_json(shown))


def _of_engine(chosen: Targets, engine: str | None) -> str:
    profile = chosen.profiles.get(engine) if engine is not None else None
    return str(profile.defaults.get("tokenizer", "o200k")) if profile is not None else "o200k"


def _costs(
    chosen: Targets, facts: Mapping[str, DatasetFacts], engine: str | None, model: str | None, epochs: int | None
) -> dict[str, list[dict[str, Any]]]:
    """Return, by reference, what one job on it costs: for the engine that was named, else for the spec's jobs."""
    from ftspec.planner.cost import training_cost
    from ftspec.planner.prices import price_table

    table = price_table(chosen.spec.prices if chosen.spec is not None else None)
    made: dict[str, list[dict[str, Any]]] = {}
    seen: set[tuple[Any, ...]] = set()
    for job in _jobs(chosen, facts, engine, model, epochs):
        entry = chosen.spec.engines.get(job.engine) if chosen.spec is not None else None
        kind = entry.type if entry is not None else job.engine
        profile = chosen.profiles.get(kind)
        if profile is None:
            raise FtspecError(f"`{printable(kind)}` is not an engine type", help=f"use one of {', '.join(chosen.profiles)}")
        key = (job.train, job.engine, job.base_model, job.method, str(job.hyperparameters.get("n_epochs")))
        if key in seen or job.train not in facts or job.parent is not None:
            continue
        seen.add(key)
        cost = training_cost(job, facts[job.train], profile, table.find((job.engine, kind), job.base_model))
        made.setdefault(job.train, []).append(
            {
                "engine": job.engine,
                "base_model": job.base_model,
                "epochs": job.hyperparameters.get("n_epochs", "auto"),
                "tokens": cost.tokens,
                "low": cost.low,
                "high": cost.high,
                "currency": cost.currency,
                "price_date": cost.price_date,
                "text": _money(cost),
            }
        )
    return made


def _jobs(
    chosen: Targets, facts: Mapping[str, DatasetFacts], engine: str | None, model: str | None, epochs: int | None
) -> Iterable[DesiredJob]:
    from ftspec.experiment import DesiredJob

    if engine is None or model is None:
        return chosen.spec.jobs if chosen.spec is not None else ()
    given: dict[str, Any] = {"n_epochs": epochs} if epochs is not None else {}
    return [
        DesiredJob(address=ref, experiment=ref, engine=engine, scope=engine, base_model=model, train=ref, hyperparameters=given)
        for ref in facts
    ]


def _money(cost: Cost) -> str:
    if cost.low is None or cost.high is None:
        return "unknown"
    if cost.high == 0:
        return "free"
    amount = f"{cost.low:,.2f}" if cost.low == cost.high else f"{cost.low:,.2f} to {cost.high:,.2f}"
    return f"{amount} {cost.currency}" + (f" (prices of {cost.price_date})" if cost.price_date else "")


def _show(dataset: DesiredDataset, statistics: Mapping[str, Statistics], costs: Mapping[str, list[dict[str, Any]]]) -> None:
    whole = statistics[dataset.name]
    said = "" if whole.exact else f", estimated within {whole.error:.0%}"
    _console.out(f"{printable(dataset.name)}: {whole.format}, tokens by {whole.tokenizer}{said}\n")
    headers = ["part", "rows", "tokens", "trained", "min", "median", "p95", "max"]
    rows = [
        [ref, *map(_Many, (one.rows, one.tokens, one.loss_tokens, *(one.lengths.get(name, 0) for name in ("min", "median", "p95", "max"))))]
        for ref, one in statistics.items()
    ]
    _console.table(headers, rows)
    if whole.roles:
        _console.out()
        total = sum(whole.roles.values()) or 1
        _console.table(
            ["role", "tokens", "share"], [[printable(role), _Many(tokens), f"{tokens / total:.0%}"] for role, tokens in whole.roles.items()]
        )
    if whole.histogram:
        _console.out()
        _bars(
            [(f"{low:,}" if low == high else f"{low:,}-{high:,}", number) for low, high, number in whole.histogram],
            "tokens in a row",
            "rows",
        )
    if whole.labels:
        _console.out()
        top = list(whole.labels.items())[:_LABELS]
        _bars([(printable(label) or "(empty)", number) for label, number in top], "answer", "rows")
        if len(whole.labels) > len(top):
            _console.out(f"and {len(whole.labels) - len(top):,} more answers")
    for context, (longer, lost) in whole.over_context.items():
        _console.out(f"\nlonger than {context:,} tokens: {longer:,} rows, {lost:,} tokens ({lost / max(whole.tokens, 1):.1%}) beyond")
    if whole.sources:
        _console.out()
        _bars([(printable(source), number) for source, number in list(whole.sources.items())[:_LABELS]], "source", "rows")
    if costs:
        _console.out()
        listed = [
            [ref, printable(one["engine"]), printable(one["base_model"]), one["epochs"], one["text"]]
            for ref, many in costs.items()
            for one in many
        ]
        _console.table(["train", "engine", "base model", "epochs", "cost of a job"], listed)
        if any(one["low"] is None for many in costs.values() for one in many):
            _console.out("what is unknown has no price: `prices:` of a spec can give one")
    _console.out()


def _bars(rows: list[tuple[str, int]], what: str, unit: str) -> None:
    """Write a histogram: a name, a number, and a bar as long as the number is large."""
    most = max(number for _, number in rows) or 1
    width = max(len(what), *(len(name) for name, _ in rows))
    digits = max(len(unit), *(len(f"{number:,}") for _, number in rows))
    _console.out(f"{what:<{width}}  {unit:>{digits}}")
    for name, number in rows:
        _console.out(f"{name:<{width}}  {number:>{digits},}  {'█' * round(_BAR * number / most)}".rstrip())


def _json(shown: list[dict[str, Any]]) -> str:
    from ftspec.render.json import dumps

    return dumps({"format_version": "1.0", "datasets": [{key: value for key, value in one.items() if key != "text"} for one in shown]})
