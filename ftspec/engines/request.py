"""The body of the one POST that buys a job. Pure.

The same desired job always makes the same body, on every engine of the protocol: settings sit
under `method`, labels under `metadata`, and what an engine calls differently is moved by its
profile's `option_placement`:

- `"lora.rank": "hyperparameters.lora_r"`: a neutral setting goes to that member; a path that
  begins with `hyperparameters.` means the method's hyperparameters;
- `"lora": "hyperparameters.lora"`: a flag that says whether LoRA was asked for;
- `"hyperparameters": "hyperparameters"`: the engine reads them at the top of the request;
- an engine option without a place of its own is a top-level member of its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftspec.experiment import DesiredJob
    from ftspec.profile import Profile

KEY = "ftspec_key"
PROJECT = "ftspec_project"
ATTEMPT = "ftspec_attempt"


def job_body(
    job: DesiredJob,
    *,
    profile: Profile,
    base_model_name: str,
    training_file: str,
    validation_file: str | None,
    project: str | None,
    key: str,
    attempt: int,
) -> dict[str, Any]:
    """Return the JSON request that buys `job`; files and models are the engine's own names."""
    body: dict[str, Any] = {"model": base_model_name, "training_file": training_file}
    if validation_file is not None:
        body["validation_file"] = validation_file
    hyperparameters = dict(job.hyperparameters)
    for name, value in _extras(job, profile):
        path = profile.option_placement.get(name, name.removeprefix("engine_options."))
        _place(hyperparameters if path.startswith("hyperparameters.") else body, path.removeprefix("hyperparameters."), value)
    block: dict[str, Any] = {}
    if profile.option_placement.get("hyperparameters") == "hyperparameters":
        body["hyperparameters"] = hyperparameters
    elif hyperparameters:
        block["hyperparameters"] = hyperparameters
    if job.grader is not None:
        block["grader"] = job.grader
    body["method"] = {"type": job.method, job.method: block}
    if job.seed is not None:
        body["seed"] = job.seed
    if job.suffix:
        body["suffix"] = job.suffix
    if job.integrations:
        body["integrations"] = [dict(one) for one in job.integrations]
    if profile.metadata:
        body["metadata"] = _labels(key, project, attempt)
    return body


def _extras(job: DesiredJob, profile: Profile) -> list[tuple[str, Any]]:
    """Return the settings outside the protocol, by their neutral dotted names."""
    flag = [("lora", bool(job.lora))] if "lora" in profile.option_placement else []
    lora = [(f"lora.{name}", value) for name, value in job.lora.items()]
    return [*flag, *lora, *((f"engine_options.{name}", value) for name, value in job.engine_options.items())]


def _place(target: dict[str, Any], path: str, value: Any) -> None:
    *parents, name = path.split(".")
    for parent in parents:
        target = target.setdefault(parent, {})
    target[name] = value


def _labels(key: str, project: str | None, attempt: int) -> Mapping[str, str]:
    return {KEY: key, **({PROJECT: project} if project is not None else {}), ATTEMPT: str(attempt)}
