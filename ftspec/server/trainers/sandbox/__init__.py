"""The sandbox engine's trainer: a toy learner in numpy that trains in seconds and says what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftspec.server.trainers.sandbox.trainer import SandboxTrainer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ftspec.server.trainers.base import Grade

__all__ = ["SandboxTrainer", "trainer"]


def trainer(root: Path, *, grade: Grade, options: Mapping[str, Any], folder: Path, entry: str) -> SandboxTrainer:  # noqa: ARG001 every trainer's factory
    """Return the trainer of an engine entry. The sandbox has no settings."""
    return SandboxTrainer(root / "runs", grade=grade)
