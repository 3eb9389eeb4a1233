"""Samples on disk: one line a finished sample, so that a run goes on where it stopped.

    .ftspec/evals/<eval key>/run.json        what was asked of whom, and the digests of the graders
    .ftspec/evals/<eval key>/samples.jsonl   one line a sample; the last line of a sample counts

Lines are appended as samples finish; `finish` sorts them by row, so that equal answers give
equal bytes. The answers of other runs of the same model are a cache by content: a changed
grader asks nobody again, added rows ask only for themselves. Nothing here is ever in state.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from ftspec.diagnostics import FtspecError
from ftspec.regular import open_regular, read_regular


class GradeRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A grade as it is kept. `retry`: the judge could not be asked, so it is asked again next time."""

    score: float | None = None
    passed: bool | None = None
    label: str | None = None
    detail: str | None = None
    error: str | None = None
    retry: bool = False


class Sample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One asked question. `request` is the digest of everything that was sent; `error`: there is no answer.

    `question` and `reference` are shortened, for people who look at flipped examples.
    """

    item: str
    index: int
    repeat: int = 0
    request: str = ""
    text: str = ""
    finish_reason: str | None = None
    refusal: str | None = None
    tool_calls: list[dict[str, Any]] = []
    input_tokens: int | None = None
    output_tokens: int | None = None
    grades: dict[str, GradeRecord] = {}
    error: str | None = None
    group: str | None = None
    question: str = ""
    reference: str = ""
    cost: float | None = None
    """What it cost to ask and to grade, in the money of the run; `None`: not known."""

    @property
    def key(self) -> tuple[str, int]:
        """What makes it one sample of a run."""
        return self.item, self.repeat

    @property
    def finished(self) -> bool:
        """Whether nothing of it needs to be asked again."""
        return self.error is None and not any(grade.retry for grade in self.grades.values())

    @property
    def empty(self) -> bool:
        """Whether the model answered nothing at all."""
        return self.error is None and not self.text.strip() and not self.tool_calls and not self.refused

    @property
    def refused(self) -> bool:
        """Whether the model, or a content filter, declined."""
        return self.refusal is not None or self.finish_reason == "content_filter"

    @property
    def truncated(self) -> bool:
        """Whether the answer was cut off by the token limit."""
        return self.finish_reason == "length"


class RunHeader(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a run is about. `identity` is the model part of the eval key's preimage."""

    key: str
    eval: str
    model: str
    identity: dict[str, Any]
    graders: dict[str, str] = {}
    """Digests of the grader definitions, by name."""
    address: str | None = None
    step: int | None = None
    started_at: str = ""


