"""One engine during a walk: buys what it is offered as its queue allows, looks up what is unclear, watches what runs.

A lane knows nothing of parents, files or evals; it tells the walk (`Report`) what became of each
job. It buys through `launch.buy` only. Work that must not be abandoned is started with
`keep`; everything else (waiting, asking) may be dropped at any moment.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Protocol

from ftspec.actions import LaunchJob
from ftspec.engines.base import EngineError
from ftspec.executor import facts
from ftspec.executor import progress as said
from ftspec.executor.clock import engine_time, rfc3339, seconds_of
from ftspec.executor.graph import Phase
from ftspec.executor.launch import Bought, InTheDark, NotBought, NotRecorded, NotTried, buy
from ftspec.executor.matching import DAY, LABEL, SKEW, Match, OpenIntent, open_intent, seniority
from ftspec.executor.queue import Queue, queue_of
from ftspec.executor.result import DuplicateJob
from ftspec.executor.settle import Absent, Doubt, Verdict, look_up
from ftspec.executor.sweep import PAUSES, Doubled, Ours, sweep
from ftspec.executor.watch import SHOWN, Look, Watched, look, newest_bought
from ftspec.record import JobError, JobStatus, Origin
from ftspec.state.base import JobFact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from ftspec.engines.base import Engine, ObservedJob
    from ftspec.executor.crew import Crew
    from ftspec.executor.effects import Effects
    from ftspec.executor.graph import Node
    from ftspec.executor.launch import Outcome, Purchase
    from ftspec.experiment import EngineEntry
    from ftspec.record import RecordedJob

NEAR = (0.15, 2.0)
"""Shortest and longest pause between questions to an engine in this process (seconds)."""

FAR = (5.0, 60.0)
"""The same for one behind a network."""

AT_MOST = 600.0
"""No wait for a known slot is longer at a time: clocks jump, laptops sleep, others free slots (seconds)."""

ANY_TIME = 60.0
"""How often to look for a slot that may be freed at any time."""

LOOK_BACK = 30 * 86_400
"""How far back jobs are looked for before anything is bought: those that take slots, and those that carry our keys (seconds)."""

FRESH = 30.0
"""How old the engine's list may be when something is bought that somebody else could have bought too (seconds)."""

LISTS = 3
"""How often the list is asked for when it breaks off."""

IN_A_ROW = 3
"""Launches without a clear outcome after which the engine is given nothing more."""

UNSEEN = 30
"""Rounds in which the engine does not show a job before this walk gives up on it."""


class Report(Protocol):
    """What a lane tells the walk. State is written before it is told."""

    def purchase(self, node: Node) -> Purchase:
        """Return what to buy for a queued node."""
        ...

    def bought(self, node: Node, job: ObservedJob, *, adopted: bool) -> None:
        """Take notice that it exists."""
        ...

    def ended(self, node: Node, job: ObservedJob, values: Mapping[str, Any]) -> None:
        """Take notice of its end; `values` is what was recorded of it."""
        ...

    def failed(self, node: Node, error: JobError) -> None:
        """Take notice that nothing was bought, or that nothing more will be heard of it."""
        ...

    def in_doubt(self, node: Node, error: JobError) -> None:
        """Take notice that nobody knows whether it exists."""
        ...

    def skipped(self, node: Node, because: str) -> None:
        """Take notice that it was not tried."""
        ...

    def unrecorded(self, node: Node, job: ObservedJob) -> None:
        """Take notice that it exists and state could not be written."""
        ...

    def doubled(self, duplicate: DuplicateJob) -> None:
        """Take notice that its key has more than one job."""
        ...


class Hands:
    """How many purchases and uploads may be in flight at once."""

    def __init__(self, limit: int) -> None:
        self.free = limit


