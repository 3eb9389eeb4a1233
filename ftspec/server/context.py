"""What every route works with: the store, the trainer, and how names and jobs are looked up.

`Server.observe` is the only place where the two truths meet: the store says what was bought,
the trainer how far it is, and a job that has ended is settled before anybody hears of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from anyio import CapacityLimiter

from ftspec.server.trainers.base import ModelSource
from ftspec.server.wire import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.requests import Request

    from ftspec.server.limits import Limits
    from ftspec.server.store import Store
    from ftspec.server.trainers.base import JobProgress, Trainer, TrainingJob

_CHATS = 64
_CHECKPOINT = re.compile(r"(?P<model>.+):ckpt-step-(?P<step>[0-9]{1,9})")


@dataclass(slots=True, kw_only=True)
class Server:
    """One served root: its records, what trains, and whose it is."""

    store: Store
    trainer: Trainer
    organization: str
    now: Callable[[], float]
    max_file_bytes: int
    limits: Limits | None = None
    _ended: dict[str, JobProgress] = field(default_factory=dict)
    _chats: CapacityLimiter | None = None

    @property
    def chats(self) -> CapacityLimiter:
        """How many answers are waited for at once: their threads are their own, so that nothing else waits behind long ones."""
        if self._chats is None:
            self._chats = CapacityLimiter(_CHATS)  # made within an event loop
        return self._chats

    @property
    def time(self) -> int:
        """The time in Unix seconds."""
        return int(self.now())

    def wake(self) -> None:
        """Let everything go on that an earlier process left unfinished."""
        for job in self.store.unsettled():
            self.observe(job)

    def observe(self, job: TrainingJob) -> tuple[TrainingJob, JobProgress]:
        """Return a job and how far it is; an ended one is settled first."""
        if job.id in self._ended:
            return job, self._ended[job.id]
        progress = self.trainer.reconcile(job)
        if progress.terminal:
            job = self.store.settle(job, progress.results, now=self.time)
            self._ended[job.id] = progress
        return job, progress

    def job(self, request: Request) -> TrainingJob:
        """Return the job that the path names."""
        job_id = request.path_params["job_id"]
        job = self.store.job(project_of(request), job_id)
        if job is None:
            raise ApiError(404, f"Could not find fine tune: {job_id}", param="fine_tuning_job_id", code="fine_tune_not_found")
        return job

    def source(self, project: str, name: str) -> ModelSource | None:
        """Return the weights that a model name stands for, if this project may use them."""
        if any(base.name == name for base in self.trainer.base_models()):
            return ModelSource(name=name, base_model=name)
        job = self.store.job_of_model(project, name)
        if job is not None:
            return self._result(job) if self.observe(job)[1].status == "succeeded" else None
        found = _CHECKPOINT.fullmatch(name)
        job = self.store.job_of_model(project, found["model"]) if found else None
        if found is None or job is None:
            return None
        step = int(found["step"])
        if any(checkpoint.step == step and not checkpoint.final for checkpoint in self.trainer.checkpoints(job)):
            return ModelSource(name=name, base_model=job.source.base_model, job_id=job.id, step=step)
        return None

    def trained(self, project: str) -> Iterator[TrainingJob]:
        """Yield the jobs, newest first, whose models can be used."""
        for job in self.store.jobs_with_models(project):
            if self.observe(job)[1].status == "succeeded":
                yield job

    def _result(self, job: TrainingJob) -> ModelSource:
        return ModelSource(name=job.model_name, base_model=job.source.base_model, job_id=job.id)


def project_of(request: Request) -> str:
    """Return the project that the request's key or header speaks for."""
    project: str = request.state.project
    return project


def server_of(request: Request) -> Server:
    """Return what the app was made with."""
    server: Server = request.app.state.server
    return server


def unknown_model(name: str) -> ApiError:
    """Return the protocol's answer to a model that does not exist for this key."""
    return ApiError(404, f"The model `{name[:200]}` does not exist or you do not have access to it.", param="model", code="model_not_found")
