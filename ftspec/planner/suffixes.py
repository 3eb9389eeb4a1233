"""Say when a suffix already labels a model that was trained on different data.

People find a hosted model by its suffix, so two meanings of one are worth a warning. What the
spec itself shows is a rule of the spec; here it is about records that no address of the spec
means any more (an earlier record of an address is the same job before its data changed). With
`policy: {distinct_suffixes: true}` it is an error, and earlier records count as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftspec.diagnostics import Diagnostic, Severity
from ftspec.planner.identify import place_of
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.planner.identify import Identified
    from ftspec.planner.request import PlanRequest


class Suffixes:
    """Which recorded jobs use which suffix for which data. Read only when something with a suffix is launched."""

    def __init__(self, request: PlanRequest) -> None:
        self._request = request
        self._strict = request.spec.policy.distinct_suffixes
        self._uses: dict[tuple[str, str], list[tuple[str, str]]] | None = None
        self._said: set[tuple[str, str]] = set()

    def check(self, one: Identified, problems: list[Diagnostic]) -> None:
        """Add a problem if the suffix of a job to launch stands for other data already (once for each suffix)."""
        suffix = one.job.suffix
        if not suffix or (one.job.scope, suffix) in self._said:
            return
        if self._uses is None:
            self._uses = self._recorded()
        uses = self._uses.get((one.job.scope, suffix), ())
        other = min((address for address, data in uses if data != one.train_key), default=None)
        if other is not None:
            self._said.add((one.job.scope, suffix))
            problems.append(
                Diagnostic(
                    code="suffix-recorded",
                    severity=Severity.ERROR if self._strict else Severity.WARNING,
                    message=f"suffix `{printable(suffix)}` of `{printable(one.job.address)}` already labels other data, in `{printable(other)}`",
                    at=place_of(one.job, "suffix"),
                    help="give each dataset its own suffix, so that models can be told apart by name",
                )
            )

    def _recorded(self) -> dict[tuple[str, str], list[tuple[str, str]]]:
        desired = set() if self._strict else {one.job.address for one in self._request.jobs}
        uses: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for record in self._request.state.jobs.values():
            if record.suffix and not record.forgotten and record.address not in desired:
                data = record.preimage.get("train")
                if isinstance(data, str):
                    uses.setdefault((record.scope, record.suffix), []).append((record.address, data))
        return uses
