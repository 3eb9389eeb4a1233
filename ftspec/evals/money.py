"""What a run has spent, and whether one more question fits into its budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftspec.engines.base import ChatAnswer

Price = Callable[[str | None, str, int, int], tuple[float, str] | None]
"""(engine entry of a judge or `None` for the model under test, model, input tokens, output tokens) to (money, currency)."""


class Money:
    """The purse of one run. `spent` is `None` as soon as one price is unknown."""

    def __init__(self, budget: float | None, price: Price | None) -> None:
        self._budget, self._price = budget, price
        self._questions = 0
        self.spent: float | None = 0.0
        self.currency: str | None = None

    def paid(self, engine: str | None, model: str, answer: ChatAnswer) -> None:
        """Add an answer's price; one unknown price makes the sum unknown."""
        price = None
        if self._price is not None and answer.input_tokens is not None and answer.output_tokens is not None:
            price = self._price(engine, model, answer.input_tokens, answer.output_tokens)
        if price is None or self.spent is None:
            self.spent = None
        else:
            self.spent += price[0]
            self.currency = price[1]

    def sampled(self) -> None:
        """Count a finished sample, for the average."""
        self._questions += 1

    def fits(self, in_flight: int) -> bool:
        """Whether one more sample can be paid, with those in flight. The first one is asked alone."""
        if self._budget is None:
            return True
        if self.spent is None:
            return False
        average = self.spent / self._questions if self._questions else 0.0
        return self.spent + average * (in_flight + 1) <= self._budget

    @property
    def careful(self) -> bool:
        """Whether nobody knows yet what a sample costs, so that only one may be in flight."""
        return self._budget is not None and self._questions == 0
