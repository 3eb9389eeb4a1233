"""A progress bar for files that take a while, on stderr, for terminals only."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

LARGE = 32 << 20
"""Smaller files are read before a bar could be seen."""


@contextlib.contextmanager
def bar(title: str) -> Iterator[Callable[[int, int], None] | None]:
    """Yield a function that takes (bytes done, bytes in all), or `None` where nobody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    with contextlib.ExitStack() as shown:
        update: Callable[[int, int], None] | None = None

        def told(done: int, size: int) -> None:
            nonlocal update
            if size >= LARGE:
                update = update or shown.enter_context(_bar(title))
                update(done, size)

        yield told


@contextlib.contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar; importing what draws it takes longer than most files."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from ftspec.printable import printable

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(printable(title), total=None)
        yield lambda done, size: shown.update(task, completed=min(done, size), total=size)
