"""`/v1/fine_tuning/jobs`: create, list, retrieve, cancel, pause, resume, events, checkpoints."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from typing import TYPE_CHECKING, Any

from anyio.to_thread import run_sync
from starlette.responses import JSONResponse
from starlette.routing import Route

from ftspec.server.context import Server, project_of, server_of
from ftspec.server.routes.files import idempotency_of, repeated_with_other_content
from ftspec.server.routes.job_request import MAX_SEED, CreateJob, parse
from ftspec.server.store import IdempotencyConflict, JobDraft, UnknownFile, derived_id
from ftspec.server.trainers.base import TrainerRefusal, TrainingRequest
from ftspec.server.wire import ApiError, listing, new_id, page_after, query_int, read_json

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ftspec.server.trainers.base import JobProgress, ModelSource, TrainingCheckpoint, TrainingEvent, TrainingJob

_LIST_MAX = 1000
_METADATA_FILTER = re.compile(r"metadata\[(.+)\]")
_METRICS = (
    "step",
    "train_loss",
    "train_mean_token_accuracy",
    "valid_loss",
    "valid_mean_token_accuracy",
    "full_valid_loss",
    "full_valid_mean_token_accuracy",
)


def wire_job(server: Server, job: TrainingJob, progress: JobProgress) -> dict[str, Any]:
    """Return a job as the protocol shows it: every member, always."""
    hyperparameters = dict(progress.hyperparameters or _defaults(job))
    block: dict[str, Any] = {"hyperparameters": hyperparameters}
    if job.grader is not None:
        block["grader"] = dict(job.grader)
    error = progress.error
    return {
        "id": job.id,
        "object": "fine_tuning.job",
        "created_at": job.created_at,
        "error": {"code": error.code, "message": error.message, "param": error.param} if error else None,
        "estimated_finish": progress.estimated_finish,
        "fine_tuned_model": job.model_name if progress.status == "succeeded" else None,
        "finished_at": progress.finished_at,
        "hyperparameters": {name: hyperparameters.get(name) for name in ("n_epochs", "batch_size", "learning_rate_multiplier")},
        "integrations": [dict(integration) for integration in job.integrations],
        "metadata": dict(job.metadata) if job.metadata is not None else None,
        "method": {"type": job.method, job.method: block},
        "model": job.model,
        "organization_id": f"org-{server.organization}",
        "result_files": list(job.result_files),
        "seed": job.seed,
        "status": progress.status,
        "trained_tokens": progress.trained_tokens,
        "training_file": job.training_file,
        "validation_file": job.validation_file,
        "user_provided_suffix": job.suffix,
        "paused": progress.paused,
    }


def _defaults(job: TrainingJob) -> dict[str, Any]:
    return {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto", **job.hyperparameters}


def _wire_event(event: TrainingEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "object": "fine_tuning.job.event",
        "created_at": event.created_at,
        "level": event.level,
        "message": event.message,
        "type": event.type,
        "data": dict(event.data),
    }


def _wire_checkpoint(job: TrainingJob, checkpoint: TrainingCheckpoint) -> dict[str, Any]:
    name = job.model_name if checkpoint.final else f"{job.model_name}:ckpt-step-{checkpoint.step}"
    return {
        "id": checkpoint.id,
        "object": "fine_tuning.job.checkpoint",
        "created_at": checkpoint.created_at,
        "fine_tuned_model_checkpoint": name,
        "fine_tuning_job_id": job.id,
        "metrics": {metric: checkpoint.metrics.get(metric) for metric in _METRICS},
        "step_number": checkpoint.step,
    }


async def create(request: Request) -> Response:
    """Buy a job; bought already under the same key, answer with that job."""
    server, project = server_of(request), project_of(request)
    body = await read_json(request)
    wanted = parse(body, extra_hyperparameters=server.trainer.extra_hyperparameters)
    idempotency = idempotency_of(request, json.dumps(body, sort_keys=True))
    try:
        job = server.store.existing_job(project, wanted.metadata, idempotency)
        if job is None:
            source = await run_sync(_accept, server, project, wanted)
            if server.limits is not None:
                server.limits.job(project, server.store)  # nothing is awaited until the job counts
            job, new = server.store.create_job(_draft(server, project, wanted, source), idempotency=idempotency, now=server.time)
            if new:
                server.trainer.submit(job)
        elif idempotency:
            server.store.remember(project, idempotency, job, now=server.time)
    except IdempotencyConflict:
        raise repeated_with_other_content() from None
    except UnknownFile as missing:
        raise _no_file(missing.param, missing.file_id) from None
    return JSONResponse(wire_job(server, *server.observe(job)))


def _no_file(param: str, file_id: str) -> ApiError:
    return ApiError(400, f"Invalid value for '{param}': the file {file_id[:64]} does not exist.", param=param, code="file_not_found")


def _accept(server: Server, project: str, wanted: CreateJob) -> ModelSource:
    """Return the weights to start from; refuse what cannot be trained."""
    source = server.source(project, wanted.model)
    if source is None:
        message = f"Model {wanted.model[:200]} is not available for fine-tuning or does not exist."
        raise ApiError(400, message, param="model", code="model_not_available")
    for param, file_id in (("training_file", wanted.training_file), ("validation_file", wanted.validation_file)):
        if file_id is None:
            continue
        file = server.store.file(project, file_id, now=server.time)
        if file is None:
            raise _no_file(param, file_id)
        if file.purpose != "fine-tune":
            message = f"Invalid value for '{param}': the purpose of {file_id} is {file.purpose}, not fine-tune."
            raise ApiError(400, message, param=param, code="invalid_file_purpose")
    problems = server.trainer.check(
        TrainingRequest(
            source=source,
            method=wanted.method,
            hyperparameters=wanted.hyperparameters,
            grader=wanted.grader,
            integrations=wanted.integrations,
            has_validation=wanted.validation_file is not None,
        )
    )
    if problems:
        raise ApiError.of(problems[0])
    return source


def _draft(server: Server, project: str, wanted: CreateJob, source: ModelSource) -> JobDraft:
    """Return the job to buy. With an ftspec key, id and seed follow from it; else they are drawn."""
    key = server.store.key_of(wanted.metadata)
    job_id = derived_id("ftjob-", project, *key) if key else new_id("ftjob-")
    drawn = int.from_bytes(hashlib.sha256(job_id.encode()).digest()[:4], "big") & MAX_SEED if key else secrets.randbelow(MAX_SEED + 1)
    slug = re.sub(r"[^a-z0-9]+", "-", (wanted.suffix or "").lower()).strip("-")
    return JobDraft(
        id=job_id,
        project=project,
        model_name=f"ft:{source.base_model}:{server.organization}:{slug}:{job_id[-8:]}",
        training_file=wanted.training_file,
        validation_file=wanted.validation_file,
        metadata=wanted.metadata,
        request={
            "model": wanted.model,
            "source": {"name": source.name, "base_model": source.base_model, "job_id": source.job_id, "step": source.step},
            "method": wanted.method,
            "hyperparameters": dict(wanted.hyperparameters),
            "grader": wanted.grader,
            "seed": drawn if wanted.seed is None else wanted.seed,
            "suffix": wanted.suffix,
            "integrations": list(wanted.integrations),
        },
    )


async def list_jobs(request: Request) -> Response:
    """Return a page of jobs, newest first."""
    server, query = server_of(request), request.query_params
    limit = query_int(request, "limit", default=20, low=1, high=_LIST_MAX)
    wanted = {found[1]: value for name, value in query.multi_items() if (found := _METADATA_FILTER.fullmatch(name))}
    without = query.get("metadata") == "null"
    if without and wanted:
        raise ApiError(400, "Give 'metadata=null' or 'metadata[key]=value', not both.", param="metadata", code="invalid_value")
    rows = server.store.jobs(
        project_of(request), metadata=wanted or None, without_metadata=without, after=query.get("after"), limit=limit + 1
    )
    if rows is None:
        raise ApiError(400, "Invalid value for 'after': there is no such job.", param="after", code="invalid_cursor")
    data = [wire_job(server, *server.observe(job)) for job in rows[:limit]]
    return JSONResponse(listing(data, has_more=len(rows) > limit))


async def retrieve(request: Request) -> Response:
    """Return one job."""
    server = server_of(request)
    return JSONResponse(wire_job(server, *server.observe(server.job(request))))


def _verb(name: str) -> Any:
    async def endpoint(request: Request) -> Response:
        server = server_of(request)
        job, _ = server.observe(server.job(request))
        try:
            getattr(server.trainer, name)(job)
        except TrainerRefusal as refusal:
            raise ApiError.of(refusal.problem) from None
        return JSONResponse(wire_job(server, *server.observe(job)))

    endpoint.__doc__ = f"{name.capitalize()} a job."
    return endpoint


async def list_events(request: Request) -> Response:
    """Return a page of what happened to a job, newest first."""
    server = server_of(request)
    job, _ = server.observe(server.job(request))
    limit = query_int(request, "limit", default=20, low=1, high=_LIST_MAX)
    newest_first = list(reversed(server.trainer.events(job)))
    page, more = page_after(newest_first, after=request.query_params.get("after"), limit=limit, key=lambda event: event.id)
    return JSONResponse(listing(map(_wire_event, page), has_more=more))


async def list_checkpoints(request: Request) -> Response:
    """Return a page of the checkpoints of a job, highest step first."""
    server = server_of(request)
    job, _ = server.observe(server.job(request))
    limit = query_int(request, "limit", default=10, low=1, high=_LIST_MAX)
    highest_first = list(reversed(server.trainer.checkpoints(job)))
    page, more = page_after(highest_first, after=request.query_params.get("after"), limit=limit, key=lambda checkpoint: checkpoint.id)
    return JSONResponse(listing((_wire_checkpoint(job, checkpoint) for checkpoint in page), has_more=more))


routes = [
    Route("/v1/fine_tuning/jobs", create, methods=["POST"]),
    Route("/v1/fine_tuning/jobs", list_jobs, methods=["GET"]),
    Route("/v1/fine_tuning/jobs/{job_id}", retrieve, methods=["GET"]),
    *(Route(f"/v1/fine_tuning/jobs/{{job_id}}/{name}", _verb(name), methods=["POST"]) for name in ("cancel", "pause", "resume")),
    Route("/v1/fine_tuning/jobs/{job_id}/events", list_events, methods=["GET"]),
    Route("/v1/fine_tuning/jobs/{job_id}/checkpoints", list_checkpoints, methods=["GET"]),
]
