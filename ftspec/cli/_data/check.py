"""Check dataset files: every rule, leakage, what engines take."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ftspec.cli import _console
from ftspec.cli._data._progress import bar
from ftspec.cli._data._targets import Targets, targets_of
from ftspec.cli._options import project_options
from ftspec.diagnostics import Diagnostic, FtspecError, Severity, has_errors

if TYPE_CHECKING:
    from ftspec.actions import DatasetFacts
    from ftspec.data.onepass import Passed
    from ftspec.experiment import DesiredDataset, DesiredJob, Spec
    from ftspec.pipeline.dry_grading import Tried
    from ftspec.pipeline.project import Project
    from ftspec.profile import Profile


_MUCH = 100_000_000
"""Bytes of memory that are worth a word beforehand."""


@click.command()
@project_options(need_spec=False)  # type: ignore[untyped-decorator]
@click.argument("targets", nargs=-1, metavar="[DATASET|FILE]...")
@click.option("--format", "form", type=click.Choice(["text", "json", "sarif", "github"]), default="text", show_default=True)
@click.option("--json", "form", flag_value="json", help="Short for --format json.")
@click.option("--strict", is_flag=True, help="Exit 1 for warnings too.")
@click.option("--engine", metavar="TYPE", help="Check files against what this engine takes (specs say it themselves).")
@click.option("--method", type=click.Choice(["supervised", "dpo", "reinforcement"]), help="The method they are for, with --engine.")
@click.option("--safety", is_flag=True, help="Also search for secrets and personal data (slower).")
@click.option("--moderation", metavar="ENGINE", help="Also send every text, redacted, to the moderation of this engine of the spec.")
@click.option("--online", is_flag=True, help="Also ask the engines of the spec whether they take its graders.")
@click.option("--leakage/--no-leakage", default=True, show_default=True, help="Compare training data with validation sets and evals.")
@click.option("--allow-code", is_flag=True, help="Also try `python` graders on their references, isolated.")
@click.option("--fix", is_flag=True, help="Write a repaired copy of one FILE; the old one stays.")
@click.option("--redact", is_flag=True, help="With --fix: replace secrets and personal data.")
@click.option("-o", "--output", metavar="FILE", help="With --fix: where to (default NAME.fixed.jsonl).")
def command(  # noqa: PLR0913 one for each option
    project: Project,
    *,
    targets: tuple[str, ...],
    form: str,
    strict: bool,
    engine: str | None,
    method: str | None,
    safety: bool,
    moderation: str | None,
    online: bool,
    leakage: bool,
    allow_code: bool,
    fix: bool,
    redact: bool,
    output: str | None,
) -> None:
    r"""Check dataset files: every rule, leakage, what engines take.

    Without arguments all datasets of the spec are checked. Exit 1 when there are errors.

    \b
        ftspec data check
        ftspec data check data/tickets.jsonl --engine openai
        ftspec data check data/tickets.jsonl --fix -o data/clean.jsonl
        ftspec data check --format sarif > data.sarif
    """
    if (redact or output) and not fix:
        raise click.UsageError("--redact and -o go with --fix")
    chosen = targets_of(project, targets)
    if online and (chosen.spec is None or engine is not None):
        raise FtspecError("`--online` asks about the graders of a spec, and no spec talks of these files")
    if fix:
        _fix(chosen, project, redact=redact, output=output)
        return
    from ftspec.data.rows import BadFile

    try:
        found, lines = _check(chosen, project, engine=engine, method=method, safety=safety, leakage=leakage)
        if chosen.spec is not None and engine is None and not has_errors(found):
            for tried in _tried(chosen, allow_code=allow_code):
                found += tried.diagnostics
                lines += [] if tried.low else [tried.sentence]
            if online:
                refused, taken = _asked(chosen, project)
                found += refused
                lines += taken
        if moderation is not None and not has_errors(found):
            found += _moderated(chosen, project, moderation)
    except BadFile as problem:
        raise FtspecError(f"a dataset cannot be read again: {problem.message}", help="let its writer finish, then try again") from problem
    _show(found, lines, form)
    if has_errors(found) or (strict and any(one.severity is Severity.WARNING for one in found)):
        _console.stop(1)


def _check(
    chosen: Targets, project: Project, *, engine: str | None, method: str | None, safety: bool, leakage: bool
) -> tuple[list[Diagnostic], list[str]]:
    """Return everything that is wrong, and a line about each dataset."""
    from ftspec.data import uses
    from ftspec.data.audit import audit, over_context
    from ftspec.data.limits import setting_for
    from ftspec.data.onepass import facts_of
    from ftspec.pipeline.local_bases import Bases, bases_of

    profile = _profile(chosen, engine)
    bases = bases_of(chosen.spec, project) if chosen.spec is not None and engine is None else Bases()
    found: list[Diagnostic] = []
    lines: list[str] = []
    facts: dict[str, DatasetFacts] = {}
    for dataset in chosen.datasets:
        spec = chosen.spec if chosen.spec is not None and dataset.name in chosen.spec.datasets and engine is None else None
        setting = (
            uses.setting_of(
                spec, dataset.name, chosen.profiles, safety=safety, lacks=bases.lacks(dataset.name), reads=bases.reads(dataset.name)
            )
            if spec
            else setting_for(profile, method=method, safety=safety)
        )
        tokenizer = (
            uses.tokenizer_of(spec, dataset.name, chosen.profiles) if spec else (profile.defaults.get("tokenizer") if profile else None)
        )
        with bar(dataset.path) as progress:
            passed, problems = audit(dataset, chosen.where, setting=setting, tokenizer=tokenizer or "o200k", progress=progress)
        found += problems
        if passed is None:
            continue
        facts |= facts_of(dataset, passed)
        lines.append(_about(dataset, passed))
        if spec is not None:
            for model, context in uses.contexts_of(spec, dataset.name, chosen.profiles).items():
                found += over_context(dataset, passed, model, context)
        else:
            found += _alone(dataset, passed, chosen, engine, method)
    if chosen.spec is not None and engine is None:
        found += uses.spec_limits(chosen.spec, facts, chosen.profiles)
        found += _leaving(chosen)
        found += uses.unmeasured(chosen.spec)
        if leakage and not has_errors(found):
            found += _leaks(chosen, facts)
    order = [Severity.ERROR, Severity.WARNING, Severity.INFO]
    return sorted(found, key=lambda one: order.index(one.severity)), lines


def _profile(chosen: Targets, engine: str | None) -> Profile | None:
    if engine is None:
        return None
    if engine not in chosen.profiles:
        raise FtspecError(f"`{engine}` is not an engine type", help=f"use one of {', '.join(chosen.profiles)}")
    return chosen.profiles[engine]


def _alone(dataset: DesiredDataset, passed: Passed, chosen: Targets, engine: str | None, method: str | None) -> list[Diagnostic]:
    """Return what one engine does not take about a file that no spec talks of."""
    from ftspec.data.limits import limits
    from ftspec.data.onepass import facts_of

    profile = _profile(chosen, engine)
    wanted = profile.methods.get(method) if profile is not None and method else None
    if profile is not None and method and wanted is None:
        raise FtspecError(f"`{engine}` has no method `{method}`", help=f"it has: {', '.join(profile.methods)}")
    form = wanted.dataset_format if wanted is not None else None
    return limits(facts_of(dataset, passed)[dataset.name], profile, wanted_format=form)


def _leaving(chosen: Targets) -> list[Diagnostic]:
    """Say which datasets go to engines that are not on this machine."""
    from ftspec.data.uses import dataset_of

    assert chosen.spec is not None  # noqa: S101 the caller asked
    sent: dict[tuple[str, str], None] = {}
    for job in chosen.spec.jobs:
        entry = chosen.spec.engines.get(job.engine)
        profile = chosen.profiles.get(entry.type) if entry is not None else None
        if profile is not None and entry is not None and not profile.in_process:
            host = entry.base_url or profile.base_url or profile.title
            sent.update({(dataset_of(ref), host): None for ref in (job.train, job.validation) if ref})
    from ftspec.data.checks.safety import DataLeaves
    from ftspec.printable import printable

    return [
        Diagnostic(
            code=DataLeaves.code,
            severity=DataLeaves.severity,
            message=f"dataset `{name}` will be sent to {printable(host)}",
            help=DataLeaves.help,
            at=chosen.spec.datasets[name].path_at if name in chosen.spec.datasets else None,
        )
        for name, host in sent
    ]


def _tried(chosen: Targets, *, allow_code: bool) -> Sequence[Tried]:
    """Try the graders of reinforcement jobs on the right answers of the chosen datasets."""
    from ftspec.data.uses import dataset_of
    from ftspec.pipeline.dry_grading import try_graders

    assert chosen.spec is not None  # noqa: S101 the caller asked
    names = {dataset.name for dataset in chosen.datasets}
    jobs = [job for job in chosen.spec.jobs if dataset_of(job.train) in names]
    return try_graders(chosen.spec, chosen.where, jobs=jobs, allow_code=allow_code)


def _asked(chosen: Targets, project: Project) -> tuple[list[Diagnostic], list[str]]:
    """Ask the engines of the chosen datasets' jobs about their graders."""
    from ftspec.data.uses import dataset_of
    from ftspec.pipeline.asking_graders import ask_about_graders

    assert chosen.spec is not None  # noqa: S101 the caller asked
    names = {dataset.name for dataset in chosen.datasets}
    return ask_about_graders(project, chosen.spec, [job for job in chosen.spec.jobs if dataset_of(job.train) in names])