class SampleStore:
    """The folder of all eval runs of a project."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        """Return where the samples of a run are."""
        return self.folder / key / "samples.jsonl"

    def header(self, key: str) -> RunHeader | None:
        """Return what a run is about, or `None` where there is no such run here."""
        try:
            return msgspec.json.decode(read_regular(self.folder / key / "run.json"), type=RunHeader)
        except (OSError, ValueError, RecursionError):
            return None

    def samples(self, key: str) -> Iterator[Sample]:
        """Yield the samples of a run, each once, as they last were."""
        path = self.path(key)
        if path.is_symlink() or not path.is_file():
            return
        lines = Lines(path)
        try:
            for offset in sorted(lines.newest().values()):
                yield lines.at(offset)
        finally:
            lines.close()

    def open(self, header: RunHeader, *, fresh: bool = False) -> Run:
        """Begin a run, or go on with it. `fresh`, or another model of its job, forgets its samples and asks everything again."""
        before = self.header(header.key)
        fresh = fresh or (before is not None and before.model != header.model)
        folder = self.folder / header.key
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / "run.json.new"
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(header), indent=2) + b"\n")
        temporary.replace(folder / "run.json")
        if fresh:
            self.path(header.key).unlink(missing_ok=True)
        others = {} if fresh else self._others(header)
        return Run(header, self.path(header.key), others)

    def _others(self, header: RunHeader) -> dict[Path, RunHeader]:
        """Return the other runs of the same model; a job that was trained again has another one."""
        found = {}
        for path in sorted(self.folder.glob("*/run.json")):
            if path.parent.name == header.key:
                continue
            other = self.header(path.parent.name)
            if other is not None and other.identity == header.identity and other.model == header.model:
                found[path.with_name("samples.jsonl")] = other
        return found


class Lines:
    """A file of samples, read by offset."""

    def __init__(self, path: Path) -> None:
        self._file = open_regular(path)
        self._decoder = msgspec.json.Decoder(Sample)
        self._path = path
        self.end = 0
        """Offset after the last complete line: a torn tail is what a crash leaves."""

    def newest(self) -> dict[tuple[int, int, str], int]:
        """Return the offset of each sample's last line, by (row, repeat, item)."""
        found: dict[tuple[int, int, str], int] = {}
        for offset, sample in self:
            found[sample.index, sample.repeat, sample.item] = offset
        return found

    def __iter__(self) -> Iterator[tuple[int, Sample]]:
        self._file.seek(0)
        self.end = 0
        for number, line in enumerate(self._file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                yield self.end, self._decoder.decode(line)
            except (ValueError, RecursionError):
                raise FtspecError(
                    f"line {number} of `{self._path.parent.name}/samples.jsonl` is damaged",
                    help="remove that line, or ask everything again with `--fresh`",
                ) from None
            self.end += len(line)

    def at(self, offset: int) -> Sample:
        """Return the sample whose line begins at `offset`."""
        return self._decoder.decode(self.raw(offset))

    def raw(self, offset: int) -> bytes:
        """Return the line that begins at `offset`."""
        self._file.seek(offset)
        return self._file.readline()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Run:
    """The samples of one run, open for appending: a context manager."""

    def __init__(self, header: RunHeader, path: Path, others: Mapping[Path, RunHeader]) -> None:
        self.header = header
        self.path = path
        self._others = others
        self._encoder = msgspec.json.Encoder()
        self._own: dict[tuple[str, int], bool] = {}
        self.spent: float | None = 0.0
        """What its samples cost so far, answers that were thrown away included."""
        self._cache: dict[str, tuple[Lines, int, Mapping[str, str]]] = {}
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opening:
            self._file = opening.enter_context(self.path.open("ab"))
            for other, about in self._others.items():
                if other.is_file():
                    with contextlib.suppress(FtspecError):  # a damaged file of another run is only a smaller cache
                        self._remember(opening, other, about)
            lines = self._remember(opening, self.path, self.header)
            self._file.truncate(lines.end)
            self._open = opening.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()

    def _remember(self, opening: contextlib.ExitStack, path: Path, header: RunHeader) -> Lines:
        lines = Lines(path)
        opening.callback(lines.close)
        for offset, sample in lines:
            if header is self.header:
                self._own[sample.key] = sample.finished
                self.spent = None if sample.cost is None or self.spent is None else self.spent + sample.cost
            if sample.error is None:
                self._cache[sample.request] = (lines, offset, header.graders)
        return lines

    def finished(self, item: str, repeat: int) -> bool:
        """Whether this sample needs nothing any more."""
        return self._own.get((item, repeat), False)

    def cached(self, request: str, item: str) -> tuple[Sample, frozenset[str]] | None:
        """Return an answer to the same request, and the names of the grades of it that still hold."""
        hit = self._cache.get(request)
        if hit is None:
            return None
        lines, offset, graders = hit
        sample = lines.at(offset)
        same_row = sample.item.partition("-")[0] == item.partition("-")[0]
        held = (
            name
            for name, grade in sample.grades.items()
            if same_row and grade.error is None and graders.get(name) == self.header.graders.get(name, "")
        )
        return sample, frozenset(held)

    def add(self, sample: Sample) -> None:
        """Append a finished sample. What the process wrote survives the process, not a power loss."""
        self._file.write(self._encoder.encode(sample) + b"\n")
        self._file.flush()
        self._own[sample.key] = sample.finished

    def finish(self) -> str:
        """Sort the samples, drop superseded lines, make the file durable, close it; return its SHA-256."""
        hashed = hashlib.sha256()
        temporary = self.path.with_suffix(".new")
        lines = Lines(self.path)
        with temporary.open("wb") as file:
            for _, offset in sorted(lines.newest().items()):
                line = lines.raw(offset)
                hashed.update(line)
                file.write(line)
            file.flush()
            os.fsync(file.fileno())
        lines.close()
        self._open.close()
        temporary.replace(self.path)
        return hashed.hexdigest()
