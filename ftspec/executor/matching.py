"""Which job on an engine an open intent became.

Pure. An engine that keeps our label (`metadata.ftspec_key`) answers exactly. Gateways drop
metadata and some engines have none, so a job without any label of ours is compared member by
member with what was requested: what the engine does not echo is not held against it, what it
echoes must agree.

Whether an engine keeps labels is seen from the jobs that state knows, and only without such
evidence believed from its profile. Where labels are kept, a job without one is not taken for ours.

Jobs that state already knows are nobody's candidates. A job that could be what two different
requests became is left alone, also while one of them is still in flight. Several intents that
asked for exactly the same (replicates) may take several equal jobs, in order. Anything less
clear is left in doubt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftspec.executor.clock import seconds_of
from ftspec.fingerprint import digest
from ftspec.record import JobStatus

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from ftspec.engines.base import ObservedJob
    from ftspec.record import RecordedJob

LABEL = "ftspec_key"

LOST = frozenset({JobStatus.FAILED, JobStatus.CANCELLED})
"""Jobs that came to nothing: what is bought instead of them is no duplicate."""

SKEW = 600
"""How much older than our request, by the engine's own clock, a job may be and still be ours (seconds)."""

DAY = 86_400
"""The same where only our clock is known, which may be wrong by hours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIntent:
    """A launch whose outcome is not known: `requested` is the body that was sent, if it was.

    `launches` are (attempt, run) of all launches of the key that are open, oldest first; the other members
    are those of the first. `attempt` is where a job that is found belongs.
    """

    key: str
    address: str
    attempt: int
    requested: Mapping[str, Any]
    intent_at: str
    engine_time: int | None = None
    launches: tuple[tuple[int, str], ...] = ()

    @property
    def since(self) -> int:
        """The earliest creation time (Unix seconds, engine's clock) that its job can have."""
        if self.engine_time is not None:
            return self.engine_time - SKEW
        return int(seconds_of(self.intent_at)) - DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The job that an intent became, and further jobs that carry the same key."""

    job: ObservedJob
    extra: tuple[ObservedJob, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ambiguous:
    """Jobs that might be it, none of which can be told from the others."""

    candidates: tuple[str, ...]


def open_intent(record: RecordedJob) -> OpenIntent:
    """Return what a record that is in doubt is looked up by."""
    last = record.last
    launches = sorted(record.open, key=lambda one: (one.intent_at or "", one.attempt, one.launch))
    first = launches[0] if launches else last
    return OpenIntent(
        key=record.key,
        address=record.address,
        attempt=last.number if last.engine_job_id is not None or not launches else launches[0].attempt,
        requested=first.requested or last.requested,
        intent_at=first.intent_at or record.updated_at or "1970-01-01T00:00:00Z",
        engine_time=first.engine_time,
        launches=tuple((one.attempt, one.launch) for one in launches),
    )


def match_all(
    intents: Sequence[OpenIntent],
    jobs: Iterable[ObservedJob],
    *,
    known: Collection[str],
    echoes: bool,
    claims: Sequence[OpenIntent] = (),
) -> dict[str, Match | Ambiguous]:
    """Return what each intent (by key) became, as far as these jobs tell; nothing for those not among them.

    `known` are ids that state has. `echoes` says whether the engine's profile promises to keep labels.
    `claims` are other requests whose jobs may exist: what could be theirs is nobody's.
    """
    labelled: dict[str, dict[str, ObservedJob]] = {}
    bare: dict[str, ObservedJob] = {}
    kept = dropped = False
    for job in jobs:
        label = job.metadata.get(LABEL)
        if job.id in known:
            kept = kept or label is not None
            dropped = dropped or label is None
        elif label is None:
            bare[job.id] = job
        else:
            labelled.setdefault(label, {})[job.id] = job
    found: dict[str, Match | Ambiguous] = {}
    for intent in intents:
        if ours := labelled.get(intent.key):
            first, *rest = sorted(ours.values(), key=seniority)
            found[intent.key] = Match(job=first, extra=tuple(rest))
    claims = [claim for claim in claims if all(claim.key != intent.key for intent in intents)]
    rest_of = [intent for intent in intents if intent.key not in found and intent.requested]
    if bare and rest_of:
        found.update(_match_bare(rest_of, bare.values(), claims=claims, echoes=kept or (echoes and not dropped)))
    return found


def _match_bare(
    intents: list[OpenIntent], jobs: Iterable[ObservedJob], *, claims: Sequence[OpenIntent], echoes: bool
) -> dict[str, Match | Ambiguous]:
    """Match jobs without a label by what was requested: only where nothing else could be meant."""
    groups: dict[str, list[OpenIntent]] = {}
    for intent in (*intents, *claims):
        groups.setdefault(digest(_asked(intent.requested)), []).append(intent)
    candidates: dict[str, list[ObservedJob]] = {}
    contested: dict[str, set[str]] = {}
    for job in sorted(jobs, key=seniority):
        fitting = [name for name, group in groups.items() if _fits(group, job)]
        for name in fitting:
            candidates.setdefault(name, []).append(job)
            if len(fitting) > 1 or echoes:
                contested.setdefault(name, set()).add(job.id)
    found: dict[str, Match | Ambiguous] = {}
    unsure = {claim.key for claim in claims}
    for name, fits in candidates.items():
        group = sorted(groups[name], key=lambda intent: (intent.intent_at, intent.key))
        if name in contested or len(fits) > len(group) or any(intent.key in unsure for intent in group):
            found.update((intent.key, Ambiguous(candidates=tuple(job.id for job in fits))) for intent in group)
        else:
            found.update((intent.key, Match(job=job)) for intent, job in zip(group, fits, strict=False))
    return {key: answer for key, answer in found.items() if key not in unsure}


def _fits(group: Sequence[OpenIntent], job: ObservedJob) -> bool:
    return job.created_at >= min(intent.since for intent in group) and not differences(group[0].requested, job)


def seniority(job: ObservedJob) -> tuple[int, str]:
    """Return what decides which of two jobs with one key is kept: the smallest (created_at, id)."""
    return (job.created_at, job.id)


def differences(requested: Mapping[str, Any], job: ObservedJob) -> list[str]:
    """Return in which members a job disagrees with a request; empty: it may be what became of it."""
    wrong = []
    model = str(requested.get("model", ""))
    # An alias comes back as its dated snapshot.
    if job.base_model and job.base_model != model and not job.base_model.startswith(f"{model}-"):
        wrong.append(f"base model `{job.base_model}` instead of `{model}`")
    for name, has in (
        ("training_file", job.training_file),
        ("validation_file", job.validation_file),
        ("suffix", job.suffix),
        ("seed", job.seed),
    ):
        wanted = requested.get(name)
        if has is not None and wanted is not None and has != wanted:
            wrong.append(f"{name} `{has}` instead of `{wanted}`")
    for name, wanted in _hyperparameters(requested).items():
        has = job.hyperparameters.get(name)
        if _number(wanted) and _number(has) and has != wanted:
            wrong.append(f"{name} {has} instead of {wanted}")
    return wrong


def _hyperparameters(requested: Mapping[str, Any]) -> Mapping[str, Any]:
    method = requested.get("method")
    if isinstance(method, dict):
        block = method.get(str(method.get("type")))
        if isinstance(block, dict) and isinstance(block.get("hyperparameters"), dict):
            return dict(block["hyperparameters"])
    top = requested.get("hyperparameters")
    return top if isinstance(top, dict) else {}


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _asked(requested: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in requested.items() if name != "metadata"}
