"""What an engine can do and how it differs from the others: data, not code.

The instances live in `ftspec/engines/profiles/<name>.py` (one file per engine, `profile = Profile(...)`,
found by name). The planner turns everything a profile lacks into an error before money is
spent. Sources and dates of the facts stand beside them in those files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """Allowed values of a hyperparameter: `auto` accepted or not, numbers within the bounds, or an enum."""

    low: float | None = None
    high: float | None = None
    above: float | None = None
    """Exclusive lower bound."""
    integer: bool = False
    auto: bool = True
    choices: tuple[str, ...] = ()


class MethodProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A training method of an engine: its hyperparameters, and the dataset format it wants."""

    hyperparameters: Mapping[str, Range]
    dataset_format: Literal["chat", "preference", "reinforcement", "completion"]
    needs_validation: bool = False
    needs_grader: bool = False
    base_models: tuple[str, ...] | None = None
    """Globs of the models that have this method, where only some do."""


class BaseModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that can be trained. Dates are ISO days; `until` is the last day to create a job."""

    name: str
    until: str | None = None
    shutdown: str | None = None
    replacement: str | None = None
    context: int | None = None
    parameters: float | None = None


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """The capabilities of one engine type.

    `unique_keys`: the engine refuses a second job of one (project, ftspec_key), so that a
    repeated POST is answered with the first job. `idempotency_key`: it honours the
    `Idempotency-Key` header, the only case in which an unknown outcome is posted again.
    `metadata` / `list_filter`: it echoes job metadata / filters lists by it.
    `origins` are the exact origins (scheme, host, port) that its key may be sent to;
    `*` stands for one host label (`https://*.openai.azure.com`). Empty: only loopback and trusted ones.
    """

    name: str
    title: str
    methods: Mapping[str, MethodProfile]
    origins: tuple[str, ...] = ()
    base_url: str | None = None
    """Default base URL; `None`: the spec must give one, or the engine runs in process."""
    in_process: bool = False
    needs_key: bool = True
    api_key_env: str | None = None
    key_header: Literal["bearer", "api-key"] = "bearer"
    seed: bool = True
    suffix_max: int | None = 64
    suffix_pattern: str | None = None
    metadata: bool = True
    list_filter: bool = True
    unique_keys: bool = False
    idempotency_key: bool = False
    validation: bool = True
    lora: bool = False
    full: bool = False
    pause: bool = True
    integrations: tuple[str, ...] = ()
    graders: tuple[str, ...] = ()
    """Grader types that its reinforcement method accepts."""
    min_rows: int = 1
    max_file_bytes: int | None = None
    base_models: tuple[BaseModel, ...] = ()
    """Known models; an unknown one is a warning, or an error with `closed_models`."""
    closed_models: bool = False
    ends: str | None = None
    """ISO day after which the engine takes no new jobs."""
    data: Mapping[str, Any] = {}
    """How its dataset rules differ: `roles` (of messages), `max_images`, `max_image_bytes`, `max_image_rows`, `max_rows`, `strict_tools`."""
    defaults: Mapping[str, Any] = {}
    """How the engine resolves `auto`, where it is documented (`n_epochs`: 3), for estimates only."""
    engine_options: Mapping[str, str] = {}
    """Extra options of a job it understands: name to description."""
    settings: Mapping[str, str] = {}
    """Extra settings of its entry under `engines:`: name to description."""
    option_placement: Mapping[str, str] = {}
    """Where neutral settings go in the request body: `lora.rank` to `hyperparameters.lora_r`."""
    quota_codes: Mapping[str, str] = {}
    """Error codes of its own that mean a full queue or an empty purse: code to `daily`, `concurrent`, `rate` or `money`."""
    simulated: bool = False
    """A toy: its figures are real but about itself, and are never mixed with other engines'."""
    free: bool = False
    deployment: str | None = None
    """What must happen before a trained model answers, where it is not usable at once."""
    notes: tuple[str, ...] = ()

    def instead(self, model: BaseModel | None) -> str:
        """Return what to do once `model`, or this whole engine, takes no more jobs."""
        named = f"`{model.replacement}`" if model is not None and model.replacement else None
        if self.ends is not None:
            return "train on another engine" + (f"; for prompting, {self.title} names {named} in its place" if named else "")
        return f"train {named} instead" if named else "choose another model or engine"
