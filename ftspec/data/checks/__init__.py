"""Rules about dataset files, one class each, found by name.

A rule is added by a new module in this folder (or a class in the module of its group); its
`code` is what messages show and the documentation lists.
"""

from __future__ import annotations

import functools
import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftspec.data.checks.base import Check, RowCheck, Setting


@functools.cache
def all_codes() -> dict[str, type[Check]]:
    """Return every rule by its code, in alphabetical order."""
    from ftspec.data.checks.base import Check

    for module in pkgutil.iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    found: dict[str, type[Check]] = {}
    waiting = [Check]
    while waiting:
        for rule in waiting.pop().__subclasses__():
            waiting.append(rule)
            if rule.code and found.setdefault(rule.code, rule) is not rule:
                raise AssertionError(f"two rules have the code {rule.code}")
    return dict(sorted(found.items()))


def row_checks(setting: Setting) -> list[RowCheck]:
    """Return the row rules that apply to a dataset of this format and engine."""
    from ftspec.data.checks.base import RowCheck

    rules = [rule for rule in all_codes().values() if issubclass(rule, RowCheck)]
    return [rule(setting) for rule in rules if setting.format in rule.formats]
