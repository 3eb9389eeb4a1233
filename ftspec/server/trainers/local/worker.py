"""`python -m ftspec.server.trainers.local.worker RUN_FOLDER SUBMISSION`: one attempt at a job, in an environment of its own.

Reads what to do from the folder and leaves what became of it there. It may be killed at any
moment: the next attempt goes on from the last complete checkpoint, and on one machine ends with
the same weights. Exit codes are for the curious; nobody needs them.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import importlib
import io
import json
import math
import os
import signal
import sys
import time
import traceback
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftspec.server.durable import write_durably
from ftspec.server.trainers.base import JobFailure
from ftspec.server.trainers.local import claims
from ftspec.server.trainers.local.run import LocalRun, sync_tree
from ftspec.server.trainers.run_folder import Result, event, failed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ftspec.server.trainers.local.encode import Encoder

LOST_THE_JOB = 75
AGAIN = 76
KEPT_CHECKPOINTS = 3
_TOLD = 100
"""About how many metrics events a job has at most."""
_PACKAGES = ("torch", "transformers", "trl", "peft", "datasets", "accelerate", "ftspec")
_COLUMNS: Mapping[str, Mapping[str, str]] = {
    "supervised": {"train_accuracy": "train_mean_token_accuracy"},
    "dpo": {"train_accuracy": "train_reward_accuracy", "valid_reward_accuracy": "valid_reward_accuracy"},
    "reinforcement": {"train_mean_reward": "train_mean_reward", "valid_mean_reward": "valid_mean_reward"},
}


class Stopped(Exception):
    """Somebody wants training to end here; nothing was decided about the job."""


class LostJob(Exception):
    """A later attempt owns the job: not another word."""


class Failed(Exception):
    """The job cannot succeed."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.failure = JobFailure(code=code, message=message, param=param)


