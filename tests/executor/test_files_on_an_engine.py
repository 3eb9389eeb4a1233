"""A dataset file is put on an engine once, under the name of its bytes, and jobs wait until it can be used."""

import io

import msgspec
import pytest

from ftspec.diagnostics import FtspecError
from ftspec.engines.base import EngineError, ObservedFile
from ftspec.executor.interrupt import Stop
from ftspec.executor.progress import Uploaded, Uploading
from ftspec.executor.upload import FileReady, FileWish, HashingReader, NoFile, ensure_file, wait_until_processed
from ftspec.record import JobError, RecordedFile
from ftspec.state.memory import MemoryState
from ftspec.testing.account import File, Rules, SimulatedEngine
from ftspec.testing.bench import Bench
from ftspec.testing.storm import Wish


def ensure(bench: Bench, *, recorded=None, materialise=None, stop=None):
    """Put the dataset of the wish on the engine and return what became of it."""
    facts = bench.wanted.datasets["data"]
    wish = FileWish(ref="data", dataset_key=facts.key, engine="sim", scope="sim", recorded=recorded)
    with MemoryState(bench.store).lock("test") as writer:
        effects = bench.effects(writer, stop=stop)
        if materialise is not None:
            effects = type(effects)(**{name: getattr(effects, name) for name in effects.__slots__} | {"materialise": materialise})
        return bench.run(ensure_file(wish, engine=bench.engine, effects=effects))


def recorded_file(bench: Bench) -> RecordedFile:
    """Return what state says of the one file."""
    (file,) = bench.state.files.values()
    return file


def test_a_file_is_named_after_its_bytes_and_recorded_with_them(bench):
    """Name, digest, size and rows are recorded; progress counts the bytes."""
    ready = ensure(bench)
    assert isinstance(ready, FileReady)
    assert ready.sent
    file = recorded_file(bench)
    facts = bench.wanted.datasets["data"]
    assert (file.file_id, file.status, file.bytes, file.rows) == (ready.file_id, "uploaded", facts.bytes, facts.rows)
    assert file.name == f"data.{facts.key[:12]}.jsonl"
    assert bench.told(Uploading)[-1].sent == facts.bytes
    assert bench.told(Uploaded) == [Uploaded(dataset="data", engine="sim", file_id=ready.file_id, adopted=False)]


def test_a_recorded_file_is_used_again_once_the_engine_confirms_it(bench):
    """Known and still there: nothing is sent."""
    first = ensure(bench)
    second = ensure(bench, recorded=recorded_file(bench))
    assert second == FileReady(file_id=first.file_id, digest=first.digest, sent=False, status=second.status)
    assert len(bench.account.files) == 1
    assert recorded_file(bench).status == "confirmed"


def test_a_recorded_file_that_is_gone_is_sent_again(bench):
    """Deleted or expired: recorded as gone, and a new one takes its place."""
    first = ensure(bench)
    known = recorded_file(bench)
    del bench.account.files[first.file_id]
    second = ensure(bench, recorded=known)
    assert isinstance(second, FileReady)
    assert second.sent
    assert recorded_file(bench).file_id == second.file_id


def test_a_file_that_was_sent_and_never_recorded_is_adopted(bench):
    """Same name and same bytes: it is ours, and the oldest one is used."""
    first = ensure(bench)
    bench.store.lines.clear()
    second = ensure(bench)
    assert isinstance(second, FileReady)
    assert (second.file_id, second.sent) == (first.file_id, False)
    assert bench.told(Uploaded)[-1].adopted


def test_a_file_of_our_name_with_other_bytes_is_not_adopted(bench):
    """A name proves nothing without the size."""
    facts = bench.wanted.datasets["data"]
    bench.account.files["file-x"] = File(
        id="file-x", name=f"data.{facts.key[:12]}.jsonl", content=b"{}", created=0, ready=0, word="processed"
    )
    ready = ensure(bench)
    assert isinstance(ready, FileReady)
    assert ready.sent


@pytest.mark.parametrize("word", ["error", "deleted", "expired"])
def test_a_file_of_ours_that_cannot_be_used_is_sent_again(bench, word):
    """The right name and bytes, but the engine says that it is bad: no reason to give its jobs up."""
    assert isinstance(ensure(bench), FileReady)
    (file,) = bench.account.files.values()
    file.word = word
    bench.store.lines.clear()
    ready = ensure(bench)
    assert isinstance(ready, FileReady)
    assert ready.sent
    assert ready.file_id != file.id