def _moderated(chosen: Targets, project: Project, engine: str) -> list[Diagnostic]:
    """Show the texts to the moderation that was asked for by name."""
    from ftspec.pipeline.moderating import moderate
    from ftspec.pipeline.planning import load

    if not project.files:
        raise FtspecError("`--moderation` names an engine of a spec, and there is no spec here")
    spec = chosen.spec or load(project).spec
    return moderate(project, spec, engine, chosen.datasets, chosen.where, watch=bar)


def _leaks(chosen: Targets, facts: Mapping[str, DatasetFacts]) -> list[Diagnostic]:
    """Compare what the spec trains on with what it measures with, as far as the chosen datasets are in it."""
    from msgspec.structs import replace

    from ftspec.data.held_out import comparisons, spec_leaks
    from ftspec.data.leakage import BYTES_PER_BYTE
    from ftspec.data.uses import dataset_of
    from ftspec.render.words import size_text

    assert chosen.spec is not None  # noqa: S101 the caller asked
    names = {dataset.name for dataset in chosen.datasets}
    spec = chosen.spec
    jobs = [job for job in spec.jobs if names & {dataset_of(ref) for ref in _refs(spec, job)}]
    spec = replace(spec, jobs=tuple(jobs))
    most = max((sum(facts[ref].bytes for ref in held if ref in facts) for held in comparisons(spec).values()), default=0)
    if most * BYTES_PER_BYTE > _MUCH:
        need = size_text(most * BYTES_PER_BYTE)
        _console.talk(
            f"The search for near duplicates of {size_text(most)} of held-out rows needs about {need} of memory; `--no-leakage` skips it."
        )
    with bar("leakage of rows") as progress:
        return spec_leaks(spec, chosen.where, progress=progress)


