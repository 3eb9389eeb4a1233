"""Canonical JSON, and the keys that give datasets, jobs and evals their identity.

Canonical JSON is RFC 8785 (JCS) with two documented differences: integers keep all their
digits (JCS would round above 2**53, and row ids may be larger), and object keys are sorted
by code point, not by UTF-16 unit (they differ only beyond U+FFFF). So: sorted keys, no
white space, the shortest string escapes, floats in ECMAScript's form with integral values
as integers (`1.0` is `1`, `1e-05` is `0.00001`), UTF-8. NaN, infinities and lone surrogates
have no form and raise `ValueError`.

A key is 64 lower-case hex digits. What goes into one is listed in `job_preimage` and
`eval_preimage`; members that the spec did not give are absent, so that new settings with
new defaults never change an old key. The recipe version is part of the preimage.

A plan needs ten thousand keys and shows none of their preimages, so `job_key` and
`EvalKeys` write the same bytes without building them; a law in the tests holds the two
ways equal.
"""

from __future__ import annotations

import math
from hashlib import sha256
from json.encoder import encode_basestring as _string
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ftspec.experiment import DesiredJob

Memo: TypeAlias = "dict[int | str, tuple[Any, str]]"
"""Canonical text of values that were seen before, by identity and by how Python shows them."""

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
    return sha256(canonical_json(value)).hexdigest()


def _write(value: Any, put: Callable[[str], None]) -> None:
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
            if not all(isinstance(key, str) for key in value):
                msg = "an object key of JSON is a string"
                raise ValueError(msg)
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


def job_key(job: DesiredJob, *, train: str, validation: str | None, parent: str | None, memo: Memo) -> str:
    """Return `digest(job_preimage(...))`, without building the preimage.

    `memo` remembers the text of values that repeat from cell to cell; give one dict to all
    jobs of a run.
    """
    text = [
        '{"base_model":',
        _string(job.base_model) if parent is None else f'{{"job":"{parent}"}}',
    ]
    put = text.append
    if job.engine_options:
        put(',"engine_options":' + _remembered(job.engine_options, memo))
    if job.grader is not None:
        put(',"grader":' + _remembered(job.grader, memo))
    if job.hyperparameters:
        put(',"hyperparameters":' + _remembered(job.hyperparameters, memo))
    if job.lora:
        put(',"lora":' + _remembered(job.lora, memo))
    put(f',"method":"{job.method}","recipe":{RECIPE}')
    if job.replicate is not None:
        put(',"replicate":' + (_string(job.replicate) if isinstance(job.replicate, str) else str(job.replicate)))
    put(',"scope":' + _string(job.scope))
    if job.seed is not None:
        put(f',"seed":{job.seed}')
    if job.suffix_is_identity and job.suffix is not None:
        put(',"suffix":' + _string(job.suffix))
    put(f',"train":"{train}"')
    if validation is not None:
        put(f',"validation":"{validation}"')
    put("}")
    return sha256("".join(text).encode()).hexdigest()


def _remembered(value: dict[str, Any], memo: Memo) -> str:
    known = memo.get(id(value))
    if known is None:
        # Other objects with the same value: the text that Python shows for JSON values tells them and
        # their types apart (1, 1.0, True, "1"). The memo keeps the object, so that no other gets its id.
        shown = repr(value)
        text = memo.get(shown) or memo.setdefault(shown, (value, canonical_json(value).decode()))
        known = memo[id(value)] = (value, text[1])
    return known[1]


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

    `model` is `{"job": key}`, `{"job": key, "step": n}` or `{"scope": scope, "name": name}`. Prompt and
    graders are there by their digests, because a preimage is kept in state, where no prompt may be.
    """
    return {
        "recipe": RECIPE,
        "model": dict(model),
        "dataset": dataset,
        "prompt": None if prompt is None else digest(prompt),
        "sampling": dict(sampling),
        "graders": {name: digest(definition) for name, definition in graders.items()},
        "repeat": repeat,
    }


class EvalKeys:
    """The keys of one eval on many models: everything but the model is written once."""

    def __init__(self, *, dataset: str, prompt: Any, sampling: Mapping[str, Any], graders: Mapping[str, Any], repeat: int) -> None:
        image = eval_preimage(model={}, dataset=dataset, prompt=prompt, sampling=sampling, graders=graders, repeat=repeat)
        self._image = image
        before = {name: value for name, value in image.items() if name < "model"}
        after = {name: value for name, value in image.items() if name > "model"}
        self._head = canonical_json(before)[:-1] + b',"model":'
        self._tail = b"," + canonical_json(after)[1:]

    def key(self, model: Mapping[str, Any]) -> str:
        """Return `digest(self.preimage(model))`."""
        return sha256(self._head + canonical_json(dict(model)) + self._tail).hexdigest()

    def preimage(self, model: Mapping[str, Any]) -> dict[str, Any]:
        """Return what `eval_preimage` returns for this model."""
        return self._image | {"model": dict(model)}
