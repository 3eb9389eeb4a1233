"""`python -m ftspec.server.trainers.local.probe BASE`: can this environment train this base? Says so in JSON.

Asked before a job is taken, so that what cannot work is refused before anything is spent: a
missing `ftspec[local]`, weights that are not safetensors, a base that needs code of its own, a chat
template that does not show what is to be learned. `BASE` is `resolve.Base.wire()` as JSON.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftspec.regular import open_regular
from ftspec.server.durable import write_durably
from ftspec.server.trainers.local.executors.local import inherited

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ftspec.server.trainers.local.settings import Base

NEEDED = ("torch", "transformers", "trl", "peft", "datasets", "accelerate")
"""What an environment that trains must have (`ftspec[local]`)."""
_SECONDS = 300
_LONGEST_HEADER = 100 << 20
"""What safetensors itself allows."""
_FACTS = ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was found out: a `problem` with its `code`, or how big the base is and what its template can do."""

    problem: str | None = None
    code: str | None = None
    parameters: int | None = None
    hidden: int | None = None
    layers: int | None = None
    vocabulary: int | None = None
    context: int | None = None
    template: str | None = None
    tools: bool = False


def ask(base: Base, *, python: str, cache: Path) -> Facts:
    """Return what `python` says about `base`, from `cache` where it was asked before and nothing changed."""
    if base.path is not None and not (base.path / "config.json").is_file():
        return Facts(problem=f"The base `{base.name}` has no folder with a `config.json`.", code="model_not_available")
    place = cache / f"{_state(base, python)}.json"
    if place.exists():
        return Facts(**json.loads(place.read_bytes()))
    facts = _asked(base, python)
    if facts.code != "environment":  # an environment is mended without a trace that we could see
        cache.mkdir(exist_ok=True, parents=True)
        write_durably(place, json.dumps(_plain(facts)).encode())
    return facts


def _asked(base: Base, python: str) -> Facts:
    command = [python, "-P", "-m", __name__, json.dumps(base.wire())]
    environment = {**inherited(os.environ), "HF_HUB_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, capture_output=True, env=environment, timeout=_SECONDS, check=False)  # noqa: S603 the user's interpreter
        return Facts(**json.loads(done.stdout.splitlines()[-1]))
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError, TypeError):
        return Facts(
            problem="The Python that should train has no ftspec, or does not start: see `python` of the engine.", code="environment"
        )


def _state(base: Base, python: str) -> str:
    """Return what an answer depends on, as a name."""
    seen: list[Any] = [python, base.wire()]
    if base.path is not None:
        for name in _FACTS:
            path = base.path / name
            seen.append([path.stat().st_mtime_ns, path.stat().st_size] if path.exists() else None)
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:24]


def _plain(facts: Facts) -> dict[str, Any]:
    return {name: getattr(facts, name) for name in Facts.__slots__}


def look(wire: dict[str, Any]) -> Facts:
    """Return what this environment knows about a base."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        problem = f"The Python that should train lacks {', '.join(missing)}: run `pip install 'ftspec[local]'` there."
        return Facts(problem=problem, code="environment")
    try:
        folder = _metadata(wire)
    except (OSError, ValueError) as error:  # those of the hub's client are among them
        return Facts(problem=_unfetched(wire, error), code="model_not_available")
    config = json.loads((folder / "config.json").read_text())
    if "auto_map" in config:
        return Facts(problem="The base needs code of its own, which is never run.", code="remote_code")
    if wire["path"] and not list(folder.glob("*.safetensors")):
        return Facts(problem="The base has no `*.safetensors`; other formats may run code when they are read.", code="unsafe_weights")
    return _template(folder, config)


def _metadata(wire: dict[str, Any]) -> Path:
    if wire["path"]:
        return Path(wire["path"])
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(wire["repo"], revision=wire["revision"], allow_patterns=["*.json", "*.jinja", "*.txt", "*.model"]))


def _unfetched(wire: dict[str, Any], error: Exception) -> str:
    where = f"`{wire['repo']}` at {wire['revision'][:7]}"
    return (
        f"The base {where} could not be fetched from the hub ({type(error).__name__}). Without a network it must be in the hub's"
        " cache already; a gated one needs `HF_TOKEN`."
    )


def _template(folder: Path, config: dict[str, Any]) -> Facts:
    from transformers import AutoConfig, AutoTokenizer

    from ftspec.server.trainers.local.encode import TemplateRefused, policy
    from ftspec.server.trainers.local.resolve import most_tokens

    text = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True).get_text_config()
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    size: dict[str, Any] = {
        "parameters": parameters(folder.glob("*.safetensors")),
        "hidden": getattr(text, "hidden_size", None),
        "layers": getattr(text, "num_hidden_layers", None),
        "vocabulary": getattr(text, "vocab_size", None),
        "context": most_tokens(config, {}),
    }
    try:
        how = policy(tokenizer)
    except TemplateRefused as refused:
        return Facts(problem=f"The base cannot be trained on conversations: {refused}.", code="unsupported_chat_template", **size)
    return Facts(template=how.mode, tools=how.tools, **size)


def parameters(files: Iterable[Path]) -> int | None:
    """Return how many numbers weights hold, from the headers of their files (`OSError`, `ValueError`: one is no such file)."""
    count = 0
    for path in files:
        with open_regular(path.resolve()) as file:
            size = int.from_bytes(file.read(8), "little")
            if size > _LONGEST_HEADER:
                raise ValueError("not a safetensors file")
            header = json.loads(file.read(size))
        for name, tensor in header.items():
            if name != "__metadata__":
                count += math.prod(tensor["shape"])
    return count or None


def main(arguments: list[str]) -> None:
    """Print the facts as the last line."""
    try:
        facts = look(json.loads(arguments[0]))
    except Exception as error:  # noqa: BLE001 whatever is wrong with a folder, it is the answer
        facts = Facts(problem=f"The base cannot be read ({type(error).__name__}).", code="model_not_available")
    sys.stdout.write("\n" + json.dumps(_plain(facts)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