class Attempt:
    """One attempt at a job."""

    def __init__(self, run: LocalRun, *, now: Callable[[], float] = time.time) -> None:
        self._run = run
        self._now = now
        self._number = run.begin_attempt(now=now())
        self._job = run.description()
        self._settings: dict[str, Any] = {}
        self._why_stopped: str | None = None
        self._terminated = False
        self._saved_at = now()
        self._told_at = 0.0
        self._began: tuple[float, int] | None = None
        self._stepped = 0.0
        self._evaluated: dict[str, float] = {}
        self._figures: dict[str, float] = {}
        self._micro: int = self._job["settings"]["micro_batch"]

    def terminate(self, *_: object) -> None:
        """Stop at the next step."""
        self._terminated = True

    def make(self) -> int:
        """Bring the job to its end, or to where somebody wants it to stop; return an exit code."""
        try:
            self._train()
        except Stopped as stop:
            self._run.end_attempt(self._number, str(stop))
        except LostJob:
            return LOST_THE_JOB
        except Failed as stop:
            self._fail(stop.failure)
        except Exception as error:  # noqa: BLE001 the job ends, and whoever looks finds the cause in the log
            traceback.print_exc()
            from ftspec.server.trainers.local.trl_adapter import is_out_of_memory

            if is_out_of_memory(error):
                return self._out_of_memory()
            message = f"Training stopped because of an error ({type(error).__name__}); `worker.log` in the job's folder has the rest."
            self._fail(JobFailure(code="server_error", message=message))
        return 0

    # The course of an attempt

    def _train(self) -> None:
        from ftspec.server.trainers.local import trl_adapter

        self._begin()
        folder = base_folder(self._job["base"])
        start = Path(self._job["start"]) if self._job["start"] else None
        if start is not None and not start.is_dir():
            raise Failed("model_not_found", "The model that this job starts from was deleted.", "model")
        task = self._task(folder, start)
        last = trl_adapter.train(task, self)
        if self._why_stopped:
            raise Stopped(self._why_stopped)
        self._succeed(last, task.rows)

    def _begin(self) -> None:
        job = self._job
        if not self._run.events():
            self._run.say(f"Created fine-tuning job: {job['id']}", now=job["created_at"])
        if self._number == 1:
            self._say(f"Validating training file: {job['training_file']}")
            if job["validation_file"]:
                self._say(f"Validating validation file: {job['validation_file']}")
        self._look_around()

    def _task(self, folder: Path, start: Path | None) -> Any:
        import torch
        from transformers import AutoTokenizer, set_seed

        from ftspec.server.trainers.local import trl_adapter
        from ftspec.server.trainers.local.resolve import LONGEST_ANSWER, adapter_settings, resolved

        job = self._job
        threads = os.environ.get("OMP_NUM_THREADS", "1")
        torch.set_num_threads(int(threads) if threads.isdigit() else 1)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        encoder = self._encoder(folder, tokenizer)
        rows = self._read("training_file", encoder)
        validation = self._read("validation_file", encoder) if job["validation_path"] else []
        adapter = adapter_settings(start) if start else None
        self._settings = resolved(job["method"], job["hyperparameters"], rows=len(rows), adapter=adapter)
        if self._number == 1:
            self._say("Files validated, moving job to queued state")
        self._run.report("running", hyperparameters=self._settings)
        resume = self._run.resume_folder()
        self._run.figures(before=resume[0] if resume else 0)
        if resume:
            self._say(f"The attempt under way was interrupted; training goes on from step {resume[0]}", level="warn")
        else:
            self._say("Fine-tuning job started")
        precision = job["settings"]["precision"]
        low = precision == "bfloat16" or (precision is None and trl_adapter.has_bfloat16())
        set_seed(job["seed"])
        model = trl_adapter.load(folder, start, settings=self._settings, bfloat16=low)
        if unknown := trl_adapter.unknown_layers(model, self._settings.get("lora_target_modules", "all-linear")):
            param = f"method.{job['method']}.hyperparameters.lora_target_modules"
            raise Failed("invalid_value", f"The base has no layers called {', '.join(f'`{name[:80]}`' for name in unknown)}.", param)
        work = self._run.work_folder(self._number)
        work.mkdir()
        self._write_provenance(folder, low=low)
        return trl_adapter.Task(
            method=job["method"],
            model=model,
            tokenizer=tokenizer,
            rows=rows,
            validation=validation,
            settings=self._settings,
            seed=job["seed"],
            micro_batch=self._run.rows_held() or self._micro,
            bfloat16=low,
            work=work,
            resume=resume[1] if resume else None,
            reward=self._reward() if job["method"] == "reinforcement" else None,
            longest_answer=max(1, min(LONGEST_ANSWER, encoder.most - max((row.get("size", 0) for row in rows), default=0))),
        )

    def _encoder(self, folder: Path, tokenizer: Any) -> Encoder:
        from ftspec.server.trainers.local.encode import Encoder, TemplateRefused, policy
        from ftspec.server.trainers.local.resolve import most_tokens

        try:
            how = policy(tokenizer)
        except TemplateRefused as refused:
            raise Failed("unsupported_chat_template", f"The base cannot be trained on conversations: {refused}.", "model") from None
        config = json.loads((folder / "config.json").read_text())
        return Encoder(tokenizer, how, max_length=most_tokens(config, self._job["hyperparameters"]))

    def _read(self, param: str, encoder: Encoder) -> list[dict[str, Any]]:
        from ftspec.server.trainers.local.encode import BadRows, read

        encode = {"supervised": encoder.supervised, "dpo": encoder.preference, "reinforcement": encoder.task}[self._job["method"]]
        try:
            return read(Path(self._job[param.replace("_file", "_path")]), encode)
        except BadRows as bad:
            raise Failed(f"invalid_{param}", f"The {param.replace('_', ' ')} cannot be used: {bad}.", param) from None

    def _reward(self) -> Callable[[str, Mapping[str, Any]], float]:
        module, _, name = self._job["grade"].partition(":")
        grade = getattr(importlib.import_module(module), name)
        if isinstance(grade, type):
            grade = grade(allow_code=True) if self._job.get("allow_code") else grade()
        grader = self._job["grader"]

        def reward(text: str, item: Mapping[str, Any]) -> float:
            sample: dict[str, Any] = {"output_text": text}
            with contextlib.suppress(ValueError):
                sample["output_json"] = json.loads(text)
            try:
                return float(grade(grader, sample, item))
            except ValueError as error:
                raise Failed("grader_failed", f"The grader failed: {error}.", "method.reinforcement.grader") from None

        return reward

    def _succeed(self, last: int, rows: Any) -> None:
        self._look_around()
        target = self._run.path / "checkpoints" / f"step-{last}"
        if not target.is_dir():
            raise Failed("server_error", "Training ended without a model. This is a bug in ftspec.")
        self._run.write_metrics(self._table())
        self._lay_out(target)
        words = (
            f"New fine-tuned model created: {self._job['model_name']}",
            f"Weights sha256: {weights_digest(target)}",
            "The job has successfully completed",
        )
        result = Result(
            status="succeeded",
            finished_at=int(self._now()),
            trained_tokens=self._tokens(rows),
            hyperparameters=self._settings,
            step=last,
            events=tuple(event(message, now=self._now()) for message in words),
        )
        if self._run.finish(result):
            self._measure(last, rows)
        self._run.end_attempt(self._number, "succeeded")
        self._run.tidy()

    def _fail(self, failure: JobFailure) -> None:
        if self._run.newest_attempt() != self._number:
            return
        self._run.finish(failed(failure, now=self._now(), hyperparameters=self._settings or None))
        self._run.end_attempt(self._number, "failed")
        self._run.tidy()

    def _out_of_memory(self) -> int:
        """Begin again with half as many rows at once; the batch that a step learns from stays what it is."""
        from ftspec.server.trainers.local.trl_adapter import micro_batch

        held = micro_batch(self._settings["batch_size"], self._run.rows_held() or self._micro) if self._settings else 1
        if held <= 1:
            self._fail(
                JobFailure(code="out_of_memory", message="Memory ran out even with one row at a time: take a smaller base or shorter rows.")
            )
            return 0
        self._run.hold_at_most(held // 2)
        self._say(f"Memory ran out with {held} rows at once; training goes on with {held // 2}", level="warn")
        self._run.end_attempt(self._number, "out of memory")
        return AGAIN

    # What the trainer tells (`trl_adapter.Watch`)

    def step(self, step: int, total: int) -> bool:
        """Look whether somebody wants something else by now."""
        self._look_around()
        now = self._now()
        self._began = self._began or (now, step)
        self._stepped = now
        if now - self._told_at >= 1:
            self._told_at = now
            began, first = self._began
            finish = math.ceil(now + (now - began) / max(1, step - first) * (total - step)) if step > first else None
            self._run.report("running", hyperparameters=self._settings, estimated_finish=finish)
        if self._run.paused or self._terminated:
            self._why_stopped = "paused" if self._run.paused else "terminated"
        return self._why_stopped is not None and step < total

    def wants_checkpoint(self) -> bool:
        """Whether too much would be lost by now."""
        return bool(self._now() - self._saved_at >= self._job["settings"]["checkpoint_seconds"])

    def figures(self, step: int, total: int, figures: Mapping[str, float]) -> None:
        """Write down a step, and stop where its figures are none."""
        if not math.isfinite(figures["train_loss"]) or not math.isfinite(figures.get("grad_norm", 0.0)):
            message = "Training diverged: the loss is not a number any more. Lower the learning rate."
            raise Failed("training_diverged", message, "hyperparameters.learning_rate_multiplier")
        self._figures = {name: round(value, 6) for name, value in figures.items() if name != "learning_rate"}
        self._run.add_figures({"step": step, **self._figures})
        every = math.ceil(total / _TOLD)
        if step % every == 0 or step == total:
            shown = {name: value for name, value in self._figures.items() if name != "num_tokens"}
            self._say(f"Step {step}/{total}: training loss={figures['train_loss']:.2f}", step=step, total_steps=total, **shown)

    def evaluated(self, step: int, figures: Mapping[str, float]) -> None:
        """Write down an evaluation."""
        self._evaluated = {name: round(value, 6) for name, value in figures.items()}
        self._run.add_figures({"step": step, **self._evaluated})
        if figures:
            words = ", ".join(f"{name.replace('_', ' ')}={value:.2f}" for name, value in figures.items())
            self._say(f"Step {step}: {words}", step=step, **self._evaluated)

    def saved(self, step: int, folder: Path, *, epoch_ends: bool) -> None:
        """Keep a checkpoint: the weights for whoever asks for them, all of it to go on from."""
        self._look_around()
        if epoch_ends:
            self._keep(step, folder)
        self._run.keep_resume(step, folder)
        self._saved_at = self._now()

    def _keep(self, step: int, folder: Path) -> None:
        from ftspec.server.trainers.local.trl_adapter import NOT_WEIGHTS

        def copy(target: Path) -> None:
            for file in folder.iterdir():
                if file.is_file() and not file.name.startswith(NOT_WEIGHTS):
                    os.link(file, target / file.name)
            sync_tree(target)

        known = {checkpoint.step for checkpoint in self._run.checkpoints()}
        metrics = {name: value for name, value in {**self._figures, **self._evaluated}.items() if name != "num_tokens"}
        self._run.save_checkpoint(step, {"step": step, **metrics}, copy, now=self._now())
        self._run.keep_last_checkpoints(KEPT_CHECKPOINTS)
        self._evaluated = {}
        if step not in known:
            self._say(f"Checkpoint created at step {step} with Snapshot ID: {self._job['model_name']}:ckpt-step-{step}")

    # Small parts

    def _look_around(self) -> None:
        """Stop where the job has ended (cancelled), or belongs to another."""
        if self._run.newest_attempt() != self._number:
            raise LostJob
        if self._run.result() is not None:
            raise Stopped("cancelled")

    def _say(self, message: str, **more: Any) -> None:
        self._run.say(message, now=self._now(), **more)

    def _tokens(self, rows: Any) -> int:
        if self._job["method"] == "reinforcement":
            return int(max((figures.get("num_tokens", 0) for figures in self._run.figures()), default=0))
        sizes = {"input_ids": 1, "prompt_ids": 2, "chosen_ids": 1, "rejected_ids": 1}
        seen = sum(count * len(row[name]) for row in rows for name, count in sizes.items() if name in row)
        return int(seen * self._settings["n_epochs"])

    def _table(self) -> str:
        columns = {"step": "step", "train_loss": "train_loss", **_COLUMNS[self._job["method"]]}
        columns |= {"valid_loss": "full_valid_loss", "valid_mean_token_accuracy": "full_valid_mean_token_accuracy"}
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        for figures in self._run.figures():
            writer.writerow([figures.get(name, "") for name in columns.values()])
        return text.getvalue()

    def _write_provenance(self, folder: Path, *, low: bool) -> None:
        versions: dict[str, str | None] = {}
        for package in _PACKAGES:
            try:
                versions[package] = version(package)
            except PackageNotFoundError:
                versions[package] = None
        from ftspec.server.trainers.local.trl_adapter import device

        content = {
            "versions": versions,
            "python": sys.version.split()[0],
            "device": device(),
            "precision": "bfloat16" if low else "float32",
            "base_sha256": weights_digest(folder),
            "training_sha256": _file_digest(Path(self._job["training_path"])),
        }
        (self._run.path / "provenance.json").write_text(json.dumps(content, indent=1))

    def _measure(self, last: int, rows: Any) -> None:
        """Write down how fast it went, for the estimates of later plans."""
        import resource

        import torch

        if self._began is None or last <= self._began[1]:
            return
        began, first = self._began
        peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        line = {
            "job": self._job["id"],
            "base": self._job["base"]["name"],
            "method": self._job["method"],
            "full": self._settings["full"],
            "device": "cuda" if torch.cuda.is_available() else "cpu",
            "seconds": round(self._stepped - began, 3),
            "tokens": round(self._tokens(rows) * (last - first) / last),
            "memory": peak,
        }
        with (Path(self._job["adapters"]).parent / "measured.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def _lay_out(self, target: Path) -> None:
        """Lay an adapter out as vLLM's resolver looks for it: a folder of the model's name, that names its base as it is served."""
        if not (target / "adapter_config.json").exists():
            return
        folder = Path(self._job["adapters"]) / self._job["model_name"]
        folder.mkdir(parents=True, exist_ok=True)
        for file in target.iterdir():
            if file.name not in {"checkpoint.json", "adapter_config.json"} and not (folder / file.name).exists():
                os.link(file, folder / file.name)
        config = json.loads((target / "adapter_config.json").read_text())
        config["base_model_name_or_path"] = self._job["base"]["repo"] or self._job["base"]["path"]
        write_durably(folder / "adapter_config.json", json.dumps(config, indent=1).encode())


def base_folder(base: Mapping[str, Any]) -> Path:
    """Return the folder of a base; one of a hub is fetched at its commit: safetensors and no code."""
    if base["path"]:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        return Path(base["path"])
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(
            snapshot_download(
                base["repo"], revision=base["revision"], allow_patterns=["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]
            )
        )
    except (HfHubHTTPError, OSError) as error:
        raise Failed("model_not_available", f"The base could not be fetched from the hub ({type(error).__name__}).", "model") from None


def weights_digest(folder: Path) -> str:
    """Return the sha256 of a folder's weights."""
    whole = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        whole.update(_file_digest(path).encode())
    return whole.hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(arguments: list[str]) -> int:
    """Make one attempt at the job of a folder."""
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    run, submission = LocalRun(Path(arguments[0])), int(arguments[1])
    if not claims.take(run.path, submission) or run.result() is not None:
        return 0
    if run.paused:
        run.decline(submission)
        return 0
    attempt = Attempt(run)
    signal.signal(signal.SIGTERM, attempt.terminate)
    code = attempt.make()
    if code == AGAIN:
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, "-P", "-m", "ftspec.server.trainers.local.worker", *arguments])  # noqa: S606 this program, with its memory free again
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
