"""The sandbox engine's trainer: a toy learner in numpy that trains in seconds and says what it is."""

from ftspec.server.trainers.sandbox.trainer import SandboxTrainer

__all__ = ["SandboxTrainer"]
