"""A dataset as a stream of rows: its file, its transforms, the datasets mixed into it.

Transforms at the head of the list that look at one row at a time run inside the pass over
the file, which can then be shared between processes. From the first one that looks at several
rows (`dedupe`, `sample`, `mix`) on, rows are streamed here, and rules look at what comes out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import msgspec

from ftspec.data import transforms
from ftspec.data.batch import Batch
from ftspec.data.boring import as_dict
from ftspec.data.checks.base import Setting
from ftspec.data.findings import Findings
from ftspec.data.formats import all_formats, detect
from ftspec.data.rows import SNIFFED, BadFile, BadRow, Place, RowFile, RowReader, Stamp, sniff
from ftspec.data.scan import Order, RowRules, Scanner
from ftspec.data.transforms import STREAMED, Row, Rows, row_step
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.experiment import DesiredDataset

_VOTERS = 100
_BATCH = 256
PROMPT_BYTES = 1 << 20
"""The longest file that a system prompt may come from."""


class Source:
    """The rows of one dataset. `BadFile` and `BadTransform` where they cannot be had."""

    def __init__(self, dataset: DesiredDataset, place: Place, *, setting: Setting | None = None, _within: tuple[str, ...] = ()) -> None:
        transforms.validate(dataset)
        self.dataset = dataset
        self.stamps: list[tuple[str, Stamp]] = []
        self._read_findings = Findings()
        self._rule_findings: dict[str, Findings] = {}
        self._mixed: list[Source] = []
        self._place = place
        self._within = (*_within, dataset.name)
        steps = [self._resolved(one) for one in dataset.transforms]
        first = next((i for i, one in enumerate(steps) if one["type"] in STREAMED), len(steps))
        self._streamed = steps[first:]
        given = setting or Setting()
        with place.open(dataset.path) as file:
            self._note_stamp(file.stamp)
            self.format = dataset.format or format_of(file, wanted=given.wanted)
            self.size = file.stamp.size
        columns = given.columns | ({dataset.split.group_by} if dataset.split and dataset.split.group_by else set())
        split = dataset.split
        self.order = Order(
            path=dataset.path,
            setting=msgspec.structs.replace(given, format=self.format, columns=frozenset(columns)),
            shares=dict(split.shares) if split else None,
            seed=split.seed if split else 0,
            group_by=split.group_by if split else None,
            steps=steps[:first],
        )
        self._others = {name: self._other(name) for one in self._streamed if one["type"] == "mix" for name in one["with"]}

    @property
    def one_pass(self) -> bool:
        """Whether every row can be looked at by itself, so that the pass over the file can be shared."""
        return not self._streamed

    @property
    def findings(self) -> dict[str, Findings]:
        """What is wrong with the rows that were read last, by file: with their lines, and by the rules."""
        merged = {self.dataset.path: Findings()}
        for path, found in [
            (self.dataset.path, self._read_findings),
            *(pair for source in self._mixed for pair in source.findings.items()),
            *self._rule_findings.items(),
        ]:
            merged.setdefault(path, Findings()).merge(found.all())
        return merged

    def unchecked(self) -> Order:
        """Return the order of a pass that only wants the rows."""
        return msgspec.structs.replace(self.order, check=False)

    def rows(self, order: Order) -> Iterator[Batch]:
        """Yield the rows after all transforms, in batches; then `findings` has what is wrong with them."""
        self._rule_findings = {path: Findings() for path, _ in self.stamps} if order.check else {}
        if self.one_pass:
            yield from self._read(order)
            return
        unchecked = msgspec.structs.replace(order, check=False)
        stream: Rows = lambda: (row for batch in self._read(unchecked) for row in batch)  # noqa: E731 a value that is passed on
        form = all_formats()[self.format]
        for one in self._streamed:
            stream = self._staged(stream, one, form)
        rules = {path: RowRules(order.setting, found) for path, found in self._rule_findings.items()}
        rows = stream()
        while batch := list(islice(rows, _BATCH)):
            for row in batch if rules else ():
                rules[row.path].check(as_dict(row.value), row.canonical, row.line)
            yield Batch.of(batch)

    def _read(self, order: Order) -> Iterator[Batch]:
        """Yield the rows of the file itself."""
        scanner = Scanner(order)
        self._read_findings = scanner.findings
        with self._place.open(order.path) as file:
            self.expect_unchanged(file)
            for block in file.blocks():
                yield scanner.rows(block)
            file.finish()

    def expect_unchanged(self, file: RowFile) -> None:
        """Raise `BadFile` if the dataset's file is not the one that was looked at first."""
        if file.stamp != self.stamps[0][1]:
            raise BadFile("changed-while-read", "the file changed while it was read")

    def _staged(self, rows: Rows, one: Mapping[str, Any], form: Any) -> Rows:
        match one["type"]:
            case "dedupe":
                return transforms.dedupe(rows, form, by=one.get("by", "row"))
            case "sample" if "first" in one:
                return transforms.head(rows, first=one["first"], per_part="per" in one)
            case "sample":
                return transforms.sample(rows, n=one.get("n"), fraction=one.get("fraction"), seed=one.get("seed", 0))
            case "mix":
                others = [(self._others[name], float(share)) for name, share in one["with"].items()]
                return transforms.mix(rows, others, seed=one.get("seed", 0))
            case _:
                return _mapped(rows, row_step(one))

    def _other(self, ref: str) -> Rows:
        """Return the rows of another dataset (or of a part of it), dealt to the parts of this one."""
        from ftspec.data.split import Dealer

        name, _, part = ref.partition(".")
        other = self._place.datasets.get(name)
        if other is None or ref not in other.refs():
            raise transforms.BadTransform(f"dataset `{self.dataset.name}` mixes in `{printable(ref)}`, which the spec does not have")
        if name in self._within:
            raise transforms.BadTransform(f"dataset `{self.dataset.name}` mixes in itself: {' > '.join((*self._within, name))}")
        source = Source(other, self._place, _within=self._within)
        if source.format != self.format:
            raise transforms.BadTransform(f"dataset `{self.dataset.name}` is {self.format}, but mixes in `{ref}`, which is {source.format}")
        self.stamps += source.stamps
        self._mixed.append(source)
        split = self.dataset.split
        dealer = Dealer(split.shares, seed=split.seed, group_by=split.group_by) if split else None

        def stream() -> Iterator[Row]:
            for batch in source.rows(source.unchecked()):
                for row in batch:
                    if not part or row.part == part:
                        yield msgspec.structs.replace(row, part=dealer.part(as_dict(row.value), row.canonical) if dealer else "")

        return stream

    def _resolved(self, one: Mapping[str, Any]) -> dict[str, Any]:
        """Return a transform with the text of its file."""
        made = dict(one)
        if made["type"] != "system_prompt" or "file" not in made:
            return made
        folder = PurePosixPath(self.dataset.at.path).parent if self.dataset.at else PurePosixPath()
        path = os.path.normpath(folder / str(made.pop("file")))
        with self._place.open(path) as file:
            data = file.head(PROMPT_BYTES + 1)
            self._note_stamp(file.stamp, path)
            file.finish()
        try:
            text = data.decode().strip()
        except UnicodeDecodeError as error:
            raise BadFile("not-utf8", f"the system prompt `{printable(path)}` is not UTF-8") from error
        if len(data) > PROMPT_BYTES or not text:
            raise BadFile("empty-file", f"the system prompt `{printable(path)}` is empty, or longer than a mebibyte")
        _refuse_other_digest(made.pop("sha256", None), data, path)
        return {**made, "text": text}

    def _note_stamp(self, stamp: Stamp, path: str | None = None) -> None:
        """Remember the stamp of a file; that of the dataset's own file comes first."""
        if path is None:
            self.stamps.insert(0, (self.dataset.path, stamp))
        else:
            self.stamps.append((path, stamp))


