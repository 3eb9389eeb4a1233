"""What a run has spent, and whether one more question fits into its budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftspec.engines.base import ChatAnswer

Price = Callable[[str | None, str, int, int], tuple[float, str] | None]
"""(engine entry of a judge or `None` for the model under test, model, input tokens, output tokens) to (money, currency)."""


class Bill:
    """What one sample costs: `amount` is `None` as soon as one price is unknown."""

    __slots__ = ("_money", "amount", "input_tokens", "output_tokens")

    def __init__(self, money: Money) -> None:
        self._money = money
        self.amount: float | None = 0.0
        self.input_tokens = 0
        self.output_tokens = 0

    def add(self, engine: str | None, model: str, answer: ChatAnswer) -> None:
        """Add an answer."""
        self.input_tokens += answer.input_tokens or 0
        self.output_tokens += answer.output_tokens or 0
        cost = self._money.cost(engine, model, answer)
        self.amount = None if cost is None or self.amount is None else self.amount + cost


class Money:
    """The purse of one run. `spent` starts with what earlier sittings of it spent."""

    def __init__(self, budget: float | None, price: Price | None, *, spent: float | None = 0.0) -> None:
        self._budget, self._price = budget, price
        self._samples = 0
        self._paid = 0.0
        self.spent = spent
        self.currency: str | None = None

    def cost(self, engine: str | None, model: str, answer: ChatAnswer) -> float | None:
        """Return the price of an answer, `None` where it is unknown."""
        if self._price is None or answer.input_tokens is None or answer.output_tokens is None:
            return None
        price = self._price(engine, model, answer.input_tokens, answer.output_tokens)
        if price is None:
            return None
        self.currency = price[1]
        return price[0]

    def pay(self, bill: Bill) -> None:
        """Add the bill of a finished sample."""
        self._samples += 1
        self._paid += bill.amount or 0.0
        self.spent = None if bill.amount is None or self.spent is None else self.spent + bill.amount

    def fits(self, in_flight: int) -> bool:
        """Whether one more sample can be paid, with those in flight."""
        if self._budget is None:
            return True
        if self.spent is None:
            return False
        average = self._paid / self._samples if self._samples else 0.0
        return self.spent + average * (in_flight + 1) <= self._budget

    @property
    def refusal(self) -> str:
        """Why no further sample fits."""
        if self.spent is None:
            return f"the price of an answer is not known, so the budget of {self._budget:g} cannot be kept"
        return f"the budget of {self._budget:g} allows no further answer"

    @property
    def careful(self) -> bool:
        """Whether nobody knows yet what a sample costs, so that only one may be in flight."""
        return self._budget is not None and self._samples == 0
