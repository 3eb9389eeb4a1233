"""One purchase, one job: `Idempotency-Key`, unique ftspec keys, races, and names that follow from the key."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ftspec.server.inprocess import sandbox_app
from ftspec.server.routes import jobs
from ftspec.server.store import Idempotency, JobDraft, Store, StoredFile

JOBS = "/v1/fine_tuning/jobs"


@pytest.fixture
def body(caller, rows) -> dict[str, Any]:
    return {"model": "sandbox-nano", "training_file": caller.upload(rows(12, seed=1)), "hyperparameters": {"n_epochs": 1}}


def test_the_same_idempotency_key_and_body_is_the_same_job(caller, body):
    """A repeated POST answers with the first job, also when it has ended and its file is gone."""
    key = {"idempotency-key": "k1"}
    first = caller.post(JOBS, json=body, headers=key).json
    caller.finished(first["id"])
    caller.delete(f"/v1/files/{body['training_file']}")
    again = caller.post(JOBS, json=dict(reversed(body.items())), headers=key)
    assert (again.status, again.json["id"], again.json["status"]) == (200, first["id"], "succeeded")
    assert len(caller.get(JOBS).json["data"]) == 1


def test_an_idempotency_key_with_another_body_is_refused(caller, body):
    """The key belongs to its first request: another body is a 400 and buys nothing."""
    key = {"idempotency-key": "k1"}
    caller.post(JOBS, json=body, headers=key)
    answer = caller.post(JOBS, json={**body, "seed": 9}, headers=key)
    assert (answer.status, answer.error["type"], answer.error["code"]) == (400, "idempotency_error", "idempotency_key_reused")
    assert len(caller.get(JOBS).json["data"]) == 1
    assert caller.post(JOBS, json=body, headers={"idempotency-key": "k" * 256}).status == 400


def test_idempotency_keys_belong_to_a_project(caller, body, rows):
    """Another project may use the same key for something else."""
    key = {"idempotency-key": "k1"}
    first = caller.post(JOBS, json=body, headers=key).json
    other = {"openai-project": "other"}
    file_id = caller.upload(rows(12, seed=1), headers=other)
    second = caller.post(JOBS, json={**body, "training_file": file_id}, headers={**key, **other}).json
    assert second["id"] != first["id"]


def test_a_refused_request_does_not_use_its_key_up(caller, body):
    """After a 400 the corrected request goes through under the same key."""
    key = {"idempotency-key": "k1"}
    assert caller.post(JOBS, json={**body, "model": "none"}, headers=key).status == 400
    assert caller.post(JOBS, json=body, headers=key).status == 200


def test_a_file_is_kept_once_for_one_idempotency_key(caller):
    """A repeated upload answers with the first file; other content under its key is refused; a deleted file is made anew."""

    def send(content: bytes) -> Any:
        return caller.post("/v1/files", files={"file": ("a", content)}, data={"purpose": "batch"}, headers={"idempotency-key": "k"})

    first = send(b"one").json["id"]
    assert send(b"one").json["id"] == first
    assert send(b"two").error["type"] == "idempotency_error"
    caller.delete(f"/v1/files/{first}")
    assert send(b"one").json["id"] != first


def test_an_ftspec_key_is_one_job_for_each_attempt(caller, body):
    """The same key and attempt answer with the existing job whatever else the body says; another attempt is another job."""

    def create(**metadata: str) -> str:
        job_id: str = caller.create(**body, metadata=metadata)["id"]
        return job_id

    first = create(ftspec_key="k", ftspec_attempt="1")
    assert create(ftspec_key="k", ftspec_attempt="1", more="x") == first
    assert create(ftspec_key="k") == first
    assert create(ftspec_key="k", ftspec_attempt="2") != first
    assert create(ftspec_key="k2", ftspec_attempt="1") != first
    assert len({create(), create()}) == 2


def test_an_idempotency_key_that_found_a_job_by_its_ftspec_key_belongs_to_that_request(caller, body):
    """The key is spent although nothing new was bought."""
    keyed = {**body, "metadata": {"ftspec_key": "k"}}
    first = caller.create(**keyed)["id"]
    header = {"idempotency-key": "late"}
    assert caller.post(JOBS, json=keyed, headers=header).json["id"] == first
    assert caller.post(JOBS, json=body, headers=header).error["code"] == "idempotency_key_reused"


def test_a_file_that_vanishes_while_its_job_is_created_is_a_refusal(caller, body, monkeypatch):
    """The transaction that would buy the job looks once more, and nothing is bought."""
    accept = jobs._accept

    def accept_then_lose_the_file(server, project, wanted):
        source = accept(server, project, wanted)
        server.store.delete_file(project, wanted.training_file)
        return source

    monkeypatch.setattr(jobs, "_accept", accept_then_lose_the_file)
    assert caller.post(JOBS, json=body).error["code"] == "file_not_found"
    monkeypatch.undo()
    assert caller.get(JOBS).json["data"] == []


def test_the_same_key_gives_the_same_names_seed_and_model_in_a_fresh_root(tmp_path, calling, rows):
    """Job id, generated seed, model name and weights of a keyed job follow from its key and data, wherever it is trained."""
    seen = []
    for folder in ("a", "b"):
        with sandbox_app(tmp_path / folder) as app:
            caller = calling(app)
            job = caller.train(training_file=caller.upload(rows(30, seed=1)), metadata={"ftspec_key": "k"})
            prompt = {"model": job["fine_tuned_model"], "messages": [{"role": "user", "content": "my card was declined"}]}
            fingerprint = caller.post("/v1/chat/completions", json=prompt).json["system_fingerprint"]
            seen.append((job["id"], job["seed"], job["fine_tuned_model"], job["trained_tokens"], fingerprint))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("mark", ["header", "metadata"])
def test_requests_that_race_buy_one_job(caller, body, mark):
    """Twenty equal requests at once make one job, and all are answered with it."""
    more = {"headers": {"idempotency-key": "race"}} if mark == "header" else {}
    wanted = body if mark == "header" else {**body, "metadata": {"ftspec_key": "race", "ftspec_attempt": "1"}}
    answers = caller.together(20, "POST", JOBS, json=wanted, **more)
    assert {answer.status for answer in answers} == {200}
    assert len({answer.json["id"] for answer in answers}) == 1
    assert len(caller.get(JOBS).json["data"]) == 1


def test_stores_that_race_on_one_root_buy_one_job(tmp_path):
    """Threads with stores of their own, as several processes have, agree on the winner."""
    stores = [Store(tmp_path / "s") for _ in range(4)]
    with stores[0].incoming() as incoming:
        incoming.write(b"{}")
        incoming.finish()
        file = StoredFile(
            id="file-1", project="p", filename="a", purpose="fine-tune", bytes=2, sha256=incoming.sha256, created_at=1, expires_at=None
        )
        stores[0].add_file(file, incoming)
    start = threading.Barrier(4)

    def buy(number: int) -> list[tuple[str, bool]]:
        start.wait()
        return [one_job(stores[number], f"{number}-{i}", key=f"key {i}") for i in range(10)]

    with ThreadPoolExecutor(4) as pool:
        bought = list(pool.map(buy, range(4)))
    for i in range(10):
        assert len({answers[i][0] for answers in bought}) == 1
        assert sum(answers[i][1] for answers in bought) == 1
    assert len(stores[3].unsettled()) == 10
    for store in stores:
        store.close()


def one_job(store: Store, name: str, *, key: str) -> tuple[str, bool]:
    draft = JobDraft(
        id=f"ftjob-{name}",
        project="p",
        model_name=f"ft:{name}",
        training_file="file-1",
        validation_file=None,
        metadata={"ftspec_key": key},
        request={
            "model": "m",
            "source": {"name": "m", "base_model": "m"},
            "method": "supervised",
            "hyperparameters": {},
            "grader": None,
            "seed": 1,
            "suffix": None,
            "integrations": [],
        },
    )
    job, new = store.create_job(draft, idempotency=Idempotency(key=key, digest="d"), now=1)
    return job.id, new
