"""A plan kept in a file, to be applied later exactly as it was approved, or not at all.

The file does not hold the plan's values: what is done is always decided from spec and state as
they are. It holds what was promised (keys, requests, costs) and a precondition for each key that the
plan touches. `check` says which promises a fresh plan cannot keep, and `restricted` leaves of
a fresh plan only what was promised. Progress of other keys changes neither.

Paths are relative to the project's root; requests have names instead of file ids, and no secrets.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from ftspec.actions import Action, AdoptJob, KeepEval, KeepJob, LaunchJob, Plan, RunEval, UploadFile, WaitJob
from ftspec.diagnostics import FtspecError
from ftspec.fingerprint import SHORT, canonical_json
from ftspec.planner.cost import plan_cost
from ftspec.planner.policy import verdicts
from ftspec.planner.quota import quotas
from ftspec.printable import printable, redacted

if TYPE_CHECKING:
    from ftspec.planner.request import PlanRequest
    from ftspec.record import RecordedJob, State

FORMAT_VERSION = "1.0"
_SECRET_NAME = re.compile(r"key|token|secret|password|authorization", re.IGNORECASE)
_SLACK = 1.0001

RequestOf = Callable[[LaunchJob], Mapping[str, Any]]
"""Renders the request of a launch, with dataset references where file ids will be."""


class Before(msgspec.Struct, frozen=True, kw_only=True):
    """What state said of a key when the plan was made."""

    status: str
    attempt: int
    engine_job_id: str | None = None


class SavedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that the plan launches, adopts or relabels, and what must still be so."""

    action: str
    address: str
    key: str
    reason: str
    before: Before | None = None
    attempt: int | None = None
    engine_job_id: str | None = None
    datasets: dict[str, str] = {}
    request: dict[str, Any] = {}
    cost_high: float | None = None


class SavedUpload(msgspec.Struct, frozen=True, kw_only=True):
    """A file that the plan sends."""

    dataset: str
    digest: str
    scope: str
    path: str | None = None
    rows: int = 0


class SavedEval(msgspec.Struct, frozen=True, kw_only=True):
    """An eval run that the plan makes."""

    eval: str
    key: str
    address: str | None = None


class SavedPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a plan's file holds. `options` are the flags that make the plan again."""

    format_version: str
    ftspec_version: str
    project: str | None
    spec_files: tuple[str, ...]
    now: str
    options: dict[str, Any]
    cost_high: float | None
    currency: str
    jobs: tuple[SavedJob, ...] = ()
    uploads: tuple[SavedUpload, ...] = ()
    evals: tuple[SavedEval, ...] = ()


class NotAPlan(FtspecError):
    """The file is not a plan that this version of ftspec can apply."""


def save(plan: Plan, state: State, *, request_of: RequestOf) -> bytes:
    """Return the bytes of a plan file. Equal plans give equal bytes."""
    saved = SavedPlan(
        format_version=FORMAT_VERSION,
        ftspec_version=plan.ftspec_version,
        project=plan.project,
        spec_files=plan.spec_files,
        now=plan.now,
        options=dict(plan.options),
        cost_high=plan.cost.high,
        currency=plan.cost.currency,
        jobs=tuple(_job(action, state, request_of) for action in _touched(plan)),
        uploads=tuple(_upload(action, plan) for action in plan.actions if isinstance(action, UploadFile)),
        evals=tuple(SavedEval(eval=one.eval.name, key=one.key, address=one.address) for one in plan.actions if isinstance(one, RunEval)),
    )
    return (json.dumps(msgspec.to_builtins(saved), indent=2, allow_nan=False) + "\n").encode()


def load(content: bytes) -> SavedPlan:
    """Return the saved plan. Raises `NotAPlan`."""
    try:
        saved = msgspec.json.decode(content, type=SavedPlan)
    except (ValueError, RecursionError) as error:
        raise NotAPlan(f"this is not a saved plan: {printable(str(error))}", help="make one with `ftspec plan -o FILE`") from None
    if saved.format_version.partition(".")[0] != FORMAT_VERSION.partition(".")[0]:
        made_by = printable(saved.ftspec_version)
        raise NotAPlan(f"this plan was made by ftspec {made_by}, whose plans this version cannot read", help="make the plan again")
    return saved


