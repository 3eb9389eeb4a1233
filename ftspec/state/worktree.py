"""What git says of a folder, read from `.git` without running git.

Only two questions are asked: may state be compacted here, and which commit is checked out. A
repository that cannot be understood gets the careful answer (no, none).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import msgspec

from ftspec.regular import read_regular

_LARGEST: Final = 16 << 20
"""Bytes of the longest file that is read: `packed-refs` has a line for each branch and tag."""

_COMMIT: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
_BRANCH: Final = "refs/heads/"


def should_compact(folder: Path) -> bool:
    """Whether segments may be folded into the base files here.

    Yes outside of git work trees and on the default branch. On other branches, on a detached
    HEAD and during a merge the segments stay, so that two branches never change the same file.
    """
    repository = _repository(folder)
    if repository is None:
        return True
    branch = repository.branch()
    return branch is not None and branch == repository.default_branch() and not (repository.own / "MERGE_HEAD").exists()


def head_commit(folder: Path) -> str | None:
    """Return the commit that is checked out, if any."""
    repository = _repository(folder)
    return repository.commit() if repository else None


class _Repository(msgspec.Struct, frozen=True):
    """`own` holds HEAD, `common` what all work trees share."""

    own: Path
    common: Path

    def branch(self) -> str | None:
        """Return the name of the branch that is checked out."""
        target = _target(self.own / "HEAD")
        return target.removeprefix(_BRANCH) if target and target.startswith(_BRANCH) else None

    def default_branch(self) -> str | None:
        """Return origin's default branch; without one `main`, `master`, or the only branch there is."""
        remote = "refs/remotes/origin/"
        target = _target(self.common / remote / "HEAD")
        if target and target.startswith(remote):
            return target.removeprefix(remote)
        branches = self._branches()
        usual = [name for name in ("main", "master") if name in branches]
        if usual:
            return usual[0]
        current = self.branch()
        return current if branches <= {current} else None

    def commit(self) -> str | None:
        """Return the commit of HEAD."""
        target = _target(self.own / "HEAD")
        if target is None:
            found = _text(self.own / "HEAD").strip()
        else:
            found = _text(self.common / target).strip() or self._packed().get(target, "")
        return found if _COMMIT.match(found) else None

    def _branches(self) -> set[str]:
        heads = self.common / _BRANCH
        loose = {path.relative_to(heads).as_posix() for path in heads.rglob("*") if path.is_file()}
        return loose | {name.removeprefix(_BRANCH) for name in self._packed() if name.startswith(_BRANCH)}

    def _packed(self) -> dict[str, str]:
        pairs = (line.partition(" ") for line in _text(self.common / "packed-refs").split("\n"))
        return {name: commit for commit, _, name in pairs if _COMMIT.match(commit)}


def _repository(folder: Path) -> _Repository | None:
    folder = folder.absolute()
    for parent in (folder, *folder.parents):
        git = parent / ".git"
        if git.is_file():  # a linked work tree, or a submodule
            own = parent / _text(git).removeprefix("gitdir:").strip()
            common = _text(own / "commondir").strip()
            return _Repository(own, own / common if common else own)
        if git.is_dir():
            return _Repository(git, git)
    return None


def _target(path: Path) -> str | None:
    """Return what a symbolic ref points to."""
    text = _text(path)
    return text.removeprefix("ref:").strip() if text.startswith("ref:") else None


def _text(path: Path) -> str:
    try:
        return read_regular(path, largest=_LARGEST).decode(errors="replace")
    except OSError:
        return ""
