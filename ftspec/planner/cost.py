"""What a launch will cost: tokens x epochs x price, as a range wherever something is not exact.

- The spec gave epochs: that many. `auto`, or none: the engine's documented default, else
  from one epoch to the number that hosted engines choose for a set of that size.
- A token count that is an estimate widens the range by its error.
- Reinforcement is billed by time where it is billed at all: unknown, unless the engine is free.
- An eval asks each question, and its judges about each answer.
- Unknown stays unknown: it is never added up as zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec.structs import replace

from ftspec.actions import Action, Cost, LaunchJob, RunEval

if TYPE_CHECKING:
    from ftspec.actions import DatasetFacts
    from ftspec.experiment import DesiredEval, DesiredJob
    from ftspec.planner.prices import Price
    from ftspec.profile import Profile

Number = TypeVar("Number", int, float)

MILLION = 1_000_000
_ANSWER_TOKENS = 1024
"""How long an answer of an eval may get where its sampling sets no limit (an upper bound for the estimate)."""
_CHARACTERS = 3
"""The fewest characters that a token of a judge's instructions stands for (an upper bound for the estimate)."""


def training_cost(job: DesiredJob, train: DatasetFacts, profile: Profile | None, price: Price | None) -> Cost:
    """Return what one launch of a job will cost."""
    free = profile is not None and profile.free and price is None
    if job.method == "reinforcement" or train.trained_tokens is None:
        return Cost(low=0.0, high=0.0) if free else Cost()
    few, many = epochs_of(job, profile, train.rows)
    error = 0.0 if train.exact_tokens else train.tokens_error
    low = math.floor(train.trained_tokens * (1 - error) * few)
    high = math.ceil(train.trained_tokens * (1 + error) * many)
    tokens = round(train.trained_tokens * many)
    exact = few == many and train.exact_tokens
    if free:
        return Cost(low=0.0, high=0.0, tokens=tokens, tokens_low=low, tokens_high=high, exact_tokens=exact)
    if price is None or price.training is None:
        return Cost(tokens=tokens, tokens_low=low, tokens_high=high, exact_tokens=exact)
    return Cost(
        low=low * price.training / MILLION,
        high=high * price.training / MILLION,
        tokens=tokens,
        tokens_low=low,
        tokens_high=high,
        exact_tokens=exact,
        currency=price.currency,
        price_date=price.date,
    )


def epochs_of(job: DesiredJob, profile: Profile | None, rows: int) -> tuple[float, float]:
    """Return the fewest and the most epochs that a job can get."""
    given = job.hyperparameters.get("n_epochs", "auto")
    if isinstance(given, (int, float)):
        return given, given
    documented = profile.defaults.get("n_epochs") if profile is not None else None
    if isinstance(documented, (int, float)):
        return documented, documented
    return 1, max(3, min(25, math.ceil(100 / max(rows, 1))))


def eval_cost(one: DesiredEval, dataset: DatasetFacts, profile: Profile | None, price: Price | None) -> Cost:
    """Return what asking one model every question of an eval will cost."""
    if profile is not None and profile.free and price is None:
        return Cost(low=0.0, high=0.0)
    if price is None or price.input is None or price.output is None or dataset.total_tokens is None:
        return Cost()
    error = 0.0 if dataset.exact_tokens else dataset.tokens_error
    asked = dataset.total_tokens * one.repeat
    answered = dataset.rows * one.repeat * _limit(one.sampling)
    return Cost(
        low=asked * (1 - error) * price.input / MILLION,
        high=(asked * (1 + error) * price.input + answered * price.output) / MILLION,
        currency=price.currency,
        price_date=price.date,
    )


def judges_of(graders: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the definitions among graders, and within those that combine others, that ask a model."""
    found: list[Mapping[str, Any]] = []
    for definition in graders.values():
        if isinstance(definition, Mapping):
            inner = definition.get("graders")
            found += judges_of(inner) if isinstance(inner, Mapping) else []
            found += [definition] if isinstance(definition.get("model"), str) else []
    return found


def judge_cost(judge: Mapping[str, Any], one: DesiredEval, dataset: DatasetFacts, profile: Profile | None, price: Price | None) -> Cost:
    """Return what a judge's opinion of every answer will cost.

    At least it is asked, at most it also reads the whole row and the longest answer, and answers at length itself.
    """
    if profile is not None and profile.free and price is None:
        return Cost(low=0.0, high=0.0)
    if price is None or price.input is None or price.output is None or dataset.total_tokens is None:
        return Cost()
    times = one.repeat * (2 if judge.get("type") == "pairwise" else 1)  # with the places swapped
    told = len(str(judge.get("input", "")) + str(judge.get("criteria", ""))) / _CHARACTERS
    read = _limit(one.sampling) + told + _ANSWER_TOKENS / 4  # the form of its answer is asked for too
    rows = dataset.total_tokens * (1 + (0.0 if dataset.exact_tokens else dataset.tokens_error))
    answered = dataset.rows * _limit(judge.get("sampling_params") or {})
    return Cost(
        low=times * dataset.rows * price.input / MILLION,
        high=times * ((rows + dataset.rows * read) * price.input + answered * price.output) / MILLION,
        currency=price.currency,
        price_date=price.date,
    )


def _limit(sampling: Mapping[str, Any]) -> int:
    """Return the longest answer that sampling allows, in tokens."""
    limits = [sampling.get(name) for name in ("max_tokens", "max_completion_tokens", "max_completions_tokens")]
    return next((limit for limit in limits if isinstance(limit, int)), _ANSWER_TOKENS)


def total(costs: Iterable[Cost]) -> Cost:
    """Add up: a sum is unknown if any part of it is; the oldest price date counts."""
    parts = list(costs)
    priced = {cost.currency for cost in parts if cost.high}
    one_currency = len(priced) <= 1  # euros and dollars have no sum
    return Cost(
        low=_money([cost.low for cost in parts]) if one_currency else None,
        high=_money([cost.high for cost in parts]) if one_currency else None,
        tokens=_sum([cost.tokens for cost in parts]),
        tokens_low=_sum([cost.tokens_low for cost in parts]),
        tokens_high=_sum([cost.tokens_high for cost in parts]),
        exact_tokens=all(cost.exact_tokens for cost in parts),
        currency=priced.pop() if len(priced) == 1 else "USD",
        price_date=min((cost.price_date for cost in parts if cost.price_date), default=None),
    )


def _money(parts: list[float | None]) -> float | None:
    found = _sum(parts)
    return None if found is None else float(found)


def _sum(parts: list[Number | None]) -> Number | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def plan_cost(actions: Iterable[Action]) -> Cost:
    """Return the money of everything in a plan, with the tokens of what it trains."""
    launches = [action.cost for action in actions if isinstance(action, LaunchJob)]
    evals = [action.cost for action in actions if isinstance(action, RunEval)]
    training, money = total(launches), total(launches + evals)
    return replace(
        money,
        tokens=training.tokens,
        tokens_low=training.tokens_low,
        tokens_high=training.tokens_high,
        exact_tokens=training.exact_tokens,
    )


def known_part(actions: Iterable[Action]) -> Cost:
    """Return the sum of the costs that are known."""
    return total(action.cost for action in actions if isinstance(action, (LaunchJob, RunEval)) and action.cost.known)
