"""Buy what is missing, wait for it, evaluate it, record it."""

from __future__ import annotations

import functools
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ftspec.cli import _console
from ftspec.cli._options import project_options
from ftspec.cli.plan import plan_options, show_plan
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.executor.result import ApplyResult
    from ftspec.pipeline.applying import Applied
    from ftspec.pipeline.planning import Planned, PlanOptions
    from ftspec.pipeline.project import Project
    from ftspec.record import State
    from ftspec.render.jobs import JobLine


@click.command()
@click.argument("plan_file", required=False, metavar="[PLAN]")
@project_options
@plan_options
@click.option("-y", "--auto-approve", is_flag=True, help="Do not ask.")
@click.option("--no-wait", is_flag=True, help="Return after launching; `ftspec apply` or `ftspec status` goes on later.")
@click.option("--allow-code", is_flag=True, help="Let graders run this project's Python code (by the digest that the plan shows).")
@click.option(
    "--settle-window",
    type=click.FloatRange(min=0),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to look for a job whose answer was lost.",
)
@click.option("--launch-absent", is_flag=True, help="Take a launch in doubt that the engine does not list after the window as never sent.")
@click.option("--concurrency", type=click.IntRange(1, 64), default=8, show_default=True, help="Requests in flight at once.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON.")
def command(  # noqa: PLR0913 click passes each option
    project: Project,
    plan_file: str | None,
    *,
    options: PlanOptions,
    auto_approve: bool,
    no_wait: bool,
    allow_code: bool,
    settle_window: float,
    launch_absent: bool,
    concurrency: int,
    as_json: bool,
) -> None:
    r"""Buy what is missing, wait for it, evaluate it, record it.

    Shows the plan and asks; only `yes` counts. Interrupted, or run again for any other
    reason, it goes on where it was: nothing is bought twice.

    \b
        ftspec apply
        ftspec apply -y --target 'triage/*'
        ftspec apply plan.json
    """
    from ftspec.cli._data._progress import bar
    from ftspec.executor.interrupt import leave_on_signals
    from ftspec.executor.result import ApplyOptions
    from ftspec.pipeline.applying import ApplyRequest, apply

    request = ApplyRequest(
        options=options,
        saved=_saved(plan_file) if plan_file is not None else None,
        execution=ApplyOptions(wait=not no_wait, settle_window=settle_window, launch_absent=launch_absent, concurrency=concurrency),
        allow_code=allow_code,
    )
    approve = functools.partial(_approve, auto=auto_approve or plan_file is not None, quiet=as_json)
    with leave_on_signals():
        applied = apply(project, request, approve=approve, progress=_progress, watch=bar)
    _show(applied, as_json=as_json)
    _console.stop(applied.exit_code)


def _saved(name: str) -> bytes:
    """Return a plan that `plan -o` wrote (a pipe could be waited for in vain, and a device never ends)."""
    from ftspec.diagnostics import FtspecError
    from ftspec.regular import read_regular

    path = Path(name)
    if not path.exists():
        shown = printable(name)
        raise FtspecError(f"there is no saved plan `{shown}`", help=f"for some jobs only: `--target {shlex.quote(shown)}`")
    try:
        return read_regular(path.resolve())
    except OSError as error:
        raise FtspecError(f"the saved plan `{printable(name)}` cannot be read: {error.strerror}") from None


def _approve(planned: Planned, *, auto: bool, quiet: bool) -> None:
    from ftspec.render.summary import summarise
    from ftspec.render.text import counts_text, total_cost_text

    _console.show(planned.diagnostics)
    if not quiet:
        show_plan(planned.plan)
        _console.out()
    if auto:
        return
    question = f"This plan is {counts_text(summarise(planned.plan))} Its cost: {total_cost_text(planned.plan)}."
    _console.confirm(f"{question}\nDo you want to apply it?", what="applying this plan")


def _progress(planned: Planned) -> Any:
    from ftspec.cli._awaited import of_plan
    from ftspec.cli._progress import progress

    return progress(of_plan(planned.plan, planned.state))


def _show(applied: Applied, *, as_json: bool) -> None:
    for note in applied.notes:
        _console.warn(note)
    if as_json:
        from ftspec.render.json import dumps

        _console.out_raw(dumps(_as_dict(applied)))
        return
    from ftspec.render.jobs import jobs_text

    lines = job_lines(applied.planned, applied.state)
    if lines:
        _console.out(jobs_text(lines, color=_console.colour()))
        _console.out()
    _comparison(applied)
    for verdict in applied.gates:
        if not verdict.ok:
            _console.talk(f"gate failed: {verdict.sentence}")
    _troubles(applied.result)
    _console.out(_summary(applied))
    if applied.lockfile is not None:
        _console.talk(f"wrote {applied.planned.project.relative(applied.lockfile)}")


