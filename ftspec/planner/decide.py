"""Desired jobs + what is recorded -> a plan. Pure, and the same whatever the order of its inputs.

For each job, parents first:

- its key is recorded: *keep* it, whoever bought it and under whatever address; a failed or
  cancelled one is launched again only when asked for
- it is in doubt: *wait*; nothing is bought until somebody knows what became of it
- it is found on its engine but not in state: *adopt* it
- else *launch* it, unless its parent failed, is in doubt or is protected

A record at the same address with another key explains a launch as a change; so does one whose
address differs in the value of one axis and is not asked for any more (`moved`). Records that this
project's spec does not ask for any more are *forgotten*: shown, and left alone. Records of other
projects in the same state are reused where their keys fit, and otherwise none of a plan's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

from ftspec.actions import (
    Action,
    AdoptJob,
    FieldChange,
    ForgetJob,
    KeepJob,
    LaunchJob,
    Plan,
    Reason,
    WaitJob,
)
from ftspec.diagnostics import Diagnostic, error
from ftspec.planner.cost import plan_cost, training_cost
from ftspec.planner.diff import changes, preimage_of, reason_of
from ftspec.planner.evaluations import evaluations
from ftspec.planner.identify import Identified, parents_first, place_of
from ftspec.planner.moved import moved
from ftspec.planner.policy import verdicts
from ftspec.planner.pricing import Pricing
from ftspec.planner.quota import quotas
from ftspec.planner.selectors import UnknownSelector, select, with_children, with_parents
from ftspec.planner.suffixes import Suffixes
from ftspec.planner.uploads import uploads
from ftspec.printable import printable
from ftspec.record import JobStatus, RecordedJob

if TYPE_CHECKING:
    from ftspec.planner.request import PlanRequest

_KEPT = {
    JobStatus.LAUNCHED: Reason.RUNNING,
    JobStatus.QUEUED: Reason.RUNNING,
    JobStatus.RUNNING: Reason.RUNNING,
    JobStatus.FAILED: Reason.FAILED,
    JobStatus.CANCELLED: Reason.CANCELLED,
    JobStatus.SUCCEEDED: Reason.RECORDED,
}
_RETRY = {JobStatus.FAILED: Reason.RETRY_FAILED, JobStatus.CANCELLED: Reason.RETRY_CANCELLED}
_BLOCKS = {
    Reason.FAILED: Reason.PARENT_FAILED,
    Reason.CANCELLED: Reason.PARENT_FAILED,
    Reason.RETIRED: Reason.PARENT_RETIRED,
    Reason.IN_DOUBT: Reason.PARENT_IN_DOUBT,
    Reason.PROTECTED: Reason.PARENT_PROTECTED,
    Reason.PARENT_FAILED: Reason.PARENT_FAILED,
    Reason.PARENT_RETIRED: Reason.PARENT_RETIRED,
    Reason.PARENT_IN_DOUBT: Reason.PARENT_IN_DOUBT,
    Reason.PARENT_PROTECTED: Reason.PARENT_PROTECTED,
}
_UNBOUGHT = frozenset({JobStatus.ABSENT, JobStatus.REFUSED})


def plan(request: PlanRequest) -> Plan:
    """Return what is missing, why, and what it costs. Raises `UnknownSelector` for options that name nothing."""
    decider = _Decider(request)
    jobs = _chosen(request)
    decided = {one.job.address: decider.decide(one) for one in jobs}
    launches = [action for action in decided.values() if isinstance(action, LaunchJob)]
    actions: tuple[Action, ...] = (
        *uploads(launches, request),
        *decided.values(),
        *evaluations(jobs, decided, request, decider.pricing, decider.retried),
        *decider.forgotten(),
    )
    cost = plan_cost(actions)
    return Plan(
        project=request.spec.project,
        spec_files=request.spec.files,
        actions=actions,
        datasets=request.datasets,
        cost=cost,
        verdicts=verdicts(request.spec.policy, actions, cost),
        quota=quotas(launches, request.spec, request.state, request.now),
        diagnostics=tuple(decider.problems),
        now=request.now,
        ftspec_version=request.version,
        options=options_of(request),
    )


def options_of(request: PlanRequest) -> dict[str, object]:
    """Return the flags that shaped a plan, without those that were not given."""
    given = {"target": request.targets, "exclude": request.exclude, "replace": request.replace, "retry_failed": request.retry_failed}
    return {**request.options, **{name: list(values) for name, values in given.items() if values}}


def _chosen(request: PlanRequest) -> list[Identified]:
    """Return the jobs that the plan is about, parents before children."""
    jobs = sorted(request.jobs, key=lambda one: one.job.address)
    if not request.targets and not request.exclude and not any(one.job.parents for one in jobs):
        return jobs
    if request.targets or request.exclude:
        parents = {one.job.address: one.job.parents for one in jobs}
        wanted = with_parents(select(request.targets, jobs, request.state), parents) if request.targets else set(parents)
        wanted -= with_children(select(request.exclude, jobs, request.state), parents)
        jobs = [one for one in jobs if one.job.address in wanted]
    return _by_depth(jobs)


def _by_depth(jobs: Sequence[Identified]) -> list[Identified]:
    """Return all jobs without parents, then their children, and so on; each generation sorted by address."""
    depths: dict[str, int] = {}
    for job in parents_first([one.job for one in jobs]):
        depths[job.address] = 1 + max((depths.get(parent, -1) for parent in job.parents), default=-1)
    known = [one for one in jobs if one.job.address in depths]
    return sorted(known, key=lambda one: (depths[one.job.address], one.job.address))


class _Decider:
    """Decides one job after another; remembers what it decided, because children depend on it."""

    def __init__(self, request: PlanRequest) -> None:
        self._request = request
        self._records = request.state.jobs
        self._replaced = select(request.replace, request.jobs, request.state)
        self.retried = frozenset(select(request.retry_failed, request.jobs, request.state))
        self._protected = _protected(request)
        self._desired = {one.key for one in request.jobs}
        self._previous = self._superseded()
        self._moved = self._edited()
        self._blocked: dict[str, Reason] = {}
        self._suffixes = Suffixes(request)
        self.pricing = Pricing(request)
        self.problems: list[Diagnostic] = []

    def _superseded(self) -> dict[str, RecordedJob]:
        """Return, by address, the newest record of this project that was bought there and that no desired job uses."""
        mine = (None, self._request.spec.project)
        unused = [
            record for key, record in self._records.items() if key not in self._desired and not record.forgotten and record.project in mine
        ]
        unused.sort(key=lambda record: (record.last.created_at or record.last.intent_at or "", record.key))
        return {record.address: record for record in unused}

    def _edited(self) -> dict[str, RecordedJob]:
        """Return the record that each new cell was edited from, where that is plain."""
        wanted = {one.job.address for one in self._request.jobs}
        left = {address: record for address, record in self._previous.items() if address not in wanted and not record.protected}
        if not left or self._request.targets or self._request.exclude:
            return {}
        new = [one.job for one in self._request.jobs if one.job.address not in self._previous and one.key not in self._records]
        return moved(new, left)

    def decide(self, one: Identified) -> Action:
        """Return what to do about one job. Its parents were decided before."""
        action = self._decide(one)
        if not isinstance(action, (LaunchJob, AdoptJob)) and action.reason in _BLOCKS:
            self._blocked[one.job.address] = _BLOCKS[action.reason]
        return action

    def _decide(self, one: Identified) -> LaunchJob | AdoptJob | KeepJob | WaitJob:
        job = one.job
        record = self._records.get(one.key)
        if record is None or record.forgotten:
            found = self._request.observed.found.get(one.key)
            return self._adopt(one, found) if found else self._buy(one, record)
        status = record.status
        if status is JobStatus.INTENT:
            found = self._request.observed.found.get(one.key)
            return self._adopt(one, found) if found else WaitJob(job=job, key=one.key, record=record, reason=Reason.IN_DOUBT)
        if status in _UNBOUGHT:
            # A refused attempt after one that became a job bought nothing and changes nothing.
            status = next((attempt.status for attempt in reversed(record.attempts) if attempt.status not in _UNBOUGHT), status)
            if status in _UNBOUGHT:
                return self._launch(one, record, Reason.REFUSED_BEFORE)
        if job.address in self._replaced:
            return self._replace(one, record, status)
        if job.address in self.retried and status in _RETRY:
            return self._launch(one, record, _RETRY[status])
        reason = _KEPT[status]
        if reason is Reason.RECORDED and one.key in self._request.observed.retired:
            reason = Reason.RETIRED
        return KeepJob(job=job, key=one.key, record=record, reason=reason, relabelled=_relabelled(one, record, self._request.spec.project))

    def _adopt(self, one: Identified, engine_job_id: str) -> AdoptJob:
        return AdoptJob(job=one.job, key=one.key, preimage=preimage_of(one), engine_job_id=engine_job_id)

    def _buy(self, one: Identified, forgotten: RecordedJob | None) -> LaunchJob | WaitJob:
        """Launch a job that nobody bought; say what changed where its address is known."""
        before = self._previous.get(one.job.address) or self._moved.get(one.job.address)
        if before is None:
            return self._launch(one, forgotten, Reason.NOT_RECORDED)
        changed = changes(before, one, self._request.datasets, self._request.state)
        if before.protected or one.job.address in self._protected:
            return self._protect(one, before, changed)
        return self._launch(one, forgotten, reason_of(changed), changed, before)

    def _replace(self, one: Identified, record: RecordedJob, status: JobStatus) -> LaunchJob | KeepJob | WaitJob:
        if record.protected or one.job.address in self._protected:
            return self._protect(one, record, ())
        if not status.terminal:
            self.problems.append(
                error(
                    "replace-running",
                    f"`{printable(one.job.address)}` is still running and cannot be replaced",
                    at=place_of(one.job),
                    help=f"wait for it, or stop it first: ftspec cancel '{printable(one.job.address)}'",
                )
            )
            return KeepJob(job=one.job, key=one.key, record=record, reason=Reason.RUNNING)
        return self._launch(one, record, Reason.REPLACE_REQUESTED, replaces=record)

    def _protect(self, one: Identified, record: RecordedJob, changed: Sequence[FieldChange]) -> WaitJob:
        fields = ", ".join(f"`{printable(change.field)}`" for change in changed)
        self.problems.append(
            error(
                "protected-job",
                f"`{printable(one.job.address)}` is protected and would be replaced" + (f": {fields} changed" if fields else ""),
                at=next((change.at for change in changed if change.at), None) or place_of(one.job),
                help="undo the change, give the new job another address, or lift the protection with `ftspec state unprotect`",
            )
        )
        return WaitJob(job=one.job, key=one.key, record=record, reason=Reason.PROTECTED)

    def _launch(
        self,
        one: Identified,
        record: RecordedJob | None,
        reason: Reason,
        changed: tuple[FieldChange, ...] = (),
        replaces: RecordedJob | None = None,
    ) -> LaunchJob | WaitJob:
        job = one.job
        if record is not None and record.open and not record.forgotten:
            return WaitJob(job=job, key=one.key, record=record, reason=Reason.IN_DOUBT)
        for parent in job.parents:
            if parent in self._blocked:
                return WaitJob(job=job, key=one.key, record=record, reason=self._blocked[parent], because=parent)
        self._suffixes.check(one, self.problems)
        self._refuse_what_ended(one)
        return LaunchJob(
            job=job,
            key=one.key,
            preimage=preimage_of(one),
            train_key=one.train_key,
            validation_key=one.validation_key,
            attempt=record.last.number + 1 if record is not None else 1,
            reason=reason,
            changes=changed,
            replaces=replaces,
            after=job.parents,
            cost=training_cost(job, self._request.datasets[job.train], self.pricing.profile(job), self.pricing.price(job)),
        )

    def _refuse_what_ended(self, one: Identified) -> None:
        """Report a job whose engine or base model takes no new jobs any more, or stops before it could be used."""
        profile = self.pricing.profile(one.job)
        if profile is None:
            return
        name = self.pricing.base_model(one.job)
        model = next((base for base in profile.base_models if base.name == name), None)
        until = min((day for day in (profile.ends, model.until if model else None, model.shutdown if model else None) if day), default=None)
        if until is None or self._request.now[: len(until)] <= until:
            return
        self.problems.append(
            error(
                "model-ended",
                f"{printable(profile.title)} has taken no new jobs on `{printable(name)}` since {until}",
                at=place_of(one.job, "base_model"),
                help=f"{printable(profile.instead(model))}; what is recorded stays",
            )
        )

    def forgotten(self) -> list[ForgetJob]:
        """Return the records whose address and key no spec asks for, sorted by address; none where the plan is about a part."""
        if self._request.targets or self._request.exclude:
            return []
        shown = {one.job.address for one in self._request.jobs} | {record.address for record in self._moved.values()}
        unused = [record for address, record in self._previous.items() if address not in shown and not record.protected]
        return [ForgetJob(record=record) for record in sorted(unused, key=attrgetter("address"))]


def _relabelled(one: Identified, record: RecordedJob, project: str | None) -> tuple[FieldChange, ...]:
    """Return the labels that change. A job that another project bought keeps that one's."""
    job = one.job
    if record.project not in (None, project):
        return ()
    if record.address == job.address and record.suffix == job.suffix and record.tags == job.tags:
        return ()
    labels = (("address", record.address, job.address), ("suffix", record.suffix, job.suffix), ("tags", record.tags, job.tags))
    return tuple(FieldChange(field=name, old=old, new=new, at=place_of(job, name)) for name, old, new in labels if old != new)


def _protected(request: PlanRequest) -> set[str]:
    """Return the desired addresses that the spec's `protect:` names. One that names only records protects those, or nothing."""
    found: set[str] = set()
    for expression in request.spec.protect:
        try:
            found |= select((expression,), request.jobs, request.state)
        except UnknownSelector:
            continue
    return found
