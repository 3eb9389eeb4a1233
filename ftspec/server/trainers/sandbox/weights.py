"""Model files: one uncompressed `.npz` with everything that decides an answer."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import numpy as np  # noqa: TID253 loaded only when something is trained or asked

from ftspec.server.trainers.sandbox.network import Network

if TYPE_CHECKING:
    from pathlib import Path

FILE = "weights.npz"


def save(network: Network, folder: Path) -> None:
    """Write a model into a folder, durably."""
    card = {"seed": network.seed, "buckets": network.buckets, "vocabulary": network.vocabulary}
    with (folder / FILE).open("xb") as file:
        np.savez(
            file,
            card=np.frombuffer(json.dumps(card).encode(), dtype=np.uint8),
            features=network.features,
            embeddings=network.embeddings,
            outputs=network.outputs,
            biases=network.biases,
        )
        file.flush()
        os.fsync(file.fileno())


def load(folder: Path) -> Network:
    """Read a model (`FileNotFoundError`: it was deleted)."""
    with np.load(folder / FILE, allow_pickle=False) as arrays:
        card = json.loads(arrays["card"].tobytes())
        return Network(
            seed=card["seed"],
            buckets=card["buckets"],
            vocabulary=card["vocabulary"],
            features=arrays["features"],
            embeddings=arrays["embeddings"],
            outputs=arrays["outputs"],
            biases=arrays["biases"],
        )
