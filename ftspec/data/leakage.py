"""Leakage: what a validation set or an eval shares with the data that a model is trained on.

Four kinds, from certain to likely: the same row (members beside prompt and answer aside), the
same prompt, a near duplicate, and rows of one group on both sides. The held-out parts are
indexed first, then the training data streams past the index.

Near duplicates have the same prompt in other letters, or are found by word n-grams: an item is
one if a single training row has most of its n-grams, those aside that many items share (greetings,
instructions, templates; `ngrams` has the figures). Short items have too few n-grams to tell; for
them the prompt must do. Texts are compared without system prompts, in lower case,
without punctuation and invisible characters, and in one of the forms that Unicode has for them.
"""

from __future__ import annotations

import functools
import string
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from ftspec.data.boring import PlainChat, as_dict
from ftspec.data.checks import all_codes
from ftspec.data.digest import part_of
from ftspec.data.findings import KEEP
from ftspec.data.formats import EVAL, all_formats
from ftspec.data.messages import messages_of, role_of, text_of
from ftspec.data.rows import Place as Where
from ftspec.data.source import Source
from ftspec.data.split import field_of
from ftspec.data.tally import hash64, sorted_json
from ftspec.diagnostics import Diagnostic, Place
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.data.formats.base import Format
    from ftspec.data.ngrams import NGrams
    from ftspec.data.onepass import Progress
    from ftspec.data.transforms import Row
    from ftspec.experiment import DesiredDataset

BYTES_PER_GRAM = 110
"""What one n-gram costs in the index while it is made, measured."""
BYTES_PER_BYTE = 13
"""What a byte of held-out chat rows costs in the index, measured on English."""

_TO_SPACE = str.maketrans(dict.fromkeys(string.punctuation, " "))
_SYSTEM = frozenset({"system", "developer"})
_NOT_SAID = _SYSTEM | {"tools"}
_ASKED_WORDS = 2
_ASKED_LETTERS = 8
"""A text of an eval's item may be what is asked if it has so many words, or letters; shorter ones are labels and names."""
_DENSE = 12
"""Above so many letters a word, a text has no spaces between words (Chinese, Japanese, Thai): its letters are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A dataset, or a part of it, on one side of the comparison."""

    dataset: DesiredDataset
    ref: str

    @classmethod
    def of(cls, ref: str, datasets: Mapping[str, DesiredDataset]) -> Part:
        """Return the part that a reference of a spec names."""
        return cls(dataset=datasets[ref.partition(".")[0]], ref=ref)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """One row of a held-out part that training data gives away: the code of its rule, and where both rows are."""

    code: str
    held: Place
    train: Place
    share: float = 1.0


@dataclass(slots=True)
class _Item:
    place: Place
    said: int | None = None
    """A hash of prompt and answer together."""
    code: str = ""
    """The worst that was found so far."""
    train: Place | None = None
    share: float = 0.0


_WORSE = ("", "near-duplicate", "leaked-prompt", "leaked-row")


class Keys(NamedTuple):
    """What a row is compared by: hashes, good for this process only, and where near duplicates are searched for its words."""

    row: int
    prompt: int | None
    asked: tuple[int, ...] = ()
    words: Sequence[str] = ()

    @classmethod
    def of(cls, row: Row, form: Format, *, near: bool) -> Keys:
        """Return what a row is compared by."""
        return cls(hash64(row.canonical), prompt_key(row.value, form), *(texts_of(row.value, form) if near else ()))


