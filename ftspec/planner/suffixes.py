"""Say when one suffix labels models that were trained on different data.

People find a hosted model by its suffix, so two meanings of one are worth a warning. The
earlier record of an address that is still in the spec does not count: it is the same job
before its data changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftspec.diagnostics import Diagnostic, warning
from ftspec.planner.identify import place_of
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.planner.identify import Identified
    from ftspec.planner.request import PlanRequest


class Suffixes:
    """Who uses which suffix for which data, in each scope. Read only when something with a suffix is launched."""

    def __init__(self, request: PlanRequest) -> None:
        self._request = request
        self._uses: dict[tuple[str, str], dict[str, str]] | None = None
        self._said: set[tuple[str, str]] = set()

    def check(self, one: Identified, problems: list[Diagnostic]) -> None:
        """Add a warning if the suffix of a job to launch stands for other data too (once for each suffix)."""
        suffix = one.job.suffix
        if not suffix or (one.job.scope, suffix) in self._said:
            return
        uses = self._read().get((one.job.scope, suffix), {})
        other = next((address for data, address in sorted(uses.items(), key=lambda use: use[1]) if data != one.train_key), None)
        if other is not None:
            self._said.add((one.job.scope, suffix))
            problems.append(
                warning(
                    "suffix-reused",
                    f"suffix `{printable(suffix)}` of `{printable(one.job.address)}` also labels other data, in `{printable(other)}`",
                    at=place_of(one.job, "suffix"),
                    help="give each dataset its own suffix, so that models can be told apart by name",
                )
            )

    def _read(self) -> dict[tuple[str, str], dict[str, str]]:
        if self._uses is None:
            self._uses = {}
            desired = {one.job.address for one in self._request.jobs}
            for one in self._request.jobs:
                self._use(one.job.scope, one.job.suffix, one.train_key, one.job.address)
            for record in self._request.state.jobs.values():
                if not record.forgotten and record.address not in desired:
                    self._use(record.scope, record.suffix, record.preimage.get("train"), record.address)
        return self._uses

    def _use(self, scope: str, suffix: str | None, data: object, address: str) -> None:
        if self._uses is not None and suffix and isinstance(data, str):
            addresses = self._uses.setdefault((scope, suffix), {})
            addresses[data] = min(addresses.get(data, address), address)
