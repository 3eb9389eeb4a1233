"""Graders written in Python: what they are, and how they are called.

User code never runs in this process. `Code` is its text, its function and the digest that a
plan shows and a key holds; `CodeProcess` (`ftspec.evals.isolation`) runs it.

- OpenAI's form has `source` with `grade(sample, item)` that returns a number.
- The easy form has `path` and `function`: a function of two arguments, `(prediction, target)`,
  that returns a number or a bool. The file is read once (`inlined`) and only that one file is
  visible to the code, so that its digest says everything about it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from ftspec.diagnostics import FtspecError
from ftspec.printable import printable
from ftspec.regular import read_regular, within

Wall = Literal["bubblewrap", "namespace", "process"]
WALLS: Final[tuple[Wall, ...]] = ("bubblewrap", "namespace", "process")
"""What can be around user code, the strongest first (`ftspec.evals.isolation`)."""

LARGEST: Final = 1 << 20
"""Bytes of a file that a grader or prompt names."""


class CodeError(Exception):
    """User code failed: it raised, ran too long, died or returned something else. The message is for people."""


@dataclass(frozen=True, slots=True)
class Code:
    """A piece of user code and the function of it that is called."""

    source: str
    function: str

    @property
    def digest(self) -> str:
        """SHA-256 of the source."""
        return hashlib.sha256(self.source.encode()).hexdigest()


def inlined(definition: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Return a definition with the files of its `python` graders read in, `multi` ones included.

    Moving a file then changes nothing, and changing it changes everything that its code graded.
    `FtspecError` where a file cannot be read or is outside `root`.
    """
    given = dict(definition)
    if given.get("type") == "python" and isinstance(path := given.get("path"), str):
        del given["path"]
        return {**given, "source": read_text(path, root, what="grader")}
    if given.get("type") == "multi" and isinstance(inner := given.get("graders"), Mapping):
        return {**given, "graders": {name: inlined(one, root) if isinstance(one, Mapping) else one for name, one in inner.items()}}
    return given


def read_text(path: str, root: Path, *, what: str) -> str:
    """Return a text file of the project, with LF (`FtspecError`: outside it, too large, not text)."""
    shown = f"the {what} file `{printable(path)}`"
    if not within(root / path, root):
        raise FtspecError(f"{shown} is outside the project's root")
    try:
        raw = read_regular((root / path).resolve(), largest=LARGEST)
    except OSError as error:
        raise FtspecError(f"{shown} cannot be read: {error.strerror}") from None
    try:
        return raw.decode().replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise FtspecError(f"{shown} is not UTF-8") from None
