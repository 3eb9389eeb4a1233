"""State in a local folder: base files and segments of JSON lines.

    state/jobs.jsonl files.jsonl evals.jsonl    records, sorted by key; written by compaction only
    state/history.jsonl                         which commands wrote what was compacted
    state/log/<utc>-<random>.jsonl              one segment per writing command, append-only
    state/.lock                                 flock; names its holder

Reading needs no lock: segments are read before base files, and compaction makes base files
durable before it removes segments, so a reader sees every fact at least once and the join does
not mind seeing one twice. A fact is durable before `append` returns; after an error nothing is
known about the facts of that call, and the next ones go to a new segment.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from ftspec import __version__
from ftspec.diagnostics import Diagnostic, FtspecError, has_errors, warning
from ftspec.printable import printable
from ftspec.state.base import Fact, Holder, StateLocked
from ftspec.state.basefile import BASE_FILES
from ftspec.state.disk import Disk
from ftspec.state.folder import HISTORY, LOG, TEMPORARY, Loaded, history_line, load, replace, torn_line, write_new
from ftspec.state.ledger import Ledger
from ftspec.state.lines import Segment, SegmentHeader, decode, encode, numbered_lines
from ftspec.state.process import age, holder_of, this_process, timestamp, without_collection
from ftspec.state.worktree import head_commit

if TYPE_CHECKING:
    from random import Random

    from ftspec.record import State

LOCK: Final = ".lock"
PROBE: Final = bytes(1 << 16)
"""What must fit on the disk before anything is bought: the outcomes of some hundred launches."""

_PLAIN: Final = str.maketrans("", "", "-:.")
_GIT_FILES: Final = {
    ".gitignore": f"/{LOCK}\n*{TEMPORARY}\n".encode(),
    # Every line stands for itself, so keeping the lines of both sides is the right merge.
    ".gitattributes": b"*.jsonl text eol=lf merge=union\nlog/*.jsonl text eol=lf merge=union\n",
}


class StateUnreadable(FtspecError):
    """State holds lines that cannot be read; nothing is written, and so nothing is bought, until they can."""

    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        gone = next((one.help for one in diagnostics if one.code == "missing-records"), None)
        super().__init__("state cannot be read", help=gone or "run `ftspec state repair`: it explains each fix", diagnostics=diagnostics)


class StateNotWritable(FtspecError):
    """Nothing can be written to the state folder."""

    def __init__(self, folder: str, why: str) -> None:
        super().__init__(
            f"state cannot be written to `{printable(folder)}`: {printable(why)}",
            help="nothing was bought; make the folder writable, or name another one with `--state DIR`",
        )


class StateReplaced(OSError):
    """The state folder is not the one that is locked; what was written to that one was written to this one, too."""


class JsonlState:
    """A `StateBackend` in a folder.

    `name` is what people call the folder (its path in the project); `me` describes this process
    to others that find the lock taken.
    """

    def __init__(
        self,
        folder: Path,
        *,
        clock: Callable[[], float] = time.time,
        random: Random | None = None,
        disk: Disk | None = None,
        me: Holder | None = None,
        name: str | None = None,
    ) -> None:
        self.folder = folder
        self.name = name or folder.name
        self._clock = clock
        self._random = random
        self.disk = disk or Disk()
        self._me = me

    @without_collection()
    def read(self) -> tuple[State, list[Diagnostic]]:
        """Return everything recorded, and what is odd about it. Writes nothing."""
        loaded = self.load()
        return loaded.ledger.state(), [*loaded.problems, *loaded.ledger.diagnostics()]

    def load(self) -> Loaded:
        """Return everything read, without the lock."""
        try:
            folder = self.disk.open_folder(self.folder)
        except FileNotFoundError:
            return Loaded()
        except OSError as problem:
            raise FtspecError(f"`{printable(self.name)}` is not a state folder: {problem.strerror}") from problem
        try:
            loaded = load(self.disk, folder, name=self.name)
        finally:
            self.disk.close(folder)
        if loaded.ledger.lenient:
            loaded.problems.append(
                warning("newer-state", "a newer ftspec wrote some of this state; it can be read but not written", help="upgrade ftspec")
            )
        for segment in loaded.segments:
            if segment.torn is not None:
                loaded.problems.append(torn_line(self.name, segment))
        return loaded

    @contextmanager
    def lock(self, command: str) -> Iterator[JsonlWriter]:
        """Become the writer: lock, see that the disk can be written, read all of state strictly."""
        with self.exclusively(command) as (folder, me):
            writer = JsonlWriter(self.disk, self.folder, folder, name=self.name, me=me, clock=self._clock, bits=self.bits)
            try:
                writer.open()
                yield writer
            finally:
                writer.close()

    @contextmanager
    def exclusively(self, command: str) -> Iterator[tuple[int, Holder]]:
        """Hold the lock without reading state (`repair` needs no more); yields the open folder."""
        try:
            self.disk.make_folder(self.folder)
            folder = self.disk.open_folder(self.folder)
        except OSError as problem:
            raise StateNotWritable(self.name, problem.strerror or str(problem)) from problem
        try:
            with self._locked(folder, command) as me:
                yield folder, me
        finally:
            self.disk.close(folder)

    def bits(self, count: int) -> int:
        """Return random bits, for names that nobody else chooses."""
        if self._random is None:
            from random import SystemRandom

            self._random = SystemRandom()
        return self._random.getrandbits(count)

    def holder(self) -> Holder | None:
        """Return who writes now, if anybody."""
        try:
            folder = self.disk.open_folder(self.folder)
        except OSError:
            return None
        try:
            said = self.disk.read(folder, LOCK)
            if not said:
                return None
            fd = self.disk.open_lock(folder, LOCK, write=False)
            try:
                return None if self.disk.try_lock(fd, shared=True) else holder_of(said)
            finally:
                self.disk.close(fd)
        except OSError:
            return None
        finally:
            self.disk.close(folder)

    @contextmanager
    def _locked(self, folder: int, command: str) -> Iterator[Holder]:
        now = timestamp(self._clock())
        me = msgspec.structs.replace(self._me or this_process(), command=command, since=now)
        try:
            fd = self.disk.open_lock(folder, LOCK)
        except OSError as problem:
            raise StateNotWritable(self.name, problem.strerror or str(problem)) from problem
        try:
            self._take(folder, fd)
            try:
                self.disk.replace(fd, msgspec.json.encode(me))
            except OSError as problem:
                raise StateNotWritable(self.name, problem.strerror or str(problem)) from problem
            try:
                yield me
            finally:
                with suppress(OSError):
                    self.disk.replace(fd, b"")
        finally:
            self.disk.close(fd)

    def _take(self, folder: int, fd: int) -> None:
        for patience in (0.01, 0.04, 0.0):
            if self.disk.try_lock(fd):
                return
            time.sleep(patience)  # `holder` of another process may have it for a moment
        holder = holder_of(self.disk.read(folder, LOCK))
        raise StateLocked(holder, age=age(holder.since, now=self._clock()) if holder else None)


class JsonlWriter:
    """The right to write to a folder. Made by `JsonlState.lock`."""

    def __init__(
        self, disk: Disk, path: Path, folder: int, *, name: str, me: Holder, clock: Callable[[], float], bits: Callable[[int], int]
    ) -> None:
        self._disk = disk
        self._path = path
        self._name = name
        self._folder = folder
        self._me = me
        self._clock = clock
        self._bits = bits
        self._log: int | None = None
        self._lock = disk.identity_at(path / LOCK)
        self._segment: int | None = None
        self._segment_name = ""
        self._lines: list[bytes] = []
        """Everything that was written to the segment."""
        self._ledger: Ledger | None = None
        self._checked: Mapping[str, bytes] = {}

    @without_collection()
    def open(self) -> None:
        """See that state can be written and read; set torn lines aside. Raises `FtspecError`."""
        try:
            self._tidy(self._folder)
            self._probe()
            names = self._disk.names(self._folder)
            if not {LOG, *BASE_FILES, *_GIT_FILES}.intersection(names):
                for name, content in _GIT_FILES.items():
                    write_new(self._disk, self._folder, name, content)
            self._disk.make_folder(Path(LOG), inside=self._folder)
            self._log = self._disk.open_folder(Path(LOG), inside=self._folder)
            self._tidy(self._log)
            loaded = self._load()
            for segment in loaded.segments:
                if segment.torn is not None:
                    self._set_aside(segment)
        except OSError as problem:
            raise StateNotWritable(self._name, problem.strerror or str(problem)) from problem

    def append(self, *facts: Fact) -> None:
        """Make facts durable, in order: one write, one sync."""
        if not facts:
            return
        self._rewrite_if_removed()
        ledger = self._known()
        self._ledger = None  # until they are durable, nobody knows
        if self._segment is None:
            self._segment = self._new_segment()
        lines: list[bytes] = []
        for fact in facts:
            line = encode(ledger.settled(fact), len(self._lines) + len(lines))
            ledger.add_fact(decode(line)[1])  # type: ignore[arg-type] # what was encoded
            ledger.count(line)
            lines.append(line)
        try:
            self._disk.write(self._segment, b"".join(lines))
            self._disk.sync(self._segment)
        except OSError:
            self._close_segment()
            raise
        self._lines += lines
        self._ledger = ledger

    def read(self) -> State:
        """Return the state with everything appended so far."""
        return self._known().state()

    @without_collection()
    def compact(self) -> None:
        """Fold all segments into the base files, and remove them when those are durable."""
        try:
            self._rewrite_if_removed()
        except StateReplaced as problem:
            raise FtspecError(f"`{printable(self._name)}` was replaced while it was written", help="run the command again") from problem
        self._close_segment()
        loaded = self._load()
        for name, kind in BASE_FILES.items():
            self._replace(name, loaded.ledger.shelves[kind.name].base_lines(), loaded)
        history = {line.content for line in numbered_lines(loaded.bases.get(HISTORY, b""))}
        self._replace(HISTORY, sorted(history | {history_line(segment) for segment in loaded.segments if segment.header}), loaded)
        if loaded.segments and self._log is not None:
            self._disk.sync(self._folder)
            for segment in loaded.segments:
                self._disk.unlink(self._log, segment.name)

    def close(self) -> None:
        """Close the segment; nothing can be appended afterwards."""
        try:
            with suppress(StateReplaced):
                self._rewrite_if_removed()
        finally:
            self._close_segment()
            if self._log is not None:
                self._disk.close(self._log)
                self._log = None

    def _known(self) -> Ledger:
        return self._ledger or self._load().ledger

    def _load(self) -> Loaded:
        loaded = load(self._disk, self._folder, name=self._name, strict=True, checked=self._checked)
        problems = [*loaded.problems, *loaded.ledger.diagnostics()]
        if has_errors(problems):
            raise StateUnreadable(problems)
        if loaded.ledger.lenient:
            raise FtspecError("a newer ftspec wrote some of this state; it can be read but not written", help="upgrade ftspec")
        self._ledger, self._checked = loaded.ledger, loaded.bases
        return loaded

    def _tidy(self, folder: int) -> None:
        """Remove what a killed writer left behind unfinished."""
        for name in self._disk.names(folder):
            if name.endswith(TEMPORARY):
                self._disk.unlink(folder, name)

    def _probe(self) -> None:
        name = self._temporary("probe")
        write_new(self._disk, self._folder, name, PROBE)
        self._disk.unlink(self._folder, name)

    def _new_segment(self) -> int:
        assert self._log is not None  # noqa: S101 made by `open`
        now = timestamp(self._clock())
        header = SegmentHeader(
            at=now, command=self._me.command, by=f"{self._me.user}@{self._me.host}", ftspec=__version__, commit=head_commit(self._path)
        )
        self._segment_name, self._lines = self._free_name(now.translate(_PLAIN)), [encode(header, 0)]
        fd = self._disk.create(self._log, self._segment_name)
        try:
            self._disk.write(fd, self._lines[0])
            self._disk.sync(self._log)  # the name; the first fact syncs the content
        except OSError:
            self._disk.close(fd)
            raise
        return fd

    def _free_name(self, time: str) -> str:
        assert self._log is not None  # noqa: S101 made by `open`
        while True:
            name = f"{time}-{self._bits(32):08x}.jsonl"
            if name not in self._disk.names(self._log):
                return name

    def _rewrite_if_removed(self) -> None:
        """Write the segment again if it was removed meanwhile: commands wait for hours, and somebody says `git stash -u` or `git clean`.

        `StateReplaced`: the lock is not ours any more, or the folder is another one; the segment is in it all the same.
        """
        if self._segment is not None and self._disk.identity_at(self._path / LOG / self._segment_name) != self._disk.identity(
            self._segment
        ):
            self._rewrite()
        if self._disk.identity_at(self._path / LOCK) != self._lock:
            raise StateReplaced(errno.ESTALE, "its folder, or the lock in it, was replaced while it was written")

    def _rewrite(self) -> None:
        assert self._log is not None  # noqa: S101 there is a segment in it
        self._close_segment()
        self._disk.make_folder(self._path)
        folder = self._disk.open_folder(self._path)
        try:
            self._disk.make_folder(Path(LOG), inside=folder)
            self._disk.close(self._log)
            self._log = None
            self._log = self._disk.open_folder(Path(LOG), inside=folder)
        finally:
            self._disk.close(folder)
        # Another name, and at once: git could want to bring the old one back, and a writer there must not see half of it.
        name = self._free_name(timestamp(self._clock()).translate(_PLAIN))
        replace(self._disk, self._log, name, b"".join(self._lines), temporary=self._temporary(name))
        self._disk.sync(self._log)

    def _close_segment(self) -> None:
        if self._segment is not None:
            segment, self._segment = self._segment, None
            self._disk.close(segment)

    def _set_aside(self, segment: Segment) -> None:
        """Move a torn last line to `<segment>.torn`: it was never acknowledged, so nothing relies on it."""
        assert self._log is not None  # noqa: S101 made by `open`
        assert segment.torn is not None  # noqa: S101 asked by the caller
        write_new(self._disk, self._log, f"{segment.name}-{self._bits(16):04x}.torn", segment.torn)
        whole = self._disk.read(self._log, segment.name).removesuffix(segment.torn)
        replace(self._disk, self._log, segment.name, whole, temporary=self._temporary(segment.name))
        self._disk.sync(self._log)

    def _replace(self, name: str, lines: Iterable[bytes | memoryview], loaded: Loaded) -> None:
        data = b"".join(piece for line in lines for piece in (line, b"\n"))
        if data != loaded.bases.get(name, b""):
            replace(self._disk, self._folder, name, data, temporary=self._temporary(name))

    def _temporary(self, name: str) -> str:
        return f".{name}-{self._bits(32):08x}{TEMPORARY}"
