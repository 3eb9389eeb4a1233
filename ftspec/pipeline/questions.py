"""`ftspec eval`: which models are asked which evals, and asking them.

What is recorded is reused; what was interrupted goes on; bases are asked before the models that
are compared with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ftspec.diagnostics import FtspecError
from ftspec.pipeline.evaluating import Evaluator, base_identity, eval_keys
from ftspec.planner.selectors import UnknownSelector, select

if TYPE_CHECKING:
    from ftspec.actions import RunEval
    from ftspec.evals.runner import Progress, RunOptions
    from ftspec.experiment import DesiredEval, Spec
    from ftspec.pipeline.planning import Wanted
    from ftspec.planner.identify import Identified
    from ftspec.record import RecordedEval, State

_WORDS = ("base", "job", "job@checkpoints")
"""Entries of `models:` that are no names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What `ftspec eval` was asked for.

    `models` are selectors of jobs, or names of models on `engine`; none: every eval run that
    the spec wants and whose model exists. `evals` limits which; `checkpoint` is a step, or `*`.
    """

    models: tuple[str, ...] = ()
    evals: tuple[str, ...] = ()
    engine: str | None = None
    checkpoint: str | None = None
    fresh: bool = False
    with_base: bool = True


def eval_actions(wanted: Wanted, state: State, question: Question) -> list[RunEval]:
    """Return the eval runs that a question means, recorded ones included, bases first."""
    named = _evals_named(wanted.spec, question.evals)
    found: dict[str, RunEval] = {}
    for one, asked in _asked(wanted, state, question, named):
        action = _action(wanted, one, asked)
        found.setdefault(action.key, action)
    return sorted(found.values(), key=lambda action: (action.eval.name, action.address is not None))


def _evals_named(spec: Spec, names: Sequence[str]) -> list[DesiredEval]:
    if not spec.evals:
        raise FtspecError("the spec declares no evals", help="add `evals:` to it; see `ftspec schema`")
    unknown = [name for name in names if name not in spec.evals]
    if unknown:
        raise FtspecError(f"no spec declares an eval `{unknown[0]}`", help=f"declared: {', '.join(sorted(spec.evals))}")
    return [one for name, one in spec.evals.items() if not names or name in names]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A model to ask: whose it is, where, and its name."""

    identity: Mapping[str, Any]
    engine: str
    model: str
    address: str | None = None
    step: int | None = None


def _asked(wanted: Wanted, state: State, question: Question, evals: Sequence[DesiredEval]) -> Iterator[tuple[DesiredEval, _Asked]]:
    by_address = {one.job.address: one for one in wanted.jobs}
    chosen: set[str] = set(by_address) if not question.models else set()
    names: list[str] = []
    for text in question.models:
        try:
            chosen |= select([text], wanted.jobs, state)
        except UnknownSelector as error:
            if question.engine is None:
                _refuse_slips(text, wanted.spec, state, error)
            names.append(text)
    for name in names:
        for one in evals:
            yield one, _by_name(wanted.spec, name, question.engine)
    for address in (address for address in by_address if address in chosen):
        job = by_address[address]
        for one in evals:
            if question.evals or question.models or one.name in job.job.evals:
                for asked in _of_job(job, one, state, question):
                    yield one, asked


def _refuse_slips(text: str, spec: Spec, state: State, error: UnknownSelector) -> None:
    """Raise what is said of a selector of nothing, unless it is a model's name: one that is known, or one that resembles no job."""
    models = {job.base_model for job in spec.jobs} | {record.model for record in state.jobs.values()}
    if text in models or text.startswith("ft:"):
        return
    if text in spec.evals:
        raise FtspecError(f"`{text}` is an eval, and no job", help=f"to run it on every model: `ftspec eval --eval {text}`")
    if error.help is not None:
        raise UnknownSelector(error.message, help=f"{error.help} (a model of that name: add `--engine NAME`)")


def _by_name(spec: Spec, name: str, engine: str | None) -> _Asked:
    used = dict.fromkeys(job.engine for job in spec.jobs)
    if engine is None and len(used) != 1:
        raise FtspecError(f"`{name}` is no job of the spec", help="if it is a model, name its engine: `--engine NAME`")
    engine = engine or next(iter(used))
    if engine not in spec.engines:
        raise FtspecError(f"no spec declares an engine `{engine}`", help=f"declared: {', '.join(sorted(spec.engines))}")
    return _Asked(identity={"scope": spec.engines[engine].scope, "name": name}, engine=engine, model=name)