@pytest.mark.parametrize("fate", ["not_sent", "lost_request", "lost_answer"])
def test_an_upload_that_went_wrong_is_looked_for_and_sent_again(bench, fate):
    """A lost answer is found by name, a lost request is repeated: either way one usable file."""
    bench.account.file_fates += [fate]
    ready = ensure(bench)
    assert isinstance(ready, FileReady)
    assert list(bench.account.files) == [ready.file_id]
    assert ready.sent == (fate != "lost_answer")


def opening(bench, how):
    """Return a materialise whose file is opened by `how`."""

    class Opened:
        def open(self, mode):
            return how(mode)

    async def materialise(ref, key):
        facts = bench.wanted.datasets[ref]
        return Opened(), key, facts.rows, facts.bytes

    return materialise


def test_an_upload_that_never_succeeds_is_given_up(bench):
    """After a few tries its jobs are not bought, and the reason is the engine's."""

    async def down(**_):
        raise EngineError("bad gateway", status=502)

    bench.engine.upload = down
    assert ensure(bench) == NoFile(error=JobError(code="http_502", message="bad gateway"))


def test_bytes_that_are_not_those_of_the_plan_buy_nothing(bench):
    """The file changed while it was sent: what was sent is recorded as an orphan, and no job is bought with it."""
    changed = opening(bench, lambda _mode: io.BytesIO(b'{"messages":["other"]}\n'))
    answer = ensure(bench, materialise=changed)
    assert isinstance(answer, NoFile)
    assert answer.error.code == "dataset"
    (orphan,) = bench.account.files
    file = recorded_file(bench)
    assert (file.file_id, file.status, file.extra) == (orphan, "gone", {"orphan": "the file changed while it was sent"})


def test_a_dataset_that_changed_since_the_plan_is_said_and_not_sent(bench):
    """What cannot be materialised as planned is not uploaded."""

    async def changed(ref, key):
        raise FtspecError("dataset `data` changed since it was planned")

    why = JobError(code="dataset", message="dataset `data` changed since it was planned")
    assert ensure(bench, materialise=changed) == NoFile(error=why)
    assert bench.account.files == {}


def test_a_list_of_files_that_cannot_be_had_only_costs_a_second_copy(bench):
    """Looking for the file is a courtesy; without an answer it is sent."""

    async def down(**_):
        raise EngineError("bad gateway")

    bench.engine.find_files = down
    assert ensure(bench).sent


def test_nothing_is_sent_after_a_signal(bench):
    """An upload that had not begun is not begun."""
    stop = Stop()
    stop.request(2)
    answer = ensure(bench, stop=stop)
    assert isinstance(answer, NoFile)
    assert answer.error.code == "not_sent"
    assert bench.account.files == {}


class Statuses:
    """An engine whose file says one word after the other."""

    def __init__(self, words):
        self.words = list(words)
        self.asked = 0

    async def file(self, file_id):
        self.asked += 1
        word = self.words.pop(0) if len(self.words) > 1 else self.words[0]
        if isinstance(word, EngineError):
            raise word
        if word == "gone":
            return None
        return ObservedFile(id=file_id, name="n", bytes=1, status=word, purpose=None, status_details="row 3 is not JSON")


def waited(bench, first, *words, window=300.0):
    """Wait for a file and return why it can never be used."""
    engine = Statuses(words or [first])
    ready = FileReady(file_id="f", digest="d", sent=True, status=first)
    return bench.run(wait_until_processed(ready, engine=engine, clock=bench.process, window=window)), engine.asked


@pytest.mark.parametrize("word", ["processed", None])
def test_a_file_that_is_processed_or_says_nothing_is_ready_at_once(bench, word):
    """No status at all is what some engines have; it is not waited for."""
    assert waited(bench, word) == (None, 0)


def test_unknown_words_and_errors_mean_not_yet(bench):
    """The wait goes on over words that nobody knows and over a question without an answer."""
    assert waited(bench, "uploaded", "scanning", EngineError("x"), "almost", "processed") == (None, 4)


