"""Which files must be sent before the launches of a plan can be made.

A file is sent once for each scope, whatever the number of jobs that need it, and not at all
where state has it there and nobody saw it go. The executor asks the engine again before it
relies on an old file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ftspec.actions import LaunchJob, Reason, UploadFile

if TYPE_CHECKING:
    from ftspec.planner.request import PlanRequest


def uploads(launches: Iterable[LaunchJob], request: PlanRequest) -> list[UploadFile]:
    """Return the uploads that the launches need, sorted by scope and dataset."""
    needed: dict[tuple[str, str], tuple[str, str]] = {}
    for launch in launches:
        for ref, key in _files(launch):
            one = (ref, launch.job.engine)
            needed[launch.job.scope, key] = min(needed.get((launch.job.scope, key), one), one)
    found = [_upload(ref, key, engine, scope, request) for (scope, key), (ref, engine) in needed.items()]
    return sorted((one for one in found if one is not None), key=lambda one: (one.scope, one.dataset))


def _files(launch: LaunchJob) -> Iterator[tuple[str, str]]:
    yield launch.job.train, launch.train_key
    if launch.job.validation is not None and launch.validation_key is not None:
        yield launch.job.validation, launch.validation_key


def _upload(ref: str, key: str, engine: str, scope: str, request: PlanRequest) -> UploadFile | None:
    file = request.state.files.get((scope, key))
    gone = file is not None and (file.status == "gone" or (scope, key) in request.observed.gone)
    if file is not None and file.file_id is not None and not gone:
        return None
    facts = request.datasets[ref]
    return UploadFile(
        dataset=ref,
        dataset_key=key,
        engine=engine,
        scope=scope,
        rows=facts.rows,
        bytes=facts.bytes,
        reason=Reason.FILE_GONE if gone else Reason.NOT_UPLOADED,
    )
