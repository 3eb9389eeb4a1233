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
from ftspec.executor import facts
from ftspec.executor import progress as said
from ftspec.executor.census import Census, Counted
from ftspec.executor.clock import rfc3339
from ftspec.executor.graph import Phase
from ftspec.executor.launch import Bought, InTheDark, NotBought, NotRecorded, NotTried, buy
from ftspec.executor.lookup import Absent, Doubt, Verdict, look_up
from ftspec.executor.matching import SKEW, Match, OpenIntent, open_intent
from ftspec.executor.polling import Watcher
from ftspec.executor.result import DuplicateJob
from ftspec.executor.sweep import Ours, Sweeper, Swept, recent
from ftspec.executor.watch import Look, Watched
from ftspec.record import JobError, JobStatus, Origin
from ftspec.state.base import JobFact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from ftspec.engines.base import Engine, ObservedJob
    from ftspec.executor.crew import Crew
    from ftspec.executor.effects import Effects
    from ftspec.executor.graph import Node
    from ftspec.executor.launch import Outcome, Purchase
    from ftspec.executor.queue import Queue
    from ftspec.experiment import EngineEntry
    from ftspec.record import RecordedJob

AT_MOST = 600.0
"""No wait for a known slot is longer at a time: clocks jump, laptops sleep, others free slots (seconds)."""

ANY_TIME = 60.0
"""How often to look for a slot that may be freed at any time."""