def _refs(spec: Spec, job: DesiredJob) -> Iterator[str]:
    yield job.train
    if job.validation:
        yield job.validation
    yield from (spec.evals[name].dataset for name in job.evals if name in spec.evals)


def _about(dataset: DesiredDataset, passed: Passed) -> str:
    from ftspec.data.tally import error_of
    from ftspec.data.tokens import counter
    from ftspec.printable import printable
    from ftspec.render.words import size_text

    counts = passed.counts[""]
    if not counts.rows:
        return f"{printable(dataset.name)}: no rows that can be read"
    error = error_of(counts, counter(passed.order.tokenizer or "estimate"))
    tokens = f"about {counts.tokens:,} tokens (within {error:.0%})" if error else f"{counts.tokens:,} tokens"
    parts = ", ".join(f"{part} {passed.counts[part].rows:,}" for part in passed.order.parts)
    return (
        f"{printable(dataset.name)}: {counts.rows:,} {'row' if counts.rows == 1 else 'rows'}, {passed.format}, {size_text(counts.bytes)}, {tokens}"
        + (f" ({parts})" if parts else "")
    )


def _show(found: Sequence[Diagnostic], lines: Sequence[str], form: str) -> None:
    from ftspec import __version__
    from ftspec.render import diagnostics as render

    match form:
        case "json":
            _console.out_raw(render.to_json(found))
        case "sarif":
            _console.out_raw(render.to_sarif(found, version=__version__))
        case "github":
            _console.out_raw(render.to_github(found))
        case _:
            if found:
                _console.out(render.to_text(found, color=_console.colour(sys.stdout), width=_console.width()) + "\n")
            for line in lines:
                _console.out(line)
            _console.out(render.summary_text(found))


def _fix(chosen: Targets, project: Project, *, redact: bool, output: str | None) -> None:
    from ftspec.data.repair import repair
    from ftspec.data.rows import BadFile
    from ftspec.printable import printable

    if len(chosen.datasets) != 1:
        raise FtspecError("`--fix` takes one file or dataset at a time", help="ftspec data check data/tickets.jsonl --fix")
    dataset = chosen.datasets[0]
    old = project.root / dataset.path
    new = project.root / output if output else old.with_name(f"{Path(dataset.path).stem}.fixed.jsonl")
    try:
        with chosen.where.open(dataset.path) as file:
            done = repair(file, new, redact=redact)
    except BadFile as problem:
        from ftspec.data.checks import all_codes

        raise FtspecError(f"`{printable(dataset.path)}`: {problem.message}", help=all_codes()[problem.code].help) from problem
    _console.out(f"{project.relative(new)}: {done.rows:,} {'row' if done.rows == 1 else 'rows'} written")
    for change, times in done.changes.items():
        _console.out(f"  {times:,} x {change}")
    if done.rejected:
        _console.out(f"  {done.rejected:,} x line that cannot be read, kept in {project.relative(new)}.rejected")
    if not done.changes and not done.rejected:
        _console.out("  nothing that can be put right by itself: all rows are as they were")
    _console.talk(f"See what is left:\n  ftspec data check {shlex.quote(project.relative(new))}")