class Lane:
    """One engine entry."""

    def __init__(
        self,
        entry: EngineEntry,
        engine: Engine,
        *,
        effects: Effects,
        crew: Crew,
        hands: Hands,
        report: Report,
        recorded: Iterable[RecordedJob],
    ) -> None:
        self.entry = entry
        self.engine = engine
        self.next_slot_at: str | None = None
        self._effects, self._crew, self._hands, self._report = effects, crew, hands, report
        self._recorded = list(recorded)
        self._known = {a.engine_job_id for record in self._recorded for a in record.attempts if a.engine_job_id} | {
            extra for record in self._recorded for extra in record.duplicates
        }
        self._addresses = {record.key: record.address for record in self._recorded}
        self._nodes: dict[str, Node] = {}
        self._waiting: deque[Node] = deque()
        self._queue: Queue | None = None
        self._offset = 0.0
        self._said: int | None = None
        self._counted_at = (0.0, 0.0)
        self._counting = self._slot_wait = self._polling = self._settling = self._sweeping = False
        self._open = {record.key: open_intent(record) for record in self._recorded if record.in_doubt}
        self._unsettled: list[OpenIntent] = []
        self._dark = 0
        self._closed: str | None = None
        self._watched: dict[str, Watched] = {}
        self._unseen: dict[str, int] = {}
        self._pause, self._turn = 0.0, 0
        self._ours = recent(self._recorded, self._effects.clock.now())
        self._sweeps = 0
        self._in_flight: dict[str, Purchase] = {}
        self._told: tuple[str, str | None] | None = None
        self._there: dict[str, ObservedJob] = {}
        self._doubled: dict[str, tuple[str, ...]] = {}

    # What the walk asks of it

    def offer(self, node: Node) -> None:
        """Take a job that can be bought."""
        self._nodes[node.key] = node
        if self._closed is not None:
            self._report.skipped(node, self._closed)
            return
        node.phase = Phase.QUEUED
        self._waiting.append(node)

    def doubt(self, node: Node, intent: OpenIntent) -> None:
        """Take a launch whose outcome is not known."""
        self._nodes[node.key] = node
        node.phase = Phase.UNSETTLED
        self._open[intent.key] = intent
        self._unsettled.append(intent)
        window = self._effects.options.settle_window
        self._effects.progress(said.Settling(address=node.address, engine=self.entry.name, window=window))

    def watch(self, node: Node, job: Watched) -> None:
        """Take a job whose end is not recorded."""
        self._nodes[node.key] = node
        self._watched[job.job_id] = job
        self._pause = 0.0

    def close(self, why: str) -> None:
        """Give the engine nothing more."""
        if self._closed is None:
            self._closed = why
        while self._waiting:
            self._report.skipped(self._waiting.popleft(), self._closed)

    def step(self, *, wait: bool) -> None:
        """Start everything that can be started now. `wait`: also what takes longer than launching."""
        if self._waiting and not self._counting and self._must_count():
            self._counting = True
            self._crew.start(self._counted, self._count())
        self._buy()
        if self._waiting and self._hands.free:
            self._await_slot(wait=wait)
        if self._unsettled and not self._settling:
            self._settling, batch = True, self._unsettled
            self._unsettled = []
            self._crew.start(partial(self._settled, batch), self._settle(batch))
        if wait and self._watched and not self._polling:
            self._polling = True
            self._crew.start(self._looked, self._poll())
        self._sweep_if_due(wait=wait)

    @property
    def idle(self) -> int:
        """How many pieces of its work need not be waited for: later sweeps, once nothing else is going on."""
        return int(self._sweeping and self._sweeps > 0)

    @property
    def running(self) -> int:
        """How many jobs it watches."""
        return len(self._watched)

    # The queue

    @property
    def _limited(self) -> bool:
        limits = self.entry.limits
        return limits.max_running is not None or limits.per_day is not None

    def _now(self) -> float:
        return self._effects.clock.now() + self._offset

    def _must_count(self) -> bool:
        """Whether the engine's list has to be seen before the next purchase."""
        if self._queue is None:
            return True
        return self._stale and self._queue.free(self._now()) != 0

    async def _list(self) -> tuple[Sequence[ObservedJob], bool]:
        """Look before buying: an engine without unique keys may have been given our jobs by another clone of this project."""
        if not self._limited and not self._looks:
            return (), True
        try:
            listing = await self.engine.find_jobs(since=int(self._now()) - LOOK_BACK)
        except EngineError:
            return (), False
        return listing.items, listing.complete

    async def _count(self, pause: float = 0.0) -> tuple[Iterable[ObservedJob], int | None]:
        if pause:
            await self._effects.clock.sleep(pause)
        for again in range(LISTS):
            listed, complete = await self._list()
            if complete:
                break
            await self._effects.clock.sleep(2.0**again)
        # Incomplete still: what is known is a lower bound, and the engine itself refuses what is too much.
        return listed, await engine_time(self.engine)

    def _counted(self, counted: tuple[Iterable[ObservedJob], int | None]) -> None:
        listed, said = counted
        self._counting = self._slot_wait = False
        self._counted_at = self._moment()
        if said is not None and said != self._said:
            # Only what it says anew tells how far its clock is from ours: it may be its last word of long ago.
            self._said, self._offset = said, said - self._effects.clock.now()
        if self._queue is None:
            self._queue = queue_of(self.entry.limits, recorded=self._recorded, listed=listed, now=self._now())
        else:
            self._queue.observe(listed)
        for job in listed:
            label = job.metadata.get(LABEL)
            if label is not None and job.id not in self._known and job.status not in {JobStatus.FAILED, JobStatus.CANCELLED}:
                self._there[label] = min(self._there.get(label, job), job, key=seniority)

    def _await_slot(self, *, wait: bool) -> None:
        if self._queue is None or self._queue.probe is not None or self._slot_wait:
            return
        now = self._now()
        at = self._queue.next_at(now)
        until = None if at is None else rfc3339(at)
        why = self._queue.why(now)
        self.next_slot_at = until
        if (why, until) != self._told:
            self._told = (why, until)
            self._effects.progress(said.WaitingForSlot(engine=self.entry.name, jobs=len(self._waiting), why=why, until=until))
        if wait:
            self._slot_wait = True
            pause = ANY_TIME if at is None else min(AT_MOST, max(at - now, 0.1))
            self._crew.start(self._counted, self._count(pause))

    # Buying

    def _moment(self) -> tuple[float, float]:
        return self._effects.clock.monotonic(), self._effects.clock.now()

    @property
    def _stale(self) -> bool:
        """Whether the engine's list is too old to buy by: one clock stands still while a laptop sleeps, the other may jump."""
        ages = (abs(now - then) for now, then in zip(self._moment(), self._counted_at, strict=True))
        return self._looks and max(ages) > FRESH

    @property
    def _looks(self) -> bool:
        """Whether somebody else may have bought our jobs, and the engine's list would show it."""
        return self.engine.profile.metadata and not self.engine.profile.unique_keys

    def _buy(self) -> None:
        queue = self._queue
        if self._counting or self._stale:
            return
        while queue is not None and self._waiting and self._hands.free and queue.free(self._now()) != 0:
            node = self._waiting.popleft()
            there = self._there.pop(node.key, None)
            if there is not None and node.nth == 1:
                self._adopt(node, there)
                continue
            node.phase = Phase.BUYING
            queue.asked(node.key, self._now())
            self._hands.free -= 1
            self._in_flight[node.key] = purchase = self._report.purchase(node)
            work = buy(purchase, engine=self.engine, effects=self._effects)
            self._crew.start(partial(self._answered, node), work, keep=True)

    def _adopt(self, node: Node, job: ObservedJob) -> None:
        """Record a job that was bought for our key by somebody else, instead of buying it again."""
        assert isinstance(node.action, LaunchJob)  # noqa: S101 only launches are offered
        fact = facts.bought(node.key, node.attempt, job, at=self._effects.clock.now(), origin=Origin.ADOPTED)
        about = facts.about(node.action)
        self._effects.journal.append(JobFact(key=node.key, attempt=node.attempt, at=fact.at, values=fact.values, job=about))
        self._have(node, job, adopted=True)

    def _answered(self, node: Node, outcome: Outcome) -> None:
        assert self._queue is not None  # noqa: S101 it was asked
        self._hands.free += 1
        del self._in_flight[node.key]
        match outcome:
            case Bought(job=job, adopted=adopted):
                self._have(node, job, adopted=adopted)
            case NotBought():
                self._queue.given_back(node.key)
                self._not_bought(node, outcome)
            case InTheDark(intent=intent):
                self._dark += 1
                self.doubt(node, intent)
                if self._dark >= IN_A_ROW:
                    self.close(f"{IN_A_ROW} launches in a row on `{self.entry.name}` had no clear outcome")
            case NotRecorded(job=job):
                self._report.unrecorded(node, job)
            case NotTried():
                node.phase = Phase.QUEUED

    def _not_bought(self, node: Node, outcome: NotBought) -> None:
        assert self._queue is not None  # noqa: S101 it was asked
        if outcome.quota is None:
            self._report.failed(node, outcome.error)
            if not outcome.sent:
                self.close(f"`{self.entry.name}` cannot be reached")
            elif outcome.status in {401, 403}:
                self.close(f"`{self.entry.name}` does not accept us: {outcome.error.message}")
            return
        self._queue.refused(outcome.quota, self._now(), outcome.retry_after)
        if outcome.quota == "money":
            self._report.failed(node, outcome.error)
            self.close(f"the account of `{self.entry.name}` has no credit left")
            return
        # Nothing was bought; the next request is a new attempt, because this one's end is recorded.
        node.attempt += 1
        node.phase = Phase.QUEUED
        self._waiting.appendleft(node)

    def _have(self, node: Node, job: ObservedJob, *, adopted: bool) -> None:
        self._dark = 0
        self._known.add(job.id)
        if self._queue is not None:
            self._queue.taken(node.key, job.id)
        self._ours[node.key] = Ours(key=node.key, attempt=node.attempt, job_id=job.id, created_at=job.created_at)
        self._sweeps = 0
        self.watch(node, watched_job(node, job))
        self._report.bought(node, job, adopted=adopted)

    # Looking up what is unclear

    async def _settle(self, intents: list[OpenIntent]) -> dict[str, Verdict]:
        options = self._effects.options
        return await look_up(
            intents,
            engine=self.engine,
            known=self._known,
            clock=self._effects.clock,
            window=options.settle_window,
            launch_absent=options.launch_absent,
            claims=self._claims,
        )

    def _claims(self) -> list[OpenIntent]:
        """Return all requests whose jobs may exist and are not known: those in flight, and those in doubt."""
        return [*map(claim, self._in_flight.values()), *self._open.values()]

    def _settled(self, batch: list[OpenIntent], verdicts: Mapping[str, Verdict]) -> None:
        self._settling = False
        for intent in batch:
            node = self._nodes[intent.key]
            verdict = verdicts[intent.key]
            if not isinstance(verdict, Doubt):
                del self._open[intent.key]
            self._effects.journal.append(*verdict_facts(intent, verdict, at=self._effects.clock.now()))
            match verdict:
                case Match(job=job, extra=extra):
                    node.attempt = intent.attempt
                    self._have(node, job, adopted=True)
                    if extra:
                        ids = tuple(one.id for one in extra)
                        self._double(DuplicateJob(address=node.address, key=node.key, engine=self.entry.name, kept=job.id, extra=ids))
                case Absent(why=why):
                    if self._queue is not None:
                        self._queue.given_back(node.key)
                    self._report.failed(
                        node, JobError(code="absent", message=f"the request never became a job ({why}); apply again to buy it")
                    )
                case Doubt(why=why):
                    if self._queue is not None:
                        self._queue.in_doubt(node.key)
                    self._report.in_doubt(node, JobError(code="in_doubt", message=why))

    # Watching

    async def _poll(self) -> Look:
        clock = self._effects.clock
        await clock.sleep((self._pause or self._shortest) * (0.9 + self._effects.random.random() / 5))
        jobs = list(self._watched.values())
        shown = [jobs[(self._turn + i) % len(jobs)].job_id for i in range(min(SHOWN, len(jobs)))]
        self._turn += SHOWN
        return await look(jobs, engine=self.engine, clock=clock, cost_of=self._effects.cost_of, show=shown)

    @property
    def _shortest(self) -> float:
        return (NEAR if self.engine.profile.in_process else FAR)[0]

    def _looked(self, seen: Look) -> None:
        self._polling = False
        longest = (NEAR if self.engine.profile.in_process else FAR)[1]
        self._pause = min((self._pause or self._shortest) * 1.5, longest)
        if seen.trouble is not None:
            self._effects.progress(said.EngineTrouble(engine=self.entry.name, message=seen.trouble.message, retry_in=self._pause))
            return
        learned = [sighting.fact for sighting in seen.sightings if sighting.fact is not None]
        if learned:
            self._effects.journal.append(*learned)
            self._pause = 0.0
        for sighting in seen.sightings:
            one, job = sighting.watched, sighting.job
            self._unseen.pop(job.id, None)
            node = self._nodes[one.key]
            if job.status is not one.status or job.raw_status != one.raw_status:
                self._tell_status(one, job)
            if sighting.metrics and sighting.step != one.step and not sighting.ended:
                one.step = sighting.step
                self._effects.progress(
                    said.Metrics(address=node.address, engine=self.entry.name, step=sighting.step, values=sighting.metrics)
                )
            one.status, one.raw_status, one.estimated_finish = job.status, job.raw_status, job.estimated_finish
            if sighting.ended and sighting.fact is not None and self._watched.pop(job.id, None) is not None:
                self._end(node, job, sighting.fact.values)
        for one in seen.missing:
            self._miss(one)

    def _tell_status(self, one: Watched, job: ObservedJob) -> None:
        self._effects.progress(
            said.StatusChanged(
                address=one.address,
                engine=self.entry.name,
                engine_job_id=job.id,
                old=one.status,
                new=job.status,
                raw=job.raw_status,
                estimated_finish=None if job.estimated_finish is None else rfc3339(job.estimated_finish),
            )
        )

    def _end(self, node: Node, job: ObservedJob, values: Mapping[str, Any]) -> None:
        if self._queue is not None:
            self._queue.ended(job.id)
        self._report.ended(node, job, values)

    def _miss(self, one: Watched) -> None:
        self._unseen[one.job_id] = self._unseen.get(one.job_id, 0) + 1
        if self._unseen[one.job_id] >= UNSEEN and self._watched.pop(one.job_id, None) is not None:
            error = JobError(code="job_gone", message=f"the engine does not show job {one.job_id} any more")
            self._report.failed(self._nodes[one.key], error)

    # Duplicates

    def _sweep_if_due(self, *, wait: bool) -> None:
        profile = self.engine.profile
        if profile.unique_keys or not profile.metadata or not self._ours:
            return
        busy = self._waiting and self._queue is not None and self._queue.free(self._now()) != 0
        if self._sweeping or busy or self._in_flight or self._settling or self._unsettled:
            return
        if self._sweeps < (len(PAUSES) if wait else 1):
            self._sweeping = True
            self._crew.start(self._swept, self._sweep())

    async def _sweep(self) -> list[Doubled]:
        before = PAUSES[self._sweeps - 1] if self._sweeps else 0.0
        await self._effects.clock.sleep(PAUSES[self._sweeps] - before)
        return await sweep(dict(self._ours), engine=self.engine, clock=self._effects.clock)

    def _swept(self, found: list[Doubled]) -> None:
        self._sweeping = False
        self._sweeps += 1
        for one in found:
            node, ours = self._nodes.get(one.key), self._ours[one.key]
            ids = (one.kept.id, *one.cancelled, *one.extra)
            if self._doubled.get(one.key) == ids:
                continue
            self._doubled[one.key] = ids
            self._effects.journal.append(*one.facts)
            self._known.update(ids)
            if ours.job_id in one.cancelled:
                self._watched.pop(ours.job_id, None)
                del self._ours[one.key]
                if node is not None:
                    node.engine_job_id = one.kept.id
                    self.watch(node, watched_job(node, one.kept))
            self._double(
                DuplicateJob(
                    address=node.address if node is not None else self._addresses[one.key],
                    key=one.key,
                    engine=self.entry.name,
                    kept=one.kept.id,
                    cancelled=one.cancelled,
                    extra=one.extra,
                )
            )

    def _double(self, duplicate: DuplicateJob) -> None:
        self._report.doubled(duplicate)
        self._effects.progress(
            said.Duplicate(
                address=duplicate.address,
                engine=duplicate.engine,
                kept=duplicate.kept,
                cancelled=duplicate.cancelled,
                extra=duplicate.extra,
            )
        )


