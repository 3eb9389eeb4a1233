"""`/v1/models`: the bases, and what the project's jobs made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from ftspec.server.context import Server, project_of, server_of, unknown_model
from ftspec.server.trainers.base import ServedModel
from ftspec.server.wire import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request
    from starlette.responses import Response

    from ftspec.server.trainers.base import TrainingJob


def _wire_model(model: ServedModel) -> dict[str, Any]:
    return {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": model.owned_by,
        "shutdown_date": model.until,
        "description": model.description,
    }


def _made_by(server: Server, job: TrainingJob) -> Iterator[ServedModel]:
    finished = server.observe(job)[1].finished_at or job.created_at
    described = f"{job.source.base_model} after {job.method} training by {job.id}"
    for checkpoint in reversed(server.trainer.checkpoints(job)):
        name = job.model_name if checkpoint.final else f"{job.model_name}:ckpt-step-{checkpoint.step}"
        created = finished if checkpoint.final else checkpoint.created_at
        yield ServedModel(name=name, description=described, created=created, owned_by=server.organization)


async def list_models(request: Request) -> Response:
    """Return every model that this key may ask."""
    server = server_of(request)
    trained = (model for job in server.trained(project_of(request)) for model in _made_by(server, job))
    return JSONResponse({"object": "list", "data": [_wire_model(model) for model in (*server.trainer.base_models(), *trained)]})


async def retrieve(request: Request) -> Response:
    """Return one model."""
    server, project, name = server_of(request), project_of(request), request.path_params["model"]
    source = server.source(project, name)
    job = server.store.job(project, source.job_id) if source and source.job_id else None
    served = _made_by(server, job) if job else server.trainer.base_models()
    for model in served:
        if model.name == name:
            return JSONResponse(_wire_model(model))
    raise unknown_model(name)


async def delete(request: Request) -> Response:
    """Delete a fine-tuned model and its checkpoints; the job that made it stays."""
    server, project, name = server_of(request), project_of(request), request.path_params["model"]
    source = server.source(project, name)
    if source is None:
        raise unknown_model(name)
    if source.job_id is None or source.step is not None:
        raise ApiError(
            403, "Only fine-tuned models can be deleted, and checkpoints only with their model.", param="model", code="model_not_deletable"
        )
    server.store.delete_model(project, name, now=server.time)
    server.trainer.discard(source)
    return JSONResponse({"id": name, "object": "model", "deleted": True})


routes = [
    Route("/v1/models", list_models, methods=["GET"]),
    Route("/v1/models/{model:path}", retrieve, methods=["GET"]),
    Route("/v1/models/{model:path}", delete, methods=["DELETE"]),
]
