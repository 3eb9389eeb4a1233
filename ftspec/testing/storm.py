"""What a seed of the fault campaign decides beforehand: the engine, what is wanted, the weather, what happens to whom.

A `Scenario` is a value, printed with the story of its seed; tests make their own.
"""

from __future__ import annotations

import hashlib
import io
import random
from dataclasses import dataclass, field
from functools import cache
from typing import Any, BinaryIO

from ftspec.actions import DatasetFacts
from ftspec.experiment import DesiredDataset, DesiredJob, EngineEntry, Limits, Spec
from ftspec.planner.identify import Identified, identify
from ftspec.testing.account import Rules, Weather


class Blob:
    """A dataset file in memory."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def open(self, _mode: str) -> BinaryIO:
        """Open it for reading."""
        return io.BytesIO(self.content)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is wanted: a grid of `seeds`, some of which are the parents of children."""

    seeds: int
    children: int = 0
    twins: bool = False
    """Two jobs that only `replicate` tells apart."""
    validation: bool = False
    max_running: int | None = None
    leave_free: int = 0
    per_day: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A spec with its keys and data."""

    spec: Spec
    jobs: list[Identified]
    datasets: dict[str, DatasetFacts]
    blobs: dict[str, Blob]


@cache
def wanted(wish: Wish) -> Wanted:
    """Return the spec of a wish (one value for equal wishes)."""
    blobs = {ref: Blob(f'{{"messages":["{ref}"]}}\n'.encode() * 3) for ref in ("data", "held-out")}
    datasets = {
        ref: DatasetFacts(ref=ref, key=hashlib.sha256(blob.content).hexdigest(), rows=3, bytes=len(blob.content), format="chat")
        for ref, blob in blobs.items()
    }
    common: dict[str, Any] = {"experiment": "grid", "engine": "sim", "scope": "sim", "train": "data"}
    if wish.validation:
        common["validation"] = "held-out"
    jobs = [
        DesiredJob(address=f"grid/seed={n}", base_model="base", seed=n, hyperparameters={"n_epochs": n}, suffix=f"s{n}", **common)
        for n in range(1, wish.seeds + 1)
    ]
    if wish.twins:
        jobs += [DesiredJob(address=f"grid/twin={n}", base_model="base", replicate=n, **common) for n in (1, 2)]
    jobs += [
        DesiredJob(address=f"polish/seed={n}", base_model="", parent=f"grid/seed={n}", **(common | {"experiment": "polish"}))
        for n in range(1, wish.children + 1)
    ]
    limits = Limits(max_running=wish.max_running, leave_free=wish.leave_free, per_day=wish.per_day)
    spec = Spec(
        root=".",
        project="world",
        engines={"sim": EngineEntry(name="sim", type="simulated", scope="sim", limits=limits)},
        datasets={ref: DesiredDataset(name=ref, path=f"{ref}.jsonl") for ref in blobs},
        jobs=tuple(jobs),
    )
    identified, problems = identify(spec.jobs, datasets)
    assert not problems  # noqa: S101 the grid is ours
    return Wanted(spec=spec, jobs=identified, datasets=datasets, blobs=blobs)


@dataclass(slots=True, kw_only=True)
class Mishap:
    """What happens to one run."""

    kill_step: int | None = None
    """The step at which it is killed: 1 is its first."""
    kill_after: float | None = None
    interrupt_after: float | None = None
    jump: float = 0.0
    suspend: float = 0.0
    wrong_by: float = 0.0
    disk: float = 0.0
    """How likely a write fails."""
    wait: bool = True
    keep_going: bool = True


CALMLY = Mishap()


@dataclass(slots=True, kw_only=True)
class Scenario:
    """Everything that a seed decides beforehand."""

    seed: int
    rules: Rules
    weather: Weather
    wish: Wish
    runs: list[Mishap] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    """Seconds between the runs of the first clone."""
    intruder: float | None = None
    """When a second apply starts on the same state."""
    rival: float | None = None
    """When a second clone, with a state of its own, starts to apply."""
    training: tuple[float, float] = (20.0, 120.0)
    strangers: tuple[float, ...] = ()
    """When somebody else buys a job on the same account, without our labels."""


def scenario(seed: int) -> Scenario:
    """Return the scenario of a seed."""
    dice = random.Random(seed)  # noqa: S311 a simulation
    sometimes = dice.random

    def rate(most: float, chance: float = 0.3) -> float:
        return dice.uniform(0, most) if sometimes() < chance else 0.0

    unique = sometimes() < 0.3
    metadata = unique or sometimes() < 0.75
    rules = Rules(
        unique_keys=unique,
        idempotency_key=unique and sometimes() < 0.5,
        metadata=metadata,
        drops_metadata=metadata and not unique and sometimes() < 0.15,
        tells_time=sometimes() < 0.8,
        echoes=sometimes() < 0.8,
        clock_off=dice.choice((0.0, 0.0, dice.uniform(-5, 5), dice.uniform(-7200, 7200))),
        running_limit=dice.choice((None, None, None, 1, 2)),
        daily_limit=dice.choice((None,) * 12 + (2,)),
        in_process=sometimes() < 0.3,
    )
    weather = Weather(
        not_sent=rate(0.2),
        lost_request=rate(0.3),
        lost_answer=rate(0.4),
        late=rate(0.3),
        late_by=dice.choice((5.0, 90.0, 1500.0)),
        error_after=rate(0.2),
        error_before=rate(0.2),
        refused=rate(0.15, 0.1),
        rate_limited=rate(0.2, 0.15),
        read_fails=rate(0.3),
        incomplete=rate(0.6, 0.2),
        repeated=rate(0.5, 0.2),
        hidden=rate(1.0, 0.4),
        lag=dice.choice((2.0, 30.0, 100.0, 1200.0)),
        file_trouble=rate(0.5, 0.2),
        training_fails=rate(0.4, 0.15),
        odd_status=rate(0.5, 0.1),
    )
    wish = Wish(
        seeds=dice.choice((1, 2, 2, 3)),
        children=dice.choice((0, 0, 0, 1)),
        twins=sometimes() < 0.1,
        validation=sometimes() < 0.2,
        max_running=dice.choice((None, None, None, 1, 2)),
        per_day=dice.choice((None,) * 12 + (2,)),
    )
    rival = dice.uniform(0, 5) if sometimes() < 0.1 and not rules.drops_metadata and metadata else None
    if rival is not None:
        weather.lag = weather.hidden = weather.late = weather.incomplete = 0.0
    runs = [
        Mishap(
            kill_step=dice.randint(1, 60) if sometimes() < 0.45 else None,
            kill_after=dice.uniform(0, 300) if sometimes() < 0.1 else None,
            interrupt_after=dice.uniform(0, 60) if sometimes() < 0.15 else None,
            jump=dice.choice((-7200.0, 7200.0, 30.0)) if sometimes() < 0.1 else 0.0,
            suspend=dice.uniform(10, 5000) if sometimes() < 0.1 else 0.0,
            wrong_by=dice.uniform(-7200, 7200) if sometimes() < 0.15 else 0.0,
            disk=dice.uniform(0, 0.15) if sometimes() < 0.1 else 0.0,
            wait=sometimes() < 0.8,
            keep_going=sometimes() < 0.9,
        )
        for _ in range(dice.choice((1, 2, 2, 3)))
    ]
    return Scenario(
        seed=seed,
        rules=rules,
        weather=weather,
        wish=wish,
        runs=runs,
        gaps=[dice.choice((0.0, 1.0, 60.0, 900.0)) for _ in runs],
        intruder=dice.uniform(0, 30) if sometimes() < 0.1 else None,
        rival=rival,
        strangers=tuple(dice.uniform(0, 200) for _ in range(dice.choice((0, 0, 0, 0, 1, 2)))),
        training=(1.0, 15.0) if rules.in_process else (600.0, 5000.0) if sometimes() < 0.04 else (20.0, 120.0),
    )
