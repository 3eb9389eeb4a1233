"""A LoRA job of the local engine against TRL used plainly: the same base, rows, seed and settings, one after the other.

    python benchmarks/local.py                    a small base, on whatever is here
    python benchmarks/local.py --gpu              1B and 8B bases, on one GPU (48 GB or more for the second; --shape 1b needs 16)
    python benchmarks/local.py --model FOLDER     a base of yours

Needs an interpreter with `ftspec[local]` and nothing else: bases are built here, of the shapes of Llama 3.2 1B and Llama
3.1 8B with random weights, which take as long and as much memory as trained ones (2.5 and 16 GB in a temporary
folder, `TMPDIR`). Prints tokens a second and peak memory of both, measured by each from its first step to its last
(on a GPU: what torch allocated), what a whole job took, and the ratio, the middle one of several runs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
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
    folder.mkdir(parents=True)
    spec = {"ftspec": 1, "engines": {"local": {"type": "local", "slots": 1, "cpus": threads, "models": {"base": str(model)}}}}
    (folder / "ftspec.yaml").write_text(json.dumps(spec))
    words = [sys.executable, "-m", "ftspec", "serve", "--engine", "local", "-f", "ftspec.yaml", "--root", "."]
    words += ["--port", "0", "--no-auth"]
    with subprocess.Popen(
        words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment(threads)
    ) as server:
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


BUILD = """
import sys
import torch, trl
from pathlib import Path
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
folder, hidden, inner, layers, heads, groups, vocabulary, tied = sys.argv[1], *map(int, sys.argv[2:])
words = Tokenizer(models.BPE())
words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
words.train_from_iterator(["the quick brown fox jumps over the lazy dog near the river bank today user assistant system"], trainer)
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<|im_end|>", pad_token="<|endoftext|>")
tokenizer.chat_template = (Path(trl.__file__).parent / "chat_templates" / "qwen2_5.jinja").read_text()
config = LlamaConfig(vocab_size=vocabulary, hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=heads,
    num_key_value_heads=groups, max_position_embeddings=8192, tie_word_embeddings=bool(tied), rope_theta=500000.0, bos_token_id=None,
    eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
torch.manual_seed(0)
torch.set_default_dtype(torch.float32 if hidden < 1024 else torch.bfloat16)
LlamaForCausalLM(config).save_pretrained(folder)
tokenizer.save_pretrained(folder)
"""
SHAPES = {
    "small": (256, 704, 4, 8, 4, 2048, 1),
    "1b": (2048, 8192, 16, 32, 8, 128256, 1),
    "8b": (4096, 14336, 32, 32, 8, 128256, 0),
}
"""Hidden size, inner size, layers, heads, groups of heads, vocabulary, and whether input and output share their embeddings."""
WORK = {"small": (160, 120, 8), "1b": (2000, 400, 16), "8b": (1000, 400, 16)}
"""Rows, words of a row, and rows of a step."""


def build(shape: str, folder: Path) -> Path:
    """Build a base of random weights."""
    subprocess.run(
        [sys.executable, "-c", BUILD, str(folder), *map(str, SHAPES[shape])], check=True, env=environment(1), stderr=subprocess.DEVNULL
    )
    return folder


def environment(threads: int) -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": str(threads)}


def plain(model: Path, content: bytes, *, batch: int, threads: int, folder: Path) -> dict[str, float]:
    """Train by TRL alone."""
    folder.mkdir(parents=True)
    (folder / "rows.jsonl").write_bytes(content)
    about = {"model": str(model), "rows": str(folder / "rows.jsonl"), "batch": batch, "out": str(folder / "out"), "threads": threads}
    command = [sys.executable, "-c", PLAIN, json.dumps(about)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment(threads))
    return json.loads(done.stdout.splitlines()[-1])


def compare(title: str, model: Path, folder: Path, *, work: tuple[int, int, int], repeat: int, threads: int) -> None:
    """Train by both, in turns, and print the figures."""
    count, words, batch = work
    content = rows(count, words)
    print(f"{title}: {count} rows of {words} words, {batch} a step")
    ratios = []
    for turn in range(repeat):
        rates = []
        for name, train in (("local engine", engine), ("plain TRL", plain)):
            began = time.monotonic()
            one = train(model, content, batch=batch, threads=threads, folder=folder / f"{name} {turn}")
            rates.append(one["tokens"] / one["seconds"])
            print(
                f"  {name:13} {rates[-1]:10,.0f} tokens/s  {one['memory'] / 1e9:6.2f} GB  {time.monotonic() - began:7.1f} s in all",
                flush=True,
            )
        ratios.append(rates[0] / rates[1])
    print(f"  ratio of tokens/s: {statistics.median(ratios):.2f}" + (f" ({min(ratios):.2f} to {max(ratios):.2f})" if repeat > 1 else ""))


def machine() -> str | None:
    """Return what trains here, or `None` without a GPU; ends the program where training cannot be had."""
    code = "import torch, trl, transformers as t; g = torch.cuda; print(t.__version__, trl.__version__, torch.__version__); print(g.get_device_name() if g.is_available() else '')"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, env=environment(1))
    if done.returncode:
        raise SystemExit("this Python cannot train: pip install 'ftspec[local,server]'")
    versions, gpu = done.stdout.splitlines()[-2:]
    print(f"{gpu or f'{os.cpu_count()} cores, no GPU'}; transformers, trl, torch {versions}")
    return gpu or None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", action="store_true", help="the shapes 1b and 8b; refuses to run without a GPU")
    parser.add_argument("--shape", action="append", choices=SHAPES, help="what to build; repeatable")
    parser.add_argument("--model", type=Path, help="a base to use instead")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--words", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="1 on a machine that does other things")
    given = parser.parse_args()
    shapes = given.shape or (["1b", "8b"] if given.gpu else ["small"])
    if machine() is None and (given.gpu or {"1b", "8b"} & set(shapes)):
        raise SystemExit("torch sees no GPU here: on a processor these bases would train for days (`--shape small` is for one)")
    with tempfile.TemporaryDirectory() as name:
        for shape in ["small"] if given.model else shapes:
            title = str(given.model or f"{shape} base")
            model = given.model.resolve() if given.model else build(shape, Path(name) / shape)
            work = tuple(own or usual for own, usual in zip((given.rows, given.words, given.batch), WORK[shape], strict=True))
            compare(title, model, Path(name) / f"{shape} runs", work=work, repeat=given.repeat, threads=given.threads)


if __name__ == "__main__":
    main()
