"""Files and uploads: order, pages, expiry, limits, and bytes that are kept once and exactly as long as needed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from ftspec.server.app import create_app
from ftspec.server.store import Store
from ftspec.server.trainers.sandbox import SandboxTrainer


@pytest.fixture
def clock() -> list[float]:
    return [1_800_000_000.0]


@pytest.fixture
def timed(tmp_path: Path, clock: list[float], calling: Any) -> Any:
    """A caller of a server whose clock the test sets, and which takes files of at most 1,000 bytes."""
    store, trainer = Store(tmp_path / "server"), SandboxTrainer(tmp_path / "server" / "runs")
    yield calling(create_app(store, trainer, now=lambda: clock[0], max_file_bytes=1000))
    trainer.close()
    store.close()


def blobs(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "server" / "files").glob("*/*")}


def test_files_are_listed_newest_first_in_pages_of_any_size(caller):
    """`order`, `limit`, `after` and `purpose` walk all files once, forwards and backwards."""
    ids = [caller.upload(b"x%d" % i, purpose="batch" if i % 3 == 0 else "fine-tune") for i in range(7)]
    for order, expected in (("desc", ids[::-1]), ("asc", ids)):
        seen: list[str] = []
        more = True
        while more:
            after = f"&after={seen[-1]}" if seen else ""
            page = caller.get(f"/v1/files?order={order}&limit=3{after}").json
            seen += [file["id"] for file in page["data"]]
            more = page["has_more"]
        assert seen == expected
    assert [file["id"] for file in caller.get("/v1/files?purpose=batch").json["data"]] == [ids[6], ids[3], ids[0]]
    assert caller.get("/v1/files?after=file-unknown").error["param"] == "after"
    assert caller.get("/v1/files?limit=0").error["param"] == "limit"
    assert caller.get("/v1/files?order=up").error["param"] == "order"


def test_the_same_bytes_twice_are_two_files_kept_once(caller, tmp_path):
    """Deleting one of two equal files leaves the other readable; deleting both frees the bytes."""
    one, two = caller.upload(b"same"), caller.upload(b"same")
    assert one != two
    assert blobs(tmp_path) == {hashlib.sha256(b"same").hexdigest()}
    caller.delete(f"/v1/files/{one}")
    assert caller.get(f"/v1/files/{two}/content").content == b"same"
    caller.delete(f"/v1/files/{two}")
    assert blobs(tmp_path) == set()
    assert caller.get(f"/v1/files/{two}").status == 404
    assert caller.delete(f"/v1/files/{two}").error["message"] == f"No such File object: {two}"


def test_deleting_the_file_of_an_unfinished_job_does_not_stop_the_job(caller, rows):
    """A job keeps the bytes that it trains on until it has ended."""
    file_id = caller.upload(rows(50, seed=1))
    job = caller.create(training_file=file_id, hyperparameters={"n_epochs": 5})
    assert caller.delete(f"/v1/files/{file_id}").status == 200
    assert caller.finished(job["id"])["training_file"] == file_id
    assert caller.post("/v1/fine_tuning/jobs", json={"model": "sandbox-nano", "training_file": file_id}).error["code"] == "file_not_found"


def test_result_files_are_files_of_their_project(caller, rows):
    """A finished job's result file is listed, has its purpose, and holds a line for each step."""
    job = caller.train(training_file=caller.upload(rows(40, seed=1)), validation_file=caller.upload(rows(10, seed=2)))
    [file_id] = job["result_files"]
    assert caller.get(f"/v1/files/{file_id}").json["purpose"] == "fine-tune-results"
    head, *lines = caller.get(f"/v1/files/{file_id}/content").content.decode().split()
    assert head == "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
    assert [int(line.split(",")[0]) for line in lines] == list(range(1, 31))
    assert all(line.split(",")[1] for line in lines)


def test_expired_files_are_gone(timed, clock):
    """A file with an expiry answers until then, and can start no job afterwards."""
    fields = {"purpose": "fine-tune", "expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    file = timed.post("/v1/files", files={"file": ("a", b"{}")}, data=fields).json
    assert file["expires_at"] == file["created_at"] + 3600
    clock[0] += 3599
    assert timed.get(f"/v1/files/{file['id']}").status == 200
    clock[0] += 1
    assert timed.get(f"/v1/files/{file['id']}").status == 404
    assert timed.get("/v1/files").json["data"] == []


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "purpose"),
        ({"purpose": "fine-tune-results"}, "purpose"),
        ({"purpose": "batch", "expires_after[seconds]": "3600"}, "expires_after.anchor"),
        ({"purpose": "batch", "expires_after[anchor]": "created_at"}, "expires_after.seconds"),
        ({"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "60"}, "expires_after.seconds"),
    ],
)
def test_wrong_fields_of_an_upload_are_named(caller, fields, param):
    """A file with a wrong purpose or expiry is refused, and nothing is kept."""
    answer = caller.post("/v1/files", files={"file": ("a", b"{}")}, data=fields)
    assert (answer.status, answer.error["param"]) == (400, param)
    assert caller.get("/v1/files").json["data"] == []


