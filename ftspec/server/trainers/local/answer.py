"""`python -m ftspec.server.trainers.local.answer`: answers chats, in an environment of its own.

JSON lines in, JSON lines out; ends when its input does. Requests for one base are answered in one
batch, whatever adapters they ask for. Each row of a batch has its own temperature, seed and end.

In:  `{"id", "base", "adapter"|null, "model"|null, "messages", "tools", "temperature", "top_p", "max_tokens", "seed", "stop", "top"}`,
     `{"forget": id}`
Out: `{"id", "prompt_tokens", "fingerprint"}`, then `{"id", "text", "logprob", "top"}` a token, at last `{"id", "finish"}`;
     or `{"id", "error", "code"}`
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import sys
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_BATCH = 16
_MODELS = 2
_ADAPTERS = 32
_MOST_TOKENS = 512
_BASE = "__base__"
"""PEFT's name for a row without an adapter."""


class Unanswerable(Exception):
    """A request that cannot be answered."""

    def __init__(self, message: str, *, code: str = "invalid_value") -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True, eq=False)
class Row:
    """An answer being made."""

    id: str
    prompt: list[int]
    adapter: str
    request: Mapping[str, Any]
    limit: int
    chance: Any
    written: list[int] = field(default_factory=list)
    said: str = ""

    def shown(self, tokenizer: Any) -> str:
        """Return the text that the newest token completes; none while a character is incomplete."""
        whole = tokenizer.decode(self.written, skip_special_tokens=True)
        if whole.endswith("�") or not whole.startswith(self.said):
            return ""
        new: str = whole[len(self.said) :]
        self.said = whole
        return new


class Loaded:
    """A model with its adapters side by side."""

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from ftspec.server.trainers.local.resolve import most_tokens

        low = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        self.folder = folder
        self.tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        self.model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch.bfloat16 if low else torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
        )
        self.model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        self._adapters: OrderedDict[str, str] = OrderedDict()
        self._count = 0
        ends = self.model.generation_config.eos_token_id
        self.ends = {*(ends if isinstance(ends, list) else [ends]), self.tokenizer.eos_token_id} - {None}
        self.context = most_tokens(self.model.config.to_dict(), {}) or 1 << 20

    def adapter(self, folder: str | None) -> str:
        """Return the name under which an adapter is loaded."""
        if folder is None:
            return _BASE
        if folder not in self._adapters:
            from peft import PeftModel

            if not Path(folder).is_dir():
                raise Unanswerable("The weights of this model were deleted.")
            self._count += 1
            name = f"a{self._count}"
            if self._adapters:
                self.model.load_adapter(folder, adapter_name=name)
            else:
                self.model = PeftModel.from_pretrained(self.model, folder, adapter_name=name)
            self.model.eval()
            self._adapters[folder] = name
            if len(self._adapters) > _ADAPTERS:
                self.model.delete_adapter(self._adapters.popitem(last=False)[1])
        self._adapters.move_to_end(folder)
        return self._adapters[folder]

    def forward(self, names: Sequence[str], **inputs: Any) -> Any:
        """Return the model's output for a batch of rows, each with its adapter."""
        more = {"adapter_names": list(names)} if self._adapters else {}
        return self.model(**inputs, **more, use_cache=True, return_dict=True)


