"""Which specs were found valid before: an optimisation that is never needed.

One short file of digests in a cache folder. A digest covers the text of all files, the given
variables and the rules that they were checked against, so that a new version of ftspec checks
again. Whoever can write the cache can only skip the check of their own spec: `load` still
answers nonsense with the full check.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import ftspec
from ftspec.regular import read_regular, write_beside

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_FILE: Final = "valid-specs"
_KEEP: Final = 64
_LARGEST: Final = 1 << 16


def key(texts: Iterable[bytes], variables: Mapping[str, str]) -> str:
    """Return the digest of a spec's files and variables, and of the rules."""
    whole = hashlib.sha256(_rules())
    for text in texts:
        whole.update(hashlib.sha256(text).digest())
    for name, value in sorted(variables.items()):
        whole.update(hashlib.sha256(name.encode(errors="surrogateescape")).digest())
        whole.update(hashlib.sha256(value.encode(errors="surrogateescape")).digest())
    return whole.hexdigest()


@cache
def _rules() -> bytes:
    rules = Path(__file__).with_name("schema.py")
    try:
        return ftspec.__version__.encode() + rules.read_bytes()
    except OSError:
        return os.urandom(16)


def known(folder: Path | None, digest: str) -> bool:
    """Whether this digest was found valid before."""
    return digest in _read(folder)


def remember(folder: Path | None, digest: str) -> None:
    """Note that this digest is valid. A cache that cannot be written is no problem."""
    if folder is None:
        return
    with contextlib.suppress(OSError):
        lines = [*(line for line in _read(folder) if line != digest), digest][-_KEEP:]
        if not folder.is_dir():
            folder.mkdir(parents=True)
            (folder / ".gitignore").write_text("*\n")
        write_beside(folder / _FILE, "".join(f"{line}\n" for line in lines).encode())


def _read(folder: Path | None) -> list[str]:
    if folder is None:
        return []
    try:
        return read_regular(folder / _FILE, largest=_LARGEST).decode(errors="replace").split()
    except OSError:
        return []
