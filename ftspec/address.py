"""Addresses: the names by which people and the lockfile call jobs.

`experiment` for a job without a matrix, else `experiment/axis=value,axis=value` with the axes
in declared order, or `experiment/<name>` where the spec gives a `name:` template.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}\Z")
"""What an experiment, dataset, eval or engine may be called."""
_AXIS = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]*)=(.*)", re.DOTALL)
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_DIGITS = re.compile(r"(\d+)")


def format_address(experiment: str, axes: Mapping[str, Any], *, name: str | None = None) -> str:
    """Return the address of one cell of an experiment."""
    if name is not None:
        return f"{experiment}/{name}"
    if not axes:
        return experiment
    return f"{experiment}/" + ",".join(f"{axis}={axis_text(value)}" for axis, value in axes.items())


def axis_text(value: Any) -> str:
    """Return how an axis value reads in an address: plain for scalars, canonical JSON otherwise."""
    from ftspec.fingerprint import canonical_json

    return value if isinstance(value, str) else canonical_json(value).decode()


def experiment_of(address: str) -> str:
    """Return the experiment that an address belongs to."""
    return address.partition("/")[0]


def axes_of(address: str) -> dict[str, int | str]:
    """Return the axes that an address shows, in its order; none where it has a name, or values that cannot be told apart."""
    pairs = [_AXIS.fullmatch(piece) for piece in address.partition("/")[2].split(",")]
    if None in pairs:
        return {}
    return {pair[1]: int(pair[2]) if _INTEGER.fullmatch(pair[2]) else pair[2] for pair in pairs if pair is not None}


def natural(text: str) -> list[str | int]:
    """Return a sort key by which `seed=2` comes before `seed=10`."""
    return [int(part) if part.isdigit() else part for part in _DIGITS.split(text)]