def _of_job(job: Identified, one: DesiredEval, state: State, question: Question) -> Iterator[_Asked]:
    record = state.jobs.get(job.key)
    if record is None or record.model is None:
        return
    engine, address = job.job.engine, job.job.address
    if question.with_base and one.compare_to is not None:
        base = _base_model(job, one, state)
        if base is not None:
            yield _Asked(
                identity=base_identity(job, one),
                engine=engine,
                model=base,
                address=job.job.parent if "job" in base_identity(job, one) else None,
            )
    if question.checkpoint is None:
        yield _Asked(identity={"job": job.key}, engine=engine, model=record.model, address=address)
        for name in one.models:
            if name not in _WORDS:
                yield _Asked(identity={"scope": job.job.scope, "name": name}, engine=engine, model=name)
    if question.checkpoint is not None or "job@checkpoints" in one.models:
        for checkpoint in record.last.checkpoints:
            if question.checkpoint in (None, "*", str(checkpoint.step)) and checkpoint.model != record.model:
                identity = {"job": job.key, "step": checkpoint.step}
                yield _Asked(identity=identity, engine=engine, model=checkpoint.model, address=address, step=checkpoint.step)


def _base_model(job: Identified, one: DesiredEval, state: State) -> str | None:
    identity = base_identity(job, one)
    if "name" in identity:
        return str(identity["name"])
    parent = state.jobs.get(identity["job"])
    return parent.model if parent is not None else None


def _action(wanted: Wanted, one: DesiredEval, asked: _Asked) -> RunEval:
    from ftspec.actions import Reason, RunEval

    keys, facts = eval_keys(wanted, one), wanted.datasets[one.dataset]
    return RunEval(
        eval=one,
        key=keys.key(asked.identity),
        preimage=keys.preimage(asked.identity),
        dataset_key=facts.key,
        address=asked.address,
        engine=asked.engine,
        scope=wanted.spec.engines[asked.engine].scope,
        model=asked.model,
        samples=facts.rows * one.repeat,
        reason=Reason.NOT_EVALUATED,
        step=asked.step,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What `ftspec eval` did: new and reused records, by key."""

    actions: tuple[RunEval, ...]
    records: Mapping[str, RecordedEval]
    reused: frozenset[str] = field(default_factory=frozenset)


async def evaluate(
    wanted: Wanted,
    question: Question,
    *,
    options: RunOptions,
    watch: Callable[[RunEval, Progress], None] | None = None,
    talk: Callable[[RunEval, RecordedEval | None], None] | None = None,
) -> Evaluation:
    """Run what a question means and is not recorded yet. `talk` hears of each run as it begins (no record) and ends."""
    from ftspec.pipeline.planning import state_of
    from ftspec.pipeline.session import Session

    project, spec = wanted.project, wanted.spec
    with state_of(project, spec).lock("eval") as writer:
        state = writer.read()
        actions = eval_actions(wanted, state, question)
        if not actions:
            raise FtspecError("there is no model to evaluate yet", help="train one with `ftspec apply`, or name one: `ftspec eval MODEL`")
        recorded = {
            key: state.evals[key]
            for key in (action.key for action in actions)
            if key in state.evals and state.evals[key].status == "succeeded" and not state.is_outdated(state.evals[key])
        }
        missing = [action for action in actions if question.fresh or action.key not in recorded]
        async with Session(project, spec) as session:
            session.remember(state.jobs.values())
            evaluator = Evaluator(wanted, session, writer, options=options, watch=watch)
            for action in missing:
                if talk is not None:
                    talk(action, None)
                job_key = action.preimage["model"].get("job")
                record = await evaluator(action, model=action.model or "", job_key=job_key, engine=session.engine(action.engine))
                recorded[action.key] = record
                if talk is not None:
                    talk(action, record)
    return Evaluation(actions=tuple(actions), records=recorded, reused=frozenset(recorded) - {action.key for action in missing})
