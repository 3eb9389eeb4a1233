"""From spec files to a plan: load, digest, identify, read state, plan. No key, no network, no lock.

Each step is a function of the layers below; this module only passes values on. Problems are
collected from all steps; a plan is made only when none of them is an error.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from ftspec import __version__
from ftspec.diagnostics import Diagnostic, FtspecError, has_errors
from ftspec.planner.request import Observed, PlanRequest
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.actions import DatasetFacts, Plan
    from ftspec.experiment import Spec
    from ftspec.pipeline.project import Project
    from ftspec.planner.identify import Identified
    from ftspec.profile import Profile
    from ftspec.record import State
    from ftspec.state.jsonl import JsonlState


SHOWN = 20
"""How many reasons a message lists."""

Watch = Callable[[str], AbstractContextManager[Any]]
"""Given what is read, a context with who wants to hear how far it is (bytes done, bytes in all), or `None`."""


def unwatched(what: str) -> AbstractContextManager[None]:  # noqa: ARG001 nobody is told
    """Watch nothing."""
    return nullcontext()


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """What the spec files mean, and everything odd about them."""

    project: Project
    spec: Spec
    diagnostics: tuple[Diagnostic, ...] = ()


class PlanOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What shapes a plan beside the spec. Selectors are those of `planner.selectors`."""

    targets: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    replace: tuple[str, ...] = ()
    retry_failed: tuple[str, ...] = ()
    sample: int | None = None
    """Take only the first N rows of every training set (a dry run of an experiment, with keys of its own)."""


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """A plan and the values that it was made from."""

    project: Project
    spec: Spec
    jobs: Sequence[Identified]
    datasets: Mapping[str, DatasetFacts]
    state: State
    plan: Plan
    request: PlanRequest
    wanted: Wanted
    diagnostics: tuple[Diagnostic, ...] = ()

    def __repr__(self) -> str:
        """Return the plan as `ftspec plan` shows it."""
        from ftspec.render.text import to_text

        return to_text(self.plan)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted, with keys: a spec whose datasets have been read."""

    project: Project
    spec: Spec
    jobs: Sequence[Identified]
    datasets: Mapping[str, DatasetFacts]
    diagnostics: tuple[Diagnostic, ...] = ()


def load(project: Project, *, sample: int | None = None, today: dt.date | None = None) -> Loaded:
    """Load the spec files; `sample` takes only that many rows of every training set.

    Raises `InvalidSpec` with all diagnostics when one of them is an error.
    """
    from ftspec import spec as specs

    spec, diagnostics = specs.load(
        project.files,
        root=project.root,
        profiles=profiles(),
        variables=project.variables,
        cache=project.cache,
        today=today or plan_time().date(),
    )
    if spec is not None:
        from ftspec.pipeline.preparing import prepare_evals

        spec, problems = prepare_evals(spec, project)
        diagnostics = [*diagnostics, *problems]
    if spec is None or has_errors(diagnostics):
        raise InvalidSpec(diagnostics)
    if sample is not None:
        spec = sampled(spec, sample)
    return Loaded(project=project, spec=spec, diagnostics=tuple(diagnostics))


class PlanStale(FtspecError):
    """Something that was saved, or locked, does not hold any more."""

    exit_code = 3

    def __init__(
        self,
        broken: Sequence[str],
        *,
        what: str = "the plan is stale",
        help: str = "make the plan again: `ftspec plan -o FILE`",  # noqa: A002 the field's own name
    ) -> None:
        shown = "".join(f"\n  - {one}" for one in broken[:SHOWN]) + (f"\n  and {len(broken) - SHOWN:,} more" if len(broken) > SHOWN else "")
        super().__init__(f"{what}:{shown}", help=help)


class InvalidSpec(FtspecError):
    """The spec, its datasets or state have errors; the diagnostics say which."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        errors = sum(1 for one in diagnostics if one.severity == "error")
        super().__init__(f"{errors} problem{'s' if errors != 1 else ''} must be solved first", diagnostics=diagnostics)


def sampled(spec: Spec, rows: int) -> Spec:
    """Return the spec with only the first `rows` rows of every part of the datasets that something trains on."""
    trained = {job.train.partition(".")[0] for job in spec.jobs}
    step = {"type": "sample", "first": rows, "per": "part"}
    datasets = {name: replace(one, transforms=(*one.transforms, step)) if name in trained else one for name, one in spec.datasets.items()}
    return replace(spec, datasets=datasets)


def want(loaded: Loaded, *, buying: bool = False, watch: Watch = unwatched) -> Wanted:
    """Digest the datasets that the jobs and evals use and give every job its key.

    Before `buying`, rows that are trained on and measured with, and rewards that nobody gets, are told too.
    """
    from ftspec.planner.identify import identify

    facts, problems = digest_all(loaded, watch=watch)
    jobs, doubled = identify(loaded.spec.jobs, facts)
    diagnostics = [*loaded.diagnostics, *problems, *doubled]
    if buying and not has_errors(diagnostics):
        diagnostics += _bought_in_vain(loaded, watch)
    if has_errors(diagnostics):
        raise InvalidSpec(diagnostics)
    return Wanted(project=loaded.project, spec=loaded.spec, jobs=jobs, datasets=facts, diagnostics=tuple(diagnostics))


