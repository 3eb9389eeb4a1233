"""Result files of training jobs: CSV with a `step` column, as engines write it, read without complaint.

Documented columns are `step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy`; older and
newer files differ, so every numeric column is taken by its name. The content may be base64. Lines
that make no sense are skipped; a file without a `step` column, or of more than 64 MiB, holds nothing.
"""

from __future__ import annotations

import base64
import binascii
import csv
from typing import Final, TypeAlias

_LARGEST: Final = 1e12
_MOST_LINES: Final = 500_000
_MOST_BYTES: Final = 64 << 20
_HEAD: Final = 8192
"""Bytes in which the line of column names must end."""

Metrics: TypeAlias = dict[float, dict[str, float]]
"""Step to what was measured there."""


def read_result(content: bytes) -> Metrics:
    """Return what a result file measured, steps rising."""
    if len(content) > _MOST_BYTES:
        return {}
    if "step" not in _columns(_lines(content[:_HEAD]))[0]:
        try:
            if "step" not in _columns(_lines(_decoded(content[:_HEAD])))[0]:
                return {}
            content = _decoded(content)
        except (binascii.Error, ValueError):
            return {}
    return dict(sorted(_read(_lines(content)).items()))


def _decoded(content: bytes) -> bytes:
    text = b"".join(content.split())
    return base64.b64decode(text[: len(text) // 4 * 4], validate=True)


def _lines(content: bytes) -> list[str]:
    return [line for line in content.decode("utf-8-sig", errors="replace").splitlines() if line.strip()]


def _columns(lines: list[str]) -> tuple[list[str], str]:
    """Return the names of the columns, and what stands between them."""
    first = lines[0] if lines else ""
    delimiter = max(",;\t", key=first.count)
    return [name.strip().strip('"').strip().lower() for name in first.split(delimiter)], delimiter


def _read(lines: list[str]) -> Metrics:
    header, delimiter = _columns(lines)
    found: Metrics = {}
    try:
        for cells in csv.reader(lines[1:_MOST_LINES], delimiter=delimiter):
            values = {name: value for name, cell in zip(header, cells, strict=False) if name and (value := number(cell)) is not None}
            step = values.pop("step", None)
            if step is not None and values:
                found.setdefault(step, {}).update(values)
    except csv.Error:
        return found
    return found


def number(value: object) -> float | None:
    """Return a number that a measurement can be, or `None`: finite, and not absurdly large."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if abs(found) <= _LARGEST else None  # NaN is not
