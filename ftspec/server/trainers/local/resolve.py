"""What "auto" means on the local engine, and which settings beyond OpenAI's it has.

3 epochs; a batch of 4 rows, growing from 1,250 rows on, at most 32; `learning_rate` is the base rate below
times `learning_rate_multiplier` (1); `beta` 0.1; `compute_multiplier` 1 (8 samples a prompt); LoRA on all linear
layers with rank 16, alpha twice the rank and no dropout, unless `full` is asked for. `batch_size` is the number of
rows that one step learns from, however many of them fit into memory at once.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from ftspec.server.trainers.base import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ftspec.server.trainers.base import Method

EXTRA = frozenset({"learning_rate", "full", "max_length", "lora_r", "lora_alpha", "lora_dropout", "lora_target_modules"})
LORA = ("lora_r", "lora_alpha", "lora_dropout", "lora_target_modules")

RATES: Mapping[Method, tuple[float, float]] = {"supervised": (2e-4, 2e-5), "dpo": (1e-5, 1e-6), "reinforcement": (1e-5, 1e-6)}
"""Learning rates that the multiplier multiplies: LoRA, full."""

LONGEST_ANSWER = 256
"""Most tokens that reinforcement lets a model write."""

_SAMPLES = 8
_CONTEXTS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx")
"""What architectures call their context in `config.json`."""


def most_tokens(config: Mapping[str, Any], given: Mapping[str, Any]) -> int | None:
    """Return how many tokens a row may have: the context of the base, or a smaller `max_length`; `None`: nobody says."""
    inner = config.get("text_config")
    texts = inner if isinstance(inner, dict) else config
    context = next((size for name in _CONTEXTS if isinstance(size := texts.get(name), int) and size > 0), None)
    wanted = given.get("max_length", "auto")
    return min((size for size in (context, wanted) if isinstance(size, int)), default=None)


def samples(compute_multiplier: float) -> int:
    """Return how many answers reinforcement tries for each prompt."""
    return max(2, round(_SAMPLES * compute_multiplier))


def adapter_settings(folder: Path) -> dict[str, Any] | None:
    """Return the LoRA settings of an adapter under our names; `None`: the folder holds a whole model."""
    path = folder / "adapter_config.json"
    if not path.exists():
        return None
    config = json.loads(path.read_text())
    targets = config["target_modules"]
    return {
        "lora_r": config["r"],
        "lora_alpha": config["lora_alpha"],
        "lora_dropout": config["lora_dropout"],
        "lora_target_modules": targets if isinstance(targets, str) else sorted(targets),
    }


def check_adapter(given: Mapping[str, Any], adapter: Mapping[str, Any], *, within: str) -> Iterator[Problem]:
    """Yield the LoRA settings that an adapter, which training goes on with, does not have."""
    for name in LORA:
        value = given.get(name, "auto")
        if value not in ("auto", adapter[name]) and not (name == "lora_target_modules" and value == "all-linear"):
            message = f"The model to start from is an adapter with '{name}' {adapter[name]}: training goes on with it as it is."
            yield Problem(message=message, param=f"{within}.{name}", code="invalid_value")


def resolved(method: Method, given: Mapping[str, Any], *, rows: int, adapter: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return all hyperparameters as values. `adapter`: the LoRA settings of the adapter that training goes on with."""
    wanted = {name: value for name, value in given.items() if value != "auto"}
    full = bool(wanted.get("full", False))
    auto: dict[str, Any] = {"n_epochs": 3, "batch_size": min(32, max(4, rows // 250)), "learning_rate_multiplier": 1.0, "full": full}
    if method == "dpo":
        auto["beta"] = 0.1
    if method == "reinforcement":
        auto |= {"compute_multiplier": 1.0, "eval_samples": 1}
    if not full:
        rank = wanted.get("lora_r", 16)
        auto |= {"lora_r": rank, "lora_alpha": 2 * rank, "lora_dropout": 0.0, "lora_target_modules": "all-linear"}
    settings = {**auto, **wanted, **({} if full else adapter or {})}
    settings["batch_size"] = min(settings["batch_size"], rows)
    settings.setdefault("learning_rate", RATES[method][full] * settings["learning_rate_multiplier"])
    if method == "reinforcement":
        settings.setdefault("eval_interval", max(1, rows // settings["batch_size"]))
    return settings


def check_extra(given: Mapping[str, Any], *, within: str) -> Iterator[Problem]:
    """Yield what is wrong with the settings beyond OpenAI's."""
    checks = {
        "learning_rate": (_number(above=0, high=1), "a number above 0 and at most 1"),
        "full": (lambda value: isinstance(value, bool), "true or false"),
        "max_length": (_whole(16), "a whole number of at least 16"),
        "lora_r": (_whole(1, 1024), "a whole number from 1 to 1024"),
        "lora_alpha": (_number(above=0, high=4096), "a number above 0"),
        "lora_dropout": (_number(low=0, below=1), "a number of at least 0 and below 1"),
        "lora_target_modules": (_targets, "`all-linear` or a list of names"),
    }
    for name, (accepts, expected) in checks.items():
        if name in given and given[name] != "auto" and not accepts(given[name]):
            yield Problem(
                message=f"Invalid value for '{within}.{name}': expected {expected}.", param=f"{within}.{name}", code="invalid_value"
            )
    if given.get("full") is True and (named := [name for name in LORA if name in given]):
        message = "Full training has no adapters: give 'full' or the settings of LoRA, not both."
        yield Problem(message=message, param=f"{within}.{named[0]}", code="invalid_value")
    if given.get("learning_rate", "auto") != "auto" and given.get("learning_rate_multiplier", "auto") != "auto":
        message = "Give 'learning_rate' or 'learning_rate_multiplier', not both."
        yield Problem(message=message, param=f"{within}.learning_rate", code="invalid_value")


def _whole(low: int, high: float = math.inf) -> Any:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _number(*, low: float = -math.inf, above: float = -math.inf, high: float = math.inf, below: float = math.inf) -> Any:
    def accepts(value: Any) -> bool:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return bool(number and value >= low and value > above and value <= high and value < below)

    return accepts


def _targets(value: Any) -> bool:
    return value == "all-linear" or (isinstance(value, list) and bool(value) and all(isinstance(one, str) and one for one in value))
