"""Files are streamed from an open handle, in one request or in parts."""

import hashlib
import io

import pytest

from ftspec.engines import upload as uploading
from ftspec.engines.base import NotSent, Refused, UnknownOutcome
from ftspec.testing.faulty import Fault
from ftspec.testing.tinyapi import TinyApi

PARTS = "POST /uploads/*/parts"


class Source(io.BytesIO):
    """A file that notes how it is read."""

    def __init__(self, content):
        super().__init__(content)
        self.reads = []

    def read(self, size=-1):
        self.reads.append(size)
        return super().read(size)


@pytest.fixture
def small_parts(monkeypatch):
    """Lower the sizes so that a few kilobytes go in several parts."""
    monkeypatch.setattr(uploading, "PART_THRESHOLD", 1000)
    monkeypatch.setattr(uploading, "PART", 400)


def send(engine_at, asking, server, content, *, name="tickets.train.0123456789ab.jsonl", progress=None, purpose="fine-tune"):
    return asking(engine_at(server.base_url), lambda engine: engine.upload(name=name, content=content, purpose=purpose, progress=progress))


def test_a_file_arrives_as_it_is(serve, engine_at, asking):
    """Name, purpose and every byte, whatever they look like."""
    server = serve()
    content = b'{"a": "\r\n--ftspec\x00\xff"}\r\n' * 1000
    sent = []
    file = send(engine_at, asking, server, io.BytesIO(content), progress=sent.append)
    assert (file.name, file.purpose, file.bytes) == ("tickets.train.0123456789ab.jsonl", "fine-tune", len(content))
    assert server.api.contents[file.id] == content
    assert sum(sent) == len(content)


def test_an_empty_file_and_an_odd_name_arrive(serve, engine_at, asking):
    """Quotes and line breaks in a name cannot leave their header."""
    server = serve()
    send(engine_at, asking, server, io.BytesIO(b""), name='a"b\r\nX: y.jsonl')
    assert [(file["filename"], file["bytes"]) for file in server.files.values()] == [("a%22b%0D%0AX: y.jsonl", 0)]


def test_a_file_is_read_in_blocks_once(serve, engine_at, asking):
    """No more than a block is in memory, and nothing is read twice."""
    source = Source(b"x" * (3 * uploading.BLOCK + 5))
    send(engine_at, asking, serve(), source)
    assert source.reads == [uploading.BLOCK] * 3 + [5]


def test_a_file_is_sent_from_where_it_stands(serve, engine_at, asking):
    """What was read before is not sent."""
    server = serve()
    source = io.BytesIO(b"head\nrest")
    source.readline()
    file = send(engine_at, asking, server, source)
    assert server.api.contents[file.id] == b"rest"


@pytest.mark.parametrize("parts", [False, True])
def test_what_goes_wrong_while_reading_is_raised_as_it_is(parts, serve, engine_at, asking, monkeypatch):
    """A dataset that changes under our hands is the reader's to report; no file is made."""
    if parts:
        monkeypatch.setattr(uploading, "PART_THRESHOLD", 1000)

    class Changed(Exception):
        pass

    class Failing(io.BytesIO):
        def read(self, size=-1):
            raise Changed

    server = serve()
    with pytest.raises(Changed):
        send(engine_at, asking, server, Failing(b"x" * 2000))
    assert not server.files


@pytest.mark.parametrize("parts", [False, True])
def test_a_file_that_shrinks_is_not_sent(parts, serve, engine_at, asking, monkeypatch):
    """The declared length is the length."""
    if parts:
        monkeypatch.setattr(uploading, "PART_THRESHOLD", 1000)

    class Shrinking(io.BytesIO):
        def read(self, size=-1):
            return b""

    server = serve()
    with pytest.raises(OSError, match="became shorter"):
        send(engine_at, asking, server, Shrinking(b"x" * 2000))
    assert not server.files


@pytest.mark.parametrize(
    ("kind", "outcome", "files"),
    [
        ("reset before", UnknownOutcome, 0),
        ("500 after", UnknownOutcome, 1),
        ("html after", UnknownOutcome, 1),
        ("list after", UnknownOutcome, 1),
        ("413", Refused, 0),
        ("401", Refused, 0),
    ],
)
def test_an_upload_is_one_post_with_an_outcome(kind, outcome, files, serve, engine_at, asking):
    """Like a job, a file is not sent again by itself."""
    server = serve(Fault(kind, on="POST /files"))
    with pytest.raises(outcome):
        send(engine_at, asking, server, io.BytesIO(b"{}\n"))
    assert len(server.requests) == 1
    assert len(server.files) == files


