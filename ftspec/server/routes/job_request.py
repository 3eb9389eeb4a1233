"""The body of `POST /v1/fine_tuning/jobs`: what it may hold, and what it means.

The ranges are those of the official document. The deprecated top-level `hyperparameters`
mean a supervised method; giving both is refused. Which values a trainer can honour beyond
that is the trainer's word (`Trainer.check`).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, PlainValidator, field_validator

from ftspec.server.graders import checked_grader
from ftspec.server.wire import ApiError, Body, checked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftspec.server.trainers.base import Method

MAX_SEED = 2**31 - 1
_LARGEST: Final = sys.float_info.max
"""A whole number above it is none that a trainer could reckon with; NaN and infinity are not below it."""


def _auto_or(low: float, high: float = _LARGEST, *, whole: bool = False, above: bool = False) -> Any:
    """Return the type of a hyperparameter: "auto", or a number within the bounds (`above`: without the lower one)."""
    kind = "a whole number" if whole else "a number"
    bounds = f"above {low:g}" if above else f"of at least {low:g}"
    bounds += f" and at most {high:g}" if high < _LARGEST else ""

    def validate(value: Any) -> Any:
        if value == "auto":
            return value
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or (whole and not isinstance(value, int)) or not low <= value <= high or (above and value == low):
            msg = f'expected "auto" or {kind} {bounds}'
            raise ValueError(msg)
        return value

    return Annotated[Any, PlainValidator(validate)]


class _Hyperparameters(Body):
    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    n_epochs: _auto_or(1, 50, whole=True) = None  # type: ignore[valid-type]
    batch_size: _auto_or(1, 256, whole=True) = None  # type: ignore[valid-type]
    learning_rate_multiplier: _auto_or(0, above=True) = None  # type: ignore[valid-type]


class _DpoHyperparameters(_Hyperparameters):
    beta: _auto_or(0, 2, above=True) = None  # type: ignore[valid-type]


class _ReinforcementHyperparameters(_Hyperparameters):
    compute_multiplier: _auto_or(1e-5, 10, above=True) = None  # type: ignore[valid-type]
    eval_interval: _auto_or(1, whole=True) = None  # type: ignore[valid-type]
    eval_samples: _auto_or(1, whole=True) = None  # type: ignore[valid-type]
    reasoning_effort: Literal["default", "low", "medium", "high"] | None = None


class _Supervised(Body):
    hyperparameters: _Hyperparameters | None = None


class _Dpo(Body):
    hyperparameters: _DpoHyperparameters | None = None


class _Reinforcement(Body):
    grader: dict[str, Any]
    hyperparameters: _ReinforcementHyperparameters | None = None


class _Method(Body):
    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: _Supervised | None = None
    dpo: _Dpo | None = None
    reinforcement: _Reinforcement | None = None


class _Wandb(Body):
    project: Annotated[str, Field(min_length=1)]
    name: str | None = None
    entity: str | None = None
    tags: list[str] | None = None


class _Integration(Body):
    type: Literal["wandb"]
    wandb: _Wandb


class _Create(Body):
    model: Annotated[str, Field(min_length=1, max_length=512)]
    training_file: Annotated[str, Field(min_length=1, max_length=256)]
    validation_file: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    suffix: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None
    metadata: dict[str, str] | None = None
    method: _Method | None = None
    hyperparameters: _Hyperparameters | None = None
    integrations: Annotated[list[_Integration], Field(max_length=5)] | None = None

    @field_validator("metadata")
    @classmethod
    def _limits(cls, metadata: dict[str, str] | None) -> dict[str, str] | None:
        if metadata and (len(metadata) > 16 or any(len(k) > 64 or not k or len(v) > 512 for k, v in metadata.items())):
            msg = "expected at most 16 pairs, keys of 1 to 64 and values of at most 512 characters"
            raise ValueError(msg)
        return metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateJob:
    """A checked request. `hyperparameters` are those that were given, by their wire names."""

    model: str
    training_file: str
    validation_file: str | None
    suffix: str | None
    seed: int | None
    metadata: Mapping[str, str] | None
    method: Method
    hyperparameters: Mapping[str, Any]
    grader: Mapping[str, Any] | None
    integrations: tuple[Mapping[str, Any], ...]


def parse(body: Mapping[str, Any], *, extra_hyperparameters: frozenset[str]) -> CreateJob:
    """Return the request that a body holds, or refuse it."""
    create = checked(_Create, body)
    if create.method and create.hyperparameters:
        message = "Give 'method' or the deprecated 'hyperparameters', not both."
        raise ApiError(400, message, param="hyperparameters", code="invalid_value")
    kind: Method = create.method.type if create.method else "supervised"
    block: Any = getattr(create.method, kind) if create.method else _Supervised(hyperparameters=create.hyperparameters)
    others = [name for name in ("supervised", "dpo", "reinforcement") if name != kind and getattr(create.method, name, None)]
    if others:
        message = f"'method.{others[0]}' does not belong to a method of type {kind}."
        raise ApiError(400, message, param=f"method.{others[0]}", code="invalid_value")
    within = f"method.{kind}.hyperparameters" if create.method else "hyperparameters"
    return CreateJob(
        model=create.model,
        training_file=create.training_file,
        validation_file=create.validation_file,
        suffix=create.suffix,
        seed=create.seed,
        metadata=create.metadata,
        method=kind,
        hyperparameters=_given(block.hyperparameters if block else None, extra_hyperparameters, within=within),
        grader=_grader(block) if kind == "reinforcement" else None,
        integrations=tuple(integration.model_dump(exclude_none=True) for integration in create.integrations or ()),
    )


def _given(block: _Hyperparameters | None, extra: frozenset[str], *, within: str) -> dict[str, Any]:
    if block is None:
        return {}
    for name in block.model_extra or {}:
        if name not in extra:
            raise ApiError(
                400, f"Unrecognized request argument supplied: {within}.{name}", param=f"{within}.{name}", code="unknown_parameter"
            )
    return {name: value for name, value in block.model_dump().items() if value is not None}


def _grader(block: _Reinforcement | None) -> dict[str, Any]:
    if block is None:
        param = "method.reinforcement.grader"
        raise ApiError(400, f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")
    return checked_grader(block.grader, within="method.reinforcement.grader")
