"""Disks that fail: for tests of everything that keeps state in files.

`SimulatedDisk` keeps files in memory and knows what a power loss would leave of them: what was
synced stays, and of what was not, anything from nothing to all. `StoppingDisk` makes the n-th
system call of a disk fail, or the machine stop there.

    disk = SimulatedDisk()
    with pytest.raises(PowerLoss):
        write_something(StoppingDisk(disk, at=7))
    disk.lose_power(random)          # and now: is everything there that was promised?
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from random import Random


class PowerLoss(BaseException):
    """The machine stops here. Not an `Exception`, because nothing can handle it."""


@dataclass(slots=True, eq=False)
class _File:
    content: bytes = b""
    durable: bytes = b""
    locked_by: set[int] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class _Folder:
    entries: dict[str, _Node] = field(default_factory=dict)
    durable: dict[str, _Node] = field(default_factory=dict)
    pending: list[dict[str, _Node]] = field(default_factory=list)
    """What `entries` was after each change since the last sync: a file system keeps their order."""

    def change(self, entries: dict[str, _Node]) -> None:
        self.entries = entries
        self.pending.append(entries)


_Node: TypeAlias = "_File | _Folder"


def _surviving(file: _File, random: Random) -> bytes:
    """Return what a power loss leaves of a file: of what was appended some, perhaps as blocks never written to."""
    if not file.content.startswith(file.durable):
        return random.choice([file.durable, file.content])
    kept = len(file.durable)
    cut = random.choice([kept, random.randint(kept, len(file.content)), len(file.content)])
    return file.content[:cut] if random.random() < 0.8 else file.durable + bytes(cut - kept)


class SimulatedDisk:
    """Files in memory, with the methods of `ftspec.state.disk.Disk`."""

    def __init__(self) -> None:
        self._root = _Folder()
        self._open: dict[int, _Node] = {}
        self._next = 3

    def lose_power(self, random: Random) -> None:
        """Keep what is durable, and of the rest as much as chance has it. All files are closed, all locks free."""
        self._open.clear()
        self._lose(self._root, random)

    def _lose(self, folder: _Folder, random: Random) -> None:
        folder.entries = random.choice([folder.durable, *folder.pending])
        folder.durable, folder.pending = folder.entries, []
        for node in folder.entries.values():
            if isinstance(node, _Folder):
                self._lose(node, random)
            else:
                node.content = node.durable = _surviving(node, random)
                node.locked_by.clear()

    def open_folder(self, path: Path, *, inside: int | None = None) -> int:
        """Open an existing folder."""
        node: _Node = self._root if inside is None else self._folder(inside)
        for part in PurePosixPath(path.as_posix().lstrip("/")).parts:
            node = self._entry(node, part)
        if not isinstance(node, _Folder):
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(path))
        return self._opened(node)

    def make_folder(self, path: Path, *, inside: int | None = None) -> None:
        """Make a folder (and those above it), durably."""
        node: _Node = self._root if inside is None else self._folder(inside)
        for part in PurePosixPath(path.as_posix().lstrip("/")).parts:
            assert isinstance(node, _Folder)  # noqa: S101 tests make folders in folders
            if part not in node.entries:
                node.entries = node.durable = node.entries | {part: _Folder()}
                node.pending = []
            node = node.entries[part]

    def names(self, folder: int) -> list[str]:
        """Return the names in a folder, sorted."""
        return sorted(self._folder(folder).entries)

    def read(self, folder: int, name: str) -> bytes:
        """Return the bytes of a file."""
        return self._file(self._entry(self._folder(folder), name)).content

    def create(self, folder: int, name: str) -> int:
        """Open a new file."""
        parent = self._folder(folder)
        if name in parent.entries:
            raise FileExistsError(errno.EEXIST, "exists", name)
        node = _File()
        parent.change(parent.entries | {name: node})
        return self._opened(node)

    def open_lock(self, folder: int, name: str, *, write: bool = True) -> int:
        """Open the lock file."""
        parent = self._folder(folder)
        if name not in parent.entries and write:
            parent.change(parent.entries | {name: _File()})
        return self._opened(self._entry(parent, name))

    def try_lock(self, fd: int, *, shared: bool = False) -> bool:
        """Take the lock of an open file."""
        node = self._file(self._open[fd])
        if node.locked_by - {fd}:
            return False
        if not shared:
            node.locked_by.add(fd)
        return True

    def write(self, fd: int, data: bytes) -> None:
        """Append to a file."""
        node = self._file(self._open[fd])
        node.content += data

    def replace(self, fd: int, data: bytes) -> None:
        """Replace the content of an open file."""
        self._file(self._open[fd]).content = data

    def sync(self, fd: int) -> None:
        """Make a file, or the names in a folder, durable."""
        node = self._open[fd]
        if isinstance(node, _Folder):
            node.durable, node.pending = node.entries, []
        else:
            node.durable = node.content

    def close(self, fd: int) -> None:
        """Close a file or folder; its lock is free."""
        node = self._open.pop(fd)
        if isinstance(node, _File):
            node.locked_by.discard(fd)

    def rename(self, folder: int, old: str, new: str) -> None:
        """Replace `new` by `old`."""
        parent = self._folder(folder)
        node = self._entry(parent, old)
        parent.change({name: entry for name, entry in parent.entries.items() if name != old} | {new: node})

    def unlink(self, folder: int, name: str) -> None:
        """Remove a file."""
        parent = self._folder(folder)
        self._entry(parent, name)
        parent.change({other: entry for other, entry in parent.entries.items() if other != name})

    def identity(self, fd: int) -> tuple[int, int]:
        """Return what tells an open file or folder from all others."""
        return 0, id(self._open[fd])

    def identity_at(self, path: Path) -> tuple[int, int] | None:
        """Return what tells the file or folder at a path from all others."""
        node: _Node = self._root
        for part in PurePosixPath(path.as_posix().lstrip("/")).parts:
            if not isinstance(node, _Folder) or part not in node.entries:
                return None
            node = node.entries[part]
        return 0, id(node)

    def _opened(self, node: _Node) -> int:
        self._next += 1
        self._open[self._next] = node
        return self._next

    def _folder(self, fd: int) -> _Folder:
        node = self._open[fd]
        assert isinstance(node, _Folder)  # noqa: S101 only folders are passed
        return node

    def _file(self, node: _Node) -> _File:
        assert isinstance(node, _File)  # noqa: S101 only files are passed
        return node

    def _entry(self, node: _Node, name: str) -> _Node:
        if not isinstance(node, _Folder) or name not in node.entries:
            raise FileNotFoundError(errno.ENOENT, "no such file", name)
        return node.entries[name]


class StoppingDisk:
    """A disk whose `at`-th call (from 0) fails with `error`, or stops the machine; `calls` counts them.

    `after`: the call is carried out first. Reading and closing never fail.
    """

    _COUNTED = frozenset({"make_folder", "create", "open_lock", "write", "replace", "sync", "rename", "unlink"})

    def __init__(self, disk: Any, *, at: int | None = None, error: int | None = None, after: bool = False) -> None:
        self._disk = disk
        self._at = at
        self._error = error
        self._after = after
        self._stopped = False
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        """Return a method of the disk, counted where it changes something."""
        method = getattr(self._disk, name)
        if name not in self._COUNTED:
            return method

        def call(*args: Any, **rest: Any) -> Any:
            if self._stopped:
                raise PowerLoss
            number = len(self.calls)
            self.calls.append(name)
            if number != self._at:
                return method(*args, **rest)
            if self._after:
                method(*args, **rest)
            if self._error is None:
                self._stopped = True
                raise PowerLoss
            raise OSError(self._error, "injected")

        return call
