"""Finds out what became of launches whose outcome is not known.

The engine is asked several times over the settle window, in every way it can be asked: by our
key, and for everything created since the request. Found is adopted at once. *Not found is not
absent*: lists lag, page endlessly and ignore filters, and a request can land after its
sender gave up. So a launch counts as absent, and may be bought again by the next plan, only where
a complete list does not show it and the engine lets one key have one job (`unique_keys`: the
second request would be answered with the first job), or where at least three complete lists
over the whole window do not show it and a person allowed it (`launch_absent`). Everything else
stays in doubt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ftspec.engines.base import EngineError
from ftspec.executor.clock import engine_now, seconds_of
from ftspec.executor.matching import Ambiguous, Match, OpenIntent, match_all

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from ftspec.engines.base import Clock, Engine, ObservedJob

ROUNDS = 3
"""Complete lists without the job before a person may call it absent."""

PATIENCE = 4
"""Rounds without an answer, after the window is over, before we give up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """It never became a job, as far as anybody will ever know."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """It may exist. `candidates` are ids of jobs that might be it."""

    why: str
    candidates: tuple[str, ...] = ()


Verdict: TypeAlias = Match | Absent | Doubt


@dataclass(slots=True)
class _Evidence:
    """What the rounds so far said of one intent."""

    complete: int = 0
    last: str = "the engine could not be asked"
    candidates: tuple[str, ...] = ()


async def look_up(
    intents: Sequence[OpenIntent],
    *,
    engine: Engine,
    known: Collection[str],
    clock: Clock,
    window: float,
    launch_absent: bool = False,
    claims: Callable[[], Sequence[OpenIntent]] = tuple,
) -> dict[str, Verdict]:
    """Return what became of each of these launches on one engine, by key. Writes nothing.

    `known` (ids that state has) and `claims` (requests in flight) may change meanwhile.
    """
    unique = engine.profile.unique_keys
    window, rounds = (0.0, 1) if unique else (window, ROUNDS)
    remaining = max([await _left(intent, engine, clock, window) for intent in intents], default=0.0)
    began = clock.monotonic()
    waiting = {intent.key: intent for intent in intents}
    evidence = {intent.key: _Evidence() for intent in intents}
    verdicts: dict[str, Verdict] = {}
    taken: set[str] = set()
    pause, late = 1.0, 0
    while True:
        over = clock.monotonic() - began >= remaining
        jobs = await _ask(list(waiting.values()), engine, evidence)
        answers = match_all(list(waiting.values()), jobs, known={*known, *taken}, echoes=engine.profile.metadata, claims=claims())
        for key, found in answers.items():
            match found:
                case Match(job=job):
                    verdicts[key] = found
                    taken.add(job.id)
                    del waiting[key]
                case Ambiguous(candidates=candidates):
                    evidence[key].candidates = candidates
        late += over
        enough = all(evidence[key].complete >= rounds for key in waiting)
        if not waiting or (over and (enough or late >= rounds + PATIENCE)):
            break
        left = remaining - (clock.monotonic() - began)
        await clock.sleep(min(pause, left) if left > 0 else pause)
        pause = min(pause * 2, 30.0)
    for key in waiting:
        seen = evidence[key]
        why = f"{seen.complete} complete {'list' if seen.complete == 1 else 'lists'} over {window:g} s did not show it"
        if seen.complete < rounds:
            verdicts[key] = Doubt(why=f"the engine could not say: {seen.last}")
        elif unique:
            verdicts[key] = Absent(why=why)
        elif seen.candidates:
            verdicts[key] = Doubt(why="jobs that could be it exist, and nothing tells which", candidates=seen.candidates)
        elif launch_absent:
            verdicts[key] = Absent(why=why)
        else:
            verdicts[key] = Doubt(why=f"{why}, and this engine cannot promise that it will not appear later")
    return verdicts


async def _left(intent: OpenIntent, engine: Engine, clock: Clock, window: float) -> float:
    """Return how much of the window is still to be waited for: the past counts, as the slower of two clocks tells it."""
    age = clock.now() - seconds_of(intent.intent_at)
    if intent.engine_time is not None:
        age = min(age, await engine_now(engine, clock) - intent.engine_time)
    return max(0.0, min(window, window - age))


async def _ask(intents: list[OpenIntent], engine: Engine, evidence: dict[str, _Evidence]) -> Collection[ObservedJob]:
    """Ask once in every way; count a round only for the intents for which every answer was complete."""
    jobs: dict[str, ObservedJob] = {}
    complete, last = await _list(engine, jobs, since=min(intent.since for intent in intents))
    for intent in intents:
        whole, why = await _list(engine, jobs, key=intent.key) if engine.profile.metadata else (True, "")
        seen = evidence[intent.key]
        seen.complete += complete and whole
        seen.last = last or why or seen.last
        seen.candidates = ()
    return jobs.values()


async def _list(engine: Engine, jobs: dict[str, ObservedJob], *, since: int | None = None, key: str | None = None) -> tuple[bool, str]:
    try:
        listing = await engine.find_jobs(key=key, since=since)
    except EngineError as error:
        return False, error.message
    jobs.update((job.id, job) for job in listing.items)
    return listing.complete, "" if listing.complete else "its list of jobs is incomplete"
