"""Profiles of engines, found by name: one file each, `profile = Profile(...)`.

`load_profiles` is a mapping from an engine type (`type:` in a spec) to its `Profile`. It
holds the modules of this package (`openai-compatible` is `openai_compatible.py`) and the
installed packages' entry points of the group `ftspec.engines` (an entry point names a
`Profile`); a name of this package wins. Nothing is imported before it is asked for, and
never anything from the project: the names come from what is installed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from ftspec.profile import Profile

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "ftspec.engines"
"""The entry point group in which other packages offer profiles."""


class Profiles(Mapping[str, Profile]):
    """Engine types to profiles, each loaded at first use."""

    def __init__(self) -> None:
        self._loaded: dict[str, Profile] = {}

    def __getitem__(self, name: str) -> Profile:
        """Return the profile of an engine type, or raise `KeyError`."""
        if name not in self._loaded:  # every job of a grid asks
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> Profile:
        if name in self._shipped:
            profile: Profile = import_module(self._shipped[name]).profile
            return profile
        loaded = self._installed[name].load()
        if not isinstance(loaded, Profile):
            msg = f"entry point `{name}` of `{GROUP}` is not a Profile"
            raise TypeError(msg)
        return loaded

    def __iter__(self) -> Iterator[str]:
        """Yield the names, sorted."""
        return iter(sorted({*self._shipped, *self._installed}))

    def __len__(self) -> int:
        """Return how many engine types are known."""
        return len({*self._shipped, *self._installed})

    def __contains__(self, name: object) -> bool:
        """Whether this engine type is known; loads nothing."""
        return name in self._shipped or name in self._installed

    @cached_property
    def _shipped(self) -> Mapping[str, str]:
        return {module.name.replace("_", "-"): f"{__name__}.{module.name}" for module in iter_modules(__path__)}

    @cached_property
    def _installed(self) -> Mapping[str, EntryPoint]:
        from ftspec.plugins import offered

        if not offered(GROUP):
            return {}
        from importlib.metadata import entry_points

        return {point.name: point for point in entry_points(group=GROUP)}


@cache
def load_profiles() -> Profiles:
    """Return all known engine types; cheap, whatever is installed."""
    return Profiles()
