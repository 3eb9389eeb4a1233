"""Everything by which the executor touches the world, in one value.

Tests, the simulated world and other front ends give their own; there is no other way out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeAlias

from ftspec.executor.interrupt import Stop
from ftspec.executor.progress import Progress, silent
from ftspec.executor.result import ApplyOptions, CostOf

if TYPE_CHECKING:
    from ftspec.actions import RunEval
    from ftspec.engines.base import Clock, Engine
    from ftspec.executor.journal import Journal
    from ftspec.experiment import DesiredJob
    from ftspec.profile import Profile
    from ftspec.record import RecordedEval


class Openable(Protocol):
    """A file to send: a `Path` is one."""

    def open(self, mode: Any) -> BinaryIO:
        """Open it for reading bytes."""
        ...


Materialise: TypeAlias = Callable[[str, str], Awaitable[tuple[Openable, str, int, int]]]
"""(dataset reference, planned dataset key) to (file, SHA-256 of its bytes, rows, bytes); `FtspecError` when the data changed."""


class RequestBody(Protocol):
    """`ftspec.engines.request.job_body`."""

    def __call__(
        self,
        job: DesiredJob,
        *,
        profile: Profile,
        base_model_name: str,
        training_file: str,
        validation_file: str | None,
        project: str | None,
        key: str,
        attempt: int,
    ) -> Mapping[str, Any]:
        """Return the JSON request that buys `job`."""
        ...


class Evaluate(Protocol):
    """Runs one eval on one model. Records its own facts; `EngineError` and `FtspecError` mean that it could not."""

    async def __call__(self, action: RunEval, *, model: str, job_key: str | None, engine: Engine) -> RecordedEval:
        """Return the eval run as recorded."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """The effects of one walk."""

    journal: Journal
    clock: Clock
    random: Random
    request_body: RequestBody
    materialise: Materialise
    progress: Progress = silent
    evaluate: Evaluate | None = None
    cost_of: CostOf | None = None
    stop: Stop = field(default_factory=Stop)
    options: ApplyOptions = field(default_factory=ApplyOptions)
