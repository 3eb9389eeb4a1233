"""One sandbox job from its rows to its result: validate, train, checkpoint, report.

Training is a function of the job alone (rows, hyperparameters, seed, starting weights), so an
attempt that broke off is simply made again from the start and ends with the same bits.
"""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 loaded only when something is trained or asked

from ftspec.diagnostics import FtspecError
from ftspec.server.trainers.base import JobFailure
from ftspec.server.trainers.run_folder import Result, event, failed
from ftspec.server.trainers.sandbox import weights
from ftspec.server.trainers.sandbox.bases import BASE_RATE, resolved
from ftspec.server.trainers.sandbox.network import noise
from ftspec.server.trainers.sandbox.objectives import Objective, Preference, Reinforcement, Supervised
from ftspec.server.trainers.sandbox.rows import BadRows, Row, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ftspec.server.trainers.base import Grade, TrainingJob
    from ftspec.server.trainers.run_folder import RunFolder
    from ftspec.server.trainers.sandbox.network import Network

KEPT_CHECKPOINTS = 3
_STARTED = "Fine-tuning job started"
_TOLD = 100
"""About how many metrics events a job has at most."""
_ESTIMATE_SECONDS = 0.25
"""How often a running job says when it will end: replacing a file costs milliseconds on some file systems."""

_COLUMNS = {
    "step": "step",
    "train_loss": "train_loss",
    "train_accuracy": "train_mean_token_accuracy",
    "valid_loss": "valid_loss",
    "valid_mean_token_accuracy": "valid_mean_token_accuracy",
}
_MORE_COLUMNS: Mapping[str, Mapping[str, str]] = {
    "supervised": {},
    "dpo": {"train_accuracy": "train_reward_accuracy", "valid_reward_accuracy": "valid_reward_accuracy"},
    "reinforcement": {"train_mean_reward": "train_mean_reward", "valid_mean_reward": "valid_mean_reward"},
}


class Stopped(Exception):
    """Training ended at a step because somebody wanted it to; nothing was decided."""


