"""The engines of one project, opened when they are first asked and closed together.

Keys come from the environment variables that the spec names, trusted origins from the user's
own trust file. Ambient `OPENAI_*` variables are ignored, and said to be.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from ftspec.diagnostics import FtspecError
from ftspec.pipeline.planning import profiles
from ftspec.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from ftspec.engines.base import Engine
    from ftspec.engines.client import WireEngine
    from ftspec.engines.trust import TrustStore
    from ftspec.experiment import EngineEntry, Spec
    from ftspec.pipeline.project import Project
    from ftspec.profile import Profile
    from ftspec.record import RecordedJob
    from ftspec.server.inprocess import EngineApp


log = logging.getLogger("ftspec")


class Session:
    """`async with Session(project, spec) as session: session.engine("openai")`."""

    def __init__(self, project: Project, spec: Spec, *, environ: Mapping[str, str] | None = None, allow_code: bool = False) -> None:
        """`allow_code`: jobs that are bought here may be trained with graders that run code of the project."""
        self.project = project
        self.spec = spec
        self._environ = os.environ if environ is None else environ
        self._allow_code = allow_code
        self._open: dict[str, Engine] = {}
        self._apps: list[EngineApp] = []
        self._ignored: set[str] = set()
        self._owners: dict[str, str] = {}
        self._deployments: dict[str, str] = {}

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for engine in self._open.values():
            await engine.aclose()
        self._open.clear()
        for app in self._apps:
            app.close()
        self._apps.clear()

    def remember(self, records: Iterable[RecordedJob]) -> None:
        """Let engines know by which names models are deployed, and those with several keys which of them owns what."""
        for record in records:
            for attempt in record.attempts:
                if attempt.model and attempt.deployment:
                    self._deployments[attempt.model] = attempt.deployment
                if attempt.owner is not None:
                    things = (
                        attempt.engine_job_id,
                        attempt.training_file,
                        attempt.validation_file,
                        attempt.model and f"model {attempt.model}",
                        *(f"model {saved.model}" for saved in attempt.checkpoints if saved.model),
                    )
                    self._owners.update((thing, attempt.owner) for thing in things if thing)

    def entry(self, name: str) -> EngineEntry:
        """Return the engine entry `name` of the spec (`FtspecError`: there is none)."""
        found = self.spec.engines.get(name)
        if found is None:
            raise FtspecError(f"no spec declares an engine `{name}`", help=f"declared: {', '.join(sorted(self.spec.engines))}")
        return found

    def profile(self, name: str) -> Profile:
        """Return what the engine `name` can do."""
        return profiles()[self.entry(name).type]

    def waits_for_deployment(self, name: str, model: str) -> str | None:
        """Return what must happen before a trained model of the engine `name` answers, if that is not recorded yet."""
        return None if model in self._deployments else self.profile(name).deployment

    def engine(self, name: str) -> Engine:
        """Return the engine `name`, opened. Raises `FtspecError`: no key, an address that a key may not go to."""
        if name not in self._open:
            if not self.profile(name).in_process or self.entry(name).base_url is not None:
                self._say_what_is_ignored(self.entry(name))
            from ftspec.engines.open import open_engine

            self._open[name] = open_engine(
                self.entry(name),
                profile=self.profile(name),
                environ=self._environ,
                trust=self._trust(),
                app_factory=self._app,
                owners=self._owners,
                deployments=self._deployments,
            )
        return self._open[name]

    def wire(self, name: str) -> WireEngine:
        """Return the engine `name` as one client. Raises `FtspecError`: what `engine` raises, and where several keys make it several."""
        from ftspec.engines.client import WireEngine

        engine = self.engine(name)
        if not isinstance(engine, WireEngine):
            raise FtspecError(f"engine `{printable(name)}` has several keys; name one with `api_key_env`")
        return engine

    def _trust(self) -> TrustStore:
        from ftspec.engines.trust import TrustStore

        return TrustStore.load(self._environ, project_root=self.project.root)

    def _say_what_is_ignored(self, entry: EngineEntry) -> None:
        """Warn of ambient settings that the SDK would have obeyed and ftspec does not."""
        from ftspec.engines.open import key_variables
        from ftspec.engines.origin import ignored_variables

        used = key_variables(entry, profile=self.profile(entry.name), environ=self._environ)
        names = [name for name in ignored_variables(self._environ, used=used) if name not in self._ignored]
        self._ignored.update(names)
        if names:
            log.warning("warning: ignored %s: the spec says where requests go", ", ".join(f"`{name}`" for name in names))

    def _app(self, entry: EngineEntry) -> Any:
        """Return the server app of an engine that runs in this process; its records are under `.ftspec/`."""
        from ftspec.engines.open import check_serve_url
        from ftspec.evals.grading import SyncGraders
        from ftspec.pipeline.interpreters import check_interpreter
        from ftspec.server.inprocess import engine_app

        check_interpreter(entry, root=self.project.root, environ=self._environ)
        check_serve_url(entry, profile=self.profile(entry.name), trust=self._trust())
        self.project.make_private()
        app = engine_app(entry, self.project.records(entry.type), grade=SyncGraders(allow_code=self._allow_code), folder=self.project.root)
        self._apps.append(app)
        return app