def check(saved: SavedPlan, fresh: Plan, state: State, *, request_of: RequestOf) -> list[str]:
    """Return why a saved plan does not hold any more, one sentence each; empty when all of it still does.

    `fresh` is made from today's spec, data and state with the saved options.
    """
    problems: list[str] = []
    if saved.project != fresh.project:
        problems.append(f"the plan is of project `{printable(str(saved.project))}`, not `{printable(str(fresh.project))}`")
    by_key: dict[str, Action] = {}
    by_address: dict[str, Action] = {}
    evals: dict[tuple[str, str | None], Action] = {}
    for action in fresh.actions:
        if isinstance(action, (LaunchJob, AdoptJob, KeepJob, WaitJob)):
            by_key[action.key] = by_address[action.job.address] = action
        elif isinstance(action, (RunEval, KeepEval)):
            by_key[action.key] = evals[action.eval.name, action.address] = action
    problems += [
        f"dataset `{printable(one.dataset)}` changed: {one.digest[:SHORT]} -> {_digest(fresh, one.dataset)}"
        for one in saved.uploads
        if one.dataset in fresh.datasets and fresh.datasets[one.dataset].key != one.digest
    ]
    for job in saved.jobs:
        problems += _broken(job, by_key.get(job.key), by_address.get(job.address), fresh, state, request_of)
    if not problems:
        # One that is not wanted any more (its job failed, say) is only less to do.
        changed = [one for one in saved.evals if one.key not in by_key and (one.eval, one.address) in evals]
        problems += [f"eval `{printable(one.eval)}` changed" for one in changed]
    # A plan file is foreign: whatever of it is in a sentence must not speak to a terminal.
    return list(dict.fromkeys(map(printable, problems)))


def restricted(saved: SavedPlan, fresh: Plan, request: PlanRequest) -> Plan:
    """Return `fresh` with only the purchases, labels and evals that were saved; everything recorded stays in it."""
    jobs = {job.key for job in saved.jobs}
    evals = {one.key for one in saved.evals}
    launches = [action for action in fresh.actions if isinstance(action, LaunchJob) and action.key in jobs]
    files = {(one.job.scope, key) for one in launches for key in (one.train_key, one.validation_key)}
    actions = tuple(kept for action in fresh.actions if (kept := _restricted(action, jobs, evals, files)) is not None)
    cost = plan_cost(actions)
    return replace(
        fresh,
        actions=actions,
        cost=cost,
        verdicts=verdicts(request.spec.policy, actions, cost),
        quota=quotas(launches, request.spec, request.state, request.now),
    )


def _restricted(action: Action, jobs: set[str], evals: set[str], files: set[tuple[str, str | None]]) -> Action | None:
    match action:
        case LaunchJob() | AdoptJob():
            return action if action.key in jobs else None
        case KeepJob() if action.relabelled and action.key not in jobs:
            return replace(action, relabelled=())
        case RunEval():
            return action if action.key in evals else None
        case UploadFile():
            return action if (action.scope, action.dataset_key) in files else None
        case _:
            return action


def _touched(plan: Plan) -> Iterator[LaunchJob | AdoptJob | KeepJob]:
    for action in plan.actions:
        if isinstance(action, (LaunchJob, AdoptJob)) or (isinstance(action, KeepJob) and action.relabelled):
            yield action


