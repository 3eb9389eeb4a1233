"""Which entry point groups installed packages offer, found by a cheap look at their files.

`importlib.metadata` takes longer to import than a whole `ftspec --help` may, and nearly nobody
has a plugin. So commands, engines and graders ask here first, and load entry points only where
some package has any of their group.
"""

from __future__ import annotations

import functools
import re
import sys
from pathlib import Path

_SECTION = re.compile(rb"^\[([^\]\r\n]+)\]", re.MULTILINE)
_PREFIX = "ftspec."


def offered(group: str) -> bool:
    """Whether any installed package has entry points in `group` (`ftspec.*`)."""
    return group in _groups(tuple(folder for folder in sys.path if folder))


@functools.cache
def _groups(path: tuple[str, ...]) -> frozenset[str]:
    """Return the groups of ours that packages on this path have entry points in."""
    found: set[str] = set()
    for folder in path:
        for file in (*Path(folder).glob("*.dist-info/entry_points.txt"), *Path(folder).glob("*.egg-info/entry_points.txt")):
            try:
                content = file.read_bytes()
            except OSError:
                continue
            found.update(name.decode("utf-8", "replace") for name in _SECTION.findall(content) if name.startswith(_PREFIX.encode()))
    return frozenset(found)