def test_a_large_file_goes_in_parts(small_parts, serve, engine_at, asking):
    """Parts are put together in order and checked by length and MD5."""
    server = serve()
    content = bytes(range(256)) * 10
    sent = []
    file = send(engine_at, asking, server, io.BytesIO(content), progress=sent.append)
    assert server.api.contents[file.id] == content
    assert sum(sent) == len(content)
    assert [request.name for request in server.requests].count(PARTS) == 7
    complete = server.requests[-1]
    assert complete.name == "POST /uploads/*/complete"
    assert hashlib.md5(content, usedforsecurity=False).hexdigest().encode() in complete.body


@pytest.mark.parametrize("kind", ["reset before", "500 before", "html before", "cut after", "list after", "wrong json after"])
def test_a_lost_part_is_sent_again(kind, small_parts, serve, engine_at, asking):
    """A part that nobody completes is no file."""
    server = serve(Fault(kind, on=PARTS, skip=1, times=2))
    content = b"x" * 2000
    file = send(engine_at, asking, server, io.BytesIO(content))
    assert server.api.contents[file.id] == content
    assert len(server.files) == 1


def test_a_part_that_never_arrives_gives_the_upload_up(small_parts, serve, engine_at, asking):
    """Nothing was bought, so it may be sent again; the engine is told to forget the rest."""
    server = serve(Fault("500 before", on=PARTS, times=1000))
    with pytest.raises(NotSent):
        send(engine_at, asking, server, io.BytesIO(b"x" * 2000))
    assert not server.files
    assert [upload["status"] for upload in server.api.uploads.values()] == ["cancelled"]


def test_a_refused_upload_is_refused(small_parts, serve, engine_at, asking):
    """A clear no, at whichever step, is a refusal."""
    for route in ("POST /uploads", PARTS, "POST /uploads/*/complete"):
        server = serve(Fault("403", on=route, times=100))
        with pytest.raises(Refused):
            send(engine_at, asking, server, io.BytesIO(b"x" * 2000))
        assert not server.files


@pytest.mark.parametrize(("route", "outcome"), [("POST /uploads", NotSent), ("POST /uploads/*/complete", UnknownOutcome)])
def test_only_the_last_step_can_be_unknown(route, outcome, small_parts, serve, engine_at, asking):
    """Before `complete` there is no file, after a lost `complete` there may be."""
    server = serve(Fault("500 after", on=route))
    with pytest.raises(outcome):
        send(engine_at, asking, server, io.BytesIO(b"x" * 2000))
    assert len(server.files) == (outcome is UnknownOutcome)


@pytest.mark.parametrize("kind", ["list after", "wrong json after", "html after"])
def test_a_completion_without_a_file_is_unknown(kind, small_parts, serve, engine_at, asking):
    """The last answer must hold the file."""
    with pytest.raises(UnknownOutcome):
        send(engine_at, asking, serve(Fault(kind, on="POST /uploads/*/complete")), io.BytesIO(b"x" * 2000))


def test_an_unreachable_engine_was_sent_nothing(small_parts, engine_at, asking, closed_port):
    """Neither whole nor in parts."""
    for size in (10, 2000):
        with pytest.raises(NotSent):
            asking(
                engine_at(f"http://127.0.0.1:{closed_port}/v1"),
                lambda engine, size=size: engine.upload(name="a.jsonl", content=io.BytesIO(b"x" * size), purpose="fine-tune"),
            )


def test_files_are_found_by_their_exact_name(serve, engine_at, asking):
    """All files of a name, and no other purpose."""
    server = serve(api=TinyApi(now=lambda: 5.0))
    for name, purpose in (("a.jsonl", "fine-tune"), ("a.jsonl", "fine-tune"), ("a.jsonl", "batch"), ("b.jsonl", "fine-tune")):
        send(engine_at, asking, server, io.BytesIO(b"{}\n"), name=name, purpose=purpose)
    listing = asking(engine_at(server.base_url), lambda engine: engine.find_files(name="a.jsonl", purpose="fine-tune"))
    assert ([file.id for file in listing.items], listing.complete) == (["file-00000001", "file-00000002"], True)
