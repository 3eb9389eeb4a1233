"""Each hyperparameter reaches TRL under TRL's own name, and the values that nobody gives are ours, not TRL's."""

import json
import os
import subprocess

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("training")]

_BUILD = """
import json, sys, tempfile
from pathlib import Path
from transformers import AutoTokenizer
from ftspec.server.trainers.local import trl_adapter as adapter
from ftspec.server.trainers.local.resolve import resolved

tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
rows = {
    "supervised": {"input_ids": [1, 2, 3], "labels": [-100, 2, 3]},
    "dpo": {"prompt_ids": [1], "chosen_ids": [2], "rejected_ids": [3]},
    "reinforcement": {"prompt": [{"role": "user", "content": "a"}], "item": "{}", "size": 9},
}
found = []
for method, given, micro in json.loads(sys.stdin.read()):
    settings = resolved(method, given, rows=40)
    task = adapter.Task(
        method=method, model=adapter.load(Path(sys.argv[1]), None, settings=settings, bfloat16=False), tokenizer=tokenizer,
        rows=[rows[method]] * 40, validation=[rows[method]] * 4, settings=settings, seed=7, micro_batch=micro, bfloat16=False,
        work=Path(tempfile.mkdtemp()), resume=None, reward=lambda *_: 1.0, longest_answer=33,
    )
    trainer = {"supervised": adapter._supervised, "dpo": adapter._preference, "reinforcement": adapter._reinforcement}[method](task)
    lora = getattr(trainer.model, "peft_config", {}).get("default")
    known = {name: value for name, value in trainer.args.to_dict().items() if isinstance(value, (int, float, str))}
    changed = [lora.r, lora.lora_alpha, lora.lora_dropout, sorted(lora.target_modules)] if lora else None
    found.append([known, changed, sum(one.requires_grad for one in trainer.model.parameters())])
print(json.dumps(found))
"""


def test_every_hyperparameter_reaches_trl(tiny, warm):
    """Epochs, batch, rate, seed, beta, samples, evaluations and LoRA, as given and as `auto`."""
    lora = {"lora_r": 4, "lora_alpha": 6, "lora_dropout": 0.25, "lora_target_modules": ["v_proj", "q_proj"]}
    given = [
        ("supervised", {"n_epochs": 2, "batch_size": 12, "learning_rate_multiplier": 3, **lora}, 8),
        ("supervised", {"full": True, "learning_rate": 0.5}, 8),
        ("dpo", {"beta": 0.7, "batch_size": 5}, 2),
        ("reinforcement", {"compute_multiplier": 0.5, "eval_samples": 3, "batch_size": 4}, 8),
    ]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [warm, "-c", _BUILD, str(tiny)], input=json.dumps(given), capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (chat, chat_lora, _), (full, full_lora, trained), (pairs, pairs_lora, _), (tasks, _, _) = json.loads(done.stdout.splitlines()[-1])
    assert (chat["num_train_epochs"], chat["learning_rate"], chat["lr_scheduler_type"]) == (2, pytest.approx(6e-4), "linear")
    assert (chat["per_device_train_batch_size"], chat["gradient_accumulation_steps"]) == (6, 2)
    assert chat_lora == [4, 6, 0.25, ["q_proj", "v_proj"]]
    for arguments in (chat, full, pairs, tasks):
        assert (arguments["seed"], arguments["data_seed"], arguments["warmup_steps"], arguments["weight_decay"]) == (7, 7, 0, 0.0)
    assert (full["num_train_epochs"], full["learning_rate"], full_lora) == (3, 0.5, None)
    assert trained > 20
    assert (pairs["beta"], pairs["learning_rate"]) == (0.7, pytest.approx(1e-5))
    assert (pairs["per_device_train_batch_size"], pairs["gradient_accumulation_steps"]) == (1, 5)
    assert pairs_lora[:3] == [16, 32, 0.0]
    assert (tasks["num_generations"], tasks["num_generations_eval"], tasks["max_completion_length"], tasks["beta"]) == (4, 3, 33, 0.0)
    assert tasks["per_device_train_batch_size"] * tasks["gradient_accumulation_steps"] == 4 * 4
