"""An eval is declared, and no experiment asks for it.

Why: it never runs by itself, so a gate in its `require` protects nothing.

Fix: add it to `evals:` of an experiment or of `defaults`, or run it by name with `ftspec eval`.
"""

from collections.abc import Iterator

from ftspec.diagnostics import Diagnostic, warning
from ftspec.spec.view import View


def check(view: View) -> Iterator[Diagnostic]:
    """Yield the evals that no job asks for; nothing where a broken block might."""
    if any(section in ("experiments", "defaults") for section, _ in view.broken):
        return
    used: set[str] = set()
    for asked in {job.evals for job in view.spec.jobs}:
        used.update(asked)
    for name, one in view.spec.evals.items():
        if name not in used:
            yield warning(
                "unused-eval", f"no experiment asks for the eval `{name}`", at=one.at, help=f"add `evals: [{name}]` to an experiment"
            )
