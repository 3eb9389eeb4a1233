"""The one client of the wire protocol: `WireEngine`, for every engine that speaks it.

A purchase (`create_job`, `upload`) is one POST and raises what `outcome` makes of its answer. A
read is asked again, with growing pauses, while its answer is lost, makes no sense or says
"later" (`retry-after` is honoured), until `patience` seconds have passed. Lists are paged here
and say whether they are complete; rows are filtered here too, because a filter may be ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from ftspec.engines import wire
from ftspec.engines.base import EngineError, Listing, Refused, UnknownOutcome
from ftspec.engines.clock import SystemClock
from ftspec.engines.outcome import Lost, Reply, Unreachable, outcome
from ftspec.engines.request import KEY
from ftspec.engines.transport import MAX_CONTENT_BYTES, StreamRefused, Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from typing import BinaryIO

    from ftspec.engines.account import Account
    from ftspec.engines.base import ChatAnswer, Clock, JobEvent, JobRequest, ObservedFile, ObservedJob
    from ftspec.profile import Profile
    from ftspec.record import Checkpoint

T = TypeVar("T")

PAGE = 100
MAX_PAGES = 2000
_PAUSES = (0.5, 1.0, 2.0, 4.0)
_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
_PATIENT_QUOTAS = frozenset({None, "rate"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds after which an answer counts as lost, by kind of request. Uploads get more by size."""

    read: float = 30.0
    create: float = 120.0
    upload: float = 120.0
    chat: float = 300.0


