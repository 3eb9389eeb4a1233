"""The sandbox trainer: short jobs in a few threads of this process, no daemon, no network.

Its models are a toy's, and they say so: see `bases.py`. A job belongs to nobody in particular:
whichever process is asked about an unfinished job takes it up, and the operating system's lock
on its folder keeps two from training it at once. An attempt that broke off starts over and
ends with the same bits.
"""

from __future__ import annotations

import random
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from ftspec.server.graders import grade as simple_grade
from ftspec.server.graders import graders_in
from ftspec.server.trainers import wishes
from ftspec.server.trainers.base import (
    ChatToken,
    Completion,
    JobFailure,
    JobProgress,
    ModelSource,
    Problem,
    TrainerRefusal,
    TrainingCheckpoint,
    TrainingEvent,
)
from ftspec.server.trainers.run_folder import RunFolder, failed
from ftspec.server.trainers.sandbox.bases import BASES
from ftspec.server.trainers.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from ftspec.server.trainers.base import ChatRequest, Grade, ServedModel, TrainingJob, TrainingRequest
    from ftspec.server.trainers.sandbox.features import Context
    from ftspec.server.trainers.sandbox.network import Network

_LOADED = 16
_DEFAULT_WORDS = 512
_GRADERS = frozenset({"string_check", "text_similarity", "multi"})


