"""The local engine's trainer: TRL and PEFT in worker processes, on this machine, a Slurm or a Ray cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftspec.server.trainers.local.settings import settings
from ftspec.server.trainers.local.trainer import LocalTrainer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ftspec.server.trainers.base import Grade

__all__ = ["LocalTrainer", "trainer"]


def trainer(root: Path, *, grade: Grade, options: Mapping[str, Any], folder: Path, entry: str = "local") -> LocalTrainer:
    """Return the trainer of an engine entry; relative paths of its `options` are relative to `folder`."""
    return LocalTrainer(root, settings(options, folder=folder, entry=entry), grade=grade)
