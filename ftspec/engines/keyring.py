"""One engine entry with several keys: `api_key_env: OPENAI_API_KEY_*`.

Each key opens its own account. What belongs to which is learnt from answers and remembered by
the *name* of the variable (`ObservedJob.owner`). A job is bought with the key that owns its
training file, a new file goes to the first variable by name. A key that is refused somewhere
does not hide what the others know, but where nothing was found its refusal is raised: not
seeing is not the same as not being there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from ftspec.engines.base import EngineError, Listing, Refused
from ftspec.printable import printable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from typing import BinaryIO

    from ftspec.engines.base import ChatAnswer, Engine, JobEvent, JobRequest, ObservedFile, ObservedJob
    from ftspec.record import Checkpoint

T = TypeVar("T")


class KeyRing:
    """Several accounts that a spec treats as one scope (see `base.Engine`)."""

    def __init__(self, engines: Mapping[str, Engine], *, owners: Mapping[str, str] | None = None) -> None:
        """`engines`: the name of each variable and the account that its key opens, in order of preference.

        `owners`: what is known already, by the id of a job or file or by `model NAME`: the name of its variable.
        """
        self._engines = dict(engines)
        first = next(iter(self._engines.values()))
        self.profile = first.profile
        self.scope = first.scope
        self._owners = {thing: variable for thing, variable in (owners or {}).items() if variable in self._engines}

    @property
    def owners(self) -> Sequence[str]:
        """The names of the variables."""
        return tuple(self._engines)

    def account(self, variable: str) -> Engine:
        """Return the account that one variable's key opens."""
        return self._engines[variable]

    async def upload(self, *, name: str, content: BinaryIO, purpose: str, progress: Callable[[int], None] | None = None) -> ObservedFile:
        """Send a file to the first account."""
        variable, engine = next(iter(self._engines.items()))
        file = await engine.upload(name=name, content=content, purpose=purpose, progress=progress)
        self._owners[file.id] = variable
        return file

    async def file(self, file_id: str) -> ObservedFile | None:
        """Return the file from whichever account has it."""
        return await self._find(file_id, lambda engine: engine.file(file_id))

    async def find_files(self, *, name: str, purpose: str) -> Listing[ObservedFile]:
        """Return the files of exactly this name in all accounts."""
        return await self._gather(lambda engine: engine.find_files(name=name, purpose=purpose))

    async def create_job(self, request: JobRequest) -> ObservedJob:
        """Buy a job in the account that owns its training file."""
        file_id = str(request.body.get("training_file"))
        if file_id not in self._owners:
            await self.file(file_id)
        engine = self._engines.get(self._owners.get(file_id, ""))
        if engine is None:
            raise Refused(f"no key of this engine sees the training file `{printable(file_id)}`", code="file_not_found")
        job = await engine.create_job(request)
        self._owners[job.id] = self._owners[file_id]
        return job

    async def job(self, job_id: str) -> ObservedJob | None:
        """Return the job from whichever account has it."""
        return await self._find(job_id, lambda engine: engine.job(job_id))

    async def find_jobs(self, *, key: str | None = None, since: int | None = None) -> Listing[ObservedJob]:
        """Return the jobs of all accounts."""
        return await self._gather(lambda engine: engine.find_jobs(key=key, since=since))

    async def events(self, job_id: str) -> Listing[JobEvent]:
        """Return all events of a job, oldest first."""
        return await (await self._owner(job_id)).events(job_id)

    async def checkpoints(self, job_id: str) -> Sequence[Checkpoint]:
        """Return the checkpoints of a job, lowest step first."""
        return await (await self._owner(job_id)).checkpoints(job_id)

    async def cancel(self, job_id: str) -> ObservedJob:
        """Ask the job's account to stop it."""
        return await (await self._owner(job_id)).cancel(job_id)

    async def pause(self, job_id: str) -> ObservedJob:
        """Ask the job's account to pause it."""
        return await (await self._owner(job_id)).pause(job_id)

    async def resume(self, job_id: str) -> ObservedJob:
        """Ask the job's account to go on with it."""
        return await (await self._owner(job_id)).resume(job_id)

    async def content(self, file_id: str) -> bytes:
        """Return the bytes of a file from whichever account has it."""
        await self.file(file_id)
        engine = self._engines.get(self._owners.get(file_id, ""))
        if engine is None:
            raise Refused(f"no key of this engine sees the file `{printable(file_id)}`", code="file_not_found", status=404)
        return await engine.content(file_id)

    async def models(self) -> Sequence[Mapping[str, Any]]:
        """Return the models of all accounts, each once."""
        found: dict[Any, Mapping[str, Any]] = {}
        for variable, engine in self._engines.items():
            for model in await engine.models():
                found.setdefault(model.get("id"), model)
                self._owners.setdefault(f"model {model.get('id')}", variable)
        return list(found.values())

    async def chat(self, *, model: str, messages: Sequence[Mapping[str, Any]], **sampling: Any) -> ChatAnswer:
        """Ask a model once, through the account that sees it."""
        return await (await self._for_model(model)).chat(model=model, messages=messages, **sampling)

    async def chat_stream(self, *, model: str, messages: Sequence[Mapping[str, Any]], **sampling: Any) -> AsyncIterator[str]:
        """Ask a model through the account that sees it and yield the text as it comes."""
        engine = await self._for_model(model)
        async for text in engine.chat_stream(model=model, messages=messages, **sampling):
            yield text

    async def server_time(self) -> int | None:
        """Return the engine's clock."""
        return await next(iter(self._engines.values())).server_time()

    async def aclose(self) -> None:
        """Close all connections."""
        for engine in self._engines.values():
            await engine.aclose()

    async def _find(self, name: str, ask: Callable[[Engine], Awaitable[T | None]]) -> T | None:
        """Ask the known owner first, then the others; raise what went wrong only if nobody has it."""
        known = self._owners.get(name)
        failure: EngineError | None = None
        for variable in sorted(self._engines, key=lambda each: each != known):
            try:
                found = await ask(self._engines[variable])
            except EngineError as error:
                failure = failure or error
                continue
            if found is not None:
                self._owners[name] = variable
                return found
        if failure is not None:
            raise failure
        return None

    async def _gather(self, ask: Callable[[Engine], Awaitable[Listing[Any]]]) -> Listing[Any]:
        """Put the lists of all accounts together; an account that cannot be asked makes it incomplete."""
        items: dict[str, Any] = {}
        complete = True
        failures = []
        for variable, engine in self._engines.items():
            try:
                listing = await ask(engine)
            except EngineError as error:
                failures.append(error)
                continue
            complete = complete and listing.complete
            for item in listing.items:
                items.setdefault(item.id, item)
                self._owners.setdefault(item.id, variable)
        if len(failures) == len(self._engines):
            raise failures[0]
        return Listing(items=list(items.values()), complete=complete and not failures)

    async def _owner(self, job_id: str) -> Engine:
        if job_id not in self._owners:
            await self.job(job_id)
        if job_id not in self._owners:
            raise Refused(f"no key of this engine sees the job `{printable(job_id)}`", code="job_not_found", status=404)
        return self._engines[self._owners[job_id]]

    async def _for_model(self, model: str) -> Engine:
        if f"model {model}" not in self._owners and len(self._engines) > 1:
            await self.models()
        return self._engines[self._owners.get(f"model {model}", next(iter(self._engines)))]
