"""Rules about a loaded spec: one file per rule, found by name.

`rules/<code>.py` exports `check(view)`, which yields diagnostics whose code is the file's name
with dashes. Its docstring is the rule's page in the docs: what it finds, why that matters, how
to put it right. A rule sees the whole `View` and never stops another one.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Protocol

from ftspec.spec.view import View

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from ftspec.diagnostics import Diagnostic
    from ftspec.experiment import Spec
    from ftspec.profile import Profile
    from ftspec.spec.references import Variables
    from ftspec.spec.tree import Source


class Rule(Protocol):
    """A module of this folder."""

    __doc__: str | None

    def check(self, view: View) -> Iterable[Diagnostic]:
        """Yield what is wrong."""
        ...


@cache
def rules() -> Mapping[str, Rule]:
    """Return the rules by code."""
    names = sorted(module.name for module in iter_modules(__path__) if not module.name.startswith("_"))
    return {name.replace("_", "-"): import_module(f"{__name__}.{name}") for name in names}


def check_all(
    spec: Spec,
    *,
    profiles: Mapping[str, Profile],
    today: dt.date | None,
    sources: Sequence[Source],
    variables: Variables,
    broken: AbstractSet[tuple[str, str]],
) -> list[Diagnostic]:
    """Return what all rules find in a spec."""
    view = View(spec=spec, profiles=profiles, today=today, sources=sources, variables=variables, broken=frozenset(broken))
    return [problem for rule in rules().values() for problem in rule.check(view)]


__all__ = ["Rule", "View", "check_all", "rules"]
