"""The base model is not among those that the engine is known to train.

Why: most often it is a typing error. Engines also add models faster than profiles learn of
them, so it is a warning, except for engines whose models are all known (the sandbox; the
local engine, whose entry names them).

Fix: correct the name, or ignore the warning if the engine has the model. For the local engine
name the model under `models` of its entry.
"""

from collections.abc import Iterator

from ftspec.diagnostics import Diagnostic, error, warning
from ftspec.experiment import DesiredJob
from ftspec.printable import printable
from ftspec.spec.suggest import did_you_mean
from ftspec.spec.view import View


def check(view: View) -> Iterator[Diagnostic]:
    """Yield base models that a profile does not list; models trained before (`ft:...`) are fine."""
    for job in view.setups:
        profile = view.profile(job)
        if "models" in profile.settings and profile.in_process and job.parent is None and not job.base_model.startswith("ft:"):
            yield from _not_named(view, job)
        if job.parent is not None or not profile.base_models or job.base_model.startswith("ft:"):
            continue
        names = [model.name for model in profile.base_models]
        if job.base_model not in names:
            report = error if profile.closed_models else warning
            message = f"`{profile.name}` is not known to train `{printable(job.base_model[:80])}`"
            yield report("unknown-model", message, at=view.at(job, "base_model"), help=did_you_mean(job.base_model, names))


def _not_named(view: View, job: DesiredJob) -> Iterator[Diagnostic]:
    """Yield a base that the entry of its engine does not name (an entry with an address has a server that knows)."""
    entry = view.spec.engines[job.engine]
    named = entry.options.get("models")
    names = list(named) if isinstance(named, dict) else []
    if entry.base_url is None and job.base_model not in names:
        message = f"engine `{entry.name}` names no model `{printable(job.base_model[:80])}`"
        fix = (
            did_you_mean(job.base_model, names) or f"`engines: {{{entry.name}: {{models: {{{printable(job.base_model[:80])}: FOLDER}}}}}}`"
        )
        yield error("unknown-model", message, at=view.at(job, "base_model"), help=fix)
