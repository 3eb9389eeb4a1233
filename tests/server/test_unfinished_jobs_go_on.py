"""Processes end at any moment: what was answered stays, and what was unfinished goes on when somebody asks."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ftspec.diagnostics import FtspecError
from ftspec.experiment import EngineEntry
from ftspec.server.inprocess import EngineApp, in_process_app, sandbox_app
from ftspec.server.trainers.run_folder import Result, RunFolder

SLOW = {"n_epochs": 10, "batch_size": 1}


def mark(caller: Any, model: str) -> str:
    body = {"model": model, "messages": [{"role": "user", "content": "x"}]}
    fingerprint: str = caller.post("/v1/chat/completions", json=body).json["system_fingerprint"]
    return fingerprint


def wait_for(condition: Any) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def steps_told(root: Path, job_id: str) -> int:
    events = root / "runs" / job_id / "events.jsonl"
    return events.read_text().count('"metrics"') if events.exists() else 0


def test_a_closed_engine_goes_on_where_it_is_asked_again_and_ends_with_the_same_bits(tmp_path, calling, rows):
    """Closing stops at a step; the next process trains the job again, says so, and gets the model of an unbroken run."""
    unbroken, root = sandbox_app(tmp_path / "a"), tmp_path / "b"
    body = {"metadata": {"ftspec_key": "k"}, "hyperparameters": SLOW}
    with unbroken, sandbox_app(root) as broken:
        one, two = calling(unbroken), calling(broken)
        expected = one.train(training_file=one.upload(rows(40, seed=1)), **body)
        job = two.create(training_file=two.upload(rows(40, seed=1)), **body)
        wait_for(lambda: steps_told(root, job["id"]) > 5)
        broken.close()
        assert not (root / "runs" / job["id"] / "result.json").exists()
        with sandbox_app(root) as again:
            three = calling(again)
            assert three.get("/v1/files").status == 200
            wait_for((root / "runs" / job["id"] / "result.json").exists)
            finished = three.finished(job["id"])
            assert finished["fine_tuned_model"] == expected["fine_tuned_model"]
            assert mark(three, finished["fine_tuned_model"]) == mark(one, expected["fine_tuned_model"])
            messages = [event["message"] for event in three.get(f"/v1/fine_tuning/jobs/{job['id']}/events?limit=1000").json["data"]]
            assert sum("starts again from the beginning" in message for message in messages) == 1


def test_a_cancelled_or_paused_job_stays_so_in_the_next_process(tmp_path, calling, rows):
    """Wishes survive the process that heard them."""
    root = tmp_path / "s"
    with sandbox_app(root) as app:
        caller = calling(app)
        file = caller.upload(rows(20, seed=1))
        cancelled, paused = (caller.create(training_file=file, hyperparameters=SLOW)["id"] for _ in range(2))
        caller.post(f"/v1/fine_tuning/jobs/{cancelled}/cancel")
        caller.post(f"/v1/fine_tuning/jobs/{paused}/pause")
    with sandbox_app(root) as app:
        caller = calling(app)
        assert caller.job(cancelled)["status"] == "cancelled"
        assert caller.job(paused)["paused"] is True
        caller.post(f"/v1/fine_tuning/jobs/{paused}/resume")
        assert caller.finished(paused)["status"] == "succeeded"


def test_two_engines_on_one_root_train_a_job_once(tmp_path, calling, rows):
    """Both are asked about the same jobs; the lock lets one of them train each."""
    with sandbox_app(tmp_path / "s") as first, sandbox_app(tmp_path / "s") as second:
        one, two = calling(first), calling(second)
        file = one.upload(rows(30, seed=1))
        jobs = [one.create(training_file=file, hyperparameters={"n_epochs": 10})["id"] for _ in range(4)]
        for job_id in jobs:
            assert two.finished(job_id) == one.finished(job_id)
            events = one.get(f"/v1/fine_tuning/jobs/{job_id}/events?limit=1000").json["data"]
            assert sum(event["message"] == "Fine-tuning job started" for event in events) == 1
            assert sum("starts again" in event["message"] for event in events) == 0


def test_the_records_of_a_spec_are_in_its_private_folder_and_only_shipped_engines_run_here(tmp_path):
    """`in_process_app` serves a sandbox entry; any other type needs an address."""
    entry = EngineEntry(name="e", type="sandbox", scope="e")
    in_process_app(entry, root=tmp_path).close()
    assert list(tmp_path.rglob("server.sqlite3"))
    with pytest.raises(FtspecError, match="does not run in this process"):
        in_process_app(EngineEntry(name="e", type="openai", scope="e"), root=tmp_path)


def test_the_first_end_of_a_job_is_its_end(tmp_path):
    """Many who finish one job at once agree on the first of them."""
    run = RunFolder(tmp_path / "run")
    run.create()
    start, won = threading.Barrier(8), []

    def finish(number: int) -> None:
        start.wait()
        if run.finish(Result(status="succeeded", finished_at=number)):
            won.append(number)

    threads = [threading.Thread(target=finish, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    result = run.result()
    assert result is not None
    assert won == [result.finished_at]


def test_a_torn_event_is_no_event_and_hurts_no_other(tmp_path):
    """A writer that died within its line leaves neither a broken list nor a swallowed next event."""
    run = RunFolder(tmp_path / "run")
    run.create()
    run.say("one", now=1)
    with (tmp_path / "run" / "events.jsonl").open("ab") as file:
        file.write(b'{"id": "ftevent-x", "mess')
    run.say("two", now=2)
    assert [event.message for event in run.events()] == ["one", "two"]


def test_a_bug_in_training_ends_the_job_instead_of_trying_for_ever(tmp_path, calling, rows, caplog):
    """An unexpected error is the job's failure; it names no content, and the cause is in the log."""

    def broken(*_: Any) -> float:
        msg = "SECRET"
        raise RuntimeError(msg)

    grader = {"type": "string_check", "operation": "eq", "input": "a", "reference": "b"}
    with sandbox_app(tmp_path / "s", grade=broken) as app:
        caller = calling(app)
        task = {"messages": [{"role": "user", "content": "x"}]}
        method = {"type": "reinforcement", "reinforcement": {"grader": grader}}
        job = caller.create(training_file=caller.upload([task]), method=method)
        error = caller.finished(job["id"], status="failed")["error"]
    assert error == {"code": "server_error", "message": "Training stopped because of a bug in ftspec (RuntimeError).", "param": None}