@dataclass(slots=True)
class Index:
    """The rows of one held-out part, ready to be looked up."""

    ref: str
    group_by: str | None = None
    near: bool = True
    """Whether near duplicates are searched for, which is what takes time and memory."""
    items: list[_Item] = field(default_factory=list)
    rows: dict[int, list[int]] = field(default_factory=dict)
    prompts: dict[int, list[int]] = field(default_factory=dict)
    asked: dict[int, list[int]] = field(default_factory=dict)
    """Prompts as they are compared for near duplicates."""
    groups: dict[int, Place] = field(default_factory=dict)
    shared_groups: dict[int, tuple[Place, Place]] = field(default_factory=dict)
    grams: NGrams | None = None

    @property
    def memory(self) -> int:
        """About how many bytes the n-grams need."""
        return len(self.grams) * BYTES_PER_GRAM if self.grams is not None else 0

    def add(self, row: Row, form: Format) -> None:
        """Add one held-out row."""
        number = len(self.items)
        place = Place(path=row.path, line=row.line)
        self.items.append(_Item(place, said_key(row.value, form)))
        keys = Keys.of(row, form, near=self.near)
        self.rows.setdefault(keys.row, []).append(number)
        if keys.prompt is not None:
            self.prompts.setdefault(keys.prompt, []).append(number)
        for one in keys.asked:
            self.asked.setdefault(one, []).append(number)
        if self.near:
            self._near().add(number, keys.words)
        if (group := self._group(row)) is not None:
            self.groups.setdefault(group, place)

    def _near(self) -> NGrams:
        if self.grams is None:
            from ftspec.data.ngrams import NGrams

            self.grams = NGrams()
        return self.grams

    def close(self) -> None:
        """Make the index ready to be looked up."""
        if self.grams is not None:
            self.grams.close()

    def look(self, rows: Sequence[Row], keys: Sequence[Keys], form: Format) -> None:
        """Compare training rows with all held-out rows."""
        for row, key in zip(rows, keys, strict=True):
            for number in self.rows.get(key.row, ()):
                self._note(number, "leaked-row", row, 1.0)
            if key.prompt in self.prompts:
                said = said_key(row.value, form)
                for number in self.prompts[key.prompt]:
                    same = said is not None and said == self.items[number].said
                    self._note(number, "leaked-row" if same else "leaked-prompt", row, 1.0)
            for one in key.asked:
                for number in self.asked.get(one, ()):
                    self._note(number, "near-duplicate", row, 1.0)
            if (group := self._group(row)) in self.groups:
                self.shared_groups.setdefault(group, (self.groups[group], Place(path=row.path, line=row.line)))
        if self.grams is not None:
            for text, number, share in self.grams.near([key.words for key in keys]):
                self._note(number, "near-duplicate", rows[text], share)

    def _group(self, row: Row) -> int | None:
        value = field_of(as_dict(row.value), self.group_by.split(".")) if self.group_by else None
        return None if value is None else hash64(sorted_json(value))

    def _note(self, number: int, code: str, row: Row, share: float) -> None:
        item = self.items[number]
        if (_WORSE.index(code), share) > (_WORSE.index(item.code), item.share):
            item.code, item.train, item.share = code, Place(path=row.path, line=row.line), share

    def leaks(self) -> Iterator[Leak]:
        """Yield what was found, in the order of the held-out rows."""
        for item in self.items:
            if item.code and item.train is not None:
                yield Leak(code=item.code, held=item.place, train=item.train, share=item.share)
        for held, train in self.shared_groups.values():
            yield Leak(code="leaked-group", held=held, train=train)


def texts_of(value: Any, form: Format) -> tuple[tuple[int, ...], list[str]]:
    """Return hashes of what a row may ask, and the words of it that are compared: everything but system prompts and tools.

    The hashes are good for this process only.
    """
    if isinstance(value, PlainChat):
        texts = [one.content for one in value.messages if one.role != "system"]
        ends = 1 if texts and value.messages[-1].role == "assistant" else 0
        asked = plain_words(" ".join(texts[: len(texts) - ends]))
        words = asked + plain_words(" ".join(texts[len(texts) - ends :]))
        keys: tuple[int, ...] = (hash(tuple(asked)),) if asked else ()
    else:
        words = plain_words(" ".join(piece.text for piece in form.pieces(value) if piece.role not in _NOT_SAID))
        keys = tuple({hash(tuple(one)) for text in _asked_in(value, form) if (one := plain_words(text))})
    letters = len("".join(words))
    return keys, words if letters <= _DENSE * len(words) else list("".join(words))


def _asked_in(value: Mapping[str, Any], form: Format) -> list[str]:
    """Return the texts that may be what a row asks; of an eval's item any longer one, as its template may ask any."""
    prompt = form.prompt(value)
    if form.name == EVAL:
        messages = messages_of(value.get("messages"))
        texts = [
            one for one in value.values() if isinstance(one, str) and (one.count(" ") + 1 >= _ASKED_WORDS or len(one) >= _ASKED_LETTERS)
        ]
    else:
        messages = messages_of(prompt)
        texts = [prompt] if isinstance(prompt, str) else []
    if messages:
        texts.append(" ".join(text_of(one) for one in messages if role_of(one) not in _SYSTEM))
    return texts


