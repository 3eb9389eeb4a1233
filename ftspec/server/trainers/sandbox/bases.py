"""The three bases of the sandbox, and what "auto" means there.

They differ in how many numbers describe a feature and in how many buckets features are hashed
into; a smaller one confuses more. None has learned anything: untrained, they repeat the prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftspec.server.trainers.base import Method, ServedModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftspec.server.trainers.sandbox.network import Network

OWNER = "ftspec-sandbox-toy"
_CREATED = 1_795_132_800
_SAMPLES = 8
BASE_RATE: dict[Method, float] = {"supervised": 0.02, "dpo": 0.004, "reinforcement": 0.02}
"""The learning rate that `learning_rate_multiplier` multiplies. DPO drifts away from sense when it is pushed harder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The size of a base."""

    name: str
    width: int
    buckets: int
    seed: int

    def network(self) -> Network:
        """Return it untrained."""
        from ftspec.server.trainers.sandbox.network import Network

        return Network.base(seed=self.seed, width=self.width, buckets=self.buckets, biases=(0.0, 0.0, 1.0, 0.0, 0.0))

    def served(self) -> ServedModel:
        """Return it as the catalog shows it."""
        description = (
            f"Toy learner of ftspec's sandbox: a log-bilinear model with {self.width} numbers a feature and {self.buckets} buckets."
            " Untrained it repeats the prompt. Its figures are real, but only about itself."
        )
        return ServedModel(name=self.name, description=description, created=_CREATED, owned_by=OWNER)


BASES = {
    base.name: base
    for base in (
        Base(name="sandbox-nano", width=4, buckets=1 << 10, seed=1),
        Base(name="sandbox-mini", width=16, buckets=1 << 13, seed=2),
        Base(name="sandbox-small", width=64, buckets=1 << 17, seed=3),
    )
}


def resolved(method: Method, given: Mapping[str, Any], *, rows: int) -> dict[str, Any]:
    """Return the hyperparameters of a job with every "auto" as a number.

    3 epochs; 4 rows a batch, growing from 1,250 rows on, at most 32; multiplier 1; `beta` 0.1;
    `compute_multiplier` 1 (8 samples a prompt); an evaluation each epoch of one sample a prompt.
    """
    batch = given.get("batch_size", "auto")
    batch = min(32, max(4, rows // 250)) if batch == "auto" else batch
    auto: dict[str, Any] = {"n_epochs": 3, "batch_size": batch, "learning_rate_multiplier": 1.0}
    if method == "dpo":
        auto["beta"] = 0.1
    if method == "reinforcement":
        auto |= {"compute_multiplier": 1.0, "eval_interval": -(-rows // batch), "eval_samples": 1}
    return {name: auto[name] if given.get(name, "auto") == "auto" else given[name] for name in auto}


def samples(compute_multiplier: float) -> int:
    """Return how many replies reinforcement tries for each prompt."""
    return max(2, round(_SAMPLES * compute_multiplier))
