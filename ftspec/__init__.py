"""Terraform for fine-tuning experiments.

`load`, `plan`, `apply`, `models`, `model` and `model_list` are described in
`ftspec.pipeline.public`, `collect` in `ftspec.data.collect`. They are imported when first used,
so that `import ftspec` costs nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` takes longer to import than all of this
if TYPE_CHECKING:
    from typing import Any

    from ftspec.data.collect import collect as collect
    from ftspec.diagnostics import FtspecError as FtspecError
    from ftspec.pipeline.planning import PlanOptions as PlanOptions
    from ftspec.pipeline.public import apply as apply
    from ftspec.pipeline.public import load as load
    from ftspec.pipeline.public import model as model
    from ftspec.pipeline.public import model_list as model_list
    from ftspec.pipeline.public import models as models
    from ftspec.pipeline.public import plan as plan

__version__ = "0.1.0"

_HOMES = {
    **dict.fromkeys(("load", "plan", "apply", "models", "model", "model_list"), "ftspec.pipeline.public"),
    "PlanOptions": "ftspec.pipeline.planning",
    "FtspecError": "ftspec.diagnostics",
    "collect": "ftspec.data.collect",
}

__all__ = ["FtspecError", "PlanOptions", "__version__", "apply", "collect", "load", "model", "model_list", "models", "plan"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
