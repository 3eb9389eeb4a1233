"""Whether a plan keeps to the policy of its spec: one verdict for each rule that was given.

An unknown cost does not break `max_cost` (what is known of it can), because only
`require_known_cost` says that unknown is not good enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ftspec.actions import Action, Cost, LaunchJob, RunEval, Verdict
from ftspec.planner.cost import known_part
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.experiment import Policy


def verdicts(policy: Policy, actions: Sequence[Action], cost: Cost) -> tuple[Verdict, ...]:
    """Return a verdict for each rule of the policy, in a fixed order."""
    launches = [action for action in actions if isinstance(action, LaunchJob)]
    found: list[Verdict] = []
    if policy.max_cost is not None:
        found.append(_max_cost(policy.max_cost, actions, cost))
    if policy.max_jobs is not None:
        found.append(_limit("max_jobs", len(launches), policy.max_jobs, "launch" if len(launches) == 1 else "launches"))
    if policy.max_tokens is not None:
        tokens = cost.tokens_high if cost.tokens_high is not None else cost.tokens
        if tokens is None:
            found.append(
                Verdict(rule="max_tokens", ok=True, sentence=f"tokens are unknown, the limit of {policy.max_tokens:,} was not checked")
            )
        else:
            found.append(_limit("max_tokens", tokens, policy.max_tokens, "trained tokens"))
    if policy.require_validation:
        bare = [job.job.address for job in launches if job.job.validation is None]
        found.append(_names("require_validation", bare, "every launch has validation data", "without validation data"))
    if policy.require_known_cost:
        unknown = [action for action in actions if isinstance(action, (LaunchJob, RunEval)) and not action.cost.known]
        names = [action.job.address if isinstance(action, LaunchJob) else f"eval {action.eval.name}" for action in unknown]
        found.append(_names("require_known_cost", names, "every cost is known", "of unknown cost"))
    if policy.allow_engines is not None:
        engines = {action.job.engine for action in launches} - set(policy.allow_engines)
        found.append(_names("allow_engines", sorted(engines), "every launch is on an allowed engine", "not among the allowed engines"))
    return tuple(found)


def _max_cost(limit: float, actions: Sequence[Action], cost: Cost) -> Verdict:
    known = cost if cost.known else known_part(actions)
    high = known.high or 0.0
    if high > limit:
        at_least = "" if cost.known else "at least "
        return Verdict(rule="max_cost", ok=False, sentence=f"{at_least}{high:,.2f} {known.currency} is more than {limit:,.2f}")
    if not cost.known:
        return Verdict(rule="max_cost", ok=True, sentence=f"part of the cost is unknown, what is known is within {limit:,.2f}")
    return Verdict(rule="max_cost", ok=True, sentence=f"{high:,.2f} {known.currency} is within {limit:,.2f}")


def _limit(rule: str, count: int, limit: int, what: str) -> Verdict:
    ok = count <= limit
    return Verdict(
        rule=rule, ok=ok, sentence=f"{count:,} {what} {'is' if count == 1 else 'are'} {'within' if ok else 'more than'} {limit:,}"
    )


def _names(rule: str, names: Sequence[str], fine: str, what: str) -> Verdict:
    if not names:
        return Verdict(rule=rule, ok=True, sentence=fine)
    shown = ", ".join(f"`{printable(name)}`" for name in sorted(set(names))[:3])
    more = len(set(names)) - 3
    return Verdict(rule=rule, ok=False, sentence=f"{what}: {shown}" + (f" and {more:,} more" if more > 0 else ""))
