"""Production calls as datasets: one file per tool that exports them, found by name.

An importer reads the records of a tool's own export format and yields `Call`s; filtering, repeated
rows, redaction, writing and the provenance are the same for all (`collecting`).
"""

from __future__ import annotations

import functools
import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftspec.data.importers.base import Importer


@functools.cache
def all_importers() -> dict[str, Importer]:
    """Return every importer by its name (`openai_stored.py` is `openai-stored`); the other modules are what they share."""
    modules = {name: import_module(f"{__name__}.{name}") for name in sorted(one.name for one in pkgutil.iter_modules(__path__))}
    return {name.replace("_", "-"): module.importer for name, module in modules.items() if hasattr(module, "importer")}
