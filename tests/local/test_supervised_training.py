"""A supervised job from its request to its model, and whatever may stop it on the way."""

import json
import random
import time

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("training")]


def test_another_run_ends_with_the_same_bits(opened, unbroken, data, steady, method):
    """The same job in a process of its own, by the interpreter that runs this and from cold, has the same weights; another seed has not."""
    local = opened(python=None)
    jobs = [local.create(data("tickets", 32), data("tickets", 8, skip=32), method=method(**steady), seed=seed) for seed in (1, 2)]
    weights = [local.weights(local.finished(job["id"])["id"]) for job in jobs]
    other, undisturbed = unbroken
    assert weights[0] == other.weights(undisturbed["id"])
    assert weights[0] != weights[1]


def test_the_loss_falls_and_everything_is_recorded(unbroken):
    """A job has resolved hyperparameters, figures of each step, checkpoints of each epoch, a result file and a model."""
    local, job = unbroken
    assert (
        job["method"]["supervised"]["hyperparameters"] | {"lora_r": 16, "lora_alpha": 32} == job["method"]["supervised"]["hyperparameters"]
    )
    figures = [event["data"] for event in local.events(job["id"]) if event["type"] == "metrics"]
    losses = [one["train_loss"] for one in figures if "train_loss" in one]
    assert len(losses) == 24
    assert losses[-1] < 0.9 * losses[0]
    checkpoints = local.call("GET", f"fine_tuning/jobs/{job['id']}/checkpoints").json()["data"]
    assert [one["step_number"] for one in checkpoints] == [24, 16, 8]
    assert all(one["metrics"]["full_valid_loss"] > 0 and one["metrics"]["train_loss"] > 0 for one in checkpoints)
    table = local.call("GET", f"files/{job['result_files'][0]}/content").text.splitlines()
    assert table[0] == "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
    assert len(table) == 25
    assert job["trained_tokens"] > 1000
    laid_out = local.root / "adapters" / job["fine_tuned_model"]
    assert json.loads((laid_out / "adapter_config.json").read_text())["base_model_name_or_path"] == local.options["models"]["tiny"]
    assert (laid_out / "adapter_model.safetensors").exists()
    measured = json.loads((local.root / "measured.jsonl").read_text())
    assert measured["tokens"] > 0
    assert measured["seconds"] > 0
    assert measured["memory"] > 1e8
    assert not (local.run(job["id"]).path / "resume").exists()


def test_bases_adapters_and_checkpoints_answer_in_one_batch(unbroken):
    """Answers of a base and of adapters made together are those made one at a time; the same seed draws the same."""
    local, job = unbroken
    names = ["tiny", job["fine_tuned_model"], f"{job['fine_tuned_model']}:ckpt-step-8"]
    asked = {"messages": [{"role": "user", "content": "the app crashes on start"}], "temperature": 0, "max_tokens": 6}
    alone = [local.together([{"model": name, **asked}])[0] for name in names]
    together = local.together([{"model": name, **asked} for name in names * 3])
    told = [answer["choices"][0]["message"]["content"] for answer in together]
    assert told == [answer["choices"][0]["message"]["content"] for answer in alone] * 3
    assert len({answer["system_fingerprint"] for answer in together}) == 3
    drawn = [{"model": names[0], **asked, "temperature": 1, "seed": seed, "logprobs": True, "top_logprobs": 3} for seed in (5, 5, 6)]
    first, second, third = (answer["choices"][0] for answer in local.together(drawn))
    assert first["message"] == second["message"] != third["message"]
    assert len(first["logprobs"]["content"][0]["top_logprobs"]) == 3


def test_a_conversation_that_does_not_fit_is_refused(unbroken):
    """What a model cannot read is a 400 that says so, and a streamed answer ends like a whole one."""
    local, job = unbroken
    answer = local.ask("tiny", "word " * 2000)
    assert answer.status_code == 400
    assert "reads at most 512" in answer.json()["error"]["message"]
    streamed = local.ask(job["fine_tuned_model"], "where is my parcel", stream=True)
    assert streamed.text.rstrip().endswith("data: [DONE]")


@pytest.mark.parametrize("seconds", [0.001, 300], ids=["saved at every step", "saved at every epoch"])
def test_a_killed_worker_goes_on_with_the_same_weights(opened, unbroken, data, steady, method, kill, seconds):
    """Killed at any step, twice, and taken up by other processes, a job ends with the bits of a job that nobody killed."""
    local = opened(checkpoint_seconds=seconds)
    job = local.create(data("tickets", 32), data("tickets", 8, skip=32), method=method(**steady))
    run = local.run(job["id"])
    chance = random.Random(f"{seconds}")  # noqa: S311 any steps will do
    for attempt, step in enumerate(sorted([chance.randrange(1, 21), chance.randrange(9, 22)]), start=1):
        local.until(job["id"], lambda _: run.newest_attempt() == attempt and run.figures() and run.figures()[-1]["step"] >= step)  # noqa: B023 waited for at once
        kill(run)
        local.reopened()
    local.finished(job["id"])
    assert any("training goes on from step" in message for message in local.messages(job["id"]))
    assert run.newest_attempt() == 3
    other, undisturbed = unbroken
    assert local.weights(job["id"]) == other.weights(undisturbed["id"])
    steps = [figures["step"] for figures in local.run(job["id"]).figures()]
    assert steps == list(range(1, 25))


