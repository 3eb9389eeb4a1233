"""`/v1/fine_tuning/alpha/graders`: whether a grader is well formed, and what it says of a sample."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from anyio.to_thread import run_sync
from starlette.responses import JSONResponse
from starlette.routing import Route

from ftspec.diagnostics import FtspecError
from ftspec.server.context import server_of
from ftspec.server.graders import checked_grader, named_parts, sample_of
from ftspec.server.wire import Body, checked, read_json

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ftspec.server.trainers.base import Grade

_ERRORS = (
    "formula_parse_error",
    "sample_parse_error",
    "truncated_observation_error",
    "unresponsive_reward_error",
    "invalid_variable_error",
    "other_error",
    "python_grader_server_error",
    "python_grader_runtime_error",
    "model_grader_server_error",
    "model_grader_refusal_error",
    "model_grader_parse_error",
)
_DETAILS = ("python_grader_server_error_type", "python_grader_runtime_error_details", "model_grader_server_error_details")


class _Validate(Body):
    grader: dict[str, Any]


class _Run(Body):
    grader: dict[str, Any]
    model_sample: str
    item: dict[str, Any] | None = None


async def validate(request: Request) -> Response:
    """Judge the form of a grader."""
    body = checked(_Validate, await read_json(request))
    return JSONResponse({"grader": checked_grader(body.grader)})


async def run(request: Request) -> Response:
    """Score one sample; what goes wrong inside the grader is part of the answer."""
    body = checked(_Run, await read_json(request))
    grader = checked_grader(body.grader)
    return JSONResponse(await run_sync(_score, server_of(request).trainer.grade, grader, body.model_sample, body.item or {}))


def _score(grade: Grade, grader: dict[str, Any], text: str, item: dict[str, Any]) -> dict[str, Any]:
    started, problem = time.monotonic(), None
    sample = sample_of(text)
    parts = named_parts(grader) if grader["type"] == "multi" else {}
    rewards: dict[str, float] = {}
    reward = 0.0
    try:
        rewards = {name: grade(part, sample, item) for name, part in parts.items()}
        reward = grade(grader, sample, item)
    except (ValueError, FtspecError) as error:
        problem = str(error)
    errors: dict[str, Any] = {**dict.fromkeys(_ERRORS, False), **dict.fromkeys(_DETAILS)}
    errors["other_error"] = problem is not None
    errors["other_error_details"] = problem
    return {
        "reward": reward,
        "metadata": {
            "name": grader["name"],
            "type": grader["type"],
            "errors": errors,
            "execution_time": time.monotonic() - started,
            "scores": rewards or {grader["name"]: reward},
            "token_usage": None,
            "sampled_model_name": None,
        },
        "sub_rewards": rewards,
        "model_grader_token_usage_per_model": {},
    }


routes = [
    Route("/v1/fine_tuning/alpha/graders/validate", validate, methods=["POST"]),
    Route("/v1/fine_tuning/alpha/graders/run", run, methods=["POST"]),
]
