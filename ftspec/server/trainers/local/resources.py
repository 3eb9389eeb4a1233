"""How long a job will train and how much memory it needs, and how sure that is. Pure.

Measured jobs of the same base and method say it best: their tokens a second, give or take a
third. Without one it is calculated from the size of the base, over the wide range between a
slow and a fast machine of its kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FLOPS = {"cpu": (1e10, 4e11), "cuda": (3e13, 4e14)}
"""Floating-point operations a second that training reaches: on a slow machine, on a fast one."""
_START = {"cpu": (5.0, 30.0), "cuda": (15.0, 90.0)}
"""Seconds until the first step."""
_RUNTIME = {"cpu": 0.6e9, "cuda": 1.5e9}
_SPREAD = 1.33
_ACTIVATIONS = 34
_LINEAR = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The size of a base."""

    parameters: int
    hidden: int
    layers: int
    vocabulary: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a job makes of it."""

    tokens: tuple[float, float]
    """All that it trains on, epochs included, from and to: nobody knows how long the answers of reinforcement get."""
    row_tokens: float
    """A long row."""
    method: str = "supervised"
    full: bool = False
    rank: int = 16
    micro_batch: int = 8
    device: Literal["cpu", "cuda"] = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Seconds and bytes, from and to; `measured` is the number of jobs that they rest on (0: calculated)."""

    seconds: tuple[float, float]
    memory: tuple[float, float]
    measured: int = 0


def estimate(work: Work, *, base: str, shape: Shape | None, measured: Sequence[Mapping[str, Any]] = ()) -> Estimate | None:
    """Return what a job needs; `None`: nothing is known about its base."""
    alike = [
        one
        for one in measured
        if (one.get("base"), one.get("method"), one.get("full"), one.get("device")) == (base, work.method, work.full, work.device)
        and one.get("seconds", 0) > 0
        and one.get("tokens", 0) > 0
    ][-20:]
    if alike:
        rates = sorted(one["tokens"] / one["seconds"] for one in alike)
        peaks = sorted(one["memory"] for one in alike)
        start = _START[work.device]
        return Estimate(
            seconds=(start[0] + work.tokens[0] / rates[-1] / _SPREAD, start[1] + work.tokens[1] / rates[0] * _SPREAD),
            memory=(peaks[0] / _SPREAD, peaks[-1] * _SPREAD),
            measured=len(alike),
        )
    return _calculated(work, shape) if shape else None


def _calculated(work: Work, shape: Shape) -> Estimate:
    passes = {"supervised": 1.0, "dpo": 4 / 3, "reinforcement": 3.0}[work.method]
    flops = (6 if work.full else 4) * shape.parameters * passes
    slow, fast = _FLOPS[work.device]
    start = _START[work.device]
    memory = _RUNTIME[work.device] + _weights(work, shape) + _activations(work, shape)
    seconds = (start[0] + flops * work.tokens[0] / fast, start[1] + flops * work.tokens[1] / slow)
    return Estimate(seconds=seconds, memory=(0.8 * memory, 1.6 * memory))


def _weights(work: Work, shape: Shape) -> float:
    """Return the bytes of weights, gradients and optimizer."""
    if work.full:
        return 16.0 * shape.parameters
    adapters = shape.layers * _LINEAR * 2 * shape.hidden * work.rank
    return (2 if work.device == "cuda" else 4) * shape.parameters + 16.0 * adapters


def _activations(work: Work, shape: Shape) -> float:
    """Return the bytes of what a step keeps; a GPU recomputes all but a layer's edges."""
    seen = work.micro_batch * work.row_tokens * (2 if work.method == "dpo" else 1)
    width = 2 if work.device == "cuda" else 4
    kept = (shape.layers * 2 + _ACTIVATIONS) if work.device == "cuda" else shape.layers * _ACTIVATIONS
    return seen * (kept * shape.hidden * width + 8 * shape.vocabulary)


def seconds_text(low: float, high: float) -> str:
    """Return a time as people say it: `20 s to 3 min`."""
    return f"{_time(low)} to {_time(high)}" if _time(low) != _time(high) else f"about {_time(low)}"


def memory_text(low: float, high: float) -> str:
    """Return memory in gigabytes."""
    return f"{_gigabytes(low)} to {_gigabytes(high)} GB"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h" if seconds < 360_000 else f"{round(seconds / 86400)} days"


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f}" if size < 1e10 else f"{round(size / 1e9)}"