def test_a_paused_job_goes_on_where_it_stopped(opened, unbroken, data, steady, method):
    """Paused, its worker saves and ends; resumed, the job ends with the same weights and lost no attempt."""
    local = opened(checkpoint_seconds=0.001)
    job = local.create(data("tickets", 32), data("tickets", 8, skip=32), method=method(**steady))
    local.at_step(job["id"], 2)
    answer = local.call("POST", f"fine_tuning/jobs/{job['id']}/pause").json()
    assert (answer["status"], answer["paused"]) == ("queued", True)
    local.until(job["id"], lambda _: local.run(job["id"]).ended_attempts() == 1)
    reached = local.run(job["id"]).resume_folder()[0]
    time.sleep(1)
    assert local.job(job["id"])["status"] == "queued"
    assert local.run(job["id"]).newest_attempt() == 1
    local.call("POST", f"fine_tuning/jobs/{job['id']}/resume")
    local.finished(job["id"])
    assert f"training goes on from step {reached}" in " ".join(local.messages(job["id"]))
    assert local.run(job["id"]).handle()["lost"] == 0
    other, undisturbed = unbroken
    assert local.weights(job["id"]) == other.weights(undisturbed["id"])


def test_a_cancelled_job_ends_and_frees_its_slot(opened, data, method):
    """Cancelling is final at once; the worker stops, and the next job gets its slot."""
    local = opened(slots=1)
    rows = data("tickets", 32)
    long = local.create(rows, method=method(n_epochs=50))
    next_one = local.create(rows, method=method(n_epochs=1))
    local.until(long["id"], lambda job: job["status"] == "running")
    assert local.job(next_one["id"])["status"] == "queued"
    answer = local.call("POST", f"fine_tuning/jobs/{long['id']}/cancel").json()
    assert answer["status"] == "cancelled"
    local.finished(next_one["id"])
    assert local.job(long["id"])["status"] == "cancelled"
    assert local.call("POST", f"fine_tuning/jobs/{long['id']}/cancel").status_code == 400


def test_of_two_workers_the_later_one_owns_the_job(opened, data, method, steady):
    """A worker that sees a later attempt stops without a word; the job still ends once, with everything there."""
    local = opened(checkpoint_seconds=0.001)
    job = local.create(data("tickets", 32), method=method(**steady))
    run = local.run(job["id"])
    local.at_step(job["id"], 2)
    run.begin_attempt(now=time.time())  # as a worker does that somebody revived
    local.finished(job["id"])
    assert run.newest_attempt() == 3
    assert sum("has successfully completed" in message for message in local.messages(job["id"])) == 1


def test_workers_that_vanish_again_and_again_end_the_job(opened, warm, data, tmp_path):
    """An interpreter that dies at once is tried `max_attempts` times, and then the job has failed."""
    broken = tmp_path / "python"
    broken.write_text('#!/bin/sh\ncase "$*" in *probe*) exec ' + warm + ' "$@";; esac\nexit 9\n')
    broken.chmod(0o755)
    local = opened(python=str(broken), max_attempts=2)
    job = local.finished(local.create(data("tickets", 12))["id"], status="failed")
    assert job["error"]["code"] == "worker_lost"


def test_where_memory_runs_out_fewer_rows_are_held(opened, data, method, steady, tmp_path, monkeypatch):
    """Out of memory, a worker begins again with half as many rows at once, and the batch stays what it is."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'local.worker' in ' '.join(sys.orig_argv):\n"
        "    import torch.nn.functional as f\n"
        "    real = f.embedding\n"
        "    def embedding(ids, *rest, **more):\n"
        "        if ids.dim() == 2 and ids.shape[0] > 2:\n"
        "            raise RuntimeError('out of memory: tried to allocate 3 GiB')\n"
        "        return real(ids, *rest, **more)\n"
        "    f.embedding = embedding\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    local = opened()
    job = local.finished(local.create(data("tickets", 16), method=method(**steady | {"n_epochs": 1}))["id"])
    assert "Memory ran out with 4 rows at once; training goes on with 2" in local.messages(job["id"])
    assert job["hyperparameters"]["batch_size"] == 4
    assert len(local.run(job["id"]).figures()) == 4


def test_what_the_base_does_not_have_fails_the_job_in_so_many_words(opened, data, method):
    """Layers of another architecture, and rows beyond the context, whatever `max_length` says."""
    local = opened()
    rows = data("tickets", 11)
    long = json.dumps({"messages": [{"role": "user", "content": "order " * 600}, {"role": "assistant", "content": "ok"}]}).encode()
    layers = local.create(rows, method=method(lora_target_modules=["q_proj", "nowhere"]))
    length = local.create(rows + long, method=method(max_length=10**6))
    errors = [local.finished(job["id"], status="failed")["error"] for job in (layers, length)]
    assert (errors[0]["code"], errors[0]["message"]) == ("invalid_value", "The base has no layers called `nowhere`.")
    assert errors[1]["code"] == "invalid_training_file"
    assert "line 12: " in errors[1]["message"]
    assert errors[1]["message"].endswith("tokens are more than the 512 that fit.")


def test_rows_that_cannot_be_learned_fail_the_job(opened):
    """The error names the line and what is wrong, and never what the row holds."""
    local = opened()
    rows = b'{"messages": [{"role": "user", "content": "secret-word"}, {"role": "assistant", "content": [{"type": "image_url"}]}]}\n'
    job = local.finished(local.create(rows)["id"], status="failed")
    assert job["error"]["code"] == "invalid_training_file"
    assert "line 1: only text is understood here" in job["error"]["message"]
    assert "secret-word" not in str(local.events(job["id"])) + local.log(job["id"])
