"""What training and asking a model costs: dated rows with a source, never constants in code.

`prices.json` beside this file holds the rows that ftspec ships; a spec's `prices:` come first.
A model without a row has no price, and its cost is unknown, never zero.

The spec's form is `prices: {ENGINE: {MODEL: 25}}` or, with everything said,
`{MODEL: {training: 25, input: 0.4, output: 1.6, currency: USD, date: 2026-11-20}}`: amounts for
one million tokens, `ENGINE` a name or type of an engine, `MODEL` a glob.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import msgspec

from ftspec.diagnostics import FtspecError
from ftspec.printable import printable

_LONGEST_GLOB: Final = 500
"""Characters of a model's glob; `[[[[` takes `fnmatch` for ever."""


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row: for one million tokens of the models that `model` (a glob) means on `engine` (a type, or an entry's name).

    `training` counts every epoch; `input` and `output` are for asking a trained model.
    `max_parameters` limits the row to known models below that size.
    """

    engine: str
    model: str
    source: str = "spec"
    date: str | None = None
    confidence: str = "documented"
    training: float | None = None
    input: float | None = None
    output: float | None = None
    currency: str = "USD"
    max_parameters: float | None = None


class PriceTable(msgspec.Struct, frozen=True, kw_only=True):
    """All rows, the first that fits counts. `date` is the day on which the table was last looked over."""

    date: str
    rows: tuple[Price, ...] = ()
    format: int = 1
    notes: tuple[str, ...] = ()

    def find(self, engines: tuple[str, ...], model: str, *, parameters: float | None = None) -> Price | None:
        """Return the row of a model on an engine known by any of these names."""
        for row in self.rows:
            if row.engine not in engines or not fnmatchcase(model, row.model):
                continue
            if row.max_parameters is None or (parameters is not None and parameters < row.max_parameters):
                return row
        return None


class InvalidPrices(FtspecError):
    """The spec's `prices:` do not say what something costs."""


def price_table(prices: Mapping[str, Any] | None = None) -> PriceTable:
    """Return the table that comes with ftspec, with a spec's `prices:` before its rows. Raises `InvalidPrices`."""
    shipped = msgspec.json.decode(Path(__file__).with_name("prices.json").read_bytes(), type=PriceTable)
    own = tuple(_row(engine, model, row) for engine, models in (prices or {}).items() for model, row in _models(engine, models))
    return msgspec.structs.replace(shipped, rows=own + shipped.rows) if own else shipped


def _models(engine: str, models: Any) -> Iterable[tuple[str, Any]]:
    if not isinstance(models, Mapping):
        raise _invalid(engine, "models and their prices are expected below an engine")
    return models.items()


def _row(engine: str, model: str, row: Any) -> Price:
    given = dict(row) if isinstance(row, Mapping) else {"training": row}
    try:
        price = msgspec.convert({"engine": engine, "model": model, "confidence": "given"} | given, Price)
    except msgspec.ValidationError as problem:
        raise _invalid(f"{engine}.{model}", str(problem)) from None
    if len(price.model) > _LONGEST_GLOB:
        raise _invalid(f"{engine}.{model[:40]}...", f"the name of a model has at most {_LONGEST_GLOB} characters")
    if any(not (amount is None or 0 <= amount < math.inf) for amount in (price.training, price.input, price.output)):
        raise _invalid(f"{engine}.{model}", "a price is zero or more")
    return price


def _invalid(path: str, why: str) -> InvalidPrices:
    return InvalidPrices(
        f"`prices.{printable(path)}`: {printable(why)}",
        help="say what one million tokens cost: `prices: {openai: {gpt-4o-mini*: 3}}`, or `{training: 3, input: 0.3, output: 1.2}`",
    )
