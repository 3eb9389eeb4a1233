"""Every answer of the server, read by the response types of the `openai` package in strict mode."""
# ruff: noqa: TID253 the types are what is tested

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types import FileDeleted, FileObject, Model, ModelDeleted, Upload
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from openai.types.fine_tuning.alpha import GraderRunResponse, GraderValidateResponse
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint
from openai.types.uploads import UploadPart
from pydantic import ValidationError

JOB = (
    "id object created_at error fine_tuned_model finished_at hyperparameters model organization_id result_files status trained_tokens "
    "training_file validation_file integrations seed estimated_finish method metadata"
)
EVENT = "id object created_at level message type data"
CHECKPOINT = "id object created_at fine_tuned_model_checkpoint fine_tuning_job_id metrics step_number"
FILE = "id object bytes created_at filename purpose status expires_at"
GRADER = {"type": "string_check", "operation": "eq", "input": "{{sample.output_text}}", "reference": "{{item.answer}}"}


def one_by_one(answer: Any) -> list[bytes]:
    """The entries of a list answer, whose own members are checked."""
    assert answer.status == 200, answer.content
    assert answer.json["object"] == "list"
    assert isinstance(answer.json.get("has_more", False), bool)
    assert answer.json["data"]
    return [json.dumps(entry).encode() for entry in answer.json["data"]]


def test_files_are_file_objects_in_every_answer(caller, strictly, rows):
    """Upload, retrieve and list show all members of a file; delete says that it did."""
    uploaded = caller.post("/v1/files", files={"file": ("a.jsonl", b"{}\n")}, data={"purpose": "fine-tune"})
    file = strictly(FileObject, uploaded.content, members=FILE)
    strictly(FileObject, caller.get(f"/v1/files/{file.id}").content, members=FILE)
    for entry in one_by_one(caller.get("/v1/files")):
        strictly(FileObject, entry, members=FILE)
    assert strictly(FileDeleted, caller.delete(f"/v1/files/{file.id}").content).deleted is True


def test_uploads_are_upload_objects_in_every_answer(caller, strictly):
    """Create, part, complete and cancel show all members of an upload."""
    body = {"bytes": 4, "filename": "a.jsonl", "mime_type": "text/jsonl", "purpose": "fine-tune"}
    members = "id object bytes created_at expires_at filename purpose status file"
    upload = strictly(Upload, caller.post("/v1/uploads", json=body).content, members=members)
    part = strictly(UploadPart, caller.post(f"/v1/uploads/{upload.id}/parts", files={"data": ("p", b"{}\n\n")}).content)
    done = strictly(Upload, caller.post(f"/v1/uploads/{upload.id}/complete", json={"part_ids": [part.id]}).content, members=members)
    assert done.file is not None
    assert done.file.bytes == 4
    given_up = strictly(Upload, caller.post("/v1/uploads", json=body).content)
    assert strictly(Upload, caller.post(f"/v1/uploads/{given_up.id}/cancel").content, members=members).status == "cancelled"


