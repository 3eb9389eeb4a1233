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
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    shown = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = shown.add_task(title, total=None, visible=False)

    def told(done: int, size: int) -> None:
        if size >= LARGE:
            shown.update(task, completed=min(done, size), total=size, visible=True)

    with shown:
        yield told
