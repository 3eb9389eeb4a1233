"""Whether a file of an engine holds exactly the rows of a dataset.

State knows it of files that were uploaded by us. Other files are read back, where the engine
lets us, and digested as a dataset of the spec would be: their layout does not matter.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ftspec.engines.base import EngineError
from ftspec.experiment import DesiredDataset

if TYPE_CHECKING:
    from ftspec.engines.base import Engine
    from ftspec.record import State
    from ftspec.state.base import FileFact

MOST = 256 * 2**20
"""Bytes of a file that is read back to be compared."""

_NAME = "rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Whether the rows are the same (`None`: not known, and `why`). `fact` records a file that state did not know."""

    same: bool | None
    why: str = ""
    fact: FileFact | None = None


async def compare(engine: Engine, file_id: str, key: str, *, scope: str, state: State) -> Compared:
    """Compare the rows of a file with a dataset key."""
    known = next((file for file in state.files.values() if file.scope == scope and file.file_id == file_id), None)
    if known is not None:
        return Compared(same=known.dataset_key == key)
    try:
        file = await engine.file(file_id)
        if file is None:
            return Compared(same=None, why="the file is gone")
        if (file.bytes or 0) > MOST:
            return Compared(same=None, why="the file is too large to be read back")
        content = await engine.content(file_id)
    except EngineError as error:
        return Compared(same=None, why=error.message)
    found = digest_of(content)
    if found is None:
        return Compared(same=None, why="the file cannot be read as rows")
    found_key, rows = found
    if found_key != key:
        return Compared(same=False)
    from ftspec.pipeline.planning import utc_now
    from ftspec.state.base import FileFact

    values = {"dataset_key": key, "file_id": file_id, "name": file.name, "bytes": len(content), "rows": rows, "status": "confirmed"}
    fact = FileFact(scope=scope, digest=hashlib.sha256(content).hexdigest(), at=utc_now(), values=values)
    return Compared(same=True, fact=fact)


def digest_of(content: bytes) -> tuple[str, int] | None:
    """Return the dataset key and the number of rows of a JSONL file's bytes; `None`: it is none."""
    with tempfile.TemporaryDirectory(prefix="ftspec-") as folder:
        Path(folder, "rows.jsonl").write_bytes(content)
        return digest_of_file("rows.jsonl", root=Path(folder))


def digest_of_file(path: str, *, root: Path, data_roots: tuple[Path, ...] = ()) -> tuple[str, int] | None:
    """Return the dataset key and the number of rows of a JSONL file; `None`: it cannot be read as one."""
    from ftspec.data.digest import digest

    facts, _ = digest(DesiredDataset(name=_NAME, path=path), root=root, data_roots=data_roots, tokenizer=None)
    return (facts[_NAME].key, facts[_NAME].rows) if _NAME in facts else None
