"""Engines of ftspec inside this process: an ASGI app, no port, no key.

What trains is found by name: the engine type `x` is `ftspec.server.trainers.x.trainer`.

```python
with sandbox_app(Path(".ftspec/sandbox")) as app:
    client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=BASE_URL)
```
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ftspec.diagnostics import FtspecError
from ftspec.server.app import create_app
from ftspec.server.graders import grade as simple_grade
from ftspec.server.store import Store
from ftspec.server.trainers.sandbox import SandboxTrainer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.applications import Starlette
    from starlette.types import Receive, Scope, Send

    from ftspec.experiment import EngineEntry
    from ftspec.server.context import Server
    from ftspec.server.limits import Limits
    from ftspec.server.meter import Meter
    from ftspec.server.trainers.base import Grade, Trainer

BASE_URL = "http://sandbox.invalid/v1"
"""Where the app believes to be: a name that resolves nowhere, so a request that escaped would fail."""


class EngineApp:
    """An ASGI app with its store and trainer. Closing it stops training at a step; it goes on when asked again."""

    def __init__(self, app: Starlette, store: Store, trainer: Trainer) -> None:
        self._app = app
        self._store = store
        self._trainer = trainer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        await self._app(scope, receive, send)

    def wake(self) -> None:
        """Let everything go on that an earlier process left unfinished (the first request does it, too)."""
        server: Server = self._app.state.server
        server.wake()

    def close(self) -> None:
        """Stop training and close the records."""
        self._trainer.close()
        self._store.close()

    def __enter__(self) -> Self:
        """Nothing to do: it is open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()


def sandbox_app(
    root: Path,
    *,
    grade: Grade = simple_grade,
    workers: int = 2,
    api_keys: Mapping[str, str] | None = None,
    local_only: bool = False,
) -> EngineApp:
    """Return the sandbox engine over the records in `root`; several processes may serve one root.

    `api_keys` and `local_only` are those of `create_app`.
    """
    store = Store(root)
    trainer = SandboxTrainer(root / "runs", grade=grade, workers=workers)
    return EngineApp(create_app(store, trainer, api_keys=api_keys, local_only=local_only), store, trainer)


def engine_app(
    entry: EngineEntry,
    root: Path,
    *,
    grade: Grade = simple_grade,
    folder: Path = Path(),
    api_keys: Mapping[str, str] | None = None,
    local_only: bool = False,
    limits: Limits | None = None,
    meter: Meter | None = None,
) -> EngineApp:
    """Return the app of an engine entry that ftspec serves itself, over the records in `root`.

    Relative paths of the entry's settings are relative to `folder`. `FtspecError`: a setting is
    wrong, or ftspec does not serve this type.
    """
    name = f"ftspec.server.trainers.{entry.type.replace('-', '_')}"
    if importlib.util.find_spec(name) is None:
        raise FtspecError(f"engine `{entry.name}` of type `{entry.type}` does not run in this process", help="give it a `base_url`")
    trainer: Trainer = importlib.import_module(name).trainer(root, grade=grade, options=entry.options, folder=folder, entry=entry.name)
    store = Store(root)
    app = create_app(store, trainer, api_keys=api_keys, local_only=local_only, limits=limits, meter=meter)
    return EngineApp(app, store, trainer)


def in_process_app(entry: EngineEntry, *, root: Path, grade: Grade = simple_grade) -> EngineApp:
    """Return the app of an engine entry that runs in this process; its records are in `root/server`."""
    return engine_app(entry, root / "server", grade=grade)