def test_forms_that_are_none_are_refused(caller):
    """No multipart, no boundary, no file, an empty file, two files and a cut form each get a 400."""
    form = {"content-type": "multipart/form-data; boundary=x"}
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n{}\r\n'
    for content, headers in (
        (b"{}", {"content-type": "application/json"}),
        (b"{}", {"content-type": "multipart/form-data"}),
        (b"rubbish", form),
        (b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--x--\r\n', form),
        (part.replace(b"{}", b"") + b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--x--\r\n', form),
        (part + part + b"--x--\r\n", form),
    ):
        answer = caller.post("/v1/files", content=content, headers=headers)
        assert answer.status == 400, content
        assert answer.error["type"] == "invalid_request_error"


def test_forms_of_too_many_or_too_long_fields_are_refused(caller):
    """Nobody fills the memory with fields."""
    files = {"file": ("a", b"{}")}
    assert caller.post("/v1/files", files=files, data={"purpose": "x" * 70_000}).error["code"] == "request_too_large"
    assert caller.post("/v1/files", files=files, data={f"field {i}": "x" for i in range(40)}).status == 400


def test_too_large_a_file_is_refused_with_413_and_not_kept(timed, tmp_path):
    """The limit is noticed while the bytes arrive."""
    assert timed.post("/v1/files", files={"file": ("a", b"x" * 1001)}, data={"purpose": "batch"}).error["code"] == "file_too_large"
    assert timed.post("/v1/files", files={"file": ("a", b"x" * 1000)}, data={"purpose": "batch"}).status == 200
    assert list((tmp_path / "server" / "incoming").iterdir()) == []


def test_file_names_travel_unharmed(caller):
    """Names with quotes, umlauts and path parts come back as they were sent, and lead nowhere."""
    for name in ('a "b".jsonl', "Übung.jsonl", "../../etc/passwd"):
        file_id = caller.upload(b"{}", name=name)
        assert caller.get(f"/v1/files/{file_id}").json["filename"].replace("%22", '"') == name


def test_an_upload_in_parts_becomes_one_file_in_the_order_of_its_parts(caller, tmp_path):
    """Parts are joined in the order that the client gives, checked by size and md5, and then freed."""
    body = {"bytes": 6, "filename": "a.jsonl", "mime_type": "text/jsonl", "purpose": "fine-tune"}
    upload = caller.post("/v1/uploads", json=body).json
    path = f"/v1/uploads/{upload['id']}"
    parts = [caller.post(f"{path}/parts", files={"data": ("p", content)}).json["id"] for content in (b"two", b"one")]
    wrong = caller.post(f"{path}/complete", json={"part_ids": parts, "md5": "0" * 32})
    assert wrong.error["param"] == "md5"
    assert caller.post(f"{path}/complete", json={"part_ids": parts[:1]}).error["code"] == "invalid_upload_size"
    assert caller.post(f"{path}/complete", json={"part_ids": [parts[0], parts[0]]}).error["param"] == "part_ids"
    assert caller.post(f"{path}/complete", json={"part_ids": ["part_x"]}).error["param"] == "part_ids"
    md5 = hashlib.md5(b"onetwo", usedforsecurity=False).hexdigest()
    done = caller.post(f"{path}/complete", json={"part_ids": parts[::-1], "md5": md5}).json
    assert done["status"] == "completed"
    assert caller.get(f"/v1/files/{done['file']['id']}/content").content == b"onetwo"
    assert caller.post(f"{path}/complete", json={"part_ids": parts[::-1]}).json == done
    assert caller.post(f"{path}/parts", files={"data": ("p", b"x")}).error["code"] == "invalid_upload_status"
    assert blobs(tmp_path) == {hashlib.sha256(b"onetwo").hexdigest()}


def test_an_upload_ends_by_cancelling_or_after_an_hour(timed, clock, tmp_path):
    """A cancelled or expired upload takes nothing more; cancelling frees its parts."""
    body = {"bytes": 3, "filename": "a", "mime_type": "text/jsonl", "purpose": "batch"}
    cancelled, expired = (timed.post("/v1/uploads", json=body).json for _ in range(2))
    timed.post(f"/v1/uploads/{cancelled['id']}/parts", files={"data": ("p", b"abc")})
    assert timed.post(f"/v1/uploads/{cancelled['id']}/cancel").json["status"] == "cancelled"
    assert blobs(tmp_path) == set()
    clock[0] += 3600
    for upload in (cancelled, expired):
        for verb in ("cancel", "complete"):
            answer = timed.post(f"/v1/uploads/{upload['id']}/{verb}", json={"part_ids": ["part_1"]})
            assert answer.error["code"] == "invalid_upload_status"
    assert timed.post("/v1/uploads/upload_x/cancel").status == 404


@pytest.mark.parametrize("change", [{"bytes": 0}, {"bytes": "4"}, {"filename": ""}, {"purpose": "x"}, {"mime_type": None}, {"more": 1}])
def test_wrong_uploads_are_refused_by_the_member_at_fault(caller, change):
    """Each member of an upload is checked."""
    body = {"bytes": 4, "filename": "a", "mime_type": "text/jsonl", "purpose": "batch"} | change
    assert caller.post("/v1/uploads", json=body).error["param"] == next(iter(change))