class Answers:
    """Answers requests until there are no more."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._forgotten: set[str] = set()
        self._models: OrderedDict[str, Loaded] = OrderedDict()
        self._held: list[dict[str, Any]] = []
        self._ended = False

    def listen(self) -> None:
        """Take requests from the standard input, in a thread."""
        for line in sys.stdin.buffer:
            request = json.loads(line)
            if "forget" in request:
                self._forgotten.add(request["forget"])
            else:
                self._waiting.put(request)
        self._waiting.put(None)

    def run(self) -> None:
        """Answer batch after batch."""
        threading.Thread(target=self.listen, daemon=True).start()
        while (batch := self._next()) is not None:
            self._answer(batch)

    def _next(self) -> list[dict[str, Any]] | None:
        """Return requests for one model, in the order in which they came."""
        while not self._ended:
            try:
                got = self._waiting.get(block=not self._held, timeout=None)
            except queue.Empty:
                break
            if got is None:
                self._ended = True
            else:
                self._held.append(got)
                if self._waiting.empty():
                    _breathe()
                    if self._waiting.empty():
                        break
        if self._ended or not self._held:
            return None
        key = _folder(self._held[0])
        batch = [one for one in self._held if _folder(one) == key][:_BATCH]
        self._held = [one for one in self._held if one not in batch]
        return batch

    def _answer(self, batch: list[dict[str, Any]]) -> None:
        try:
            model = self._model(_folder(batch[0]))
        except Exception as error:  # noqa: BLE001 whatever is wrong with a folder, it is the answer
            for request in batch:
                _say(id=request["id"], error=f"The model cannot be loaded ({type(error).__name__}).")
            return
        rows = []
        for request in batch:
            try:
                rows.append(_begin(model, request))
            except Unanswerable as refusal:
                _say(id=request["id"], error=str(refusal), code=refusal.code)
            except Exception as error:  # noqa: BLE001 a template may raise anything
                _say(id=request["id"], error=f"The chat template cannot render these messages ({type(error).__name__}).")
        try:
            self._write(model, rows)
        except RuntimeError as error:
            for row in rows:
                _say(id=row.id, error=f"The answer broke off ({type(error).__name__}).")

    def _model(self, folder: str) -> Loaded:
        if folder not in self._models:
            while len(self._models) >= _MODELS:
                self._models.popitem(last=False)
            self._models[folder] = Loaded(Path(folder))
        self._models.move_to_end(folder)
        return self._models[folder]

    def _write(self, model: Loaded, rows: list[Row]) -> None:
        import torch

        if not rows:
            return
        device = model.model.device
        longest = max(len(row.prompt) for row in rows)
        pad = model.tokenizer.pad_token_id if model.tokenizer.pad_token_id is not None else next(iter(model.ends), 0)
        ids = torch.tensor([[pad] * (longest - len(row.prompt)) + row.prompt for row in rows], device=device)
        mask = torch.tensor([[0] * (longest - len(row.prompt)) + [1] * len(row.prompt) for row in rows], device=device)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        cache = None
        with torch.inference_mode():
            while rows:
                names = [row.adapter for row in rows]
                out = model.forward(names, input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache)
                cache = out.past_key_values
                going = [place for place, row in enumerate(rows) if self._step(model, row, out.logits[place, -1].float())]
                if len(going) < len(rows):
                    rows, mask, positions = [rows[place] for place in going], mask[going], positions[going]
                    if rows:
                        cache.batch_select_indices(torch.tensor(going, device=device))
                if rows:
                    ids = torch.tensor([[row.written[-1]] for row in rows], device=device)
                    mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=-1)
                    positions = positions[:, -1:] + 1

    def _step(self, model: Loaded, row: Row, logits: Any) -> bool:
        """Write the next token of a row; return whether it goes on."""
        import torch

        if row.id in self._forgotten:
            self._forgotten.discard(row.id)
            return False
        likely = torch.log_softmax(logits, dim=-1)
        token = _draw(logits, row)
        if token in model.ends:
            _say(id=row.id, finish="stop")
            return False
        row.written.append(token)
        top = row.request["top"]
        best = torch.topk(likely, top) if top else None
        _say(
            id=row.id,
            text=row.shown(model.tokenizer),
            logprob=float(likely[token]),
            top=[[model.tokenizer.decode([int(i)]), float(v)] for v, i in zip(best.values, best.indices, strict=True)] if best else [],
        )
        if len(row.written) >= row.limit:
            _say(id=row.id, finish="length")
            return False
        return True


def _begin(model: Loaded, request: Mapping[str, Any]) -> Row:
    import torch

    adapter = model.adapter(request["adapter"])
    messages = [_message(one, model.tokenizer) for one in request["messages"]]
    prompt = model.tokenizer.apply_chat_template(messages, tools=request["tools"] or None, add_generation_prompt=True, return_dict=False)
    room = model.context - len(prompt)
    if room < 1:
        message = f"The conversation has {len(prompt)} tokens, and the model reads at most {model.context}."
        raise Unanswerable(message, code="context_length_exceeded")
    chance = None
    if request["temperature"] > 0:
        chance = torch.Generator()
        chance.manual_seed(request["seed"]) if request["seed"] is not None else chance.seed()
    _say(id=request["id"], prompt_tokens=len(prompt), fingerprint=_fingerprint(str(model.folder), request["adapter"]))
    limit = min(room, request["max_tokens"] or _MOST_TOKENS)
    return Row(id=request["id"], prompt=list(prompt), adapter=adapter, request=request, limit=limit, chance=chance)


def _message(raw: Mapping[str, Any], tokenizer: Any) -> dict[str, Any]:
    from ftspec.server.trainers.local.encode import plain_message

    template = tokenizer.chat_template
    try:
        return plain_message(raw, knows_developer="developer" in (template if isinstance(template, str) else ""))
    except ValueError as error:
        raise Unanswerable(f"Invalid value for 'messages': {error}.") from None


def _draw(logits: Any, row: Row) -> int:
    import torch

    if row.chance is None:
        return int(logits.argmax())
    chances = torch.softmax(logits / row.request["temperature"], dim=-1).cpu()
    if row.request["top_p"] < 1:
        ordered, places = chances.sort(descending=True, stable=True)
        ordered[(ordered.cumsum(-1) - ordered) > row.request["top_p"]] = 0
        chances = torch.zeros_like(chances).scatter(0, places, ordered)
    return int(torch.multinomial(chances, 1, generator=row.chance))


def _folder(request: Mapping[str, Any]) -> str:
    """Return the folder of the whole model that a request needs."""
    if request["model"] is None:
        from ftspec.server.trainers.local.worker import base_folder

        return str(base_folder(request["base"]))
    return str(request["model"])


def _fingerprint(base: str, adapter: str | None) -> str:
    """Return a name that changes with the weights."""
    whole = hashlib.sha256()
    for folder in [base, *([adapter] if adapter else [])]:
        for path in sorted(Path(folder).glob("*.safetensors")):
            whole.update(f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}\n".encode())
    return f"fp_{whole.hexdigest()[:12]}"


_SAYING = threading.Lock()


def _say(**content: Any) -> None:
    with _SAYING:
        _OUT.write(json.dumps(content).encode() + b"\n")
        _OUT.flush()


def _breathe() -> None:
    """Let requests of the same moment arrive."""
    import time

    time.sleep(0.004)


if __name__ == "__main__":
    _OUT = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever libraries print goes to the log
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    Answers().run()
