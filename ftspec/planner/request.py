"""What a plan is made from.

Everything arrives as a value: the planner knows no clock, disk, network or environment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from ftspec.actions import DatasetFacts
    from ftspec.experiment import Spec
    from ftspec.planner.identify import Identified
    from ftspec.planner.prices import PriceTable
    from ftspec.profile import Profile
    from ftspec.record import State


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """What `--refresh` learned from engines and state does not say yet.

    `found`: job keys to the engine job ids that carry them; `retired`: keys of jobs whose
    model is no longer served; `gone`: (scope, dataset key) of files that the engine no longer has.
    Progress of recorded jobs is not here: who refreshes folds it into the `State`.
    """

    found: Mapping[str, str] = {}
    retired: frozenset[str] = frozenset()
    gone: frozenset[tuple[str, str]] = frozenset()


class PlanRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides a plan.

    `jobs` come from `identify`, `profiles` are by engine type, `now` is RFC 3339 UTC. `targets`,
    `exclude`, `replace` and `retry_failed` are selectors (`planner.selectors`); an empty tuple
    means the option was not given. A target brings its parents along; what is excluded takes
    its children along.
    """

    spec: Spec
    jobs: Sequence[Identified]
    datasets: Mapping[str, DatasetFacts]
    state: State
    profiles: Mapping[str, Profile]
    prices: PriceTable
    now: str
    version: str
    targets: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    replace: tuple[str, ...] = ()
    retry_failed: tuple[str, ...] = ()
    observed: Observed = Observed()
    options: Mapping[str, Any] = {}
    """Other flags that shaped the spec (`var`, `sample`, ...), kept with the plan."""
