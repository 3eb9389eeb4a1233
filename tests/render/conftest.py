"""Plans to render, made from values alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from ftspec.actions import (
    AdoptJob,
    Cost,
    DatasetFacts,
    FieldChange,
    ForgetJob,
    KeepEval,
    KeepJob,
    LaunchJob,
    Plan,
    Quota,
    Reason,
    RunEval,
    UploadFile,
    Verdict,
    WaitJob,
)
from ftspec.diagnostics import Place, error
from ftspec.experiment import DesiredEval, DesiredJob
from ftspec.record import Attempt, JobError, JobStatus, RecordedEval, RecordedJob

KEY = "ab" * 32
HOLDOUT = DesiredEval(name="holdout", dataset="test", graders={})
FREE = Cost(low=0.0, high=0.0, tokens=900, tokens_low=800, tokens_high=1000)


@dataclass(frozen=True)
class Make:
    """Makes jobs, records, actions and plans; what a test does not care about has a default."""

    place: Place = field(default_factory=lambda: Place(path="specs/tone.yaml", line=8, column=5))

    def job(self, address: str = "tone/seed=1", **settings: Any) -> DesiredJob:
        experiment, _, cell = address.partition("/")
        axes = dict(part.partition("=")[::2] for part in cell.split(",") if "=" in part)
        given: dict[str, Any] = {"engine": "sandbox", "scope": "sandbox", "base_model": "sandbox-small", "train": "tone", "axes": axes}
        return DesiredJob(address=address, experiment=experiment, **(given | settings))

    def record(self, address: str = "tone/seed=1", status: str = "succeeded", **attempt: Any) -> RecordedJob:
        last = Attempt(number=1, status=JobStatus(status), **({"model": f"ft:{address}", "engine_job_id": "ftjob-1"} | attempt))
        return RecordedJob(key=KEY, address=address, engine="sandbox", scope="sandbox", attempts=(last,))

    def launch(self, address: str = "tone/seed=1", *, reason: Reason = Reason.NOT_RECORDED, changes: tuple = (), **more: Any) -> LaunchJob:
        job = self.job(address, **more.pop("job", {}))
        given: dict[str, Any] = {"validation_key": None, "attempt": 1, "cost": FREE, "after": job.parents, "preimage": {"recipe": 1}}
        return LaunchJob(job=job, key=KEY, train_key=KEY, reason=reason, changes=changes, **(given | more))

    def changed(self, address: str = "tone/seed=1", *changes: FieldChange, reason: Reason = Reason.CHANGED, **more: Any) -> LaunchJob:
        return self.launch(address, reason=reason, changes=changes, replaces=self.record(address), **more)

    def change(self, name: str = "epochs", old: Any = 1, new: Any = 3) -> FieldChange:
        return FieldChange(field=name, old=old, new=new, at=self.place)

    def keep(self, address: str = "tone/seed=1", reason: Reason = Reason.RECORDED, *, labels: tuple = (), **attempt: Any) -> KeepJob:
        status = {Reason.RECORDED: "succeeded", Reason.RETIRED: "succeeded"}.get(reason, reason.value)
        return KeepJob(job=self.job(address), key=KEY, record=self.record(address, status, **attempt), reason=reason, relabelled=labels)

    def wait(self, address: str, reason: Reason, because: str | None = None) -> WaitJob:
        record = self.record(address, "intent", intent_at="2026-11-20T10:00:00Z") if reason is Reason.IN_DOUBT else None
        return WaitJob(job=self.job(address), key=KEY, record=record, reason=reason, because=because)

    def upload(self, dataset: str = "tone") -> UploadFile:
        return UploadFile(
            dataset=dataset, dataset_key=KEY, engine="sandbox", scope="sandbox", rows=300, bytes=64_400, reason=Reason.NOT_UPLOADED
        )

    def run(self, address: str | None = "tone/seed=1", model: str | None = None, **more: Any) -> RunEval:
        given: dict[str, Any] = {"preimage": {}, "engine": "sandbox", "scope": "sandbox", "samples": 87, "reason": Reason.NOT_EVALUATED}
        return RunEval(eval=HOLDOUT, key=KEY, dataset_key=KEY, address=address, model=model, **(given | {"cost": FREE} | more))

    def plan(self, *actions: Any, **members: Any) -> Plan:
        facts = DatasetFacts(ref="tone", key=KEY, rows=300, bytes=64_400, format="chat", path="data/tone.jsonl")
        given: dict[str, Any] = {"project": "demo", "spec_files": ("ftspec.yaml",), "datasets": {"tone": facts}, "cost": FREE}
        given |= {"now": "2026-11-20T12:00:00Z", "ftspec_version": "0.1.0"}
        return Plan(actions=actions, **(given | members))

    def everything(self) -> Plan:
        """Return a plan with each kind of action and every part of the end."""
        dataset = FieldChange(
            field="train", old={"dataset": None, "digest": "cd" * 32, "rows": 300}, new={"dataset": "tone", "digest": KEY, "rows": 302}
        )
        parent = FieldChange(field="base_model", old={"job": KEY, "address": "tone/seed=1"}, new={"job": "cd" * 32, "address": None})
        return self.plan(
            self.upload(),
            self.changed("tone/seed=1", self.change(), self.change("seed", None, 1)),
            self.changed("tone/seed=2", dataset, reason=Reason.DATASET_CHANGED),
            self.changed("polish", parent, reason=Reason.PARENT_CHANGED, job={"parent": "tone/seed=1", "base_model": ""}),
            self.changed("again", reason=Reason.REPLACE_REQUESTED, attempt=2),
            self.launch("fresh/seed=1"),
            self.launch("retry/seed=1", reason=Reason.RETRY_FAILED, attempt=2),
            AdoptJob(job=self.job("found"), key=KEY, preimage={}, engine_job_id="ftjob-9"),
            self.keep("kept/seed=1"),
            self.keep("kept/seed=2"),
            self.keep("label/seed=1", labels=(self.change("suffix", "a", None),)),
            self.keep("run/seed=1", Reason.RUNNING, raw_status="validating_files"),
            self.keep("bad/seed=1", Reason.FAILED, error=JobError(code="server_error", message="lost\nit")),
            self.keep("bad/seed=2", Reason.CANCELLED, error=None),
            self.keep("bad/seed=3", Reason.RETIRED),
            self.wait("doubt", Reason.IN_DOUBT),
            self.wait("child", Reason.PARENT_FAILED, "bad/seed=1"),
            self.run(),
            self.run(None, "sandbox-small"),
            KeepEval(eval=HOLDOUT, key=KEY, record=RecordedEval(key=KEY, name="holdout", model="m"), address="kept/seed=1"),
            KeepEval(eval=HOLDOUT, key=KEY, record=RecordedEval(key=KEY, name="holdout", model="m"), address=None, reason=Reason.FAILED),
            ForgetJob(record=self.record("old/seed=1")),
            cost=Cost(low=1.2, high=1.5, tokens=5400, tokens_low=4800, tokens_high=6000, price_date="2026-11-01"),
            verdicts=(
                Verdict(rule="max_cost", ok=True, sentence="1.50 USD is within 60.00"),
                Verdict(rule="max_jobs", ok=False, sentence="6 launches are more than 5"),
            ),
            quota=(
                Quota(engine="openai", launches=12, per_day=8, max_running=3, used_today=8, days=3, next_slot_at="2026-11-21T10:00:00Z"),
            ),
            diagnostics=(error("suffix-reused", "suffix `a` is taken", at=self.place, help="choose another"),),
            options={"target": ["tone/*", "polish"], "full": True, "sample": 5},
        )


@pytest.fixture(scope="session")
def make() -> Make:
    """Return what makes plans."""
    return Make()


@pytest.fixture(scope="session")
def hostile() -> str:
    """Return foreign text that tries everything: escapes, log commands, markup, bidi, backticks."""
    return "a\x1b]8;;http://x\x07`````\n::set-output name=x::y\n##[group]<img src=x> @team #1 \u202e|\r\x7f ![x](http://y)"