def recent(recorded: Iterable[RecordedJob], now: float) -> dict[str, Ours]:
    """Return the jobs of the last day: the run that bought them may have died before it looked for duplicates."""
    found = {}
    for record in recorded:
        last = newest_bought(record)
        if last is None or last.engine_job_id is None or last.created_at is None or record.duplicates:
            continue
        created = seconds_of(last.created_at)
        if created > now - DAY:
            found[record.key] = Ours(key=record.key, attempt=last.number, job_id=last.engine_job_id, created_at=created)
    return found


def claim(purchase: Purchase) -> OpenIntent:
    """Return a purchase in flight as what it would be if its answer were lost."""
    launch = purchase.launch
    return OpenIntent(
        key=launch.key,
        address=launch.job.address,
        attempt=purchase.attempt,
        requested=purchase.body,
        intent_at="1970-01-01T00:00:00Z",
        engine_time=SKEW,
    )


def watched_job(node: Node, job: ObservedJob) -> Watched:
    """Return what to watch of a job that was just bought or found. Its end is always looked at, so that everything is recorded."""
    status = JobStatus.RUNNING if job.status.terminal else job.status
    return Watched(
        key=node.key,
        address=node.address,
        engine=node.job.engine,
        attempt=node.attempt,
        job_id=job.id,
        method=node.job.method,
        created_at=job.created_at,
        status=status,
        raw_status=job.raw_status,
        estimated_finish=job.estimated_finish,
    )


def verdict_facts(intent: OpenIntent, verdict: Verdict, *, at: float, origin: Origin = Origin.ADOPTED) -> list[JobFact]:
    """Return what a verdict adds to state; doubt adds nothing."""
    match verdict:
        case Match(job=job, extra=extra):
            return [facts.bought(intent.key, intent.attempt, one, at=at, origin=origin) for one in (job, *extra)]
        case Absent(why=why):
            return [facts.not_bought(intent.key, intent.attempt, JobStatus.ABSENT, JobError(code="absent", message=why), at=at)]
        case Doubt():
            return []
