"""The profile and the price of each job, looked up once for each engine and base model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftspec.planner.cost import MILLION, eval_cost, judge_cost, judges_of, total

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ftspec.actions import Cost, DatasetFacts
    from ftspec.experiment import DesiredEval, DesiredJob, Spec
    from ftspec.planner.prices import Price, PriceTable
    from ftspec.planner.request import PlanRequest
    from ftspec.profile import Profile


class Pricing:
    """What the jobs of one request cost by the token. A job trained on another's model has the price of the first base model."""

    def __init__(self, request: PlanRequest) -> None:
        self._request = request
        self._jobs = {one.job.address: one.job for one in request.jobs}
        self._found: dict[tuple[str, str], Price | None] = {}

    def profile(self, job: DesiredJob) -> Profile | None:
        """Return what is known of the job's engine."""
        return self._profile(job.engine)

    def _profile(self, engine: str) -> Profile | None:
        entry = self._request.spec.engines.get(engine)
        return self._request.profiles.get(entry.type) if entry is not None else None

    def base_model(self, job: DesiredJob) -> str:
        """Return the name of the model at the root of a chain."""
        seen = set()
        while job.parent is not None and job.parent in self._jobs and job.address not in seen:
            seen.add(job.address)
            job = self._jobs[job.parent]
        return job.base_model

    def price(self, job: DesiredJob) -> Price | None:
        """Return the row that fits, if any."""
        wanted = (job.engine, self.base_model(job))
        if wanted not in self._found:
            self._found[wanted] = _row(self._request.prices, job.engine, self.profile(job), wanted[1])
        return self._found[wanted]

    def asking(self, one: DesiredEval, dataset: DatasetFacts, job: DesiredJob) -> Cost:
        """Return what an eval of a job's model costs: its answers, and what judges say of them."""
        parts = [eval_cost(one, dataset, self.profile(job), self.price(job))]
        for judge in judges_of(one.graders):
            engine = str(judge.get("engine") or job.engine)
            profile = self._profile(engine)
            parts.append(judge_cost(judge, one, dataset, profile, _row(self._request.prices, engine, profile, str(judge["model"]))))
        return total(parts)


def _row(prices: PriceTable, engine: str, profile: Profile | None, model: str) -> Price | None:
    known = [base for base in profile.base_models if base.name == model] if profile else []
    names = (engine, profile.name) if profile else (engine,)
    return prices.find(names, model, parameters=known[0].parameters if known else None)


def cost_of(spec: Spec, profiles: Mapping[str, Profile], prices: PriceTable) -> Callable[[str, str, str, int], tuple[float, str] | None]:
    """Return what turns (engine entry, base model, method, trained tokens) into money and currency, or `None` where no price is known."""

    def cost(engine: str, base_model: str, method: str, tokens: int) -> tuple[float, str] | None:
        entry = spec.engines.get(engine)
        profile = profiles.get(entry.type) if entry is not None else None
        price = _row(prices, engine, profile, base_model)
        if price is None:
            return (0.0, "USD") if profile is not None and profile.free else None
        if price.training is None or method == "reinforcement":
            return None
        return tokens * price.training / MILLION, price.currency

    return cost
