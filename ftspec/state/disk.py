"""The system calls of state, in one place, so that tests can make each of them fail.

Everything below the state folder is named relative to an open folder, and never through a
symbolic link. `Disk` is the real one; a subclass, or any object with these methods, can lose
unsynced writes, cut writes short, or stop at the n-th call.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

_NOFOLLOW: Final = os.O_NOFOLLOW | os.O_CLOEXEC


class Disk:
    """The operating system's files. Every method may raise `OSError`."""

    def open_folder(self, path: Path, *, inside: int | None = None) -> int:
        """Open an existing folder that is not a symbolic link."""
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | _NOFOLLOW, dir_fd=inside)

    def make_folder(self, path: Path, *, inside: int | None = None) -> None:
        """Make a folder, durably, unless it is there."""
        if inside is None:
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.mkdir(path, dir_fd=inside)
        except FileExistsError:
            return
        if inside is not None:
            os.fsync(inside)
            return
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)

    def names(self, folder: int) -> list[str]:
        """Return the names in a folder, sorted."""
        return sorted(os.listdir(folder))

    def read(self, folder: int, name: str) -> bytes:
        """Return the bytes of a regular file."""
        fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | _NOFOLLOW, dir_fd=folder)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", name)
            with open(fd, "rb", closefd=False, buffering=0) as file:
                return file.readall()
        finally:
            os.close(fd)

    def create(self, folder: int, name: str) -> int:
        """Open a new file for appending."""
        return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | _NOFOLLOW, 0o666, dir_fd=folder)

    def open_lock(self, folder: int, name: str, *, write: bool = True) -> int:
        """Open the lock file, made for a writer if it is not there."""
        return os.open(name, (os.O_RDWR | os.O_CREAT if write else os.O_RDONLY) | _NOFOLLOW, 0o666, dir_fd=folder)

    def try_lock(self, fd: int, *, shared: bool = False) -> bool:
        """Take the lock of an open file, which the system frees when this process ends. `False`: another has it."""
        import fcntl

        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def write(self, fd: int, data: bytes) -> None:
        """Write all of `data`: one call, or the error of the call that could not go on."""
        while data:
            data = data[os.write(fd, data) :]

    def replace(self, fd: int, data: bytes) -> None:
        """Make `data` the whole content of an open file."""
        os.ftruncate(fd, 0)
        os.pwrite(fd, data, 0)

    def sync(self, fd: int) -> None:
        """Wait until what was written to a file, or renamed in a folder, is durable."""
        os.fsync(fd)

    def close(self, fd: int) -> None:
        """Close a file or folder."""
        os.close(fd)

    def rename(self, folder: int, old: str, new: str) -> None:
        """Replace `new` by `old`, in one step."""
        os.rename(old, new, src_dir_fd=folder, dst_dir_fd=folder)

    def unlink(self, folder: int, name: str) -> None:
        """Remove a file."""
        os.unlink(name, dir_fd=folder)

    def identity(self, fd: int) -> tuple[int, int]:
        """Return what tells an open file or folder from all others."""
        status = os.fstat(fd)
        return status.st_dev, status.st_ino

    def identity_at(self, path: Path) -> tuple[int, int] | None:
        """Return what tells the file or folder that is at a path now from all others; `None`: there is none."""
        try:
            status = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return status.st_dev, status.st_ino
