"""What is written down: intents, outcomes and observations as facts of state.

Pure. Values are JSON values; what an engine did not say is left out, so that a later fact never
erases an earlier one. Nothing secret is in a request body (profiles keep keys in headers).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ftspec.actions import LaunchJob
from ftspec.executor.clock import rfc3339
from ftspec.fingerprint import digest
from ftspec.record import Checkpoint, JobError, JobStatus, Origin
from ftspec.state.base import JobFact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ftspec.actions import AdoptJob, Cost
    from ftspec.engines.base import EngineError, ObservedJob
    from ftspec.executor.result import ApplyOptions
    from ftspec.experiment import DesiredJob


def labels(job: DesiredJob) -> dict[str, Any]:
    """Return the members of a record that only label it: free to change."""
    return {"address": job.address, "suffix": job.suffix, "tags": dict(job.tags)}


def about(action: LaunchJob | AdoptJob, project: str | None = None) -> dict[str, Any]:
    """Return the members of a record that its first fact must bring. What is bought again is not forgotten any more."""
    wanted_again = {} if isinstance(action, LaunchJob) and action.attempt == 1 else {"forgotten": False}
    return {**about_job(action.job, action.preimage, project), **wanted_again}


def about_job(job: DesiredJob, preimage: Mapping[str, Any], project: str | None = None) -> dict[str, Any]:
    """Return what `about` returns for a desired job, without an action."""
    whose = {} if project is None else {"project": project}
    return {**labels(job), "engine": job.engine, "scope": job.scope, "preimage": dict(preimage), **whose}


def intent(
    launch: LaunchJob,
    body: Mapping[str, Any],
    *,
    attempt: int,
    files: tuple[str, str | None],
    at: float,
    engine_time: int | None,
    options: ApplyOptions,
) -> JobFact:
    """Return the fact that must be durable before the one POST of `body`."""
    training_file, validation_file = files
    values: dict[str, Any] = {
        "status": JobStatus.INTENT.value,
        "requested": dict(body),
        "request_digest": digest(body),
        "intent_at": rfc3339(at),
        "engine_time": engine_time,
        "training_file": training_file,
        "validation_file": validation_file,
        "origin": Origin.LAUNCHED.value,
        "launch": options.run,
        "by": options.by,
        "git_commit": options.git_commit,
        "ftspec_version": options.ftspec_version,
        **_estimate(launch.cost),
    }
    return JobFact(key=launch.key, attempt=attempt, at=rfc3339(at), values=_said(values), job=about(launch, options.project))


def _estimate(cost: Cost) -> dict[str, Any]:
    known = cost.low is not None and cost.high is not None
    return {
        "estimated_tokens": cost.tokens,
        "estimated_cost": [cost.low, cost.high] if known else None,
        "currency": cost.currency if known else None,
    }


def bought(key: str, attempt: int, job: ObservedJob, *, at: float, origin: Origin, launch: str | None = None) -> JobFact:
    """Return the fact that an attempt became this job. Its end is another fact, with everything that comes with it.

    `launch` is the run whose request it answers; without one, an open launch of the attempt stays open.
    """
    values = observed(job) | _said({"launch": launch})
    if job.status.terminal:
        values["status"] = JobStatus.RUNNING.value
    if origin is not Origin.LAUNCHED:
        values["origin"] = origin.value
    return JobFact(key=key, attempt=attempt, at=rfc3339(at), values=values)


def not_bought(key: str, attempt: int, status: JobStatus, error: JobError, *, at: float, launch: str | None) -> JobFact:
    """Return the fact that an attempt, sent by the run `launch`, never became a job: `absent` or `refused`."""
    values = {"status": status.value, "error": msgspec.to_builtins(error), "launch": launch}
    return JobFact(key=key, attempt=attempt, at=rfc3339(at), values=_said(values))


def settled(key: str, attempt: int, launch: str, *, at: float, error: JobError | None = None) -> JobFact:
    """Return the fact that the launch of a run is not open any more, and became no job of its own."""
    said = {} if error is None else {"error": msgspec.to_builtins(error)}
    # Of the attempt, not of a job that somebody else's launch of it became.
    values = {"status": JobStatus.ABSENT.value, "launch": launch, "engine_job_id": None, **said}
    return JobFact(key=key, attempt=attempt, at=rfc3339(at), values=values)


def unsettled(key: str, attempt: int, error: JobError, *, at: float) -> JobFact:
    """Return the fact that the outcome of an attempt is not known; its status stays `intent`."""
    return JobFact(key=key, attempt=attempt, at=rfc3339(at), values={"unsettled_since": rfc3339(at), "error": msgspec.to_builtins(error)})


def observed(job: ObservedJob) -> dict[str, Any]:
    """Return what an engine says of a job, as members of an attempt."""
    said = _said(
        {
            "status": max(job.status, JobStatus.LAUNCHED, key=lambda status: status.rank).value,
            "raw_status": job.raw_status,
            "engine_job_id": job.id,
            "created_at": rfc3339(job.created_at),
            "finished_at": None if job.finished_at is None else rfc3339(job.finished_at),
            "estimated_finish": None if job.estimated_finish is None else rfc3339(job.estimated_finish),
            "training_file": job.training_file,
            "validation_file": job.validation_file,
            "base_model": job.base_model or None,
            "hyperparameters": dict(job.hyperparameters),
            "seed": job.seed,
            "model": job.model,
            "trained_tokens": job.trained_tokens,
            "result_files": list(job.result_files),
            "organization": job.organization,
            "owner": job.owner,
        }
    )
    # What was written while nobody knew whether the job exists is no longer true.
    return said | {"error": None if job.error is None else msgspec.to_builtins(job.error), "unsettled_since": None}


def ended(
    job: ObservedJob,
    *,
    checkpoints: Sequence[Checkpoint],
    metrics: Mapping[str, float | None],
    cost: tuple[float, str] | None,
) -> dict[str, Any]:
    """Return everything that is known of a job at its end, as members of an attempt."""
    values = observed(job)
    if checkpoints:
        values["checkpoints"] = [msgspec.to_builtins(one) for one in checkpoints]
    if metrics:
        values["metrics"] = dict(metrics)
    if cost is not None:
        values["cost"], values["currency"] = cost
    return values


def error_of(error: EngineError) -> JobError:
    """Return an engine's error as state keeps it."""
    return JobError(code=error.code or (f"http_{error.status}" if error.status else None), message=error.message, param=error.param)


def _said(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None and value not in ({}, [])}
