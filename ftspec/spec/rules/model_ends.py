"""The engine, or this base model, takes no more jobs soon or already, or its fine-tunes stop answering.

Why: a job launched too late is refused, and a model that is shut down soon after training was
paid for in vain. Jobs that are already recorded stay usable in state, so this is a warning;
what can no longer be bought is refused when it would be launched.

Fix: train the model that replaces it, or on another engine.
"""

import datetime as dt
from collections.abc import Iterator

from ftspec.diagnostics import Diagnostic, warning
from ftspec.printable import printable
from ftspec.profile import BaseModel, Profile
from ftspec.spec.view import View

SOON = dt.timedelta(days=90)


def check(view: View) -> Iterator[Diagnostic]:
    """Yield models and engines whose last day has passed or is near."""
    today = view.today
    if today is None:
        return
    for job in view.setups:
        model = view.model(job)
        sentence = _sentence(view.root_model(job), model, view.profile(job), today)
        if sentence is not None:
            yield warning("model-ends", sentence, at=view.at(job, "base_model"), help=printable(view.profile(job).instead(model)))


def _sentence(name: str, model: BaseModel | None, profile: Profile, today: dt.date) -> str | None:
    until = min((day for day in (model.until if model else None, profile.ends) if day), default=None)
    shutdown = model.shutdown if model else None
    parts = []
    if until is not None and dt.date.fromisoformat(until) - today < SOON:
        gone = dt.date.fromisoformat(until) < today
        parts.append(f"{'has taken' if gone else 'takes'} no new jobs {'since' if gone else 'after'} {until}")
    if shutdown is not None and dt.date.fromisoformat(shutdown) - today < SOON:
        gone = dt.date.fromisoformat(shutdown) <= today
        parts.append(f"{'stopped' if gone else 'stops'} answering on {shutdown}")
    if not parts:
        return None
    what = f"`{printable(name[:80])}`" if model is not None else f"`{profile.name}`"
    return f"{what} {' and '.join(parts)}"
