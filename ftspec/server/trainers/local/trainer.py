"""The local trainer: real training by worker processes, here or on a cluster; nothing heavy in this process."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from ftspec.server.graders import graders_in
from ftspec.server.trainers import wishes
from ftspec.server.trainers.base import Problem, ServedModel, TrainerRefusal
from ftspec.server.trainers.local.chat import Answerer
from ftspec.server.trainers.local.elsewhere import ask_elsewhere
from ftspec.server.trainers.local.executors import executor
from ftspec.server.trainers.local.probe import ask
from ftspec.server.trainers.local.reconcile import Reconciler, Sweeper
from ftspec.server.trainers.local.resolve import EXTRA, adapter_settings, check_adapter, check_extra
from ftspec.server.trainers.local.run import LocalRun

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from ftspec.server.trainers.base import (
        ChatRequest,
        Completion,
        Grade,
        JobProgress,
        ModelSource,
        TrainingCheckpoint,
        TrainingEvent,
        TrainingJob,
        TrainingRequest,
    )
    from ftspec.server.trainers.local.probe import Facts
    from ftspec.server.trainers.local.settings import Base, Settings

_CREATED = 1_795_132_800
_GRADERS = frozenset({"string_check", "text_similarity", "python", "multi"})


class LocalTrainer:
    """A `Trainer`. `root` holds the run folders; with a cluster, every machine that trains must see it."""

    name = "local"
    methods = frozenset({"supervised", "dpo", "reinforcement"})
    extra_hyperparameters = EXTRA

    def __init__(self, root: Path, settings: Settings, *, grade: Grade, now: Callable[[], float] = time.time) -> None:
        self._root = root.resolve()
        self._root.mkdir(parents=True, exist_ok=True)
        self._settings = settings
        self.grade = grade
        self._now = now
        self._executor = executor(settings)
        self._reconciler = Reconciler(self._root, settings, self._executor, now=now)
        self._sweeper = Sweeper(self._reconciler.sweep)
        self._python = settings.python or sys.executable
        self._asking = threading.Lock()
        threads = settings.cpus or max(1, (os.cpu_count() or 1) // 2)
        self._answerer = Answerer(self._python, threads=threads, log_file=self._root / "answers.log")

    def base_models(self) -> Sequence[ServedModel]:
        """Return the bases that the settings name."""
        return [
            ServedModel(
                name=base.name,
                description=f"Open weights trained on your machines: {base.repo or base.name}.",
                created=_CREATED,
                owned_by="you",
            )
            for base in self._settings.models.values()
        ]

    def check(self, request: TrainingRequest) -> Sequence[Problem]:
        """Refuse what cannot work here, before anything is spent."""
        within = f"method.{request.method}"
        problems = list(check_extra(request.hyperparameters, within=f"{within}.hyperparameters"))
        if request.integrations:
            problems.append(Problem(message="The local engine has no integrations.", param="integrations", code="unsupported_parameter"))
        if request.hyperparameters.get("reasoning_effort", "default") != "default":
            param = f"{within}.hyperparameters.reasoning_effort"
            problems.append(Problem(message="The local engine has no reasoning effort.", param=param, code="unsupported_parameter"))
        if (refused := self._refused(request.grader)) is not None:
            problems.append(Problem(message=refused, param=f"{within}.grader", code="unsupported_grader"))
        if request.source.job_id is not None and request.hyperparameters.get("full") is not True:
            adapter = adapter_settings(self._run(request.source.job_id).checkpoint_folder(request.source.step))
            problems += check_adapter(request.hyperparameters, adapter, within=f"{within}.hyperparameters") if adapter else []
        missing = self._executor.problem()
        if missing:
            problems.append(Problem(message=missing, code="executor_not_available"))
        if not problems and (facts := self.facts(request.source.base_model)).problem:
            problems.append(Problem(message=facts.problem, param="model", code=facts.code))
        return problems

    def facts(self, name: str) -> Facts:
        """Return what the training environment says about a base."""
        with self._asking:  # the second one to ask finds what the first one was told
            return ask(self._base(name), python=self._python, cache=self._root / "probes")

    def submit(self, job: TrainingJob) -> None:
        """Take a new job."""
        run = self._run(job.id)
        run.create()
        if not run.described:
            if self._refused(job.grader) is not None:  # taken by a process that allowed its code: it waits for another one
                run.report("queued")
                return
            run.describe(self._description(job))
        if run.result() is None and not (run.path / "status.json").exists():
            run.report("queued")
        self._reconciler.open(job.id)
        self._sweeper.poke()

    def reconcile(self, job: TrainingJob) -> JobProgress:
        """Keep all jobs going, and return how far this one is."""
        run = self._run(job.id)
        if run.result() is None:
            if run.described:
                self._reconciler.open(job.id)
                self._sweeper.poke()
            else:
                self.submit(job)
        return run.progress()

    def cancel(self, job: TrainingJob) -> JobProgress:
        """End the job for good; its worker notices at its next step."""
        run = self._run(job.id)
        wishes.cancel(run, now=self._now())
        self._sweeper.poke()
        return run.progress()

    def pause(self, job: TrainingJob) -> JobProgress:
        """Save and stop at the next step, and wait."""
        run = self._run(job.id)
        wishes.pause(run, resumed="goes on from the step it reached", now=self._now())
        return run.progress()

    def resume(self, job: TrainingJob) -> JobProgress:
        """Go on with a paused job."""
        wishes.resume(self._run(job.id), now=self._now())
        return self.reconcile(job)

    def events(self, job: TrainingJob) -> Sequence[TrainingEvent]:
        """Return what happened, oldest first."""
        return self._run(job.id).events()

    def checkpoints(self, job: TrainingJob) -> Sequence[TrainingCheckpoint]:
        """Return the checkpoints of the last three epochs."""
        return self._run(job.id).checkpoints()

    def complete(self, model: ModelSource, request: ChatRequest) -> Completion:
        """Begin an answer."""
        if self._settings.serve_url:
            return ask_elsewhere(self._settings.serve_url, model, request)
        adapter, whole = None, None
        if model.job_id is not None:
            folder = self._run(model.job_id).checkpoint_folder(model.step)
            if not folder.is_dir():
                message = f"The weights of `{model.name}` were deleted."
                raise TrainerRefusal(Problem(message=message, param="model", code="model_not_found", status=404))
            adapter, whole = (folder, None) if (folder / "adapter_config.json").exists() else (None, folder)
        return self._answerer.complete(request, base=self._base(model.base_model), adapter=adapter, model=whole)

    def discard(self, model: ModelSource) -> None:
        """Remove the weights of a deleted model."""
        if model.job_id is not None:
            self._run(model.job_id).remove_checkpoints()
            shutil.rmtree(self._root / "adapters" / model.name, ignore_errors=True)

    def close(self) -> None:
        """Stop answering, once everything that was bought is submitted. Workers go on by themselves."""
        self._sweeper.close()
        self._answerer.close()

    @property
    def _allows_code(self) -> bool:
        """Whether graders may run code."""
        return bool(getattr(self.grade, "allow_code", False))

    def _refused(self, grader: Mapping[str, Any] | None) -> str | None:
        """Return why nobody may train with a grader here."""
        kinds = {part.get("type") for part in graders_in(grader)}
        if "python" in kinds and not self._allows_code:
            return "The grader runs code, which was not allowed: read it, then `ftspec apply --allow-code`."
        if kinds - _GRADERS:
            return f"The local engine trains with graders of these types: {', '.join(sorted(_GRADERS))}."
        return None

    def _base(self, name: str) -> Base:
        base = self._settings.models.get(name)
        if base is None:
            message = f"The engine's `models` no longer name the base `{name}`."
            raise TrainerRefusal(Problem(message=message, param="model", code="model_not_available"))
        return base

    def _run(self, job_id: str) -> LocalRun:
        return self._reconciler.run(job_id)

    def _description(self, job: TrainingJob) -> dict[str, Any]:
        """Return what a worker must know of a job."""
        return {
            "id": job.id,
            "project": job.project,
            "created_at": job.created_at,
            "model_name": job.model_name,
            "method": job.method,
            "hyperparameters": dict(job.hyperparameters),
            "grader": job.grader,
            "grade": _import_path(self.grade),
            "allow_code": self._allows_code,
            "seed": job.seed,
            "training_file": job.training_file,
            "training_path": str(job.training_path.resolve()),
            "validation_file": job.validation_file,
            "validation_path": str(job.validation_path.resolve()) if job.validation_path else None,
            "base": self._base(job.source.base_model).wire(),
            "start": str(self._run(job.source.job_id).checkpoint_folder(job.source.step)) if job.source.job_id else None,
            "adapters": str(self._root / "adapters"),
            "settings": {
                "micro_batch": self._settings.micro_batch,
                "precision": self._settings.precision,
                "checkpoint_seconds": self._settings.checkpoint_seconds,
            },
        }


def _import_path(grade: Any) -> str:
    """Return where a worker finds what grades: a function, or a class that it makes one of."""
    named = grade if hasattr(grade, "__qualname__") else type(grade)
    return f"{named.__module__}:{named.__qualname__}"
