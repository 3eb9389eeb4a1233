"""What was really paid, from the same price table that estimates use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftspec.planner.prices import price_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftspec.experiment import Spec
    from ftspec.planner.prices import Price
    from ftspec.profile import Profile

MILLION = 1_000_000


class Spending:
    """Prices of one spec's engines; `trained` is the executor's `CostOf`, `asked` the price of an answer."""

    def __init__(self, spec: Spec, profiles: Mapping[str, Profile]) -> None:
        self._spec = spec
        self._profiles = profiles
        self._prices = price_table(spec.prices)

    def trained(self, engine: str, base_model: str, method: str, tokens: int) -> tuple[float, str] | None:
        """Return (money, currency) for trained tokens. Reinforcement jobs are billed by time: not known."""
        price, free = self._price(engine, base_model)
        if price is None or price.training is None or method == "reinforcement":
            return (0.0, "USD") if free else None
        return tokens * price.training / MILLION, price.currency

    def asked(self, engine: str, model: str, input_tokens: int, output_tokens: int) -> tuple[float, str] | None:
        """Return (money, currency) for one answer."""
        price, free = self._price(engine, model)
        if price is None or price.input is None or price.output is None:
            return (0.0, "USD") if free else None
        return (input_tokens * price.input + output_tokens * price.output) / MILLION, price.currency

    def _price(self, engine: str, model: str) -> tuple[Price | None, bool]:
        entry = self._spec.engines.get(engine)
        profile = self._profiles.get(entry.type) if entry is not None else None
        names = (engine, profile.name) if profile is not None else (engine,)
        known = [base for base in profile.base_models if base.name == model] if profile is not None else []
        price = self._prices.find(names, model, parameters=known[0].parameters if known else None)
        return price, price is None and profile is not None and profile.free