class WireEngine:
    """One account on one engine of the protocol (see `base.Engine`)."""

    def __init__(  # noqa: PLR0913 one way in, everything else by name
        self,
        account: Account,
        *,
        profile: Profile,
        scope: str,
        clock: Clock | None = None,
        app: Any = None,
        owner: str | None = None,
        patience: float = 60.0,
        timeouts: Timeouts | None = None,
        deployments: Mapping[str, str] | None = None,
    ) -> None:
        """`app`: an ASGI app asked in process; `owner`: the name of the variable that holds the key; `deployments`: what models are asked by."""
        self.profile = profile
        self.scope = scope
        self.owner = owner
        self._wire = Wire(account, app=app)
        self._clock: Clock = clock or SystemClock()
        self._patience = patience
        self.timeouts = timeouts or Timeouts()
        self._deployments: Mapping[str, str] = {} if deployments is None else deployments
        self._server_date: tuple[float, float] | None = None
        self._asked_the_time = False

    def __repr__(self) -> str:
        return f"WireEngine({self.profile.name!r}, scope={self.scope!r})"

    async def upload(self, *, name: str, content: BinaryIO, purpose: str, progress: Callable[[int], None] | None = None) -> ObservedFile:
        """Send a file from an open handle; a large one in parts."""
        from ftspec.engines.upload import upload

        return await upload(self, name=name, content=content, purpose=purpose, progress=progress)

    async def file(self, file_id: str) -> ObservedFile | None:
        """Return the file, or `None` where this account has no such file."""
        return await self._one(f"/files/{_quoted(file_id)}", lambda value: _same(wire.file(value, clean=self.clean), file_id))

    async def find_files(self, *, name: str, purpose: str) -> Listing[ObservedFile]:
        """Return the files of exactly this name."""
        listing = await self._list("/files", {"purpose": purpose}, lambda value: wire.file(value, clean=self.clean, listed=True))
        return Listing(items=[file for file in listing.items if file.name == name], complete=listing.complete)

    async def create_job(self, request: JobRequest) -> ObservedJob:
        """Buy a job: exactly one POST."""
        headers = {"idempotency-key": request.idempotency_key} if self.profile.idempotency_key else None
        job: ObservedJob = await self.purchase(
            "/fine_tuning/jobs", self._job, doing="the launch", seconds=self.timeouts.create, body=request.body, headers=headers
        )
        if job.metadata.get(KEY, request.key) != request.key:
            raise UnknownOutcome(f"the launch was answered with another job (`{self.clean(job.id)}`)")
        return job

    async def job(self, job_id: str) -> ObservedJob | None:
        """Return the job, or `None` where this account has no such job."""
        return await self._one(f"/fine_tuning/jobs/{_quoted(job_id)}", lambda value: _same(self._job(value), job_id))

    async def find_jobs(self, *, key: str | None = None, since: int | None = None) -> Listing[ObservedJob]:
        """Return jobs labelled with `key`, or all created since a Unix time.

        By key, an engine that keeps no labels never has a complete list.
        """
        params: dict[str, Any] = {"limit": PAGE}
        if key is not None and self.profile.list_filter:
            params["metadata"] = {KEY: key}
        enough = None if since is None else partial(_past, since)
        listing = await self._list("/fine_tuning/jobs", params, lambda value: self._job(value, listed=True), enough=enough)
        found = [
            job for job in listing.items if (key is None or job.metadata.get(KEY) == key) and (since is None or job.created_at >= since)
        ]
        return Listing(items=found, complete=listing.complete and (key is None or self.profile.metadata))

    async def events(self, job_id: str) -> Listing[JobEvent]:
        """Return all events, oldest first."""
        path = f"/fine_tuning/jobs/{_quoted(job_id)}/events"
        listing = await self._list(path, {"limit": PAGE}, lambda value: wire.event(value, clean=self.clean))
        return Listing(items=_oldest_first(listing.items), complete=listing.complete)

    async def checkpoints(self, job_id: str) -> Sequence[Checkpoint]:
        """Return the checkpoints, lowest step first."""
        listing = await self._list(f"/fine_tuning/jobs/{_quoted(job_id)}/checkpoints", {"limit": PAGE}, wire.checkpoint)
        return sorted(listing.items, key=lambda one: one.step)

    async def cancel(self, job_id: str) -> ObservedJob:
        """Ask the engine to stop the job for good."""
        return await self._command(job_id, "cancel")

    async def pause(self, job_id: str) -> ObservedJob:
        """Ask the engine to pause the job."""
        return await self._command(job_id, "pause")

    async def resume(self, job_id: str) -> ObservedJob:
        """Ask the engine to go on with a paused job."""
        return await self._command(job_id, "resume")

    async def content(self, file_id: str) -> bytes:
        """Return the bytes of a (result) file."""
        reply: Reply = await self._read(
            f"/files/{_quoted(file_id)}/content", seconds=self.timeouts.chat, limit=MAX_CONTENT_BYTES, parse=None
        )
        return reply.content

    async def models(self) -> Sequence[Mapping[str, Any]]:
        """Return the raw model objects that this account sees."""
        listing = await self._list("/models", {}, _model)
        return listing.items

    async def stored_completions(self, *, model: str | None = None, metadata: Mapping[str, str] | None = None) -> Listing[dict[str, Any]]:
        """Return the completions that the engine stored (`store: true`), oldest first, each with its input as `messages`."""
        wanted = {"limit": PAGE, "order": "asc", **({"model": model} if model else {})}
        wanted |= {f"metadata[{name}]": value for name, value in (metadata or {}).items()}
        found = await self._list("/chat/completions", wanted, dict)
        complete = found.complete
        made = []
        for one in found.items:
            asked = await self._list(f"/chat/completions/{quote(str(one['id']), safe='')}/messages", {"limit": PAGE, "order": "asc"}, dict)
            complete = complete and asked.complete
            made.append({**one, "messages": list(asked.items)})
        return Listing(items=made, complete=complete)

    async def moderate(self, texts: Sequence[str]) -> Sequence[tuple[str, ...]]:
        """Return, for each text, the categories under which the engine's own moderation flags it. Free, so it may be asked again."""
        body = {"input": list(texts)}
        found: Sequence[tuple[str, ...]] = await self._read(
            "/moderations", parse=lambda value: wire.moderation(value, len(texts)), seconds=self.timeouts.create, method="POST", body=body
        )
        return found

    async def check_grader(self, grader: Mapping[str, Any]) -> None:
        """Return if the engine takes a grader; `Refused` says why not. Nothing is graded, so it may be asked again."""
        await self._read(
            "/fine_tuning/alpha/graders/validate", parse=None, seconds=self.timeouts.create, method="POST", body={"grader": grader}
        )

    async def chat(self, *, model: str, messages: Sequence[Mapping[str, Any]], **sampling: Any) -> ChatAnswer:
        """Ask a model once; no retry here, because answers cost money."""
        body = {"model": self._deployments.get(model, model), "messages": list(messages), **sampling}
        return await self.purchase("/chat/completions", wire.chat, doing="the question", seconds=self.timeouts.chat, body=body)

    async def chat_stream(self, *, model: str, messages: Sequence[Mapping[str, Any]], **sampling: Any) -> AsyncIterator[str]:
        """Ask a model and yield the text as it comes."""
        body = {"model": self._deployments.get(model, model), "messages": list(messages), **sampling, "stream": True}
        failure: EngineError | None = None
        try:
            async for line in self._wire.lines("/chat/completions", body, seconds=self.timeouts.chat):
                if text := _streamed(line):
                    yield text
        except StreamRefused as error:
            failure = self._error(error.reply, doing="the question")
        except (Unreachable, Lost) as error:
            failure = self._error(error, doing="the question")
        except wire.NotIt:
            failure = UnknownOutcome("the answer to the question is not a stream of completions")
        if failure is not None:
            raise failure

    async def server_time(self) -> int | None:
        """Return the engine's clock in Unix seconds, from the last `Date` it sent; asks once if it sent none."""
        if self._server_date is None and not self._asked_the_time:
            self._asked_the_time = True
            await self._send("GET", "/models", seconds=self.timeouts.read)
        if self._server_date is None:
            return None
        date, seen = self._server_date
        return int(date + self._clock.monotonic() - seen)

    async def aclose(self) -> None:
        """Close connections."""
        await self._wire.aclose()

    async def purchase(self, path: str, parse: Callable[[Any], T], *, doing: str, **request: Any) -> T:
        """Send one POST and return what was bought, or raise the outcome."""
        reply = await self._send("POST", path, **request)
        if isinstance(reply, Reply) and reply.ok:
            try:
                return parse(wire.decode(reply.content))
            except wire.NotIt:
                pass
        raise self._error(reply, doing=doing)

    def clean(self, text: str) -> str:
        """Return foreign text as it may be shown: without credentials and control characters."""
        return self._wire.clean(text)

    async def pause_before_retry(self, tries: int) -> None:
        """Wait before something harmless is tried again, longer each time."""
        await self._clock.sleep(_PAUSES[min(tries, len(_PAUSES)) - 1])

    async def _command(self, job_id: str, verb: str) -> ObservedJob:
        path = f"/fine_tuning/jobs/{_quoted(job_id)}/{verb}"
        return await self.purchase(
            path, lambda value: _same(self._job(value), job_id), doing=f"the request to {verb}", seconds=self.timeouts.read
        )

    async def _one(self, path: str, parse: Callable[[Any], T]) -> T | None:
        """Return what is at `path`, or `None` when the engine itself says that it has no such thing."""
        try:
            found: T = await self._read(path, parse=parse)
        except Refused as error:
            if error.status != 404 or error.code == "unknown_url":
                raise
            return None
        return found

    async def _list(
        self, path: str, params: Mapping[str, Any], parse: Callable[[Any], T], *, enough: Callable[[Sequence[T]], bool] | None = None
    ) -> Listing[T]:
        """Page through a list until it ends, stops making sense, or what was read is `enough`."""
        items: list[T] = []
        seen: set[str] = set()
        after: dict[str, str] = {}
        complete = True
        for _ in range(MAX_PAGES):
            rows, more = await self._read(path, parse=wire.page, params={**params, **after})
            fresh = {wire.row_id(row): row for row in rows}
            for name in list(fresh):
                if name is None or name in seen:
                    complete = complete and name is not None
                    del fresh[name]
            for row in fresh.values():
                try:
                    items.append(parse(row))
                except wire.NotIt:
                    complete = False
            last = wire.row_id(rows[-1]) if rows else None
            if more is None:
                more = len(rows) >= params.get("limit", len(rows) + 1)
            if not more or (enough is not None and enough(items)):
                return Listing(items=items, complete=complete)
            if not fresh or last is None or after.get("after") == last:
                break
            seen.update(name for name in fresh if name is not None)
            after = {"after": last}
        return Listing(items=items, complete=False)

    async def _read(
        self, path: str, *, parse: Callable[[Any], Any] | None, seconds: float | None = None, method: str = "GET", **request: Any
    ) -> Any:
        """Ask until there is a clear answer: what `parse` makes of a 2xx (`None`: the reply), else the error."""
        deadline = self._clock.monotonic() + self._patience
        pauses = iter(_PAUSES)
        while True:
            reply = await self._send(method, path, seconds=seconds or self.timeouts.read, **request)
            if isinstance(reply, Reply) and reply.ok:
                try:
                    return reply if parse is None else parse(wire.decode(reply.content))
                except wire.NotIt:
                    pass
            error = self._error(reply, doing="the question")
            pause = next(pauses, None)
            if pause is None or not _worth_asking_again(error):
                raise error
            wait = max(pause, error.retry_after or 0.0)
            if self._clock.monotonic() + wait > deadline:
                raise error
            await self._clock.sleep(wait)

    async def _send(self, method: str, path: str, **request: Any) -> Reply | Unreachable | Lost:
        try:
            reply = await self._wire.send(method, path, **request)
        except (Unreachable, Lost) as error:
            return error
        self._note_date(reply)
        return reply

    def _note_date(self, reply: Reply) -> None:
        from email.utils import parsedate_to_datetime

        try:
            date = parsedate_to_datetime(reply.headers.get("date", "")).timestamp()
        except (ValueError, TypeError, OverflowError):
            return
        self._server_date = (date, self._clock.monotonic())

    def _error(self, answer: Reply | Unreachable | Lost, *, doing: str) -> EngineError:
        json = None
        if isinstance(answer, Reply):
            try:
                json = wire.decode(answer.content)
            except wire.NotIt:
                json = None
        return outcome(
            answer,
            clean=self.clean,
            json=json,
            quota_codes=self.profile.quota_codes,
            now=self._server_date[0] if self._server_date else self._clock.now(),
            doing=doing,
        )

    def _job(self, value: Any, *, listed: bool = False) -> ObservedJob:
        return wire.job(value, clean=self.clean, now=self._clock.now(), owner=self.owner, listed=listed)