SERVER = """
import asyncio, json, sys
from pathlib import Path
from ftspec.server.inprocess import sandbox_app
import httpx2

async def main():
    app = sandbox_app(Path(sys.argv[1]))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://test") as client:
        rows = Path(sys.argv[2]).read_bytes()
        for number in range(1000):
            answer = await client.post("/v1/files", files={"file": ("a.jsonl", rows)}, data={"purpose": "fine-tune"})
            print("file", answer.json()["id"], flush=True)
            body = {"model": "sandbox-nano", "training_file": answer.json()["id"], "hyperparameters": {"n_epochs": 2},
                    "metadata": {"ftspec_key": f"{sys.argv[3]} {number}"}}
            answer = await client.post("/v1/fine_tuning/jobs", json=body)
            print("job", answer.json()["id"], flush=True)
asyncio.run(main())
"""


def kill_while_it_buys(root: Path, data: Path, *, run: int, after: float) -> list[str]:
    """Start a process that uploads and creates without pause, kill it, and return what it was told."""
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(root), str(data), str(run)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = [process.stdout.readline().strip()]
    time.sleep(after)
    os.kill(process.pid, signal.SIGKILL)
    rest = process.stdout.read().split("\n")
    process.wait()
    process.stdout.close()
    return told + [line for line in rest[:-1] if line]


def all_is_there(app: EngineApp, told: list[str], calling: Any) -> None:
    """Everything that was answered exists, every job ends, each key has one job, and every file has its bytes."""
    caller = calling(app)
    for line in told:
        kind, name = line.split()
        if kind == "file":
            assert caller.get(f"/v1/files/{name}/content").content
        else:
            assert caller.finished(name)["fine_tuned_model"]
    jobs = caller.get("/v1/fine_tuning/jobs?limit=1000").json["data"]
    assert len({job["metadata"]["ftspec_key"] for job in jobs}) == len(jobs)
    for job in jobs:
        assert caller.finished(job["id"])["result_files"]


@pytest.mark.parametrize("kills", [2, pytest.param(25, marks=pytest.mark.slow)])
def test_what_was_answered_survives_a_kill_at_any_moment(tmp_path, calling, rows, kills):
    """A process that buys and trains is killed again and again; nothing that it was told is lost, nothing is there twice."""
    data, root, told = tmp_path / "rows.jsonl", tmp_path / "s", []
    data.write_text("".join(json.dumps(row) + "\n" for row in rows(12, seed=1)))
    chance = random.Random(kills)  # noqa: S311 reproducible moments
    for run in range(kills):
        told += kill_while_it_buys(root, data, run=run, after=chance.random() * 0.2)
    with sandbox_app(root) as app:
        all_is_there(app, told, calling)
