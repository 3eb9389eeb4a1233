"""The only module that knows TRL, PEFT and transformers' trainers by their names.

`train` takes rows that are encoded already (`encode.py`) and tells a `Watch` what happens. What
TRL would do by itself and must not: mask, truncate, pack, report to anybody, keep checkpoints.
"""

# ruff: noqa: TID253 this module lives in the worker, which exists to load all this

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from transformers import PrinterCallback, TrainerCallback

from ftspec.server.trainers.local.resolve import samples

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from ftspec.server.trainers.base import Method

TRAIN_FIGURES = {
    "loss": "train_loss",
    "mean_token_accuracy": "train_mean_token_accuracy",
    "rewards/accuracies": "train_reward_accuracy",
    "rewards/margins": "train_reward_margin",
    "reward": "train_mean_reward",
    "reward_std": "train_reward_std",
    "completions/mean_length": "mean_completion_length",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
    "num_tokens": "num_tokens",
}
EVAL_FIGURES = {
    "eval_loss": "full_valid_loss",
    "eval_mean_token_accuracy": "full_valid_mean_token_accuracy",
    "eval_rewards/accuracies": "valid_reward_accuracy",
    "eval_reward": "valid_mean_reward",
}
NOT_WEIGHTS = ("optimizer", "scheduler", "rng_state", "trainer_state", "training_args", "README", "scaler")
"""How files begin that a checkpoint needs only to go on."""


class Watch(Protocol):
    """Who is told what happens, and may stop it by raising."""

    def step(self, step: int, total: int) -> bool:
        """Return whether training should save what it goes on from, and stop."""
        ...

    def wants_checkpoint(self) -> bool:
        """Return whether it is time to save what training goes on from."""
        ...

    def figures(self, step: int, total: int, figures: Mapping[str, float]) -> None:
        """Take the figures of a step."""
        ...

    def evaluated(self, step: int, figures: Mapping[str, float]) -> None:
        """Take the figures of an evaluation."""
        ...

    def saved(self, step: int, folder: Path, *, epoch_ends: bool) -> None:
        """Take a complete checkpoint; its folder is the watch's from now on."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Everything that decides what comes out."""

    method: Method
    model: Any
    tokenizer: Any
    rows: Sequence[Mapping[str, Any]]
    validation: Sequence[Mapping[str, Any]]
    settings: Mapping[str, Any]
    seed: int
    micro_batch: int
    bfloat16: bool
    work: Path
    resume: Path | None
    reward: Callable[[str, Mapping[str, Any]], float] | None = None
    longest_answer: int = 256
    """Most tokens that reinforcement tries."""


def device() -> str:
    """Return what trains here."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def has_bfloat16() -> bool:
    """Whether the device computes in bfloat16 at full speed."""
    return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported())


def load(base: Path, start: Path | None, *, settings: Mapping[str, Any], bfloat16: bool) -> Any:
    """Return the model to train: a base, a fully trained one, or a base with the adapter to go on with."""
    from transformers import AutoModelForCausalLM

    low = bfloat16 and not settings["full"]  # full training keeps its weights in 32 bits and computes in 16
    adapter = start is not None and (start / "adapter_config.json").exists()
    folder = base if start is None or adapter else start
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16 if low else torch.float32, use_safetensors=True, trust_remote_code=False, local_files_only=True
    )
    if adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, start, is_trainable=not settings["full"])
        if settings["full"]:
            model = model.merge_and_unload()
    return model


def unknown_layers(model: Any, targets: str | Sequence[str]) -> list[str]:
    """Return the layers that LoRA should change and the model does not have."""
    names = [name for name, _ in model.named_modules()]
    wanted = [] if isinstance(targets, str) else targets
    return [target for target in wanted if not any(name == target or name.endswith(f".{target}") for name in names)]


def micro_batch(batch: int, most: int) -> int:
    """Return how many rows to hold at once: the largest divisor of the batch that is allowed."""
    return max(size for size in range(1, min(batch, most) + 1) if batch % size == 0)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out."""
    return isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and "out of memory" in str(error).lower()
    )


def train(task: Task, watch: Watch) -> int:
    """Train to the end, or until the watch stops it; return the last step."""
    trainer = {"supervised": _supervised, "dpo": _preference, "reinforcement": _reinforcement}[task.method](task)
    trainer.remove_callback(PrinterCallback)
    reporter = _Reporter(task, watch)
    trainer.add_callback(reporter)
    trainer.train(resume_from_checkpoint=str(task.resume) if task.resume else None)
    last = int(trainer.state.global_step)
    if not reporter.stopped and reporter.kept != last:  # an epoch that ended off its steps (rows left over), or a resumed last step
        folder = task.work / "last"
        trainer.save_model(str(folder))
        watch.saved(last, folder, epoch_ends=True)
    return last


def _arguments(kind: Any, task: Task, **more: Any) -> Any:
    settings = task.settings
    size = micro_batch(settings["batch_size"], task.micro_batch)
    values = {
        "output_dir": str(task.work),
        "num_train_epochs": settings["n_epochs"],
        "per_device_train_batch_size": size,
        "per_device_eval_batch_size": size,
        "gradient_accumulation_steps": settings["batch_size"] // size,
        "learning_rate": settings["learning_rate"],
        "lr_scheduler_type": "linear",
        "seed": task.seed,
        "data_seed": task.seed,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "eval_strategy": "no",  # `_Reporter` says when
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": device() == "cpu",
        "bf16": task.bfloat16,
        "gradient_checkpointing": device() == "cuda",
        "dataloader_pin_memory": device() == "cuda",
        "max_length": None,
        "packing": False,
        "remove_unused_columns": False,
        **more,
    }
    known = {field.name for field in dataclasses.fields(kind)}
    return kind(**{name: value for name, value in values.items() if name in known})


