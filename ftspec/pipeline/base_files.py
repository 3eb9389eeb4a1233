"""What a base model's files say before anybody trains it: read with limits, below the project's root and `--data-root`s only.

A folder is looked at where it lies; a commit of a hub, where it has been fetched: below a data root, or in the
cache that the hub's own client keeps for the user. Where that is, his environment says, never a spec. Nothing of it is run, but for its chat template: behind walls, on made-up words (`template_probe.py`).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from hashlib import sha256
from importlib.util import find_spec
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
_TABLE = "tokenizer.json"
_SECONDS = 30.0
"""A template takes a tenth of one; a machine that is busy with training takes its time."""
_HUGE = 1 << 50
_NEEDED: tuple[str, ...] = ("config.json", "tokenizer_config.json")
"""What makes a folder worth looking at: the first, and of one that a hub's client may still be filling, both."""
_WRONG = {
    "unreadable": "its chat template cannot be read, or renders no conversation of texts",
    "differs": "its chat template renders the beginning of a conversation differently from the whole, so it does not show what is learned",
    "endless": "its chat template does not end a turn of the assistant: a model trained with it would never stop",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the files of a base say: why it cannot be trained (`wrong`), else what it lacks (`data.checks.base_model.LACKS`).

    `config` is its `config.json`, as far as that can be read; `tokenizer` what its rows can be counted with here, with its digest.
    """

    wrong: str | None = None
    lacks: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: tuple[str, str] | None = None


def folder_of(base: Base, project: Project) -> Path | None:
    """Return where a base may be looked at; `None`: it is not here, or where planning does not look."""
    if base.path is not None:
        return _first([base.path], _roots(project), needed=_NEEDED[:1])
    own = hub_cache(os.environ)
    hubs = [*(hub for root in project.data_roots for hub in (root, root / "hub")), *own]
    name = f"models--{str(base.repo).replace('/', '--')}"
    return _first([hub / name / "snapshots" / str(base.revision) for hub in hubs], (*_roots(project), *own), needed=_NEEDED)


def _first(candidates: Iterable[Path], roots: Iterable[Path], *, needed: Iterable[str]) -> Path | None:
    """Return the first folder that lies below one of the roots and has what is needed."""
    for candidate in candidates:
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            folder = candidate.resolve()
            if any(folder.is_relative_to(root) for root in roots) and all((folder / name).is_file() for name in needed):
                return folder
    return None


def hub_cache(environ: Mapping[str, str]) -> list[Path]:
    """Return where the hub's client keeps what the user fetched; nothing where nobody can tell."""
    with contextlib.suppress(OSError, RuntimeError, ValueError):
        own = environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE")
        caches = Path(environ.get("XDG_CACHE_HOME") or "~/.cache")
        home = Path(environ.get("HF_HOME") or caches / "huggingface")
        return [Path(own or home / "hub").expanduser().resolve()]
    return []


def _roots(project: Project) -> tuple[Path, ...]:
    return (project.root, *project.data_roots)


def _reader(folder: Path, project: Project) -> _Reader:
    """Return what reads a folder that `folder_of` returned."""
    roots = _roots(project)
    return _Reader(folder, roots if any(folder.is_relative_to(root) for root in roots) else tuple(hub_cache(os.environ)))


def examine(folder: Path, project: Project, *, fetched: bool = False) -> Found:
    """Return what the files in `folder` say; `fetched`: from a hub, maybe without the weights as yet."""
    read = _reader(folder, project)
    config = read.json("config.json")
    if not isinstance(config, dict):
        return Found(wrong="its `config.json` cannot be read")
    if "auto_map" in config:
        return Found(wrong="it needs code of its own, which is never run")
    if not fetched and not any(folder.glob("*.safetensors")):
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
    lacks = tuple(name for name, bit in BITS.items() if found & bit and name not in _WRONG)
    return Found(wrong=wrong, lacks=lacks, config=config, tokenizer=read.tokenizer())


def shape_of(folder: Path, project: Project) -> Shape | None:
    """Return how big a base is, from its configuration and the headers of its weights; `None`: they do not say."""
    from ftspec.server.trainers.local.probe import parameters
    from ftspec.server.trainers.local.resources import Shape

    read = _reader(folder, project)
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

    def content(self, name: str, largest: int) -> bytes | None:
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            if self.may(self._folder / name):
                return read_regular((self._folder / name).resolve(), largest=largest)
        return None

    def may(self, path: Path) -> bool:
        """Whether a file lies where planning reads."""
        return any(within(path, root) for root in self._roots)

    def json(self, name: str) -> Any:
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(self.content(name, _CONFIG) or b"null")
        return None

    def text(self, name: str) -> str | None:
        with contextlib.suppress(ValueError):
            return (self.content(name, _TEMPLATE) or b"").decode()
        return None

    def tokenizer(self) -> tuple[str, str] | None:
        """Return the path and the digest of what rows can be counted with; `None`: there is none, or its package is not here."""
        if find_spec("tokenizers") is None or self._table is None:
            return None
        return str((self._folder / _TABLE).resolve()), sha256(self._table).hexdigest()

    def ends(self) -> list[str]:
        with contextlib.suppress(msgspec.MsgspecError, ValueError):
            return [one.content for one in msgspec.json.decode(self._table or b"{}", type=_Tokenizer).added_tokens]
        return []

    @cached_property
    def _table(self) -> bytes | None:
        """What `tokenizer.json` holds, many megabytes, read once."""
        return self.content(_TABLE, _TOKENIZER)


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
