"""Token counts are exact where a tokenizer is present, and say how wrong they can be where not."""

from __future__ import annotations

import gzip
import importlib.util
import sys
from pathlib import Path

import pytest

from ftspec.data import tokens
from ftspec.data.digest import digest
from ftspec.diagnostics import FtspecError
from ftspec.server.trainers.sandbox.words import pieces


class Packages:
    """Packages that are installed for one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, name: str, **files: str | bytes) -> None:
        home = self.folder / name
        home.mkdir()
        for path, content in ({"__init__.py": ""} | files).items():
            (home / path).parent.mkdir(exist_ok=True)
            (home / path).write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.fixture(autouse=True)
def packages(monkeypatch, tmp_path):
    """Each test finds the tokenizers that it installs, and none that the machine has."""
    names = ("bpe_openai", "gigatoken", "tiktoken")
    hidden = [
        str(Path(place).parent)
        for name in names
        if (found := importlib.util.find_spec(name))
        for place in found.submodule_search_locations or ()
    ]
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder), *(place for place in sys.path if place not in hidden)])
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "vocabularies"))
    importlib.invalidate_caches()
    tokens.counter.cache_clear()
    yield Packages(folder)
    tokens.counter.cache_clear()
    for name in list(sys.modules):
        if name.partition(".")[0] in names:
            del sys.modules[name]


TEXTS = ["", "Hello, world!", "snake_case x2  \n\tend ", "Übergröße 北京 😀", "a" * 100, "don't\u2028stop"]


@pytest.mark.parametrize("text", TEXTS)
def test_words_are_counted_as_the_sandbox_cuts_them(text):
    """The `words` tokenizer is that of the sandbox engine, so its estimates are exact."""
    assert tokens.count(text, "words") == len(pieces(text))


def test_without_a_tokenizer_a_count_is_an_estimate_with_its_error():
    """The stand-in says that it is one, and how far off it can be."""
    counter = tokens.counter("o200k")
    assert (counter.name, counter.exact, counter.error) == ("estimate", False, 0.45)
    assert counter.count("x" * 37) == 10


# Counted once with o200k: what each text really needs.
REAL = {
    "The government announced on Tuesday that taxes would not rise next year, despite economic difficulties. ": 18,
    "Der schnelle braune Fuchs springt über den faulen Hund. Die Bundesregierung hat am Dienstag angekündigt, dass die Steuern im nächsten Jahr nicht erhöht werden sollen. ": 35,
    '{"name": "get_weather", "arguments": {"city": "Oslo", "unit": "c", "days": 3}}': 29,
}


@pytest.mark.parametrize(("text", "real"), REAL.items(), ids=["English", "German", "JSON"])
def test_the_estimate_is_within_its_error(text, real):
    """For known counts the truth lies within the stated range."""
    guess = tokens.estimate(text)
    assert guess * (1 - tokens.ESTIMATE_ERROR) <= real <= guess * (1 + tokens.ESTIMATE_ERROR)


BINDINGS = """
asked = []
class tokenizer_for_encoding:
    def __init__(self, name):
        assert name in ("o200k_base", "cl100k_base")
    def count(self, text):
        asked.append(text)
        return len(text) if len(asked) == 1 else 99
"""


def test_an_installed_tokenizer_is_exact(packages):
    """`bpe-openai` is used where it is there, without importing the whole package, once for each short text."""
    packages.install("bpe_openai", **{"__init__.py": "raise AssertionError('slow')", "_bindings.py": BINDINGS})
    counter = tokens.counter("o200k")
    assert (counter.name, counter.exact, tokens.name_of("o200k")) == ("o200k", True, "o200k")
    assert [counter.count("Be brief.") for _ in range(3)] == [9, 9, 9]


def test_large_files_are_counted_by_the_faster_tokenizer(packages):
    """With `gigatoken` installed it gets the vocabulary of `bpe-openai`, for large files only."""
    packages.install("bpe_openai", **{"_bindings.py": BINDINGS, "data/o200k_base.tiktoken.gz": gzip.compress(b"vocabulary")})
    loading = """
class Tokenizer:
    @classmethod
    def from_tiktoken(cls, path, scheme):
        assert (path.read_bytes(), scheme) == (b"vocabulary", "o200k")
        return cls()
    def encode(self, text):
        return text * 2
