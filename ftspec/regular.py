"""Files that are only files: read without waiting, without following a link, without growing for ever.

Whoever proposes a change to a project chooses its files, and may choose a link to `/dev/zero`, or
leave a named pipe. What is not the content of the project, and still lies in its folder (caches, the
lockfile, the text that an eval names), is read here.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from io import BufferedReader

LARGEST = 64 << 20
"""The longest file that is read whole, unless a caller says less."""


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file that is not a symbolic link (`OSError`)."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except ValueError as error:  # a NUL, or half a character, from another file
        raise OSError(errno.EINVAL, str(error)) from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(handle, "rb")


def read_regular(path: Path, *, largest: int = LARGEST) -> bytes:
    """Return the bytes of a regular file (`OSError`: it is none, or longer than `largest`)."""
    with open_regular(path) as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise OSError(errno.EFBIG, f"larger than {largest} bytes", str(path))
    return content


def write_beside(path: Path, content: bytes, *, sync: bool = False) -> None:
    """Give a file new content in one step; a link that waits at its place, or beside it, is not followed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        with temporary.open("xb") as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def within(folder: Path, root: Path) -> bool:
    """Whether a folder, or what will be one, lies in `root` also after symbolic links are followed."""
    try:
        return folder.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError, ValueError):
        return False
