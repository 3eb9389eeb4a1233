"""A LoRA job of the local engine against TRL used plainly: the same base, rows, seed and settings.

    python benchmarks/local.py MODEL_FOLDER [--rows 400] [--words 200] [--batch 8]

Prints tokens a second and peak memory of both, measured by each from its first step to its last, and what
surrounds the steps (start, validation of rows, checkpoints). Run it with an interpreter that has `ftspec[local]`; for the
figures of a 1B and an 8B base on one GPU:

    python benchmarks/local.py models/Llama-3.2-1B-Instruct --rows 2000 --words 400 --batch 16
    python benchmarks/local.py models/Llama-3.1-8B-Instruct --rows 2000 --words 400 --batch 16
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

PLAIN = """
import json, resource, sys, time
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer
about = json.loads(sys.argv[1])
torch.set_num_threads(about["threads"])
gpu = torch.cuda.is_available()
low = gpu and torch.cuda.is_bf16_supported()
tokenizer = AutoTokenizer.from_pretrained(about["model"])
model = AutoModelForCausalLM.from_pretrained(about["model"], dtype=torch.bfloat16 if low else torch.float32)
rows = [{"messages": json.loads(line)["messages"]} for line in open(about["rows"])]
class Clock(TrainerCallback):
    def on_step_end(self, args, state, control, **_):
        if state.global_step == 1: self.began = time.time()
        self.ended, self.steps = time.time(), state.global_step
clock = Clock()
args = SFTConfig(output_dir=about["out"], num_train_epochs=1, per_device_train_batch_size=min(8, about["batch"]),
    gradient_accumulation_steps=max(1, about["batch"] // 8), learning_rate=2e-4, seed=1, logging_steps=1, save_strategy="no",
    report_to="none", disable_tqdm=True, use_cpu=not gpu, bf16=low, gradient_checkpointing=gpu, assistant_only_loss=True, max_length=None)
lora = LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules="all-linear")
trainer = SFTTrainer(model, args=args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer, peft_config=lora, callbacks=[clock])
trainer.train()
tokens = [one["num_tokens"] for one in trainer.state.log_history if "num_tokens" in one][-1]
peak = torch.cuda.max_memory_allocated() if gpu else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"seconds": clock.ended - clock.began, "tokens": tokens * (clock.steps - 1) / clock.steps, "memory": peak}))
"""


def rows(count: int, words: int) -> bytes:
    """Return made-up conversations."""
    told = "the quick brown fox jumps over the lazy dog near the river bank today"
    asked = " ".join((told.split() * (words // 14 + 1))[: max(1, words - 14)])
    lines = [{"messages": [{"role": "user", "content": f"{n} {asked}"}, {"role": "assistant", "content": told}]} for n in range(count)]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def engine(model: Path, content: bytes, *, batch: int, threads: int, folder: Path) -> dict[str, float]:
    """Train by the local engine, as a client of `ftspec serve` does."""
    words = [sys.executable, "-m", "ftspec", "serve", "--engine", "local", "--model", f"base={model}", "--root", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with subprocess.Popen([*words, "--port", "0", "--no-auth"], stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None  # noqa: S101 a pipe
        url = server.stdout.readline().strip()
        try:
            form = b'--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n--x\r\n'
            form += b'content-disposition: form-data; name="file"; filename="r.jsonl"\r\n\r\n' + content + b"\r\n--x--\r\n"
            file = ask(f"{url}/files", form, "multipart/form-data; boundary=x")
            method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1, "batch_size": batch}}}
            body = {"model": "base", "training_file": file["id"], "seed": 1, "method": method}
            job = ask(f"{url}/fine_tuning/jobs", json.dumps(body).encode())
            while job["finished_at"] is None:
                time.sleep(0.5)
                job = ask(f"{url}/fine_tuning/jobs/{job['id']}")
        finally:
            server.terminate()
    if job["status"] != "succeeded":
        raise SystemExit(job["error"]["message"])
    return json.loads((folder / "measured.jsonl").read_text().splitlines()[-1])


def ask(url: str, body: bytes | None = None, kind: str = "application/json") -> dict:
    with urllib.request.urlopen(urllib.request.Request(url, data=body, headers={"content-type": kind})) as answer:  # noqa: S310 this machine
        return json.loads(answer.read())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--words", type=int, default=200)
    parser.add_argument("--batch", type=int, default=8)
    given = parser.parse_args()
    content, threads = rows(given.rows, given.words), os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rows.jsonl").write_bytes(content)
        began = time.time()
        ours = engine(given.model.resolve(), content, batch=given.batch, threads=threads, folder=folder / "engine")
        whole = time.time() - began
        about = {
            "model": str(given.model), "rows": str(folder / "rows.jsonl"), "batch": given.batch, "out": str(folder / "o"), "threads": threads,
        }  # fmt: skip
        environment = {**os.environ, "HF_HUB_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": str(threads)}
        began = time.time()
        done = subprocess.run([sys.executable, "-c", PLAIN, json.dumps(about)], check=True, stdout=subprocess.PIPE, env=environment)
        plain_whole = time.time() - began
        plain = json.loads(done.stdout.splitlines()[-1])
    for title, one, total in (("local engine", ours, whole), ("plain TRL", plain, plain_whole)):
        rate = one["tokens"] / one["seconds"]
        print(f"{title:13} {rate:10,.0f} tokens/s  {one['memory'] / 1e9:6.2f} GB  {total:7.1f} s in all")
    print(f"ratio of tokens/s: {ours['tokens'] / ours['seconds'] / (plain['tokens'] / plain['seconds']):.2f}")


if __name__ == "__main__":
    main()
