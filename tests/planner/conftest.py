"""A small world for planner tests: jobs, facts and state made from what a test cares about."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from ftspec.actions import AdoptJob, DatasetFacts, KeepJob, LaunchJob, Plan, RunEval, UploadFile
from ftspec.diagnostics import Place
from ftspec.experiment import DesiredEval, DesiredJob, EngineEntry, Spec
from ftspec.fingerprint import digest
from ftspec.planner import plan
from ftspec.planner.identify import Identified, identify
from ftspec.planner.prices import price_table
from ftspec.planner.request import PlanRequest
from ftspec.profile import Profile
from ftspec.record import Attempt, Checkpoint, JobError, JobStatus, RecordedEval, RecordedFile, RecordedJob, State

NOW = "2026-11-20T12:00:00Z"


class Line:
    """Every setting of a job stands in one line of one file."""

    def __init__(self, line: int = 8, path: str = "specs/tone.yaml") -> None:
        self.line = line
        self.path = path

    def place(self, setting: str, axes: Any) -> Place:
        """Return the line."""
        return Place(path=self.path, line=self.line, column=5, excerpt=f"    {setting}: new")


PROFILES = {
    "sandbox": Profile(name="sandbox", title="Sandbox", methods={}, free=True, defaults={"n_epochs": 3}),
    "hosted": Profile(name="hosted", title="Hosted", methods={}),
}
ENGINES = {name: EngineEntry(name=name, type=name, scope=name) for name in PROFILES}


class World(msgspec.Struct, frozen=True, kw_only=True):
    """Desired jobs and the facts of their datasets; every method returns a value."""

    jobs: tuple[DesiredJob, ...] = ()
    facts: dict[str, DatasetFacts] = {}
    spec: Spec = Spec(root=".", files=("ftspec.yaml",), project="demo", engines=ENGINES)
    options: dict[str, Any] = {}

    @staticmethod
    def job(address: str = "tone/seed=1", **settings: Any) -> DesiredJob:
        """Return a job of the sandbox; the axes are read off the address."""
        experiment, _, cell = address.partition("/")
        axes = dict(part.partition("=")[::2] for part in cell.split(",") if "=" in part)
        given: dict[str, Any] = {
            "address": address,
            "experiment": experiment,
            "engine": "sandbox",
            "base_model": "sandbox-small",
            "train": "tone",
            "axes": axes,
            "origin": Line(),
        }
        given |= settings
        given.setdefault("scope", given["engine"])
        return DesiredJob(**given)

    @staticmethod
    def dataset(ref: str = "tone", *, version: int = 1, **known: Any) -> DatasetFacts:
        """Return the facts of a dataset; another version has another key."""
        given: dict[str, Any] = {"rows": 300, "bytes": 12_000, "format": "chat", "trained_tokens": 1000, "exact_tokens": True}
        return DatasetFacts(ref=ref, key=digest([ref, version]), **(given | known))

    @classmethod
    def of(cls, *jobs: DesiredJob, datasets: tuple[DatasetFacts, ...] = (), **options: Any) -> World:
        """Return a world of these jobs; datasets that are not given exist all the same."""
        refs = {ref for job in jobs for ref in (job.train, job.validation) if ref}
        facts = {ref: cls.dataset(ref) for ref in sorted(refs)} | {one.ref: one for one in datasets}
        return cls(jobs=jobs, facts=facts, options=options)

    def with_spec(self, **members: Any) -> World:
        """Return the world with members of the spec replaced."""
        return replace(self, spec=replace(self.spec, **members))

    def with_evals(self, *evals: DesiredEval) -> World:
        """Return the world with evals in its spec."""
        facts = self.facts | {one.dataset: self.dataset(one.dataset, rows=10) for one in evals if one.dataset not in self.facts}
        return replace(self.with_spec(evals={one.name: one for one in evals}), facts=facts)

    def identified(self) -> list[Identified]:
        """Return the jobs with their keys."""
        found, problems = identify(self.jobs, self.facts)
        assert problems == []
        return found

    def key(self, address: str) -> str:
        """Return the key of a job."""
        return next(one.key for one in self.identified() if one.job.address == address)

    def request(self, state: State | None = None, **options: Any) -> PlanRequest:
        """Return what a plan is made from."""
        given: dict[str, Any] = {
            "spec": replace(self.spec, jobs=self.jobs),
            "jobs": self.identified(),
            "datasets": self.facts,
            "state": state or State(),
            "profiles": PROFILES,
            "prices": price_table(self.spec.prices),
            "now": NOW,
            "version": "0.1.0",
        }
        return PlanRequest(**(given | self.options | options))

    def plan(self, state: State | None = None, **options: Any) -> Plan:
        """Return the plan."""
        return plan(self.request(state, **options))

    def applied(self, state: State | None = None, **options: Any) -> State:
        """Return the state after a perfect apply."""
        return apply_perfectly(self.plan(state, **options), state or State())

    def record(self, address: str, status: str = "succeeded", **members: Any) -> State:
        """Return a state in which only this job is recorded, with one attempt of this status."""
        state = self.applied()
        record = state.jobs[self.key(address)]
        attempt = {name: members.pop(name) for name in list(members) if name in Attempt.__struct_fields__}
        last = msgspec.structs.replace(record.last, status=JobStatus(status), **attempt)
        return replace(state, jobs={record.key: msgspec.structs.replace(record, attempts=(last,), **members)}, evals={})


def apply_perfectly(plan: Plan, state: State) -> State:
    """Fold into state what an apply in which everything succeeds would record."""
    jobs, files, evals = dict(state.jobs), dict(state.files), dict(state.evals)
    for action in plan.actions:
        match action:
            case UploadFile(scope=scope, dataset_key=key):
                file = RecordedFile(
                    scope=scope, digest=key, dataset_key=key, file_id=f"file-{key[:8]}", rows=action.rows, status="uploaded"
                )
                files[scope, key] = file
            case LaunchJob() | AdoptJob():
                attempt = Attempt(
                    number=action.attempt if isinstance(action, LaunchJob) else 1,
                    status=JobStatus.SUCCEEDED,
                    engine_job_id=f"job-{action.key[:8]}",
                    model=f"ft:{action.key[:8]}",
                    created_at=plan.now,
                )
                earlier = jobs[action.key].attempts if action.key in jobs else ()
                jobs[action.key] = RecordedJob(
                    key=action.key,
                    address=action.job.address,
                    engine=action.job.engine,
                    scope=action.job.scope,
                    attempts=(*(one for one in earlier if one.number != attempt.number), attempt),
                    preimage=dict(action.preimage),
                    suffix=action.job.suffix,
                    tags=action.job.tags,
                )
            case KeepJob(relabelled=labels) if labels:
                new = {change.field: change.new for change in labels}
                jobs[action.key] = msgspec.structs.replace(action.record, **new)
            case RunEval():
                evals[action.key] = RecordedEval(
                    key=action.key,
                    name=action.eval.name,
                    address=action.address,
                    model=action.model or "known by now",
                    job_key=action.preimage["model"].get("job"),
                    status="succeeded",
                )
    return State(jobs=jobs, files=files, evals=evals)


@pytest.fixture(scope="session")
def world() -> type[World]:
    """Return the class that makes worlds."""
    return World


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    """Return a checkpoint in the middle of a training."""
    return Checkpoint(model="ft:x:ckpt-step-10", step=10)


@pytest.fixture(scope="session")
def job_error() -> JobError:
    """Return why a hosted job failed."""
    return JobError(code="invalid_training_file", message="too few rows")
