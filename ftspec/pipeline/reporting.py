"""Everything that `ftspec report` says, collected into one `Report` value: records, curves, evals, costs, flags.

Jobs are those of the spec, with what is recorded under their keys. Models of simulated engines are
compared among themselves only. Nothing is recorded, and engines are asked only for curves that are
not on this machine yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from ftspec.engines.result_csv import number
from ftspec.record import Attempt, purchases
from ftspec.render.report.values import Curves, Data, EvalRow, EvalSetup, EvalTable, Flipped, FlippedExample, Report, ReportJob, Spent

if TYPE_CHECKING:
    from ftspec.engines.result_csv import Metrics
    from ftspec.evals.compare import EvalRun, Row, Table
    from ftspec.pipeline.planning import Wanted
    from ftspec.planner.identify import Identified
    from ftspec.profile import Profile
    from ftspec.record import RecordedEval, RecordedJob, State

EXAMPLES: Final = 5
_SECTIONS: Final = ("training", "evals", "judge")
_TRAIN: Final = {"loss": ("train_loss",), "reward": ("train_mean_reward", "train_reward", "reward")}
_VALID: Final = {"loss": ("valid_loss",), "reward": ("valid_mean_reward", "valid_reward")}
_FULL: Final = {"loss": ("full_valid_loss",), "reward": ("full_valid_mean_reward", "full_valid_reward")}


def collect(wanted: Wanted, state: State, *, select: Sequence[str] = (), offline: bool = False, examples: int = EXAMPLES) -> Report:
    """Return the report of the selected jobs (none given: all). Raises `UnknownSelector`."""
    from ftspec.pipeline.measuring import measured
    from ftspec.planner.selectors import select as selected
    from ftspec.render.report.flags import flags

    chosen = selected(select, wanted.jobs, state) if select else {one.job.address for one in wanted.jobs}
    mine = [one for one in wanted.jobs if one.job.address in chosen]
    records = {one.key: record for one in mine if (record := state.jobs.get(one.key)) is not None and not record.forgotten}
    metrics, notes = measured(wanted, records.values(), offline=offline)
    jobs = _in_order(wanted, [_job(wanted, one, records.get(one.key), metrics.get(one.key, {}), state) for one in mine])
    evals = tuple(_evals(wanted, state, chosen, examples=examples))
    runs = _evals_of(wanted, jobs, state)
    return Report(
        title=wanted.spec.project or wanted.project.files[0].stem,
        spec_files=wanted.spec.files,
        jobs=jobs,
        evals=evals,
        spent=_in_sections(jobs, [*_spent_on_training(jobs), *_spent_on_evals(wanted, jobs, runs)]),
        flags=flags(jobs, evals),
        datasets=tuple(Data(ref=facts.ref, digest=facts.key, rows=facts.rows) for ref, facts in sorted(wanted.datasets.items()) if ref),
        setups=tuple(_setups(wanted, evals)),
        as_of=_last_change(records.values(), runs),
        lock=_lock(wanted, state),
        versions=tuple(sorted({version for record in records.values() if (version := record.last.ftspec_version)})),
        notes=tuple(notes),
    )


def _last_change(records: Iterable[RecordedJob], runs: Iterable[RecordedEval]) -> str | None:
    moments = [*(record.updated_at for record in records), *(run.finished_at for run in runs)]
    return max((moment for moment in moments if moment), default=None)


def _in_order(wanted: Wanted, jobs: Sequence[ReportJob]) -> tuple[ReportJob, ...]:
    """Return the jobs, numbered, in the order in which the spec declares them."""
    from dataclasses import replace

    places = {job.address: place for place, job in enumerate(wanted.spec.jobs)}
    ordered = sorted(jobs, key=lambda one: places.get(one.address, 0))
    return tuple(replace(one, number=number) for number, one in enumerate(ordered, 1))


def _profile(wanted: Wanted, engine: str) -> Profile | None:
    from ftspec.pipeline.planning import profiles

    entry = wanted.spec.engines.get(engine)
    return profiles().get(entry.type) if entry is not None else None


def _job(wanted: Wanted, one: Identified, record: RecordedJob | None, metrics: Metrics, state: State) -> ReportJob:
    profile = _profile(wanted, one.job.engine)
    train = wanted.datasets[one.job.train]
    validation = wanted.datasets[one.job.validation] if one.job.validation else None
    known = {base.name: base.shutdown for base in profile.base_models} if profile is not None else {}
    return ReportJob(
        job=one.job,
        key=one.key,
        record=record,
        train=Data(ref=one.job.train, digest=train.key, rows=train.rows),
        validation=Data(ref=validation.ref, digest=validation.key, rows=validation.rows) if validation is not None else None,
        simulated=profile is not None and profile.simulated,
        curves=_curves(metrics, record),
        preimage=_flat_preimage(one, state),
        ends=known.get(one.job.base_model),
    )


def _curves(metrics: Metrics, record: RecordedJob | None) -> Curves:
    """Return the curves; what checkpoints say of all the validation set is part of them."""
    steps = {step: dict(cells) for step, cells in metrics.items()}
    for checkpoint in record.last.checkpoints if record is not None else ():
        for name, value in checkpoint.metrics.items():
            if name.startswith("full_valid") and (figure := number(value)) is not None:
                steps.setdefault(float(checkpoint.step), {}).setdefault(name, figure)
    names = {name for cells in steps.values() for name in cells}
    measure: Literal["loss", "reward"] = "reward" if names.intersection(_TRAIN["reward"]) and "train_loss" not in names else "loss"

    def points(wished: Iterable[str]) -> tuple[tuple[float, float], ...]:
        column = next((name for name in wished if name in names), None)
        return tuple((step, cells[column]) for step, cells in sorted(steps.items()) if column in cells)

    return Curves(measure=measure, train=points(_TRAIN[measure]), valid=points(_VALID[measure]), full=points(_FULL[measure]))


def _flat_preimage(one: Identified, state: State) -> dict[str, Any]:
    """Return what decides the result of a job, by the names that specs use; parents by address."""
    from ftspec.planner.diff import differences, preimage_of, setting_of

    image = preimage_of(one)
    image.pop("recipe")
    if one.parent_key is not None:
        parent = state.jobs.get(one.parent_key)
        image["base_model"] = f"model of {parent.address if parent is not None else one.job.parent} ({one.parent_key[:12]})"
    return {setting_of(path): value for path, _, value in differences({}, image)}


def _evals(wanted: Wanted, state: State, chosen: set[str], *, examples: int) -> Iterator[EvalTable]:
    """Yield the eval tables of real engines, then those of simulated ones."""
    from ftspec.evals.compare import compare
    from ftspec.pipeline.evaluating import eval_runs

    runs = eval_runs(wanted, state, addresses=chosen)
    for simulated in (False, True):
        mine = [run for run in runs if run.simulated == simulated]
        flipped: set[str] = set()
        for table in compare(mine).tables:
            yield _eval_table(table, mine, simulated=simulated, examples=0 if table.eval in flipped else examples)
            flipped.add(table.eval)


def _eval_table(table: Table, runs: Sequence[EvalRun], *, simulated: bool, examples: int) -> EvalTable:
    from ftspec.evals.compare import flips, too_much

    by_key = {run.key: run for run in runs}
    mine = [run for run in runs if run.eval == table.eval]
    much = tuple(too_much(table.grader, mine, by_key))
    best = table.best.runs[0] if table.best is not None else None
    base = by_key.get(best.base or "") if best is not None else None
    flipped = None
    if examples and best is not None and base is not None:
        found = [
            FlippedExample(won=flip.won, question=flip.question, reference=flip.reference, base=flip.base, tuned=flip.tuned)
            for flip in flips(best, base, table.grader, limit=examples)
        ]
        flipped = Flipped(best=best.label, base=base.label, examples=found) if found else None
    return EvalTable(
        eval=table.eval,
        grader=table.grader,
        rows=tuple(_eval_row(row, table.grader, by_key) for row in table.rows),
        simulated=simulated,
        notes=tuple(note for note in table.notes if note not in much),
        too_much=much,
        flipped=flipped,
    )


def _eval_row(row: Row, grader: str, by_key: Mapping[str, EvalRun]) -> EvalRow:
    against = row.against
    means = [(run.label, run.measured.scores.get(grader, {}).get("mean")) for run in row.runs]
    bases = [
        mean
        for run in row.runs
        if (base := by_key.get(run.base or "")) is not None and (mean := base.measured.scores.get(grader, {}).get("mean")) is not None
    ]
    return EvalRow(
        label=row.label,
        base=row.is_base,
        mean=_finite(row.mean),
        low=_finite(row.low),
        high=_finite(row.high),
        n=row.n,
        seeds=tuple((label, mean) for label, mean in means if mean is not None),
        against=sum(bases) / len(bases) if bases else None,
        difference=_finite(against.difference) if against else None,
        difference_low=_finite(against.low) if against else None,
        difference_high=_finite(against.high) if against else None,
        wins=against.wins if against else None,
        losses=against.losses if against else None,
        ties=against.ties if against else None,
        p=_finite(row.p),
        verdict=row.verdict,
        cost=row.cost,
        addresses=tuple(run.address for run in row.runs if run.address is not None),
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and value == value else None  # noqa: PLR0124 NaN alone differs from itself


def _in_sections(jobs: Sequence[ReportJob], spent: Sequence[Spent]) -> tuple[Spent, ...]:
    """Return what was spent engine by engine, in the order of the jobs: training, answers, judges."""
    engines = list(dict.fromkeys(one.job.engine for one in jobs))
    return tuple(sorted(spent, key=lambda one: (engines.index(one.engine), _SECTIONS.index(one.what), one.currency)))


def _spent_on_training(jobs: Sequence[ReportJob]) -> Iterator[Spent]:
    """Yield what all attempts cost, engine by engine."""
    by_key = {one.key: one for one in jobs}
    groups: dict[tuple[str, str, bool], list[Attempt]] = {}
    for record, attempt in purchases(one.record for one in jobs if one.record is not None):
        one = by_key[record.key]
        groups.setdefault((one.job.engine, attempt.currency or "USD", one.simulated), []).append(attempt)
    for (engine, currency, simulated), attempts in groups.items():
        estimates = [attempt.estimated_cost for attempt in attempts if attempt.estimated_cost is not None]
        costs = [attempt.cost for attempt in attempts if attempt.cost is not None]
        complete = len(estimates) == len(attempts)
        yield Spent(
            engine=engine,
            what="training",
            count=len(attempts),
            currency=currency,
            simulated=simulated,
            low=sum(low for low, _ in estimates) if complete else None,
            high=sum(high for _, high in estimates) if complete else None,
            actual=sum(costs) if costs else None,
            unknown=len(attempts) - len(costs),
        )


def _spent_on_evals(wanted: Wanted, jobs: Sequence[ReportJob], runs: Sequence[RecordedEval]) -> Iterator[Spent]:
    from ftspec.pipeline.planning import profiles
    from ftspec.pipeline.spending import Spending

    spending = Spending(wanted.spec, profiles())
    by_key, by_scope = {one.key: one for one in jobs}, {one.job.scope: one for one in reversed(jobs)}
    groups: dict[tuple[str, str, str, bool], list[float | None]] = {}
    for record in runs:
        # A base model, or a parent that was not selected, was asked in the account of the jobs that are compared with it.
        one = by_key.get(record.job_key or "") or by_scope.get(record.preimage["model"].get("scope", "")) or jobs[0]
        asked, judged = _asked_and_judged(spending, one, record, judged=_is_judged(wanted, record.name))
        about = (record.currency or "USD", one.simulated)
        groups.setdefault((one.job.engine, "evals", *about), []).append(asked)
        if _is_judged(wanted, record.name):
            groups.setdefault((one.job.engine, "judge", *about), []).append(judged)
    for (engine, what, currency, simulated), costs in groups.items():
        known = [cost for cost in costs if cost is not None]
        yield Spent(
            engine=engine,
            what=what,
            count=len(costs),
            currency=currency,
            simulated=simulated,
            actual=sum(known) if known else None,
            unknown=len(costs) - len(known),
        )


def _evals_of(wanted: Wanted, jobs: Sequence[ReportJob], state: State) -> list[RecordedEval]:
    """Return the finished runs on the models of these jobs, and on their bases."""
    from ftspec.pipeline.evaluating import eval_runs

    keys = {run.key for run in eval_runs(wanted, state, addresses={one.address for one in jobs})} if jobs else set()
    return [record for key, record in sorted(state.evals.items()) if key in keys]


def _is_judged(wanted: Wanted, name: str) -> bool:
    from ftspec.evals.prepare import judges_of

    one = wanted.spec.evals.get(name)
    return one is not None and bool(judges_of(one))


def _asked_and_judged(spending: Any, one: ReportJob, record: RecordedEval, *, judged: bool) -> tuple[float | None, float | None]:
    """Split the cost of a run: answers by their tokens, judges by what remains."""
    if not judged or record.cost is None:
        return record.cost, None
    model = one.job.base_model or record.model
    answers = spending.asked(one.job.engine, model, record.input_tokens or 0, record.output_tokens or 0)
    return (None, None) if answers is None else (answers[0], max(0.0, record.cost - answers[0]))


def _setups(wanted: Wanted, evals: Sequence[EvalTable]) -> Iterator[EvalSetup]:
    for name in dict.fromkeys(table.eval for table in evals):
        one = wanted.spec.evals[name]
        facts = wanted.datasets[one.dataset]
        yield EvalSetup(
            name=name,
            dataset=Data(ref=facts.ref or "its own", digest=facts.key, rows=facts.rows),
            graders={grader: str(definition.get("type", "")) for grader, definition in one.graders.items()},
            sampling=one.sampling,
        )


def _lock(wanted: Wanted, state: State) -> str:
    """Say whether the lockfile is what specs and state give."""
    from ftspec.state.lockfile import build, differences, read

    name = wanted.project.relative(wanted.project.lockfile)
    if not wanted.project.lockfile.is_file():
        return f"there is no `{name}`"
    old, problems = read(wanted.project.lockfile)
    current = not problems and not differences(old, build(wanted.jobs, wanted.datasets, state))
    return f"`{name}` agrees with specs and state" if current else f"`{name}` does not agree with specs and state: `ftspec lock`"