def _bought_in_vain(loaded: Loaded, watch: Watch) -> list[Diagnostic]:
    """Return what would make jobs worthless: measured with their own training rows, or rewarded for nothing."""
    from ftspec.data.cache import DigestCache
    from ftspec.data.held_out import spec_leaks
    from ftspec.data.rows import BadFile, Place
    from ftspec.pipeline.dry_grading import try_graders

    project, spec = loaded.project, loaded.spec
    where = Place(root=project.root, data_roots=project.data_roots, datasets=spec.datasets)
    cache = DigestCache(project.cache) if project.cache is not None else None
    try:
        with watch("leakage of rows") as progress:
            found = spec_leaks(spec, where, near=False, cache=cache, progress=progress)
        return [*found, *(one for tried in try_graders(spec, where, quick=True, cache=cache) for one in tried.diagnostics)]
    except BadFile as problem:
        raise FtspecError(f"the datasets cannot be compared: {problem.message}", help="let the writer finish, then try again") from None
    finally:
        if cache is not None:
            cache.close()


def digest_all(loaded: Loaded, *, watch: Watch = unwatched) -> tuple[dict[str, DatasetFacts], list[Diagnostic]]:
    """Return the facts of every dataset part that is used, and what is wrong with the rows, for the engines that get them."""
    from ftspec.actions import DatasetFacts
    from ftspec.data import uses
    from ftspec.data.cache import DigestCache
    from ftspec.data.digest import digest
    from ftspec.pipeline.local_bases import bases_of

    project, spec, known = loaded.project, loaded.spec, profiles()
    bases = bases_of(spec, project)
    spec = uses.told_apart(spec)
    used = {ref for job in spec.jobs for ref in (job.train, job.validation) if ref}
    used |= {one.dataset for one in spec.evals.values()}
    facts: dict[str, DatasetFacts] = {}
    problems: list[Diagnostic] = [*bases.diagnostics]
    folder = project.cache
    cache = DigestCache(folder) if folder is not None else None
    for name, dataset in spec.datasets.items():
        if used.isdisjoint(dataset.refs()):
            continue
        with watch(dataset.path) as progress:
            found, wrong = digest(
                dataset,
                root=project.root,
                cache=cache,
                data_roots=project.data_roots,
                datasets=spec.datasets,
                setting=uses.setting_of(spec, name, known, lacks=bases.lacks(name), reads=bases.reads(name)),
                tokenizer=uses.tokenizer_of(spec, name, known),
                progress=progress,
            )
        facts.update(found)
        problems.extend(wrong)
    if cache is not None:
        cache.close()
    problems += uses.spec_limits(spec, facts, known)
    if "" in used:  # the program of such an eval brings its own rows
        facts[""] = DatasetFacts(ref="", key="", rows=0, bytes=0, format="eval")
    return facts, problems


def state_of(project: Project, spec: Spec | None = None) -> JsonlState:
    """Return the project's state backend."""
    from ftspec.state.jsonl import JsonlState

    folder = project.state_folder(spec.state_dir if spec else None)
    return JsonlState(folder, name=project.relative(folder))


def recorded_in(project: Project) -> JsonlState:
    """Return the state backend of a project that needs no spec; one is read where it could say where that is (`FtspecError`)."""
    if project.state_option is not None or os.environ.get("FTSPEC_STATE") or not project.files:
        return state_of(project)
    try:
        return state_of(project, load(project).spec)
    except FtspecError as error:
        error.help = "the spec may say where state is; solve its problems, or name the folder: `--state DIR`"
        raise


def make_plan(
    project: Project,
    options: PlanOptions | None = None,
    *,
    wanted: Wanted | None = None,
    state: State | None = None,
    observed: Observed | None = None,
    now: str | None = None,
    watch: Watch = unwatched,
) -> Planned:
    """Compare what is wanted with what is recorded. Raises `InvalidSpec`; reads no engine."""
    from ftspec.planner import plan as planner
    from ftspec.planner.prices import price_table

    options = options or PlanOptions()
    wanted = wanted or want(load(project, sample=options.sample), buying=True, watch=watch)
    problems: list[Diagnostic] = []
    if state is None:
        state, problems = state_of(project, wanted.spec).read()
    diagnostics = (*wanted.diagnostics, *problems)
    if has_errors(diagnostics):
        raise InvalidSpec(diagnostics)
    request = PlanRequest(
        spec=wanted.spec,
        jobs=wanted.jobs,
        datasets=wanted.datasets,
        state=state,
        profiles=profiles(),
        prices=price_table(wanted.spec.prices),
        now=now or timestamp(plan_time()),
        version=__version__,
        targets=options.targets,
        exclude=options.exclude,
        replace=options.replace,
        retry_failed=options.retry_failed,
        observed=observed or Observed(),
        options=_shaping(project, options),
    )
    plan = planner(request)
    diagnostics = (*diagnostics, *plan.diagnostics)
    return Planned(
        project=project,
        spec=wanted.spec,
        jobs=wanted.jobs,
        datasets=wanted.datasets,
        state=state,
        plan=plan,
        request=request,
        wanted=wanted,
        diagnostics=diagnostics,
    )


def _shaping(project: Project, options: PlanOptions) -> dict[str, Any]:
    found: dict[str, Any] = {"var": dict(project.variables)} if project.variables else {}
    return found | ({"sample": options.sample} if options.sample is not None else {})


def profiles() -> Mapping[str, Profile]:
    """Return all engine profiles by type."""
    from ftspec.engines.profiles import load_profiles

    return load_profiles()


def plan_time() -> dt.datetime:
    """Return the time that plans are made as of: now, or this time on the day in `FTSPEC_TODAY`."""
    now = dt.datetime.now(dt.UTC)
    day = os.environ.get("FTSPEC_TODAY")
    if not day:
        return now
    try:
        return dt.datetime.combine(dt.date.fromisoformat(day), now.timetz())
    except ValueError:
        raise FtspecError(f"`FTSPEC_TODAY` is `{printable(day)}`, which is no day", help="write it as 2027-01-31") from None


def utc_now() -> str:
    """Return the time as state writes it."""
    return timestamp(dt.datetime.now(dt.UTC))


def timestamp(moment: dt.datetime) -> str:
    """Return a time in UTC as records have it."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
