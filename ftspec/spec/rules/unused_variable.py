"""A variable is declared, and no text refers to it.

Why: `--var` for it changes nothing, which surprises whoever passes it.

Fix: refer to it as `{name}`, or remove it from `vars`.
"""

from collections.abc import Iterator

from ftspec.diagnostics import Diagnostic, warning
from ftspec.printable import printable
from ftspec.spec.view import View


def check(view: View) -> Iterator[Diagnostic]:
    """Yield the variables that nothing asked for; nothing where a broken block might."""
    if view.broken:
        return
    for name, place in view.variables.places.items():
        if name not in view.variables.used:
            at = place() if place is not None else None
            yield warning("unused-variable", f"nothing refers to the variable `{printable(name)}`", at=at, help="refer to it, or remove it")