def _mapped(rows: Rows, step: Callable[[dict[str, Any]], dict[str, Any]]) -> Rows:
    reader = RowReader()

    def stream() -> Iterator[Row]:
        for row in rows():
            value = step(as_dict(row.value))
            yield msgspec.structs.replace(row, value=value, canonical=reader.canonical(value))

    return stream


def _refuse_other_digest(wanted: Any, data: bytes, path: str) -> None:
    import hashlib

    if wanted is not None and hashlib.sha256(data).hexdigest() != str(wanted):
        raise transforms.BadTransform(f"the system prompt `{printable(path)}` is not the one with the declared `sha256`")


def format_of(file: RowFile, *, wanted: str | None = None) -> str:
    """Return the format that the first rows of a file look like; `BadFile` where it is no JSON Lines."""
    head = file.head(SNIFFED)
    sniff(head)
    reader, rows = RowReader(), []
    for raw in head.removeprefix(b"\xef\xbb\xbf").split(b"\n")[:_VOTERS]:
        try:
            rows.append(reader.decode(raw)[0])
        except BadRow:
            continue
    if not rows and len(head) == SNIFFED:
        rows = _first_row(file, reader)
    return detect(rows, wanted=wanted)


def _first_row(file: RowFile, reader: RowReader) -> list[dict[str, Any]]:
    """Decode a first row that is longer than the head."""
    for block in file.blocks():
        try:
            return [reader.decode(block.split(b"\n", 1)[0])[0]]
        except BadRow:
            break
    return []
