"""A real transformer small enough to train on one core in seconds, built from a config: no hub, no download."""

from __future__ import annotations

import json
from pathlib import Path

LINES = [
    "Classify the support ticket. Answer with one label.",
    "where is my parcel it never arrived the tracking shows nothing shipping",
    "cancel order before it goes out please refund billing invoice charged twice",
    "the app crashes on start export gives an error account login password reset",
    "say it like a pirate arr me matey the ship sails o' grog my sister likes wine",
]


def texts() -> list[str]:
    """Return what the tokenizer learns its words from."""
    data = Path(__file__).parents[2] / "examples" / "specs" / "data"
    found = list(LINES)
    for name in ("tickets.jsonl", "pirate.jsonl"):
        for line in (data / name).read_text().splitlines():
            found += [message["content"] for message in json.loads(line)["messages"]]
    return found


def build(folder: Path, *, template: str | None = None, seed: int = 0, hidden: int = 64, layers: int = 2) -> Path:
    """Build a tiny Qwen2 with random weights, a BPE tokenizer and the chat template of Qwen 2.5."""
    import torch
    import trl
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=800, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    words.train_from_iterator(texts(), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    stored = Path(trl.__file__).parent / "chat_templates" / "qwen2_5.jinja"
    tokenizer.chat_template = stored.read_text() if template is None else template
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"),
        pad_token_id=tokenizer.convert_tokens_to_ids("<|endoftext|>"),
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    import sys

    build(Path(sys.argv[1]))