class Failed(Exception):
    """The job cannot succeed."""

    def __init__(self, failure: JobFailure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Attempt:
    """One attempt at a job, by whoever holds the lock of its folder."""

    def __init__(
        self,
        job: TrainingJob,
        run: RunFolder,
        *,
        start: Callable[[], Network],
        grade: Grade,
        stopping: Callable[[], bool],
        now: Callable[[], float],
    ) -> None:
        self._job = job
        self._run = run
        self._start = start
        self._grade = grade
        self._stopping = stopping
        self._now = now
        self._settings: dict[str, Any] = {}
        self._objective: Objective | None = None

    def make(self) -> None:
        """Bring the job to its end, or raise `Stopped`."""
        try:
            self._begin()
            objective = self._prepare()
            self._train(objective)
        except Failed as failed:
            self._fail(failed.failure)

    def _say(self, message: str, **more: Any) -> None:
        self._run.say(message, now=self._now(), **more)

    def _begin(self) -> None:
        job, said = self._job, {event.message for event in self._run.events()}
        created = f"Created fine-tuning job: {job.id}"
        if created not in said:
            self._run.say(created, now=job.created_at)
        if _STARTED in said:
            self._say("An earlier attempt did not come to its end; training starts again from the beginning", level="warn")
        self._say(f"Validating training file: {job.training_file}")
        if job.validation_file:
            self._say(f"Validating validation file: {job.validation_file}")

    def _prepare(self) -> Objective:
        """Read and check the files, resolve what is "auto", and make ready what is to be learned."""
        job = self._job
        rows = self._read("training_file")
        validation = self._read("validation_file") if job.validation_path else []
        self._settings = resolved(job.method, job.hyperparameters, rows=len(rows))
        self._run.report("queued", hyperparameters=self._settings)
        self._say("Files validated, moving job to queued state")
        self._run.report("running", hyperparameters=self._settings)
        self._say(_STARTED)
        self._tick()
        try:
            start = self._start()
        except FileNotFoundError:
            message = "The model that this job starts from was deleted."
            raise Failed(JobFailure(code="model_not_found", message=message, param="model")) from None
        return self._objective_of(start, rows, validation)

    def _read(self, param: str) -> list[Row]:
        path = self._job.training_path if param == "training_file" else self._job.validation_path
        try:
            return read(path, self._job.method) if path else []
        except BadRows as bad:
            message = f"The {param.replace('_', ' ')} cannot be used: {bad}."
            raise Failed(JobFailure(code=f"invalid_{param}", message=message, param=param)) from None

    def _objective_of(self, start: Network, rows: list[Row], validation: list[Row]) -> Objective:
        seed, settings = self._job.seed, self._settings
        if self._job.method == "supervised":
            return Supervised(start, rows, validation, seed=seed)
        if self._job.method == "dpo":
            return Preference(start, rows, validation, seed=seed, beta=settings["beta"])
        grader = self._job.grader or {}
        return Reinforcement(start, rows, validation, seed=seed, settings=settings, grader=grader, grade=self._grade)

    def _tick(self) -> None:
        """Stop here if somebody wants that."""
        if self._stopping() or self._run.paused or self._run.result() is not None:
            raise Stopped

    def _batches(self, size: int) -> Iterator[Sequence[int]]:
        """Yield the rows of every step: each epoch in an order of its own, drawn by the seed."""
        for epoch in range(1, self._settings["n_epochs"] + 1):
            order = np.argsort(noise(self._job.seed * 1009 + epoch, range(size), 1)[:, 0], kind="stable").tolist()
            for start in range(0, size, self._settings["batch_size"]):
                yield order[start : start + self._settings["batch_size"]]

    def _train(self, objective: Objective) -> None:
        per_epoch = math.ceil(objective.size / self._settings["batch_size"])
        total = per_epoch * self._settings["n_epochs"]
        every = math.ceil(total / _TOLD)
        rate = BASE_RATE[self._job.method] * self._settings["learning_rate_multiplier"]
        began, table = self._now(), _Table(self._job.method)
        estimate_at = began + _ESTIMATE_SECONDS
        for step, batch in enumerate(self._batches(objective.size), start=1):
            self._tick()
            figures = self._learn(objective, batch, rate=rate * (1 - (step - 1) / total))
            if step % every == 0 or step == total:
                figures |= _validated(objective, step=step)
            epoch_ends = step % per_epoch == 0
            if epoch_ends or step % self._settings.get("eval_interval", per_epoch) == 0:
                figures |= _validated(objective, step=None)
            _check_finite(figures)
            table.add(step, figures)
            if step % every == 0 or epoch_ends:
                self._tell(step, total, figures)
            if epoch_ends:
                self._save(objective, step, figures)
            if (now := self._now()) >= estimate_at:
                estimate_at = now + _ESTIMATE_SECONDS
                finish = math.ceil(now + (now - began) / step * (total - step))
                self._run.report("running", hyperparameters=self._settings, estimated_finish=finish)
        self._tick()
        self._succeed(objective, total, table)

    def _learn(self, objective: Objective, batch: Sequence[int], *, rate: float) -> dict[str, float]:
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # `_check_finite` says what became of it
                return objective.learn(batch, rate=rate)
        except (ValueError, FtspecError) as error:  # a grader that cannot judge
            message = f"The grader failed: {error}."
            raise Failed(JobFailure(code="grader_failed", message=message, param="method.reinforcement.grader")) from None

    def _tell(self, step: int, total: int, figures: Mapping[str, float]) -> None:
        loss = next((f", {words}={figures[name]:.2f}" for name, words in _SPOKEN if name in figures), "")
        said = {name: round(value, 6) for name, value in figures.items()}
        self._say(f"Step {step}/{total}: training loss={figures['train_loss']:.2f}{loss}", step=step, total_steps=total, **said)

    def _save(self, objective: Objective, step: int, figures: Mapping[str, float]) -> None:
        network = objective.learner.network
        self._run.save_checkpoint(step, {"step": step, **figures}, lambda folder: weights.save(network, folder), now=self._now())
        self._run.keep_last_checkpoints(KEPT_CHECKPOINTS)
        self._say(f"Checkpoint created at step {step} with Snapshot ID: {self._job.model_name}:ckpt-step-{step}")

    def _succeed(self, objective: Objective, total: int, table: _Table) -> None:
        self._run.write_metrics(table.text())
        words = (f"New fine-tuned model created: {self._job.model_name}", "The job has successfully completed")
        self._run.finish(
            Result(
                status="succeeded",
                finished_at=int(self._now()),
                trained_tokens=objective.tokens(),
                hyperparameters=self._settings,
                step=total,
                events=tuple(event(message, now=self._now()) for message in words),
            )
        )

    def _fail(self, failure: JobFailure) -> None:
        self._run.finish(failed(failure, now=self._now(), hyperparameters=self._settings or None))


_SPOKEN = (
    ("full_valid_loss", "full validation loss"),
    ("valid_loss", "validation loss"),
    ("train_mean_reward", "mean reward"),
)


def _validated(objective: Objective, *, step: int | None) -> dict[str, float]:
    with np.errstate(over="ignore", invalid="ignore"):
        return objective.validate(step=step)


def _check_finite(figures: Mapping[str, float]) -> None:
    if not all(map(math.isfinite, figures.values())):
        message = "Training diverged: the loss is not a number any more. Lower the learning rate multiplier."
        raise Failed(JobFailure(code="training_diverged", message=message, param="hyperparameters.learning_rate_multiplier"))


class _Table:
    """The result file: a line for each step."""

    def __init__(self, method: str) -> None:
        self._columns = {**_COLUMNS, **_MORE_COLUMNS[method]}
        self._text = io.StringIO()
        self._writer = csv.writer(self._text, lineterminator="\n")
        self._writer.writerow(self._columns)

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        values = {"step": step, **{name: f"{value:.6f}" for name, value in figures.items()}}
        self._writer.writerow([values.get(name, "") for name in self._columns.values()])

    def text(self) -> str:
        return self._text.getvalue()
