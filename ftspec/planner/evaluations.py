"""Which evals are missing: each eval of each job, on the job's model and on what it is compared with.

The base model is asked once for each (scope, model), however many jobs were trained on it. The
base of a job that was trained on another job's model is that model. Checkpoints are known once
a job has succeeded; until then there is nothing to plan for them. A failed eval run, like a
failed job, is tried again only when that was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ftspec.actions import Action, AdoptJob, KeepEval, KeepJob, LaunchJob, Reason, RunEval
from ftspec.fingerprint import EvalKeys

if TYPE_CHECKING:
    from ftspec.actions import DatasetFacts
    from ftspec.experiment import DesiredEval, DesiredJob
    from ftspec.planner.identify import Identified
    from ftspec.planner.pricing import Pricing
    from ftspec.planner.request import PlanRequest
    from ftspec.record import RecordedJob

_HOPELESS = frozenset({Reason.FAILED, Reason.CANCELLED})


class _Asked(msgspec.Struct, frozen=True):
    """A model that an eval asks: what goes into the key, whose it is, and its name or the record that knows it."""

    image: Mapping[str, Any]
    address: str | None
    model: str | None = None
    record: RecordedJob | None = None
    step: int | None = None
    retired: bool = False


class _Eval:
    """One eval of the spec, with what all its runs share."""

    def __init__(self, one: DesiredEval, facts: DatasetFacts) -> None:
        self.one = one
        self.facts = facts
        self.keys = EvalKeys(dataset=facts.key, prompt=one.prompt, sampling=one.sampling, graders=one.graders, repeat=one.repeat)
        compared = () if one.compare_to is None or one.compare_to in one.models else (one.compare_to,)
        self.models = (*compared, *one.models)


def evaluations(
    jobs: Sequence[Identified], decided: Mapping[str, Action], request: PlanRequest, pricing: Pricing, retried: frozenset[str]
) -> list[RunEval | KeepEval]:
    """Return a run, or a kept run, for each eval and model: sorted by eval, then by whom is asked."""
    known = {name: _Eval(one, request.datasets[one.dataset]) for name, one in request.spec.evals.items() if one.dataset in request.datasets}
    found: dict[str, RunEval | KeepEval] = {}
    earlier: frozenset[tuple[str, str, int | None]] | None = None
    launched = {action.key for action in decided.values() if isinstance(action, LaunchJob)}
    for identified in jobs:
        job = identified.job
        action = decided.get(job.address)
        if not job.evals or not isinstance(action, (LaunchJob, AdoptJob, KeepJob)):
            continue
        if isinstance(action, KeepJob) and action.reason in _HOPELESS:
            continue
        for name in job.evals:
            one = known.get(name)
            if one is None:
                continue
            for asked in _asked(one, identified, action, decided):
                key = one.keys.key(asked.image)
                record = request.state.evals.get(key)
                if key in found:
                    continue
                # The scores of a model are not those of the one that replaced it, or will.
                replaced = record is not None and (record.job_key in launched or request.state.is_outdated(record))
                if record is not None and record.status == "succeeded" and not replaced:
                    found[key] = KeepEval(eval=one.one, key=key, record=record, address=asked.address)
                elif record is not None and record.status == "failed" and not replaced and job.address not in retried:
                    found[key] = KeepEval(eval=one.one, key=key, record=record, address=asked.address, reason=Reason.FAILED)
                elif not asked.retired:
                    if earlier is None:
                        earlier = _earlier(request)
                    found[key] = _run(one, key, asked, job, frozenset() if replaced else earlier, pricing)
    return sorted(found.values(), key=lambda run: (run.eval.name, run.address or "", run.key))


def _asked(one: _Eval, identified: Identified, action: LaunchJob | AdoptJob | KeepJob, decided: Mapping[str, Action]) -> Iterator[_Asked]:
    job = identified.job
    record = action.record if isinstance(action, KeepJob) else None
    retired = isinstance(action, KeepJob) and action.reason is Reason.RETIRED
    for name in one.models:
        if name == "base":
            yield _base(identified, decided)
        elif name == "job":
            yield _Asked({"job": identified.key}, job.address, record=record, retired=retired)
        elif name == "job@checkpoints":
            for checkpoint in record.last.checkpoints if record else ():
                if record is not None and checkpoint.model != record.model:
                    image = {"job": identified.key, "step": checkpoint.step}
                    yield _Asked(image, job.address, checkpoint.model, step=checkpoint.step, retired=retired)
        else:
            yield _Asked({"scope": job.scope, "name": name}, None, name)


def _base(identified: Identified, decided: Mapping[str, Action]) -> _Asked:
    job = identified.job
    if job.parent is None:
        return _Asked({"scope": job.scope, "name": job.base_model}, None, job.base_model)
    parent = decided.get(job.parent)
    record = parent.record if isinstance(parent, KeepJob) else None
    retired = isinstance(parent, KeepJob) and parent.reason is Reason.RETIRED
    return _Asked({"job": identified.parent_key}, job.parent, record=record, retired=retired)


def _run(
    one: _Eval, key: str, asked: _Asked, job: DesiredJob, earlier: frozenset[tuple[str, str, int | None]], pricing: Pricing
) -> RunEval:
    whose = (one.one.name, asked.image.get("job") or asked.image["name"], asked.step)
    return RunEval(
        eval=one.one,
        key=key,
        preimage=one.keys.preimage(asked.image),
        dataset_key=one.facts.key,
        address=asked.address,
        engine=job.engine,
        scope=job.scope,
        model=asked.record.model if asked.record is not None else asked.model,
        samples=one.facts.rows * one.one.repeat,
        reason=Reason.EVAL_CHANGED if whose in earlier else Reason.NOT_EVALUATED,
        step=asked.step,
        cost=pricing.asking(one.one, one.facts, job),
    )


def _earlier(request: PlanRequest) -> frozenset[tuple[str, str, int | None]]:
    """Return which (eval, job key or model, step) have any finished run."""
    return frozenset(
        (record.name, record.job_key or record.model, record.step)
        for record in request.state.evals.values()
        if record.status == "succeeded"
    )