def _job(action: LaunchJob | AdoptJob | KeepJob, state: State, request_of: RequestOf) -> SavedJob:
    match action:
        case LaunchJob():
            return SavedJob(
                action="launch",
                address=action.job.address,
                key=action.key,
                reason=action.reason.value,
                before=_before(state.jobs.get(action.key)),
                attempt=action.attempt,
                datasets=_datasets(action),
                request=_request(action, request_of),
                cost_high=action.cost.high,
            )
        case AdoptJob():
            return SavedJob(
                action="adopt",
                address=action.job.address,
                key=action.key,
                reason=action.reason.value,
                before=_before(state.jobs.get(action.key)),
                engine_job_id=action.engine_job_id,
            )
        case KeepJob():
            return SavedJob(
                action="relabel", address=action.job.address, key=action.key, reason=action.reason.value, before=_before(action.record)
            )


def _upload(action: UploadFile, plan: Plan) -> SavedUpload:
    path = plan.datasets[action.dataset].path
    return SavedUpload(dataset=action.dataset, digest=action.dataset_key, scope=action.scope, path=path, rows=action.rows)


def _before(record: RecordedJob | None) -> Before | None:
    if record is None or record.forgotten:
        return None
    return Before(status=record.status.value, attempt=record.last.number, engine_job_id=record.last.engine_job_id)


def _datasets(launch: LaunchJob) -> dict[str, str]:
    files = {launch.job.train: launch.train_key}
    if launch.job.validation is not None and launch.validation_key is not None:
        files[launch.job.validation] = launch.validation_key
    return files


def _request(launch: LaunchJob, request_of: RequestOf) -> dict[str, Any]:
    body: dict[str, Any] = _without_secrets(request_of(launch))
    return body


def _without_secrets(value: Any, name: str = "") -> Any:
    match value:
        case Mapping():
            return {str(member): _without_secrets(one, str(member)) for member, one in value.items()}
        case list() | tuple():
            return [_without_secrets(one, name) for one in value]
        case str() if _SECRET_NAME.search(name) and not name.startswith("ftspec_"):
            return "[redacted]"
        case str():
            return redacted(value)
        case _:
            return value


def _broken(job: SavedJob, now: Action | None, there: Action | None, fresh: Plan, state: State, request_of: RequestOf) -> list[str]:
    name = f"`{printable(job.address)}`"
    changed = [
        f"dataset `{printable(ref)}` changed: {digest[:SHORT]} -> {_digest(fresh, ref)}"
        for ref, digest in job.datasets.items()
        if ref in fresh.datasets and fresh.datasets[ref].key != digest
    ]
    if changed:
        return changed
    if now is None:
        return [f"{name} is not the same job any more: its settings changed" if there else f"{name} is no longer in the spec"]
    before = _before(state.jobs.get(job.key))
    if before != job.before:
        return [f"{name} was {_status(job.before)} and is {_status(before)} now"]
    return _broken_launch(job, now, name, request_of) if job.action == "launch" else _broken_adoption(job, now, name)


def _broken_launch(job: SavedJob, now: Action, name: str, request_of: RequestOf) -> list[str]:
    if not isinstance(now, LaunchJob):
        why = f": {now.reason.value.replace('_', ' ')}" if isinstance(now, (WaitJob, KeepJob)) else ""
        return [f"{name} would not be launched now{why}"]
    body = _request(now, request_of)
    if canonical_json(body) != canonical_json(job.request):
        fields = sorted(field for field in body.keys() | job.request.keys() if body.get(field) != job.request.get(field))
        return [f"the request of {name} changed: " + ", ".join(f"`{printable(field)}`" for field in fields)]
    if job.cost_high is not None and (now.cost.high is None or now.cost.high > job.cost_high * _SLACK):
        return [f"{name} costs more than planned"]
    return []


def _broken_adoption(job: SavedJob, now: Action, name: str) -> list[str]:
    if job.action == "adopt" and not (isinstance(now, AdoptJob) and now.engine_job_id == job.engine_job_id):
        return [f"{name} was not found again as {printable(str(job.engine_job_id))}"]
    return []


def _status(before: Before | None) -> str:
    if before is None:
        return "not recorded"
    return before.status + (f" ({printable(before.engine_job_id)})" if before.engine_job_id else "")


def _digest(fresh: Plan, ref: str) -> str:
    return fresh.datasets[ref].key[:SHORT]