def _comparison(applied: Applied) -> None:
    """Show how the models did in evals, if any was asked."""
    if not applied.planned.spec.evals:
        return
    from ftspec.evals.compare import compare
    from ftspec.evals.comparison_text import to_text
    from ftspec.pipeline.evaluating import eval_runs

    runs = eval_runs(applied.planned.wanted, applied.state)
    if runs:
        _console.out(to_text(compare(runs), color=_console.colour()))
        _console.out()


def job_lines(planned: Planned, state: State) -> list[JobLine]:
    """Return the lines of all jobs of a plan, with what state says of them."""
    from ftspec.actions import AdoptJob, KeepJob, LaunchJob, WaitJob
    from ftspec.render.jobs import JobLine

    jobs = [a for a in planned.plan.actions if isinstance(a, (LaunchJob, AdoptJob, KeepJob, WaitJob))]
    return [JobLine(address=a.job.address, axes=a.job.axes, record=state.jobs.get(a.key)) for a in jobs]


def _troubles(result: ApplyResult) -> None:
    for trouble in result.failed:
        _console.talk(f"{trouble.address}: {trouble.error.code or 'failed'}: {printable(trouble.error.message or '')}")
        if trouble.engine_job_id:
            _console.talk(f"    ftspec status {trouble.address}")
    for trouble in result.in_doubt:
        _console.talk(f"{trouble.address}: in doubt: {printable(trouble.error.message or '')}")
        _console.talk(f"    ftspec import '{trouble.address}' --job-id ID    (or --search; or --absent, if it never became a job)")
    for address, because in result.skipped.items():
        _console.talk(f"{address}: skipped, because of {because}")
    for one in result.duplicates:
        _console.talk(f"{one.address}: more than one job for one key; kept {one.kept}, cancelled {', '.join(one.cancelled) or 'none'}")
        for extra in one.extra:
            _console.talk(f"    also on the engine {extra}")
    for address, job in result.unrecorded.items():
        _console.talk(f"{address}: bought but not recorded; once state can be written again, `ftspec apply` finds it {job}")
    if result.state_error:
        _console.talk(f"error: {result.state_error}; nothing was bought after that")


def _summary(applied: Applied) -> str:
    from ftspec.render.words import time_text

    result = applied.result
    parts = [
        (len(result.uploaded), "uploaded"),
        (len(result.launched), "launched"),
        (len(result.adopted), "adopted"),
        (len(result.succeeded), "succeeded"),
        (len(result.evaluated), "evaluated"),
        (len(result.failed), "failed"),
        (len(result.in_doubt), "in doubt"),
        (len(result.skipped), "skipped"),
        (len(result.running), "running"),
        (len(result.queued), "queued"),
    ]
    done = ", ".join(f"{number:,} {what}" for number, what in parts if number) or "nothing to do"
    later = "".join(f"\nNext slot on {engine}: {time_text(at)}" for engine, at in result.next_slot_at.items())
    again = "\nRun `ftspec apply` again to go on; `ftspec status --watch` follows." if result.waiting else ""
    return f"Apply: {done}.{_spent(applied)}{later}{again}"


def _spent(applied: Applied) -> str:
    """Return trained tokens and money against their estimates, for the jobs that ended now."""
    from ftspec.render.words import expected_text

    ended = {*applied.result.succeeded}
    attempts = [record.last for record in applied.state.jobs.values() if record.address in ended]
    tokens = [one.trained_tokens for one in attempts if one.trained_tokens is not None]
    if not tokens:
        return ""
    estimated = [one.estimated_tokens for one in attempts]
    planned = f" (estimated {sum(one or 0 for one in estimated):,})" if all(one is not None for one in estimated) else ""
    costs = [one.cost for one in attempts]
    known = [cost for cost in costs if cost is not None]
    currency = next((one.currency for one in attempts if one.currency), "USD")
    expected = expected_text(*(one.estimated_cost for one in attempts))
    paid = f", {sum(known):,.2f} {currency}" + ("" if len(known) == len(costs) else " and an unknown rest") if any(known) else ""
    paid = f"{paid}{expected}" if paid else f", cost unknown{expected}" if expected and not known else ""
    return f"\nTokens: {sum(tokens):,} trained{planned}{paid}"


def _as_dict(applied: Applied) -> dict[str, Any]:
    import msgspec

    result = applied.result
    jobs = [
        {"address": line.address, "key": line.record.key if line.record else None, "model": line.record.model if line.record else None,
         "status": line.record.status.value if line.record else None, "engine_job_id": line.record.last.engine_job_id if line.record else None,
         "metrics": line.record.last.metrics if line.record else {}}
        for line in job_lines(applied.planned, applied.state)
    ]  # fmt: skip
    return {
        "format_version": "1.0",
        "exit_code": applied.exit_code,
        "result": msgspec.to_builtins(result),
        "jobs": jobs,
        "gates": [{"rule": one.rule, "ok": one.ok, "sentence": one.sentence} for one in applied.gates],
    }