class SandboxTrainer:
    """A `Trainer`. `root` holds the run folders, `grade` scores the samples of reinforcement jobs."""

    name = "sandbox"
    extra_hyperparameters: frozenset[str] = frozenset()

    def __init__(self, root: Path, *, grade: Grade = simple_grade, workers: int = 2, now: Callable[[], float] = time.time) -> None:
        self._root = root
        self.grade = grade
        self._now = now
        self._workers = Workers(self._work, count=workers)
        self._loaded: OrderedDict[str, tuple[Network, str]] = OrderedDict()
        self._loading = threading.Lock()

    def base_models(self) -> Sequence[ServedModel]:
        """Return the three toys."""
        return [base.served() for base in BASES.values()]

    def check(self, request: TrainingRequest) -> Sequence[Problem]:
        """Refuse what the sandbox cannot do."""
        problems = []
        if request.integrations:
            problems.append(Problem(message="The sandbox has no integrations.", param="integrations", code="unsupported_parameter"))
        if request.hyperparameters.get("reasoning_effort", "default") != "default":
            param = "method.reinforcement.hyperparameters.reasoning_effort"
            problems.append(Problem(message="The sandbox does not reason.", param=param, code="unsupported_parameter"))
        kinds = {part.get("type") for part in graders_in(request.grader)}
        if kinds - _GRADERS:
            message = f"The sandbox trains with graders of these types: {', '.join(sorted(_GRADERS))}."
            problems.append(Problem(message=message, param="method.reinforcement.grader", code="unsupported_grader"))
        return problems

    def submit(self, job: TrainingJob) -> None:
        """Take a new job."""
        self._workers.ensure(job)

    def reconcile(self, job: TrainingJob) -> JobProgress:
        """Take up a job that nobody finished, and return how far it is."""
        progress = self._run(job.id).progress()
        if not progress.terminal and not progress.paused:
            self._workers.ensure(job)
        return progress

    def cancel(self, job: TrainingJob) -> JobProgress:
        """End the job for good; training notices at its next step."""
        run = self._run(job.id)
        wishes.cancel(run, now=self._now())
        return run.progress()

    def pause(self, job: TrainingJob) -> JobProgress:
        """Stop at the next step and wait."""
        run = self._run(job.id)
        wishes.pause(run, resumed="starts again from the beginning", now=self._now())
        return run.progress()

    def resume(self, job: TrainingJob) -> JobProgress:
        """Go on with a paused job."""
        wishes.resume(self._run(job.id), now=self._now())
        return self.reconcile(job)

    def events(self, job: TrainingJob) -> Sequence[TrainingEvent]:
        """Return what happened, oldest first."""
        return self._run(job.id).events()

    def checkpoints(self, job: TrainingJob) -> Sequence[TrainingCheckpoint]:
        """Return the last three checkpoints."""
        return self._run(job.id).checkpoints()

    def complete(self, model: ModelSource, request: ChatRequest) -> Completion:
        """Begin an answer."""
        from ftspec.server.trainers.sandbox.features import Context
        from ftspec.server.trainers.sandbox.rows import flattened
        from ftspec.server.trainers.sandbox.words import count

        unsupported = [*(["tools"] if request.tools else []), *request.options]
        if unsupported:
            message = f"The sandbox is a toy learner: it does not support '{unsupported[0]}'."
            raise TrainerRefusal(Problem(message=message, param=unsupported[0], code="unsupported_parameter"))
        try:
            messages = [flattened(message) for message in request.messages]
        except ValueError as error:
            raise TrainerRefusal(
                Problem(message=f"Invalid value for 'messages': {error}.", param="messages", code="invalid_value")
            ) from None
        try:
            network, fingerprint = self._network(model)
        except FileNotFoundError:
            problem = Problem(message=f"The weights of `{model.name}` were deleted.", param="model", code="model_not_found")
            raise TrainerRefusal(problem) from None
        return Completion(
            prompt_tokens=count(message["content"] for message in messages),
            fingerprint=f"fp_sandbox_toy_{fingerprint[:12]}",
            tokens=_answer(network, Context(messages), request),
        )

    def discard(self, model: ModelSource) -> None:
        """Remove the weights of a deleted model."""
        if model.job_id is not None:
            self._run(model.job_id).remove_checkpoints()
            with self._loading:
                for key in [key for key in self._loaded if key.startswith(f"{model.job_id}@")]:
                    del self._loaded[key]

    def close(self) -> None:
        """Stop at the next step; unfinished jobs start over when somebody asks again."""
        self._workers.close()

    def _run(self, job_id: str) -> RunFolder:
        return RunFolder(self._root / job_id)

    def _network(self, source: ModelSource) -> tuple[Network, str]:
        """Return the weights that a source stands for, and their hash. They are never changed."""
        from ftspec.server.trainers.sandbox.weights import load

        key = f"{source.job_id}@{source.step}" if source.job_id else source.base_model
        with self._loading:
            if key not in self._loaded:
                if source.job_id:
                    network = load(self._run(source.job_id).checkpoint_folder(source.step))
                else:
                    network = BASES[source.base_model].network()
                self._loaded[key] = (network, network.fingerprint())
            self._loaded.move_to_end(key)
            while len(self._loaded) > _LOADED:
                self._loaded.popitem(last=False)
            return self._loaded[key]

    def _work(self, job: TrainingJob) -> None:
        """Bring a job to its end, unless somebody else is at it."""
        from ftspec.server.trainers.sandbox.training import Attempt, Stopped

        run = self._run(job.id)
        run.create()
        with run.lock() as held:
            if not held or run.result() is not None or run.paused:
                return
            attempt = Attempt(
                job,
                run,
                start=lambda: self._network(job.source)[0],
                grade=self.grade,
                stopping=lambda: self._workers.stopping,
                now=self._now,
            )
            try:
                attempt.make()
            except Stopped:
                return
            except Exception as error:
                # trying again would fail again: the job ends, and whoever serves finds the cause in the log
                failure = JobFailure(code="server_error", message=f"Training stopped because of a bug in ftspec ({type(error).__name__}).")
                run.finish(failed(failure, now=self._now()))
                raise


def _answer(network: Network, context: Context, request: ChatRequest) -> Generator[ChatToken, None, None]:
    """Yield the words of an answer. The moves along the prompt before a word count towards its probability."""
    from ftspec.server.trainers.sandbox.transducer import ADVANCE, END, STRIDES
    from ftspec.server.trainers.sandbox.writing import alternatives, write

    chance = random.Random(f"{request.seed}") if request.seed is not None else random.Random()  # noqa: S311 a reproducible draw
    limit = request.max_tokens or _DEFAULT_WORDS
    before, pointer, words, finish = 0.0, 0, 0, "length"
    for step in write(network, context, temperature=request.temperature, top_p=request.top_p, chance=chance, limit=limit):
        likelihood = before + float(step.log_probabilities[step.action])
        if step.action == END:
            finish = "stop"
        elif step.action == ADVANCE:
            before = likelihood
        else:
            top: list[tuple[str, float]] = []
            if request.top_logprobs:
                top = alternatives(network, context, step, pointer, first=not words, count=request.top_logprobs)
            yield ChatToken(text=step.text, logprob=likelihood, top=[(text, before + value) for text, value in top])
            before, words = 0.0, words + 1
        pointer += step.action in STRIDES
    yield ChatToken(text="", finish="stop" if finish == "stop" else "length")