def test_a_file_that_is_bad_is_said_with_the_engines_details(bench):
    """An error, or a file that vanished, ends the wait with a reason."""
    why, _ = waited(bench, "uploaded", "scanning", "error")
    assert why is not None
    assert (why.code, why.message) == ("file_not_usable", "row 3 is not JSON")
    assert waited(bench, "deleted")[0].code == "file_not_usable"
    assert waited(bench, "uploaded", "gone")[0].code == "file_gone"


def test_a_file_that_is_never_processed_is_tried_all_the_same(bench):
    """After the window the engine itself decides whether it can be used."""
    before = bench.sim.world.now
    why, asked = waited(bench, "uploaded", "uploaded", window=100.0)
    assert why is None
    assert asked > 5
    assert 100 < bench.sim.world.now - before < 130


def test_a_reader_hashes_what_is_read_from_the_beginning():
    """The digest is that of the last complete reading; jumping about and reading again change nothing."""
    import hashlib

    content = bytes(range(256)) * 10
    told: list[int] = []
    reader = HashingReader(io.BytesIO(content), told.append)
    assert reader.readable()
    assert reader.seekable()
    assert reader.seek(0, io.SEEK_END) == len(content)
    reader.seek(0)
    reader.read(100)
    reader.seek(0)
    buffer = bytearray(1000)
    assert reader.readinto(buffer) == 1000
    assert reader.tell() == 1000
    reader.read()
    assert reader.digest == hashlib.sha256(content).hexdigest()
    assert told[-1] == len(content)


def test_jobs_are_not_bought_with_a_file_that_cannot_be_had():
    """The engine refuses the upload: the job fails with that reason, and nothing is bought."""
    bench = Bench(rules=Rules())

    async def full(**_):
        from ftspec.engines.base import Refused

        raise Refused("too many files", code="file_limit", status=400)

    engine = bench.new_engine(bench.process)
    engine.upload = full
    result = bench.execute(engine=engine)
    assert [(one.address, one.error.code) for one in result.failed] == [("grid/seed=1", "file_limit")]
    assert bench.account.posts == []
    assert result.exit_code == 1


def test_a_job_that_lacks_two_files_fails_once():
    """Both of its files cannot be had: one trouble, the first."""
    bench = Bench(wish=Wish(seeds=2, validation=True))

    async def changed(ref, key):
        raise FtspecError(f"dataset `{ref}` changed since it was planned")

    result = bench.execute(materialise=changed)
    assert [one.address for one in result.failed] == ["grid/seed=1", "grid/seed=2"]
    assert bench.account.posts == []


def test_a_job_ready_later_fails_by_the_file_that_failed_before():
    """The child's file could not be had for its parent's sibling: it is not tried again in this run."""
    bench = Bench(wish=Wish(seeds=2, children=1, validation=True))
    tried = []

    async def half(ref, key):
        tried.append(ref)
        if ref == "held-out":
            raise FtspecError("unreadable")
        return await Bench.materialise(bench, ref, key)

    plan = bench.plan()
    first = next(action for action in plan.actions if getattr(action, "attempt", 0))
    bare = msgspec.structs.replace(first, validation_key=None)
    actions = tuple(bare if action is first else action for action in plan.actions)
    result = bench.execute(msgspec.structs.replace(plan, actions=actions), materialise=half)
    assert result.succeeded == ("grid/seed=1",)
    assert [one.address for one in result.failed] == ["grid/seed=2", "polish/seed=1"]
    assert tried.count("held-out") == 1


def test_a_file_the_engine_says_is_not_there_is_forgotten_for_the_next_run():
    """A refusal that names the file marks it as gone, so that the next apply confirms or sends it again."""
    bench = Bench()
    bench.execute()
    bench.store.lines[:] = [line for line in bench.store.lines if b'"file"' in line]
    bench.account.jobs.clear()

    class Deleted(SimulatedEngine):
        async def create_job(self, request):
            self.account.files.clear()
            return await super().create_job(request)

    result = bench.execute(engine=Deleted(bench.account, bench.process, lambda _what: None))
    assert result.failed[0].error.param == "training_file"
    assert recorded_file(bench).status == "gone"
    assert bench.execute().succeeded == ("grid/seed=1",)