def _streamed(line: str) -> str:
    """Return the text in one line of a stream of completions."""
    data = line.removeprefix("data:").strip()
    if not line.startswith("data:") or data == "[DONE]":
        return ""
    value = wire.decode(data.encode())
    if isinstance(value, dict) and value.get("error"):
        raise StreamRefused(Reply(status=500, content=data.encode()))
    return wire.chunk(value)


def _worth_asking_again(error: EngineError) -> bool:
    if isinstance(error, Refused):
        return error.status in _LATER and error.quota in _PATIENT_QUOTAS
    return True


def _same(found: Any, wanted: str) -> Any:
    if found.id != wanted:
        raise wire.NotIt
    return found


def _model(value: Any) -> Mapping[str, Any]:
    if wire.row_id(value) is None:
        raise wire.NotIt
    model: Mapping[str, Any] = value
    return model


def _quoted(name: str) -> str:
    return quote(name, safe="") if name not in {".", ".."} else name.replace(".", "%2E")


def _past(since: int, jobs: Sequence[ObservedJob]) -> bool:
    """Whether a list of jobs that is evidently newest first has come to jobs older than `since`.

    No order is promised, so that takes a list that fell from its first row to its last and never
    rose; anything else is read to its end. Watching a dozen jobs on an account with thousands
    would otherwise page through all of them each time.
    """
    times = [job.created_at for job in jobs]
    falls = bool(times) and times[0] > times[-1] and all(a >= b for a, b in pairwise(times))
    return falls and times[-1] < since


def _oldest_first(events: Sequence[JobEvent]) -> Sequence[JobEvent]:
    """Return events by time; those of one second in the engine's own order, whichever way round it lists them."""

    def position(event: JobEvent) -> tuple[int, float]:
        step = event.data.get("step")
        return event.time, step if isinstance(step, int | float) else -1

    steps = [position(event) for event in events if event.data.get("step") is not None] or [position(event) for event in events]
    newest_first = not steps or steps[0] >= steps[-1]
    return sorted(reversed(events) if newest_first else events, key=lambda event: event.time)