def _common(task: Task) -> dict[str, Any]:
    from datasets import Dataset

    common: dict[str, Any] = {
        "model": task.model,
        "processing_class": task.tokenizer,
        "train_dataset": Dataset.from_list([dict(row) for row in task.rows]),
        "eval_dataset": Dataset.from_list([dict(row) for row in task.validation]) if task.validation else None,
    }
    if not task.settings["full"] and not hasattr(task.model, "peft_config"):
        from peft import LoraConfig

        common["peft_config"] = LoraConfig(
            task_type="CAUSAL_LM",
            r=task.settings["lora_r"],
            lora_alpha=task.settings["lora_alpha"],
            lora_dropout=task.settings["lora_dropout"],
            target_modules=task.settings["lora_target_modules"],
        )
    return common


def _supervised(task: Task) -> Any:
    from trl import SFTConfig, SFTTrainer

    return SFTTrainer(args=_arguments(SFTConfig, task), **_common(task))


def _preference(task: Task) -> Any:
    from trl import DPOConfig, DPOTrainer

    class Encoded(DPOTrainer):  # type: ignore[misc, unused-ignore]
        """Takes `prompt_ids`, `chosen_ids` and `rejected_ids` as they are."""

        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset

    return Encoded(args=_arguments(DPOConfig, task, beta=task.settings["beta"]), **_common(task))


def _reinforcement(task: Task) -> Any:
    from trl import GRPOConfig, GRPOTrainer

    tries = samples(task.settings["compute_multiplier"])
    prompts = micro_batch(task.settings["batch_size"], max(1, task.micro_batch // tries))
    arguments = _arguments(
        GRPOConfig,
        task,
        num_generations=tries,
        num_generations_eval=task.settings["eval_samples"],
        per_device_train_batch_size=prompts * tries,
        per_device_eval_batch_size=prompts * task.settings["eval_samples"],
        gradient_accumulation_steps=task.settings["batch_size"] // prompts,
        max_completion_length=task.longest_answer,
        beta=0.0,
    )

    def reward(completions: Sequence[Sequence[Mapping[str, Any]]], item: Sequence[str], **_: Any) -> list[float]:
        judge = task.reward
        assert judge is not None  # noqa: S101 the worker gives one to every reinforcement task
        return [judge(str(answer[-1]["content"]), json.loads(known)) for answer, known in zip(completions, item, strict=True)]

    class Resumable(GRPOTrainer):  # type: ignore[misc, unused-ignore]
        """Goes on with the order of the prompts where it was: TRL's sampler would begin again with that of the first epoch."""

        def _get_train_sampler(self, dataset: Any = None) -> Any:
            sampler = super()._get_train_sampler(dataset)
            for _ in range(_epochs_done(task)):
                next(iter(sampler))  # every epoch shuffles once
            return sampler

    return Resumable(args=arguments, reward_funcs=reward, **_common(task))


def _epochs_done(task: Task) -> int:
    """Return how many whole epochs lie behind what training goes on from."""
    if task.resume is None:
        return 0
    state: dict[str, int] = json.loads((task.resume / "trainer_state.json").read_text())
    return state["global_step"] // _steps_of_an_epoch(task, state["max_steps"])


def _steps_of_an_epoch(task: Task, steps: int) -> int:
    epochs: int = task.settings["n_epochs"]
    return math.ceil(steps / epochs)


class _Reporter(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Decides when to evaluate, save and stop, and tells the watch."""

    def __init__(self, task: Task, watch: Watch) -> None:
        self._task = task
        self._watch = watch
        self.stopped = False
        self.kept: int | None = None
        """The last step whose weights were kept."""
        self._every = task.settings.get("eval_interval")

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002 transformers' signature
        if self._watch.step(state.global_step, state.max_steps):
            control.should_training_stop = self.stopped = True
            control.should_save = True
        if self._epoch_ends(state):
            control.should_save = False  # `on_epoch_end` saves, once the epoch is evaluated
            return
        if self._watch.wants_checkpoint():
            control.should_save = True
        if self._every and state.global_step % self._every == 0 and self._task.validation:
            control.should_evaluate = True

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002 transformers' signature
        if self._epoch_ends(state):
            control.should_evaluate = bool(self._task.validation)
            control.should_save = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:  # noqa: ARG002 transformers' signature
        logs = logs or {}
        if any(name.startswith("eval_") for name in logs):
            self._watch.evaluated(state.global_step, _renamed(logs, EVAL_FIGURES))
        elif "loss" in logs:
            self._watch.figures(state.global_step, state.max_steps, _renamed(logs, TRAIN_FIGURES))

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002 transformers' signature
        folder = self._task.work / f"checkpoint-{state.global_step}"
        ends = self._epoch_ends(state)
        self.kept = state.global_step if ends else self.kept
        self._watch.saved(state.global_step, folder, epoch_ends=ends)

    def _epoch_ends(self, state: Any) -> bool:
        return bool(state.global_step % _steps_of_an_epoch(self._task, state.max_steps) == 0)


def _renamed(logs: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, float]:
    return {ours: float(logs[theirs]) for theirs, ours in names.items() if theirs in logs}
