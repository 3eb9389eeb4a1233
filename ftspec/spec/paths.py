"""Paths that a spec may name: inside the project's root, regular files, nothing that blocks.

A path in a spec is relative to the file that declares it. It must stay inside the root (or a
folder that the user allowed outside the repo), both as written and after symbolic links;
`~` and variables of the environment are never expanded.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ftspec.diagnostics import Diagnostic, Place, error
from ftspec.printable import printable
from ftspec.spec.source import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

_INSIDE = "move it into the project, or allow its folder with `--data-root DIR`"


class Roots(msgspec.Struct, frozen=True):
    """The project's root, and more folders that datasets may be in."""

    root: Path
    others: tuple[Path, ...] = ()

    @classmethod
    def of(cls, root: Path, others: Sequence[Path] = ()) -> Roots:
        """Return the roots, resolved."""
        return cls(root.resolve(), tuple(other.resolve() for other in others))

    def shown(self, path: Path) -> str:
        """Return how people know a path: relative to the root, with forward slashes."""
        return Path(os.path.relpath(path, self.root)).as_posix()

    def holds(self, path: Path, *, data: bool = False) -> bool:
        """Whether a path is inside the root (`data`: or another allowed folder)."""
        return any(path.is_relative_to(root) for root in (self.root, *(self.others if data else ())))

    def locate(self, written: str, *, folder: str, at: Place | None, what: str, data: bool = False) -> tuple[str | None, Diagnostic | None]:
        """Return a path of a spec relative to the root; `folder` is that of the declaring file."""
        shown = printable(written[:200])
        if not written or "\0" in written:
            return None, error("path-outside", f"the {what} `{shown}` is not a path", at=at, help="write a path relative to this file")
        if Path(written).is_absolute() and not data:
            return None, error("path-outside", f"the {what} `{shown}` is absolute", at=at, help="write a path relative to this file")
        lexical = Path(os.path.normpath(self.root / folder / written))
        outside = error(
            "path-outside", f"the {what} `{shown}` is outside the project", at=at, help=_INSIDE if data else "move it into the project"
        )
        if not self.holds(lexical, data=data):
            return None, outside
        try:
            resolved = lexical.resolve()
        except (OSError, RuntimeError):
            return None, error("path-outside", f"the {what} `{shown}` cannot be followed", at=at, help="remove the loop of symbolic links")
        if not self.holds(resolved, data=data):
            return None, outside
        return self.shown(lexical), None


def read_text_file(path: Path, shown: str) -> tuple[bytes | None, Diagnostic | None]:
    """Return the bytes of a regular file, at most one more than a spec may have; never blocks."""
    at = Place(path=printable(shown))
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        return None, error("file-missing", f"there is no file `{printable(shown)}`", at=at, help="`ftspec init` writes a first spec")
    except OSError as problem:
        return None, error("file-unreadable", f"`{printable(shown)}` cannot be read: {problem.strerror}", at=at)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return None, error("file-unreadable", f"`{printable(shown)}` is not a regular file", at=at)
        with os.fdopen(os.dup(handle), "rb") as file:
            return file.read(MAX_BYTES + 1), None
    except OSError as problem:
        return None, error("file-unreadable", f"`{printable(shown)}` cannot be read: {problem.strerror}", at=at)
    finally:
        os.close(handle)
