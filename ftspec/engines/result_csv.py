"""Result files of training jobs: CSV with a `step` column, as engines write it, read without complaint.

Documented columns are `step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy`; older and
newer files differ, so every numeric column is taken by its name. The content may be base64. Lines
that make no sense are skipped; a file without a `step` column holds nothing.
"""

from __future__ import annotations

import base64
import binascii
import csv
from typing import Final, TypeAlias

_LARGEST: Final = 1e12
_MOST_LINES: Final = 500_000

Metrics: TypeAlias = dict[float, dict[str, float]]
"""Step to what was measured there."""


def read_result(content: bytes) -> Metrics:
    """Return what a result file measured, steps rising."""
    found = _read(_text(content))
    if not found:
        try:
            found = _read(_text(base64.b64decode(b"".join(content.split()), validate=True)))
        except (binascii.Error, ValueError):
            return {}
    return dict(sorted(found.items()))


def _text(content: bytes) -> str:
    return content.decode("utf-8-sig", errors="replace")


def _read(text: str) -> Metrics:
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return {}
    delimiter = max(",;\t", key=lines[0].count)
    header = [name.strip().strip('"').strip().lower() for name in lines[0].split(delimiter)]
    if "step" not in header:
        return {}
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