def test_jobs_of_every_method_are_job_objects_in_every_answer(caller, strictly, rows):
    """A job shows all members when created, listed, paused, resumed, cancelled, failed and finished, whatever its method."""
    chat = caller.upload(rows(30, seed=1))
    pair = {"input": {"messages": [{"role": "user", "content": "hello"}]}}
    sides = {
        "preferred_output": [{"role": "assistant", "content": "Ahoy"}],
        "non_preferred_output": [{"role": "assistant", "content": "Hello"}],
    }
    pairs = caller.upload([{**pair, **sides}] * 12)
    tasks = caller.upload([{"messages": [{"role": "user", "content": "say yes"}], "answer": "yes"}] * 12)
    bodies: list[dict[str, Any]] = [
        {"training_file": chat, "validation_file": chat, "suffix": "a b", "metadata": {"a": "b"}},
        {"training_file": chat, "hyperparameters": {"n_epochs": 1}},
        {"training_file": pairs, "method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.5, "n_epochs": 1}}}},
        {"training_file": tasks, "method": {"type": "reinforcement", "reinforcement": {"grader": GRADER}}},
    ]
    for body in bodies:
        created = caller.post("/v1/fine_tuning/jobs", json={"model": "sandbox-nano", **body})
        job = strictly(FineTuningJob, created.content, members=JOB)
        caller.finished(job.id)
        finished = strictly(FineTuningJob, caller.get(f"/v1/fine_tuning/jobs/{job.id}").content, members=JOB)
        assert (finished.error, finished.status) == (None, "succeeded")
        assert finished.fine_tuned_model is not None
        assert finished.trained_tokens is not None
        assert finished.hyperparameters.n_epochs != "auto"
    failing = caller.create(training_file=pairs)
    caller.finished(failing["id"], status="failed")
    failed = strictly(FineTuningJob, caller.get(f"/v1/fine_tuning/jobs/{failing['id']}").content, members=JOB)
    assert failed.error is not None
    assert (failed.error.code, failed.error.param) == ("invalid_training_file", "training_file")
    long = caller.create(training_file=chat, hyperparameters={"n_epochs": 50, "batch_size": 1})
    for verb, status in (("pause", "queued"), ("resume", None), ("cancel", "cancelled")):
        answer = strictly(FineTuningJob, caller.post(f"/v1/fine_tuning/jobs/{long['id']}/{verb}").content, members=JOB)
        assert status in {None, answer.status}
    for entry in one_by_one(caller.get("/v1/fine_tuning/jobs")):
        strictly(FineTuningJob, entry, members=JOB)


def test_events_and_checkpoints_are_their_objects(caller, strictly, rows):
    """Events and checkpoints show all members, messages and metrics alike."""
    chat = caller.upload(rows(30, seed=1))
    job = caller.train(training_file=chat, validation_file=chat)
    kinds = {
        strictly(FineTuningJobEvent, entry, members=EVENT).type
        for entry in one_by_one(caller.get(f"/v1/fine_tuning/jobs/{job['id']}/events?limit=100"))
    }
    assert kinds == {"message", "metrics"}
    for entry in one_by_one(caller.get(f"/v1/fine_tuning/jobs/{job['id']}/checkpoints")):
        checkpoint = strictly(FineTuningJobCheckpoint, entry, members=CHECKPOINT)
        assert set(json.loads(entry)["metrics"]) == set(type(checkpoint.metrics).model_fields)
        assert checkpoint.metrics.full_valid_loss is not None


def test_models_are_model_objects_bases_results_and_checkpoints(caller, strictly, rows):
    """The catalog shows bases, fine-tuned models and their checkpoints; each can be retrieved and says that it is a toy's."""
    job = caller.train(training_file=caller.upload(rows(30, seed=1)))
    names = {strictly(Model, entry, members="id object created owned_by").id for entry in one_by_one(caller.get("/v1/models"))}
    assert names > {"sandbox-nano", "sandbox-mini", "sandbox-small", job["fine_tuned_model"]}
    assert sum(":ckpt-step-" in name for name in names) == 2
    for name in names:
        assert strictly(Model, caller.get(f"/v1/models/{name.replace(':', '%3A')}").content).id == name
    assert "toy" in caller.get("/v1/models/sandbox-nano").json["description"].lower()
    assert strictly(ModelDeleted, caller.delete(f"/v1/models/{job['fine_tuned_model']}").content).deleted is True


def test_completions_whole_and_streamed_are_their_objects(caller, strictly):
    """An answer shows message, finish reason, usage and log probabilities, in one piece or in chunks."""
    body = {
        "model": "sandbox-mini",
        "messages": [{"role": "user", "content": "one two"}],
        "n": 2,
        "logprobs": True,
        "top_logprobs": 3,
        "seed": 1,
    }
    whole = strictly(ChatCompletion, caller.post("/v1/chat/completions", json=body).content, members="usage system_fingerprint")
    assert [choice.index for choice in whole.choices] == [0, 1]
    assert whole.usage is not None
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    streamed = caller.post("/v1/chat/completions", json={**body, "stream": True, "stream_options": {"include_usage": True}})
    *lines, end, _ = streamed.content.decode().split("\n\n")
    assert end == "data: [DONE]"
    chunks = [strictly(ChatCompletionChunk, line.removeprefix("data: ").encode(), members="usage choices") for line in lines]
    for index in (0, 1):
        text = "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices if c.index == index)
        assert text == whole.choices[index].message.content
    assert chunks[-1].usage == whole.usage


def test_graders_answer_in_their_forms(caller, strictly):
    """Validate echoes the grader with its name; run shows the reward, and errors as part of the answer."""
    base = "/v1/fine_tuning/alpha/graders"
    echoed = strictly(GraderValidateResponse, caller.post(f"{base}/validate", json={"grader": GRADER}).content, members="grader")
    assert echoed.grader is not None
    body = {"grader": GRADER, "model_sample": "yes", "item": {"answer": "yes"}}
    run = strictly(GraderRunResponse, caller.post(f"{base}/run", json=body).content)
    assert (run.reward, run.metadata.errors.other_error) == (1.0, False)
    lacking = strictly(GraderRunResponse, caller.post(f"{base}/run", json={**body, "item": {}}).content)
    assert (lacking.reward, lacking.metadata.errors.other_error) == (0.0, True)


def test_the_strict_reader_is_strict(strictly):
    """The reader that these tests rely on refuses a wrong type and a missing member."""
    good = {"id": "file-1", "bytes": 4, "created_at": 1, "filename": "f", "object": "file", "purpose": "batch", "status": "processed"}
    strictly(FileObject, json.dumps(good).encode())
    for bad in ({**good, "bytes": "4"}, {**good, "purpose": "fun"}, {name: value for name, value in good.items() if name != "filename"}):
        with pytest.raises(ValidationError):
            strictly(FileObject, json.dumps(bad).encode())
