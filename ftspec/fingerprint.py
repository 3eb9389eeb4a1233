"""Canonical JSON, and the keys that give datasets, jobs and evals their identity.

Canonical JSON is RFC 8785 (JCS) with one documented difference: integers keep all their
digits (JCS would round above 2**53, and row ids may be larger). So: object keys sorted by
code point, no white space, the shortest string escapes, floats in ECMAScript's form with
integral values as integers (`1.0` is `1`, `1e-05` is `0.00001`), UTF-8. NaN and infinities
have no form and raise `ValueError`.

A key is 64 lower-case hex digits. What goes into one is listed in `job_preimage` and
`eval_preimage`; members that the spec did not give are absent, so that new settings with
new defaults never change an old key. The recipe version is part of the preimage.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftspec.experiment import DesiredJob

RECIPE = 1
"""Version of the preimage. A later recipe can recompute old keys from stored preimages."""

SHORT = 12
"""How many hex digits of a key or digest people see."""


def canonical_json(value: Any) -> bytes:
    """Return the canonical bytes of a JSON value (`ValueError`: not finite, not JSON)."""
    pieces: list[str] = []
    _write(value, pieces.append)
    return "".join(pieces).encode()


def digest(value: Any) -> str:
    """Return the SHA-256 of the canonical bytes of a JSON value, in hex."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def _write(value: Any, put: Any) -> None:
    match value:
        case None:
            put("null")
        case bool():
            put("true" if value else "false")
        case str():
            put(_string(value))
        case int():
            put(str(value))
        case float():
            put(number(value))
        case dict():
            put("{")
            for i, key in enumerate(sorted(value)):
                put(("," if i else "") + _string(key) + ":")
                _write(value[key], put)
            put("}")
        case list() | tuple():
            put("[")
            for i, item in enumerate(value):
                if i:
                    put(",")
                _write(item, put)
            put("]")
        case _:
            msg = f"{type(value).__name__} is not a JSON value"
            raise ValueError(msg)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def number(value: float) -> str:
    """Return a float as ECMAScript's `Number.prototype.toString` spells it."""
    if not math.isfinite(value):
        msg = "NaN and infinities are not JSON"
        raise ValueError(msg)
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = fraction if fraction != "0" else ""
    point = len(whole) + int(exponent or 0)
    digits = (whole + fraction).lstrip("0")
    point -= len(whole + fraction) - len(digits)
    digits = digits.rstrip("0")
    n = len(digits)
    if n <= point <= 21:
        return sign + digits + "0" * (point - n)
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    e = point - 1
    head = digits[0] + ("." + digits[1:] if n > 1 else "")
    return f"{sign}{head}e{'+' if e >= 0 else '-'}{abs(e)}"


def job_preimage(job: DesiredJob, *, train: str, validation: str | None, parent: str | None) -> dict[str, Any]:
    """Return everything that decides the result of a job and where it is bought.

    `train` and `validation` are dataset keys, `parent` the key of the job that
    `base_model: {from: ...}` refers to. Names, suffixes, tags, evals, paths and places are
    not part of it (`suffix` is with `identity: {suffix: true}`).
    """
    image: dict[str, Any] = {
        "recipe": RECIPE,
        "scope": job.scope,
        "base_model": job.base_model if parent is None else {"job": parent},
        "method": job.method,
        "train": train,
    }
    optional: dict[str, Any] = {
        "validation": validation,
        "hyperparameters": job.hyperparameters or None,
        "grader": job.grader,
        "lora": job.lora or None,
        "engine_options": job.engine_options or None,
        "seed": job.seed,
        "replicate": job.replicate,
        "suffix": job.suffix if job.suffix_is_identity else None,
    }
    image.update((name, value) for name, value in optional.items() if value is not None)
    return image


def eval_preimage(
    *,
    model: Mapping[str, Any],
    dataset: str,
    prompt: Any,
    sampling: Mapping[str, Any],
    graders: Mapping[str, Any],
    repeat: int,
) -> dict[str, Any]:
    """Return everything that decides an eval run.

    `model` is `{"job": key}`, `{"job": key, "step": n}` or `{"scope": scope, "name": name}`.
    """
    return {
        "recipe": RECIPE,
        "model": dict(model),
        "dataset": dataset,
        "prompt": prompt,
        "sampling": dict(sampling),
        "graders": dict(graders),
        "repeat": repeat,
    }