IN_A_ROW = 3
"""Launches without a clear outcome after which the engine is given nothing more."""


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
        self.name = entry.name
        self.engine = engine
        self.next_slot_at: str | None = None
        self._effects, self._crew, self._hands, self._report = effects, crew, hands, report
        records = list(recorded)
        self._census = Census(engine, entry.limits, effects=effects, recorded=records)
        self._watcher = Watcher(entry.name, engine, effects=effects, together=crew.together, tell=self)
        self._sweeper = Sweeper(engine, clock=effects.clock, ours=recent(records, effects.clock.now()))
        self._nodes: dict[str, Node] = {}
        self._waiting: deque[Node] = deque()
        self._in_flight: dict[str, Purchase] = {}
        self._open = {record.key: open_intent(record) for record in records if record.doubtful}
        self._unsettled: list[OpenIntent] = []
        self._counting = self._slot_wait = self._polling = self._settling = self._sweeping = False
        self._dark = 0
        self._closed: str | None = None
        self._told: tuple[str, str | None] | None = None

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
        self._effects.progress(said.Settling(address=node.address, engine=self.name, window=window))

    def watch(self, node: Node, job: Watched) -> None:
        """Take a job whose end is not recorded."""
        self._nodes[node.key] = node
        self._watcher.add(job)

    def close(self, why: str) -> None:
        """Give the engine nothing more."""
        if self._closed is None:
            self._closed = why
        while self._waiting:
            self._report.skipped(self._waiting.popleft(), self._closed)

    def step(self, *, wait: bool) -> None:
        """Start everything that can be started now. `wait`: also what takes longer than launching."""
        if self._waiting and self._hands.free and not self._counting:
            self._buy_or_wait(wait=wait)
        if self._unsettled and not self._settling:
            self._settling, batch = True, self._unsettled
            self._unsettled = []
            self._crew.start(partial(self._settled, batch), self._settle(batch))
        if wait and len(self._watcher) and not self._polling:
            self._polling = True
            self._crew.start(self._looked, self._watcher.poll())
        launching = self._in_flight or self._settling or (self._waiting and not self._held_back)
        if not launching and not self._sweeping and self._sweeper.due(wait=wait):
            self._sweeping = True
            self._crew.start(self._swept, self._sweeper.sweep())

    @property
    def idle(self) -> int:
        """How many pieces of its work need not be waited for: later sweeps, and the wait for a slot that nobody needs any more."""
        return int(self._sweeping and self._sweeper.optional) + int(self._slot_wait and not self._waiting)

    @property
    def running(self) -> int:
        """How many jobs it watches."""
        return len(self._watcher)

    # Buying

    @property
    def _queue(self) -> Queue:
        queue = self._census.queue
        assert queue is not None  # noqa: S101 nothing is bought before the first look at the list
        return queue

    @property
    def _held_back(self) -> bool:
        return self._census.queue is not None and self._queue.free(self._census.now()) == 0

    def _buy_or_wait(self, *, wait: bool) -> None:
        if self._census.due and not self._held_back:
            self._count()
            return
        while self._waiting and self._hands.free and not self._held_back:
            node = self._waiting.popleft()
            there = self._census.already(node.key, node.nth)
            if there is not None:
                self._adopt(node, there)
            else:
                self._buy(node)
        if self._waiting and self._held_back and self._queue.probe is None:
            self._await_slot(wait=wait)

    def _count(self) -> None:
        self._counting = True
        self._crew.start(self._counted, self._census.take())

    def _counted(self, counted: Counted) -> None:
        self._counting = False
        self._census.learn(counted)

    def _looked_for_slot(self, counted: Counted) -> None:
        self._slot_wait = False
        self._census.learn(counted)

    def _await_slot(self, *, wait: bool) -> None:
        now = self._census.now()
        at, latest = self._queue.next_at(now), self._queue.promised_at(now)
        self.next_slot_at = None if latest is None else rfc3339(latest)
        why = self._queue.why(now)
        if (why, self.next_slot_at) != self._told:
            self._told = (why, self.next_slot_at)
            event = said.WaitingForSlot(engine=self.name, jobs=len(self._waiting), why=why, until=self.next_slot_at)
            self._effects.progress(event)
        if wait and not self._slot_wait:
            # Beside it, the end of a job of ours frees a slot at once.
            self._slot_wait = True
            pause = ANY_TIME if at is None else min(AT_MOST, max(at - now, 0.1))
            self._crew.start(self._looked_for_slot, self._census.take(pause))

    def _buy(self, node: Node) -> None:
        node.phase = Phase.BUYING
        self._queue.asked(node.key, self._census.now())
        self._hands.free -= 1
        self._in_flight[node.key] = purchase = self._report.purchase(node)
        work = buy(purchase, engine=self.engine, effects=self._effects, known=self._census.known)
        self._crew.start(partial(self._answered, node), work, keep=True)

    def _adopt(self, node: Node, job: ObservedJob) -> None:
        """Record a job that was bought for our key by somebody else, instead of buying it again."""
        assert isinstance(node.action, LaunchJob)  # noqa: S101 only launches are offered
        fact = facts.bought(node.key, node.attempt, job, at=self._effects.clock.now(), origin=Origin.ADOPTED)
        about = facts.about(node.action, self._effects.options.project)
        self._effects.journal.append(JobFact(key=node.key, attempt=node.attempt, at=fact.at, values=fact.values, job=about))
        self._have(node, job, adopted=True)

    def _answered(self, node: Node, outcome: Outcome) -> None:
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
                    self.close(f"{IN_A_ROW} launches in a row on `{self.name}` had no clear outcome")
            case NotRecorded(job=job):
                self._report.unrecorded(node, job)
            case NotTried():
                node.phase = Phase.QUEUED

    def _not_bought(self, node: Node, outcome: NotBought) -> None:
        if outcome.quota is None:
            self._report.failed(node, outcome.error)
            if not outcome.sent:
                self.close(f"`{self.name}` cannot be reached")
            elif outcome.status in {401, 403}:
                self.close(f"`{self.name}` does not accept us: {outcome.error.message}")
        elif outcome.quota == "money":
            self._report.failed(node, outcome.error)
            self.close(f"the account of `{self.name}` has no credit left")
        else:
            self._queue.refused(outcome.quota, self._census.now(), outcome.retry_after)
            # The next request is a new attempt, because this one's end is recorded.
            node.attempt += 1
            node.phase = Phase.QUEUED
            self._waiting.appendleft(node)

    def _have(self, node: Node, job: ObservedJob, *, adopted: bool) -> None:
        self._dark = 0
        self._census.known.add(job.id)
        if self._census.queue is not None:
            self._queue.taken(node.key, job.id)
        ours = Ours(key=node.key, address=node.address, attempt=node.attempt, job_id=job.id, created_at=job.created_at)
        self._sweeper.add(ours)
        self.watch(node, watched_job(node, job))
        self._report.bought(node, job, adopted=adopted)

    # Looking up what is unclear

    async def _settle(self, intents: list[OpenIntent]) -> dict[str, Verdict]:
        options = self._effects.options
        return await look_up(
            intents,
            engine=self.engine,
            known=self._census.known,
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
            node, verdict = self._nodes[intent.key], verdicts[intent.key]
            self._effects.journal.append(
                *verdict_facts(intent, verdict, unique=self.engine.profile.unique_keys, at=self._effects.clock.now())
            )
            match verdict:
                case Match(job=job, extra=extra):
                    del self._open[intent.key]
                    node.attempt = intent.attempt
                    self._have(node, job, adopted=True)
                    if extra:
                        self._double(node.address, node.key, kept=job.id, extra=tuple(one.id for one in extra))
                case Absent(why=why):
                    del self._open[intent.key]
                    self._free(node, doubt=False)
                    self._report.failed(
                        node, JobError(code="absent", message=f"the request never became a job: {why}; apply again to buy it")
                    )
                case Doubt(why=why, candidates=candidates):
                    self._free(node, doubt=True)
                    named = f": {', '.join(candidates)}" if candidates else ""
                    self._report.in_doubt(node, JobError(code="in_doubt", message=why + named))

    def _free(self, node: Node, *, doubt: bool) -> None:
        if self._census.queue is not None:
            (self._queue.in_doubt if doubt else self._queue.given_back)(node.key)

    # Watching

    def _looked(self, seen: Look) -> None:
        self._polling = False
        self._watcher.learn(seen)

    def ended(self, one: Watched, job: ObservedJob, values: Mapping[str, Any]) -> None:
        """Take notice of a job's end."""
        if self._census.queue is not None:
            self._queue.ended(job.id)
        self._report.ended(self._nodes[one.key], job, values)

    def vanished(self, one: Watched) -> None:
        """Take notice that the engine does not show a job any more."""
        error = JobError(code="job_gone", message=f"the engine does not show job {one.job_id} any more")
        self._report.failed(self._nodes[one.key], error)

    # Duplicates

    def _swept(self, found: Swept) -> None:
        self._sweeping = False
        for one in self._sweeper.learn(found):
            ours = self._sweeper.ours[one.key]
            self._effects.journal.append(*one.facts)
            self._census.known.update((one.kept.id, *one.cancelled, *one.extra))
            if ours.job_id in one.cancelled:
                self._change_to(ours, one.kept)
            self._double(ours.address, one.key, kept=one.kept.id, cancelled=one.cancelled, extra=one.extra)

    def _change_to(self, ours: Ours, kept: ObservedJob) -> None:
        """Wait for another clone's job instead of our own, which was cancelled."""
        self._watcher.remove(ours.job_id)
        del self._sweeper.ours[ours.key]
        node = self._nodes.get(ours.key)
        if node is not None:
            node.engine_job_id = kept.id
            self.watch(node, watched_job(node, kept))

    def _double(self, address: str, key: str, *, kept: str, cancelled: tuple[str, ...] = (), extra: tuple[str, ...] = ()) -> None:
        self._report.doubled(DuplicateJob(address=address, key=key, engine=self.name, kept=kept, cancelled=cancelled, extra=extra))
        self._effects.progress(said.Duplicate(address=address, engine=self.name, kept=kept, cancelled=cancelled, extra=extra))


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


def verdict_facts(intent: OpenIntent, verdict: Verdict, *, at: float, unique: bool = False) -> list[JobFact]:
    """Return what a verdict adds to state; doubt adds nothing.

    One job is the answer to one launch, the oldest that is open, except where keys are `unique`: there it answers all.
    """
    key, launches = intent.key, intent.launches
    match verdict:
        case Match(job=job, extra=extra):
            own = launches[0][1] if launches and launches[0][0] == intent.attempt else None
            first = facts.bought(key, intent.attempt, job, at=at, origin=Origin.ADOPTED, launch=own)
            others = [facts.bought(key, intent.attempt, one, at=at, origin=Origin.ADOPTED) for one in extra]
            answered = launches if unique else launches[: 1 + len(extra)]
            return [first, *others, *(facts.settled(key, number, run, at=at) for number, run in answered if run != own)]
        case Absent(why=why):
            error = JobError(code="absent", message=why)
            if not launches:
                return [facts.not_bought(key, intent.attempt, JobStatus.ABSENT, error, at=at, launch=None)]
            return [facts.settled(key, number, run, at=at, error=error) for number, run in launches]
        case Doubt():
            return []