"""
    packages.install("gigatoken", **{"__init__.py": loading})
    assert tokens.counter("o200k", large=True).count("four") == 8
    assert tokens.counter("o200k").count("four") == 4
    assert tokens.counter("cl100k", large=True).count("four") == 4


def test_tiktoken_is_used_only_with_its_vocabulary_on_disk(packages, tmp_path):
    """Nothing is ever fetched: a tiktoken that would have to download is as good as none."""
    encoding = "class get_encoding:\n    def __init__(self, name): pass\n    def encode_ordinary(self, text): return list(text)\n"
    packages.install("tiktoken", **{"__init__.py": encoding})
    assert not tokens.counter("cl100k").exact
    assert tokens.name_of("cl100k") == "estimate"
    tokens.counter.cache_clear()
    (tmp_path / "vocabularies").mkdir()
    (tmp_path / "vocabularies" / "9b5ad71b2ce5302211f9c61530b329a4922fc6a4").write_bytes(b"")
    assert tokens.counter("cl100k").count("four") == 4
    assert tokens.name_of("cl100k") == "cl100k"


@pytest.mark.parametrize("name", ["words", "estimate", "o200k"])
def test_the_name_of_a_counter_is_known_without_loading_it(name):
    """What a cache entry is filed under is what the counter calls itself."""
    assert tokens.name_of(name) == tokens.counter(name).name


def test_an_unknown_tokenizer_is_an_error():
    """A name that nobody knows is refused with the names there are."""
    with pytest.raises(FtspecError, match="not a tokenizer") as stop:
        tokens.counter("p50k")
    assert "o200k" in stop.value.help


def test_a_dataset_of_several_engines_is_counted_for_the_common_one():
    """Engines that agree decide; otherwise the default counts."""
    assert tokens.choose(["words", "words"]) == "words"
    assert tokens.choose(["words", None]) == tokens.DEFAULT
    assert tokens.choose([]) == tokens.DEFAULT


def test_facts_have_the_tokens_of_each_part(folder, chat):
    """Counts add up over the parts, and say whether they are exact."""
    rows = [chat(user=f"one two {n}", assistant="three") for n in range(50)]
    facts, _ = digest(folder.dataset("data", *rows, split={"shares": {"train": 0.5, "test": 0.5}}), root=folder.root, tokenizer="words")
    assert facts["data"].total_tokens == facts["data"].trained_tokens == 50 * 4
    assert facts["data.train"].total_tokens + facts["data.test"].total_tokens == 200
    assert facts["data"].exact_tokens
    assert digest(folder.dataset("data"), root=folder.root, tokenizer=None)[0]["data"].total_tokens is None


def test_messages_and_rows_cost_tokens_of_their_own(folder, chat):
    """Three for each message and three for the answer's start, as the protocol's guide counts."""
    facts, _ = digest(folder.dataset("data", chat(user="x" * 37, assistant="x" * 37)), root=folder.root, tokenizer="estimate")
    assert facts["data"].total_tokens == 10 + 10 + 3 + 3 + 3


def test_images_are_counted_and_make_the_count_inexact(folder):
    """An image costs 85 tokens at low detail; what it costs at full detail depends on its size."""

    def row(detail):
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": detail}}
        return {"messages": [{"role": "user", "content": [image]}, {"role": "assistant", "content": "x"}]}

    low, high = (
        digest(folder.dataset(name, row(name)), root=folder.root, tokenizer="estimate")[0][name].total_tokens for name in ("low", "high")
    )
    assert high - low == tokens.IMAGE_HIGH - tokens.IMAGE_LOW


def test_images_make_exact_counts_of_their_rows_inexact(folder, chat, monkeypatch):
    """Texts counted to the token are still exact; the more of a part is images, the less is sure. Words have no images."""
    image = {"type": "image_url", "image_url": {"url": "https://a.test/b.png"}}
    seen = {"messages": [{"role": "user", "content": [image]}, {"role": "assistant", "content": "x"}]}
    exact = tokens.Counter(name="words", exact=True, error=0.0, count=tokens.counter("words").count)
    monkeypatch.setattr("ftspec.data.tally.counter", lambda *_, **__: exact)
    facts = {
        name: digest(folder.dataset(name, row), root=folder.root, tokenizer="words")[0][name] for name, row in (("a", chat()), ("b", seen))
    }
    assert (facts["a"].exact_tokens, facts["a"].tokens_error) == (True, 0.0)
    assert not facts["b"].exact_tokens
    assert facts["b"].tokens_error == pytest.approx(tokens.IMAGE_ERROR * tokens.IMAGE_HIGH / (tokens.IMAGE_HIGH + 1 + 3 + 3))
    monkeypatch.undo()
    assert digest(folder.dataset("c", seen), root=folder.root, tokenizer="words")[0]["c"].exact_tokens
