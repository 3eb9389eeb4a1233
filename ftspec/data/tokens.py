"""Token counts: exact where a tokenizer is present, else an estimate that says how wrong it can be.

A tokenizer is one of

- `o200k`, `cl100k`: OpenAI's, exact with `bpe-openai` (extra `tokens`, vocabularies inside the
  package) or with a tiktoken whose vocabulary is already cached; nothing is ever downloaded. For
  large files gigatoken (extra `fast`) counts seven times as fast with bpe-openai's vocabularies;
- `words`: words and signs, as the sandbox engine cuts them, exact by definition;
- `estimate`: bytes / 3.7. Measured on English, German, French, Polish, Turkish, Korean, Chinese
  and Russian texts, Markdown, code and JSON, one token is 2.6 to 5.9 bytes of UTF-8 in
  `o200k`, so the estimate is within 45 %; some scripts (Hindi, Arabic, Thai) need fewer tokens.

A chat row costs a few tokens beyond its texts: three for each message and three for the
answer's start, as OpenAI's own guide counts them.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from ftspec.diagnostics import FtspecError
from ftspec.printable import printable

ESTIMATE_BYTES = 3.7
ESTIMATE_ERROR = 0.45
PER_MESSAGE = 3
PER_ROW = 3
IMAGE_LOW = 85
IMAGE_HIGH = 765
"""What an image of 1024 x 1024 costs at full detail: four tiles of 170, and 85."""
IMAGE_ERROR = 0.9
"""How wrong that can be: an image of one tile costs 255 tokens, one of eight, which is the most, 1,445."""

DEFAULT = "o200k"
TOKENIZERS = ("o200k", "cl100k", "words", "estimate")

_WORD = re.compile(r"\s*(?:\w{1,32}|[^\w\s])|\s+\Z")
_CACHED = 512
"""Texts up to this length are remembered: system prompts and labels come again and again."""


class Counter(msgspec.Struct, frozen=True, kw_only=True):
    """A way to count. `error` is how wrong a count can be, as a share; 0 where `exact`."""

    name: str
    exact: bool
    error: float
    count: Callable[[str], int]
    overhead: bool = True
    """Whether messages and rows cost tokens of their own."""


def count(text: str, tokenizer: str = DEFAULT) -> int:
    """Return the number of tokens of a text, estimated where the tokenizer is not present."""
    return counter(tokenizer).count(text)


@functools.cache
def counter(tokenizer: str = DEFAULT, *, large: bool = False) -> Counter:
    """Return the best counter for a tokenizer that works here, without network.

    `large`: there is so much to count that a counter which takes a second to load pays.
    """
    if tokenizer not in TOKENIZERS:
        raise FtspecError(f"`{printable(tokenizer)}` is not a tokenizer", help=f"use one of {', '.join(TOKENIZERS)}")
    if tokenizer == "words":
        return Counter(name="words", exact=True, error=0.0, count=lambda text: len(_WORD.findall(text)), overhead=False)
    exact = None
    if tokenizer != "estimate":
        exact = (_gigatoken(tokenizer) if large else None) or _bpe(tokenizer) or _tiktoken(tokenizer)
    if exact is not None:
        return Counter(name=tokenizer, exact=True, error=0.0, count=_remembering(exact))
    return Counter(name="estimate", exact=False, error=ESTIMATE_ERROR, count=estimate)


def name_of(tokenizer: str) -> str:
    """Return the name of the counter that `counter` would return, without loading it."""
    if tokenizer in {"words", "estimate"} or tokenizer not in TOKENIZERS:
        return tokenizer
    here = _home("bpe_openai") is not None or (_home("tiktoken") is not None and _vocabulary(tokenizer).is_file())
    return tokenizer if here else "estimate"


def _home(package: str) -> Path | None:
    """Return the folder of an installed package, without importing it."""
    from importlib.util import find_spec

    try:
        found = find_spec(package)
    except ValueError:
        return None
    places = list(found.submodule_search_locations or ()) if found is not None else []
    return Path(places[0]) if places else None


def choose(wanted: Iterable[str | None]) -> str:
    """Return the tokenizer for a dataset that engines with these tokenizers (`None`: not said) train on."""
    names = {name or DEFAULT for name in wanted}
    return names.pop() if len(names) == 1 else DEFAULT


def estimate(text: str) -> int:
    """Return a guess at the number of tokens of a text."""
    length = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return -int(-length // ESTIMATE_BYTES)


def _remembering(exact: Callable[[str], int]) -> Callable[[str], int]:
    remembered = functools.lru_cache(maxsize=4096)(exact)

    def counted(text: str) -> int:
        return remembered(text) if len(text) <= _CACHED else exact(text)

    return counted


def _bpe(tokenizer: str) -> Callable[[str], int] | None:
    """Return bpe-openai's count, from its compiled module alone.

    Importing the package would also load every vocabulary into Python, which takes a second.
    """
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    home = _home("bpe_openai")
    found = PathFinder.find_spec("bpe_openai._bindings", [str(home)]) if home is not None else None
    if found is None or found.loader is None:
        return None
    bindings = module_from_spec(found)
    found.loader.exec_module(bindings)
    count: Callable[[str], int] = bindings.tokenizer_for_encoding(f"{tokenizer}_base").count
    return count


def _gigatoken(tokenizer: str) -> Callable[[str], int] | None:
    """Return gigatoken's count with the vocabulary that bpe-openai has inside; it wants it as a plain file."""
    home = _home("bpe_openai")
    packed = home / "data" / f"{tokenizer}_base.tiktoken.gz" if home is not None else None
    if packed is None or not packed.is_file():
        return None
    try:
        import gigatoken
    except ImportError:
        return None
    import gzip
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{tokenizer}_base.tiktoken"
        path.write_bytes(gzip.decompress(packed.read_bytes()))
        encode = gigatoken.Tokenizer.from_tiktoken(path, tokenizer.replace("cl100k", "gpt4")).encode
    return lambda text: len(encode(text))


def _tiktoken(tokenizer: str) -> Callable[[str], int] | None:
    """Return tiktoken's count if its vocabulary is on disk: it would fetch a missing one over the network."""
    if _home("tiktoken") is None or not _vocabulary(tokenizer).is_file():
        return None
    try:
        import tiktoken
    except ImportError:
        return None
    encode = tiktoken.get_encoding(f"{tokenizer}_base").encode_ordinary
    return lambda text: len(encode(text))


def _vocabulary(tokenizer: str) -> Path:
    """Return where tiktoken keeps a vocabulary that it has fetched."""
    import hashlib
    import tempfile

    address = f"https://openaipublic.blob.core.windows.net/encodings/{tokenizer}_base.tiktoken"
    folder = (
        os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR") or str(Path(tempfile.gettempdir()) / "data-gym-cache")
    )
    return Path(folder) / hashlib.sha1(address.encode()).hexdigest()  # noqa: S324 the name that tiktoken gives its file
