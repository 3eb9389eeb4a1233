"""What a fuzz target is: bytes that somebody else may write, and a function that must survive them.

A target's function takes any bytes. It may refuse them only with the errors that the parser documents,
which the target itself catches (`refusal`); whatever else it raises is a finding. Targets with a law
(what is printed and parsed again is the same) raise `AssertionError` where it does not hold.

A module `ftspec/testing/fuzz/targets/<name>.py` with `TARGETS` is found by its name.
"""

from __future__ import annotations

import pkgutil
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Final, Literal, TypeAlias

from ftspec.diagnostics import Diagnostic, FtspecError

Check: TypeAlias = Callable[[bytes], None]
Form: TypeAlias = Literal["json", "jsonl", "yaml", "text", "http"]
"""How mutations see the content: as one tree, as trees on lines, as text, or as head, blank line and tree."""

SECONDS: Final = 5.0
"""CPU time after which one input is a finding (five times what is promised: test machines are busy)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One parser of foreign bytes. `prepare` opens it in an empty folder; `seeds` are valid inputs."""

    name: str
    prepare: Callable[[Path], AbstractContextManager[Check]]
    seeds: tuple[bytes, ...]
    form: Form = "json"

    @property
    def folder(self) -> str:
        """What the folders of its inputs are called."""
        return self.name.replace(" ", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """An input that was not survived. Findings with one `where` are one defect."""

    target: str
    where: str
    error: str
    content: bytes


def simple(check: Check) -> Callable[[Path], AbstractContextManager[Check]]:
    """Return the `prepare` of a target that needs nothing but its input."""

    @contextmanager
    def prepare(folder: Path) -> Iterator[Check]:
        del folder
        yield check

    return prepare


@contextmanager
def refusal(*documented: type[Exception]) -> Iterator[None]:
    """Let a block end in a documented refusal, and look at what the refusal would show to a person."""
    try:
        yield
    except FtspecError as error:
        shown(error.message, error.help or "")
        diagnosed(error.diagnostics)
    except documented as error:
        shown(str(error))


def diagnosed(problems: list[Diagnostic] | tuple[Diagnostic, ...]) -> None:
    """Fail where a problem could speak to a terminal, or would fill one."""
    for one in problems:
        shown(one.message, one.help or "", *(place.path for place in (one.at, *one.places) if place is not None))


def shown(*texts: str) -> None:
    """Fail where a text that is printed as it is holds control characters, or half a character."""
    for text in texts:
        text.encode()
        bad = [char for char in text if (char < " " and char != "\n") or "\x7f" <= char < "\xa0"]
        assert not bad, f"printed raw: {bad[:5]!r} in {text[:200]!r}"


def finding(target: str, error: BaseException, content: bytes) -> Finding:
    """Return the finding that an exception is, known by its type and the last place in our code."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [one for one in frames if "/ftspec/" in one.filename and "/testing/fuzz/" not in one.filename] or frames[-1:]
    last = ours[-1] if ours else None
    place = f"{Path(last.filename).name}:{last.lineno} in {last.name}" if last else "?"
    if isinstance(error, AssertionError):
        place += f" ({re.sub('[^a-z ]', '', str(error).lower())[:40]})"
    return Finding(
        target=target, where=f"{target}: {type(error).__name__} at {place}", error=f"{type(error).__name__}: {error}"[:500], content=content
    )


@cache
def all_targets() -> dict[str, Target]:
    """Return every target by name."""
    from ftspec.testing.fuzz import targets

    modules = (import_module(f"{targets.__name__}.{one.name}") for one in pkgutil.iter_modules(targets.__path__))
    return {one.name: one for module in modules for one in module.TARGETS}
