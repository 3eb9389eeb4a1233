"""A hyperparameter has a value that its engine refuses.

Why: the engine would refuse the job after the upload, or silently use another value.

Fix: choose a value in the range that the message names.
"""

from collections.abc import Iterator
from typing import Any

from ftspec.diagnostics import Diagnostic, error
from ftspec.profile import Range
from ftspec.spec.settings import described, spelled
from ftspec.spec.view import View


def check(view: View) -> Iterator[Diagnostic]:
    """Yield values outside of an engine's ranges."""
    for job in view.setups:
        method = view.method(job)
        for name, value in job.hyperparameters.items():
            allowed = method.hyperparameters.get(name) if method is not None else None
            if allowed is None or accepts(allowed, value):
                continue
            setting = spelled(f"hyperparameters.{name}")
            message = f"`{view.profile(job).name}` takes {phrase(allowed)} for `{setting}`, not {described(value)}"
            yield error("hyperparameter-range", message, at=view.at(job, setting), help="choose a value in this range")


def accepts(allowed: Range, value: Any) -> bool:
    """Whether a value is allowed."""
    if isinstance(value, str):
        return value in allowed.choices or (value == "auto" and allowed.auto)
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or (allowed.choices and allowed.low is None and allowed.above is None)
    ):
        return False
    if allowed.integer and value != int(value):
        return False
    return not (
        (allowed.low is not None and value < allowed.low)
        or (allowed.high is not None and value > allowed.high)
        or (allowed.above is not None and value <= allowed.above)
    )


def phrase(allowed: Range) -> str:
    """Return what is allowed, in words."""
    words = [f"`{choice}`" for choice in allowed.choices]
    if allowed.low is not None or allowed.above is not None or allowed.high is not None:
        number = "a whole number" if allowed.integer else "a number"
        low = (
            f" of at least {allowed.low:g}" if allowed.low is not None else f" above {allowed.above:g}" if allowed.above is not None else ""
        )
        high = f"{' and' if low else ''} at most {allowed.high:g}" if allowed.high is not None else ""
        words.append(f"{number}{low}{high if low else high and f' of{high}'}")
    elif not words:
        words.append("a whole number" if allowed.integer else "a number")
    if allowed.auto:
        words.append("`auto`")
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
