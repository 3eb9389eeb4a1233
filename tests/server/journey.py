"""A client's whole journey with the `openai` SDK, sync and async: `python journey.py BASE_URL KEY`.

It is a script of its own so that it can run under any version of the SDK. It prints what it saw.
"""
# ruff: noqa: T201, TID253, PT017, ASYNC110 a script, not a test; polling is what clients do

import asyncio
import io
import json
import sys
import time

import openai

LABELS = {"the invoice is wrong": "Billing", "the app crashes": "Bug", "where is my parcel": "Shipping"}
ROWS = "".join(
    json.dumps({"messages": [{"role": "user", "content": f"{text} {i}"}, {"role": "assistant", "content": label}]}) + "\n"
    for i in range(12)
    for text, label in LABELS.items()
).encode()


def refused(call, kind, code):
    """The call must raise this error of the SDK with this code."""
    try:
        call()
    except kind as error:
        assert error.code == code, error.code
    else:
        raise AssertionError(kind)


def sync(base_url, key):
    """Upload, train, watch, ask, delete."""
    client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0)
    file = client.files.create(file=("rows.jsonl", io.BytesIO(ROWS)), purpose="fine-tune")
    assert client.files.wait_for_processing(file.id).status == "processed"
    assert client.files.content(file.id).content == ROWS
    parts = client.uploads.upload_file_chunked(
        file=ROWS, filename="rows.jsonl", bytes=len(ROWS), mime_type="text/jsonl", purpose="fine-tune", part_size=500
    )
    assert parts.file.bytes == len(ROWS)
    method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 5}}}
    job = client.fine_tuning.jobs.create(
        model="sandbox-small",
        training_file=file.id,
        validation_file=parts.file.id,
        suffix="tour",
        seed=3,
        method=method,
        metadata={"who": "sync"},
    )
    while job.status not in {"succeeded", "failed", "cancelled"}:
        time.sleep(0.05)
        job = client.fine_tuning.jobs.retrieve(job.id)
    assert job.status == "succeeded", job
    assert job.error is None
    events = list(client.fine_tuning.jobs.list_events(job.id, limit=7))
    assert len(events) >= 50, len(events)
    assert len({event.id for event in events}) == len(events)
    assert [c.step_number for c in client.fine_tuning.jobs.checkpoints.list(job.id, limit=2)] == [45, 36, 27]
    assert [found.id for found in client.fine_tuning.jobs.list(metadata={"who": "sync"})] == [job.id]
    assert b"train_loss" in client.files.content(job.result_files[0]).content
    assert client.models.retrieve(job.fine_tuned_model).id == job.fine_tuned_model
    messages = [{"role": "user", "content": "the app crashes 99"}]
    answer = client.chat.completions.create(model=job.fine_tuned_model, messages=messages, temperature=0)
    assert answer.choices[0].message.content == "Bug", answer
    stream = client.chat.completions.create(model=job.fine_tuned_model, messages=messages, temperature=0, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "Bug"
    assert client.models.delete(job.fine_tuned_model).deleted
    refused(lambda: client.models.retrieve(job.fine_tuned_model), openai.NotFoundError, "model_not_found")
    refused(lambda: client.fine_tuning.jobs.create(model="gpt-4o", training_file=file.id), openai.BadRequestError, "model_not_available")
    refused(lambda: client.with_options(api_key="no").models.list(), openai.AuthenticationError, "invalid_api_key")
    assert client.files.delete(file.id).deleted
    client.close()
    return job


async def asynchronous(base_url, key):
    """Several jobs at once, one of them given up."""
    client = openai.AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0)
    file = await client.files.create(file=("rows.jsonl", ROWS), purpose="fine-tune")
    jobs = await asyncio.gather(
        *(client.fine_tuning.jobs.create(model="sandbox-nano", training_file=file.id, seed=seed) for seed in range(4))
    )
    long = await client.fine_tuning.jobs.create(
        model="sandbox-nano", training_file=file.id, hyperparameters={"n_epochs": 50, "batch_size": 1}
    )
    assert (await client.fine_tuning.jobs.pause(long.id)).status == "queued"
    await client.fine_tuning.jobs.resume(long.id)
    assert (await client.fine_tuning.jobs.cancel(long.id)).status == "cancelled"
    for job in jobs:
        while (await client.fine_tuning.jobs.retrieve(job.id)).status != "succeeded":
            await asyncio.sleep(0.05)
    listed = [job.id async for job in client.fine_tuning.jobs.list(limit=2)]
    assert listed[0] == long.id
    assert set(listed[1:5]) == {job.id for job in jobs}
    assert len(set(listed)) == len(listed)
    grader = {"type": "string_check", "name": "g", "operation": "eq", "input": "{{sample.output_text}}", "reference": "{{item.a}}"}
    assert (await client.fine_tuning.alpha.graders.run(grader=grader, model_sample="x", item={"a": "x"})).reward == 1.0
    await client.close()


if __name__ == "__main__":
    done = sync(*sys.argv[1:3])
    asyncio.run(asynchronous(*sys.argv[1:3]))
    print(json.dumps({"openai": openai.__version__, "model": done.fine_tuned_model}))
