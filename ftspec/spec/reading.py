"""Spec files and the files that they include, read and parsed.

Only regular files inside the root, at most 256 of them and 16 MiB together. A file that is
included twice is read once; files that include each other are an error.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final

from ftspec.diagnostics import Diagnostic, Place, error
from ftspec.printable import printable
from ftspec.spec.paths import Roots, read_text_file
from ftspec.spec.settings import Given
from ftspec.spec.source import parse
from ftspec.spec.tree import Map, Seq, Source

VERSION: Final = 1
MAX_FILES: Final = 256
MAX_TOTAL_BYTES: Final = 16 << 20


class Reading:
    """Reads files and what they include."""

    def __init__(self, roots: Roots) -> None:
        self.roots = roots
        self.problems: list[Diagnostic] = []
        self.sources: list[Source] = []
        self.trees: list[Map] = []
        self.texts: list[bytes] = []
        self.seen: dict[Path, str] = {}
        self.open: list[Path] = []
        self.total = 0

    def file(self, path: Path, at: Place | None) -> None:
        """Read one file, then those that it includes."""
        try:
            resolved = path.resolve()
        except (OSError, RuntimeError, ValueError):
            resolved = path
        shown = printable(self.roots.shown(resolved))
        if resolved in self.open:
            chain = " -> ".join(f"`{self.seen[one]}`" for one in [*self.open[self.open.index(resolved) :], resolved])
            self.problems.append(error("include-cycle", f"files include each other: {chain}", at=at, help="remove one `include`"))
            return
        if resolved in self.seen:
            return
        self.seen[resolved] = shown
        data = self._read(resolved, shown, at)
        if data is None:
            return
        tree, source, problems = parse(data, shown)
        self.problems.extend(problems)
        if source is not None:
            self.sources.append(source)
        if problems and tree is None:
            return
        if not isinstance(tree, Map):
            what = "is empty" if tree is None else "is not a mapping"
            self.problems.append(error("empty-spec", f"`{shown}` {what}", at=Place(path=shown), help="`ftspec init` writes a first spec"))
            return
        self._version(tree, included=bool(self.open))
        self.trees.append(tree)
        self.texts.append(data)
        self.open.append(resolved)
        self._includes(tree)
        self.open.pop()

    def _read(self, resolved: Path, shown: str, at: Place | None) -> bytes | None:
        if not self.roots.holds(resolved):
            problem = error(
                "path-outside",
                f"the spec file `{shown}` is outside the project",
                at=at,
                help="run with `-C DIR`, the folder that holds the project",
            )
            self.problems.append(problem)
            return None
        if len(self.seen) > MAX_FILES:
            self.problems.append(error("too-many-files", f"more than {MAX_FILES} files are included", at=at, help="include fewer"))
            return None
        data, unreadable = read_text_file(resolved, shown)
        if unreadable is not None:
            self.problems.append(replace(unreadable, at=at or unreadable.at))
            return None
        self.total += len(data or b"")
        if self.total > MAX_TOTAL_BYTES:
            self.problems.append(
                error("yaml-too-large", "the files of this spec are larger than 16 MiB together", at=at, help="use `matrix`")
            )
            return None
        return data

    def _version(self, tree: Map, *, included: bool) -> None:
        if "ftspec" not in tree and not included:
            self.problems.append(
                error(
                    "spec-version",
                    "a spec says which version of the format it is in",
                    at=tree.at(),
                    help=f"add `ftspec: {VERSION}` at the top",
                )
            )
        elif "ftspec" in tree and (isinstance(tree["ftspec"], bool) or tree["ftspec"] != VERSION):
            newer = isinstance(tree["ftspec"], int) and tree["ftspec"] > VERSION
            hint = "install a newer ftspec" if newer else f"write `ftspec: {VERSION}`"
            self.problems.append(
                error("spec-version", f"this ftspec reads version {VERSION} of the format", at=tree.value_at("ftspec"), help=hint)
            )

    def _includes(self, tree: Map) -> None:
        written = tree.get("include")
        given = (
            [Given(written, tree, "include")]
            if isinstance(written, str)
            else [Given(one, written, i) for i, one in enumerate(written or ()) if isinstance(written, Seq)]
        )
        folder = str(PurePosixPath(tree.source.path).parent)
        for one in given:
            if not isinstance(one.value, str):
                continue
            path, problem = self.roots.locate(one.value, folder=folder, at=one.place(), what="included file")
            if problem is not None:
                self.problems.append(problem)
            if path is not None:
                self.file(self.roots.root / path, one.place())
