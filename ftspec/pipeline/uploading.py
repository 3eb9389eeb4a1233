"""Writes the rows of a dataset part to a file, as they were planned, for as long as they are sent."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftspec.pipeline.planning import Wanted


class Materialiser:
    """`executor.effects.Materialise` over the datasets of a spec; files live in a folder of its own until it is left."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Materialiser:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    async def __call__(self, ref: str, key: str) -> tuple[Path, str, int, int]:
        """Return (file, SHA-256, rows, bytes) of a reference; `DatasetChanged` (exit 3) when its rows are not those planned."""
        from ftspec.data.digest import materialise

        spec = self._wanted.spec
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="ftspec-")
        return await asyncio.to_thread(
            materialise,
            spec.datasets[ref.partition(".")[0]],
            ref,
            root=self._wanted.project.root,
            into=Path(self._folder.name),
            data_roots=self._wanted.project.data_roots,
            datasets=spec.datasets,
            expect=key,
        )
