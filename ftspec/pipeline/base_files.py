"""What a base model's files say before anybody trains it: read with limits, below the project's root and `--data-root`s only.

A folder is looked at where it lies; a repository of a hub, where a data root holds the hub's cache.
Nothing of it is run, but for its chat template: behind walls, on made-up words (`template_probe.py`).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ftspec.pipeline.known_templates import has_twin
from ftspec.pipeline.template_probe import BITS
from ftspec.regular import read_regular, within, write_beside

if TYPE_CHECKING:
    from ftspec.pipeline.project import Project
    from ftspec.server.trainers.local.resources import Shape
    from ftspec.server.trainers.local.settings import Base

_CONFIG, _TEMPLATE, _TOKENIZER = 16 << 20, 1 << 20, 128 << 20
_SECONDS = 30.0
"""A template takes a tenth of one; a machine that is busy with training takes its time."""
_HUGE = 1 << 50
_WRONG = {
    "unreadable": "its chat template cannot be read, or renders no conversation of texts",
    "differs": "its chat template renders the beginning of a conversation differently from the whole, so it does not show what is learned",
    "endless": "its chat template does not end a turn of the assistant: a model trained with it would never stop",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the files of a base say: why it cannot be trained (`wrong`), else what it lacks (`data.checks.base_model.LACKS`)."""

    wrong: str | None = None
    lacks: tuple[str, ...] = ()


def folder_of(base: Base, project: Project) -> Path | None:
    """Return where a base may be looked at; `None`: it is not here, or where planning does not look."""
    roots = (project.root, *project.data_roots)
    candidates = [base.path] if base.path is not None else list(_hub_folders(base, project.data_roots))
    for candidate in candidates:
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            folder = candidate.resolve()
            if any(folder.is_relative_to(root) for root in roots) and (folder / "config.json").is_file():
                return folder
    return None


def _hub_folders(base: Base, roots: Iterable[Path]) -> Iterable[Path]:
    name = f"models--{str(base.repo).replace('/', '--')}"
    for root in roots:
        for hub in (root, root / "hub"):
            yield hub / name / "snapshots" / str(base.revision)


def examine(folder: Path, project: Project) -> Found:
    """Return what the files in `folder` say."""
    read = _Reader(folder, (project.root, *project.data_roots))
    config = read.json("config.json")
    if not isinstance(config, dict):
        return Found(wrong="its `config.json` cannot be read")
    if "auto_map" in config:
        return Found(wrong="it needs code of its own, which is never run")
    if not any(folder.glob("*.safetensors")):
        return Found(wrong="it has no `*.safetensors`; other formats may run code when they are read")
    about = read.json("tokenizer_config.json")
    about = about if isinstance(about, dict) else {}
    template = read.text("chat_template.jinja") or _default(about.get("chat_template"))
    if not template:
        return Found(wrong="its tokenizer has no chat template")
    found = _rendered(template, _words(about), sorted({*_ends(about), *read.ends()}), project)
    if found is None:
        return Found(wrong="its chat template does not come to an end")
    wrong = next((why for name, why in _WRONG.items() if found & BITS[name]), None)
    return Found(wrong=wrong, lacks=tuple(name for name, bit in BITS.items() if found & bit and name not in _WRONG))


def shape_of(folder: Path, project: Project) -> Shape | None:
    """Return how big a base is, from its configuration and the headers of its weights; `None`: they do not say."""
    from ftspec.server.trainers.local.probe import parameters
    from ftspec.server.trainers.local.resources import Shape

    read = _Reader(folder, (project.root, *project.data_roots))
    config = read.json("config.json")
    config = config.get("text_config", config) if isinstance(config, dict) else {}
    sizes = [config.get(name) for name in ("hidden_size", "num_hidden_layers", "vocab_size")]
    try:
        count = parameters(path for path in folder.glob("*.safetensors") if read.may(path))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if not count or not all(isinstance(size, int) and 0 < size < _HUGE for size in (count, *sizes)):
        return None
    hidden, layers, vocabulary = (int(size) for size in sizes if size is not None)
    return Shape(parameters=count, hidden=hidden, layers=layers, vocabulary=vocabulary)


def _default(template: Any) -> str | None:
    """Return the template that is used; several have names."""
    if isinstance(template, list):
        template = {one.get("name"): one.get("template") for one in template if isinstance(one, dict)}
    if isinstance(template, dict):
        template = template.get("default")
    return template if isinstance(template, str) else None


def _words(about: Mapping[str, Any]) -> dict[str, str]:
    """Return the tokens that a template may name."""
    given = {name: value.get("content") if isinstance(value, dict) else value for name, value in about.items() if name.endswith("_token")}
    return {name: value for name, value in given.items() if isinstance(value, str)}


def _ends(about: Mapping[str, Any]) -> Iterable[str]:
    """Yield the tokens that are no text, as far as the tokenizer's configuration has them."""
    added = about.get("added_tokens_decoder")
    for one in added.values() if isinstance(added, dict) else ():
        if isinstance(one, dict) and isinstance(one.get("content"), str):
            yield one["content"]


class _Added(msgspec.Struct):
    content: str


class _Tokenizer(msgspec.Struct):
    added_tokens: list[_Added] = []


class _Reader:
    """Reads the files of a base; links out of the roots (the hub's cache is made of links) are not followed."""

    def __init__(self, folder: Path, roots: tuple[Path, ...]) -> None:
        self._folder = folder
        self._roots = roots

    def bytes(self, name: str, largest: int) -> bytes | None:
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            if self.may(self._folder / name):
                return read_regular((self._folder / name).resolve(), largest=largest)
        return None

    def may(self, path: Path) -> bool:
        """Whether a file lies where planning reads."""
        return any(within(path, root) for root in self._roots)

    def json(self, name: str) -> Any:
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(self.bytes(name, _CONFIG) or b"null")
        return None

    def text(self, name: str) -> str | None:
        with contextlib.suppress(ValueError):
            return (self.bytes(name, _TEMPLATE) or b"").decode()
        return None

    def ends(self) -> list[str]:
        with contextlib.suppress(msgspec.MsgspecError, ValueError):
            return [
                one.content for one in msgspec.json.decode(self.bytes("tokenizer.json", _TOKENIZER) or b"{}", type=_Tokenizer).added_tokens
            ]
        return []


def _rendered(template: str, words: dict[str, str], ends: list[str], project: Project) -> int | None:
    """Return the bits of `template_probe.probe`, remembered; `None`: it took too long or too much."""
    from ftspec.evals.code import Code, CodeError
    from ftspec.fingerprint import digest

    code = Code(_source(), "probe")
    arguments = (template, words, ends, has_twin(template))
    place = project.cache / f"template-{digest([code.digest, *arguments])[:32]}" if project.cache is not None else None
    with contextlib.suppress(OSError, ValueError):
        if place is not None:
            return int(read_regular(place, largest=16))
    from ftspec.evals.isolation import CodeProcess, choose_wall

    process = CodeProcess(code, wall=choose_wall(), seconds=_SECONDS)
    try:
        found = int(process.call(*arguments))
    except CodeError:
        return None
    finally:
        process.close()
    with contextlib.suppress(OSError):
        if place is not None:
            place.parent.mkdir(parents=True, exist_ok=True)
            write_beside(place, b"%d" % found)
    return found


@cache
def _source() -> str:
    return Path(__file__).with_name("template_probe.py").read_text(encoding="utf-8")