def plain_words(text: str) -> list[str]:
    """Return the words of a text in lower case, without signs and what nobody sees, in Unicode's compatibility form."""
    if text.isascii():
        return text.lower().translate(_TO_SPACE).split()
    text = unicodedata.normalize("NFKC", text).lower()
    for letter in set(text):
        if (plain := _plain(letter)) != letter:
            text = text.replace(letter, plain)
    return text.split()


@functools.lru_cache(maxsize=10_000)
def _plain(letter: str) -> str:
    """Return what becomes of a character: a space of punctuation and symbols, nothing of what nobody sees."""
    kind = unicodedata.category(letter)
    return " " if kind[0] in "PS" else "" if kind == "Cf" else letter


def prompt_key(value: Any, form: Format) -> int | None:
    """Return a hash of what the model is asked, without system prompts; `None` where it is asked nothing."""
    prompt: Any
    if isinstance(value, PlainChat):
        prompt = [one for one in value.messages if one.role != "system"]
        if prompt and prompt[-1].role == "assistant":
            prompt.pop()
    else:
        prompt = form.prompt(value)
        if isinstance(prompt, list):
            prompt = [one for one in prompt if not (isinstance(one, dict) and one.get("role") in ("system", "developer"))]
    return hash64(sorted_json(prompt)) if prompt else None


def said_key(value: Any, form: Format) -> int | None:
    """Return a hash of prompt and answer together, whatever other members a row has; `None` where the format knows no answer."""
    row = as_dict(value)
    target = form.target(row)
    return None if target is None else hash64(sorted_json([form.prompt(row), target]))


def rows_of(part: Part, where: Where, *, progress: Progress | None = None) -> Iterator[tuple[Row, Format]]:
    """Yield the rows of a part."""
    for rows, form in batches_of(part, where, progress=progress):
        for row in rows:
            yield row, form


def batches_of(part: Part, where: Where, *, progress: Progress | None = None) -> Iterator[tuple[list[Row], Format]]:
    """Yield the rows of a part, many at a time."""
    source = Source(part.dataset, where)
    form = all_formats()[source.format]
    wanted = part_of(part.dataset, part.ref)
    done = 0
    for batch in source.rows(source.unchecked()):
        yield [row for row in batch if not wanted or row.part == wanted], form
        if progress is not None:
            done += len(batch.canonical)
            progress(done, source.size)


def index_of(part: Part, where: Where, *, group_by: str | None = None, near: bool = True) -> Index:
    """Index one held-out part."""
    index = Index(part.ref, group_by=group_by, near=near)
    for row, form in rows_of(part, where):
        index.add(row, form)
    index.close()
    return index


def compare(
    train: Part, held: Iterable[Part], where: Where, *, near: bool = True, group_by: str | None = None, progress: Progress | None = None
) -> list[Diagnostic]:
    """Return what each held-out part shares with the training data, in one pass over it (`BadFile`).

    Without `near` only equal rows, prompts and groups are found, as fast as rows are read.
    """
    group_by = group_by or (train.dataset.split.group_by if train.dataset.split else None)
    indexes = [index_of(part, where, group_by=group_by, near=near) for part in held]
    for rows, form in batches_of(train, where, progress=progress):
        keys = [Keys.of(row, form, near=near) for row in rows]
        for index in indexes:
            index.look(rows, keys, form)
    return [one for index in indexes for one in as_diagnostics(index.leaks(), held=index.ref, train=train.ref)]


_SENTENCES = {
    "leaked-row": "a row of `{held}` is also in `{train}`",
    "leaked-prompt": "a prompt of `{held}` is also in `{train}`",
    "near-duplicate": "a row of `{held}` is nearly the same as one of `{train}`",
    "leaked-group": "`{held}` and `{train}` share a group",
}


def as_diagnostics(leaks: Iterable[Leak], *, held: str, train: str) -> list[Diagnostic]:
    """Return one problem for each kind of leak, with a count and the first places on both sides."""
    by_code: dict[str, list[Leak]] = {}
    for leak in leaks:
        by_code.setdefault(leak.code, []).append(leak)
    rules = all_codes()
    return [
        Diagnostic(
            code=code,
            severity=rules[code].severity,
            message=_SENTENCES[code].format(held=printable(held), train=printable(train)),
            help=rules[code].help,
            at=found[0].held,
            also=(("in the training data", found[0].train),),
            count=len(found),
            places=tuple(leak.held for leak in found[:KEEP]) if len(found) > 1 else (),
        )
        for code, found in by_code.items()
    ]
