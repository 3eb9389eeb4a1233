"""A project on disk: its root, spec files, state folder, lockfile and caches.

The root is the folder that commands run in (or `-C DIR`); nothing outside it is read, except
below folders named by `--data-root` (and bases of a hub where its client keeps them, `base_files.py`). Spec files are those given with `-f`, else
`ftspec.yaml`, else `specs/*.yaml`. One spec file has its lockfile beside it (`tone.yaml`,
`tone.lock`; `ftspec.yaml`, `ftspec.lock`), several share `ftspec.lock` in the root.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from ftspec.diagnostics import FtspecError
from ftspec.printable import printable
from ftspec.regular import within

DEFAULT_SPEC = "ftspec.yaml"


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """Where everything of one project is. All paths are absolute."""

    root: Path
    files: tuple[Path, ...]
    variables: Mapping[str, str] = {}
    state_option: Path | None = None
    data_roots: tuple[Path, ...] = ()

    @property
    def lockfile(self) -> Path:
        """The lockfile of these spec files."""
        return self.files[0].with_suffix(".lock") if len(self.files) == 1 else self.root / "ftspec.lock"

    @property
    def private(self) -> Path:
        """The ignored folder for caches, eval samples and the sandbox engine's records."""
        return self.root / ".ftspec"

    def make_private(self) -> Path:
        """Return `private`, made so that git leaves it alone: it holds prompts, and a database that no merge could join."""
        folder = self.private
        if within(folder, self.root):
            with contextlib.suppress(OSError):  # whoever needs the folder says why it cannot be
                folder.mkdir(exist_ok=True)
                with (folder / ".gitignore").open("x", encoding="utf-8") as file:
                    file.write("*\n")
        return folder

    def records(self, name: str) -> Path:
        """Return a folder of records below `private` (`FtspecError`: a symbolic link leads it out of the project)."""
        folder = self.private / name
        if not any(within(folder, root) for root in (self.root, *self.data_roots)):
            raise FtspecError(
                f"`{printable(self.relative(folder))}` leads out of the project, so nothing is written there",
                help="remove the symbolic link, or allow its target: `--data-root DIR`",
            )
        return folder

    @property
    def cache(self) -> Path | None:
        """The folder for everything that can be recomputed; `None` where a symbolic link leads it out of the project."""
        folder = self.private / "cache"
        return folder if within(folder, self.root) else None

    def state_folder(self, declared: str | None = None) -> Path:
        """Return the state folder: `--state`, `FTSPEC_STATE`, the spec's `state:`, else `state/`."""
        if self.state_option is not None:
            return self.state_option
        if environment := os.environ.get("FTSPEC_STATE"):
            return self.root / environment
        return self.root / (declared or "state")

    def relative(self, path: Path) -> str:
        """Return a path as people see it: relative to the root, with slashes."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)


def open_project(
    *,
    directory: Path | str | None = None,
    files: Sequence[Path | str] = (),
    variables: Mapping[str, str] | None = None,
    state: Path | str | None = None,
    data_roots: Sequence[Path | str] = (),
    need_spec: bool = True,
) -> Project:
    """Find a project. Raises `FtspecError` when there is no spec (unless not needed) or no folder."""
    root = Path(directory or ".").resolve()
    if not root.is_dir():
        raise FtspecError(f"`{printable(str(directory))}` is not a folder")
    found = tuple(_spec_file(root, Path(name)) for name in files) or _default_files(root)
    if not found and need_spec:
        raise FtspecError(
            f"there is no `{DEFAULT_SPEC}` and no `specs/*.yaml` here",
            help=_elsewhere(root) or "name one with `-f FILE`, or make one with `ftspec init`",
        )
    return Project(
        root=root,
        files=found,
        variables=dict(variables or {}),
        state_option=(root / state) if state else None,
        data_roots=tuple(Path(path).resolve() for path in data_roots),
    )


def _spec_file(root: Path, name: Path) -> Path:
    path = Path(os.path.normpath(root / name))
    if not path.is_relative_to(root):
        raise FtspecError(
            f"`{printable(str(name))}` is outside the project's root",
            help=f"run in a folder that holds it, or name one: `-C {printable(str(path.parent))}`",
        )
    if path.is_dir():
        raise FtspecError(f"`{printable(str(name))}` is a folder", help=f"name its files, or run there: `-C {printable(str(name))}`")
    if not path.is_file():
        raise FtspecError(f"there is no file `{printable(str(name))}`")
    return path


def _elsewhere(folder: Path) -> str | None:
    """Return how to name the project that a folder is part of; it is not chosen without being asked for."""
    for up, above in enumerate(folder.parents, 1):
        if _default_files(above):
            return f"a folder above has one: add `-C {'/'.join(['..'] * up)}`"
        if (above / ".git").exists():
            break
    return None


def _default_files(root: Path) -> tuple[Path, ...]:
    default = root / DEFAULT_SPEC
    if default.is_file():
        return (default,)
    return tuple(sorted((*(root / "specs").glob("*.yaml"), *(root / "specs").glob("*.yml"))))
