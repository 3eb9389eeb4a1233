"""Preferences, reinforcement, full training, and training on top of what was trained."""

import json

import pytest

from ftspec.evals.grading import SyncGraders

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("training")]

GRADER = {"type": "string_check", "input": "{{sample.output_text}}", "operation": "like", "reference": "{{item.wanted}}"}


def tasks(count):
    """Prompts whose best answers hold a letter that any tokenizer writes now and then."""
    rows = [{"messages": [{"role": "user", "content": f"ticket {n}"}], "wanted": "e"} for n in range(count)]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def test_preferences_are_learned_on_top_of_a_trained_model(opened, data, method):
    """A DPO job goes on with the adapter of a supervised one: margins grow, and the result is one adapter of the base."""
    local = opened()
    first = local.finished(local.create(data("pirate", 16), method=method(n_epochs=1, learning_rate=0.01, lora_r=4))["id"])
    hyper = method("dpo", n_epochs=2, learning_rate=0.002, batch_size=8, beta=0.2)
    rows, validation = data("pirate-preferences", 32), data("pirate-preferences", 8, skip=32)
    job = local.finished(local.create(rows, validation, model=first["fine_tuned_model"], method=hyper)["id"])
    margins = [event["data"]["train_reward_margin"] for event in local.events(job["id"]) if "train_reward_margin" in event["data"]]
    assert margins[-1] > margins[0] + 0.01
    assert job["fine_tuned_model"].startswith("ft:tiny:")
    assert job["method"]["dpo"]["hyperparameters"]["lora_r"] == 4
    folder = local.run(job["id"]).checkpoint_folder(None)
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {path.name for path in folder.iterdir()}
    assert local.weights(job["id"]) != local.weights(first["id"])
    assert local.ask(job["fine_tuned_model"], "hello").status_code == 200


def test_reinforcement_raises_the_reward(opened, method):
    """Answers that the grader likes become more frequent; the grader of the protocol is the judge."""
    local = opened(micro_batch=64)
    hyper = method("reinforcement", n_epochs=2, learning_rate=0.05, batch_size=4, max_length=90, eval_interval=4)
    hyper["reinforcement"]["grader"] = GRADER
    job = local.finished(local.create(tasks(26), tasks(4), method=hyper)["id"])
    assert [event["data"]["step"] for event in local.events(job["id"]) if "valid_mean_reward" in event["data"]] == [4, 6, 8, 12]
    rewards = [event["data"]["train_mean_reward"] for event in local.events(job["id"]) if "train_mean_reward" in event["data"]]
    assert len(rewards) == 12
    assert sum(rewards[-4:]) > sum(rewards[:4])
    assert job["trained_tokens"] > 0


def test_a_killed_reinforcement_job_ends_with_the_same_bits(opened, method, kill):
    """Killed in its second epoch, whose order of prompts is its own, a job draws the same answers as one that nobody killed."""
    local = opened(checkpoint_seconds=0.001)
    hyper = method("reinforcement", n_epochs=2, batch_size=2, learning_rate=0.01, compute_multiplier=0.25, max_length=70)
    hyper["reinforcement"]["grader"] = {**GRADER, "reference": "a", "operation": "ilike"}
    whole, broken = (local.create(tasks(6), method=hyper) for _ in range(2))
    local.finished(whole["id"])
    local.at_step(broken["id"], 4)
    kill(local.run(broken["id"]))
    job = local.finished(broken["id"])
    assert local.run(job["id"]).newest_attempt() == 2
    assert local.weights(job["id"]) == local.weights(whole["id"])
    assert job["trained_tokens"] == local.job(whole["id"])["trained_tokens"]


def test_a_reinforcement_job_whose_grader_cannot_judge_fails(opened, method):
    """What is wrong with the grader is said, as a failure of the job."""
    local = opened()
    hyper = method("reinforcement", n_epochs=1, batch_size=4, max_length=90)
    hyper["reinforcement"]["grader"] = {**GRADER, "reference": "{{item.nothing_of_that_name}}"}
    job = local.finished(local.create(tasks(4), method=hyper)["id"], status="failed")
    assert job["error"]["code"] == "grader_failed"


def test_code_grades_only_where_it_was_allowed(opened, method):
    """A `python` grader is refused, and judges behind its walls once somebody allowed it."""
    hyper = method("reinforcement", n_epochs=1, batch_size=4, max_length=90)
    source = "def grade(sample, item):\n    return sample['output_text'].count(item['wanted']) / (1 + len(sample['output_text']))"
    hyper["reinforcement"]["grader"] = {"type": "python", "name": "share", "source": source}
    local = opened()
    refused = local.post(tasks(4), method=hyper).json()["error"]
    assert refused["code"] == "unsupported_grader"
    assert "--allow-code" in refused["message"]
    local.grade = SyncGraders(allow_code=True)
    local.reopened()
    job = local.create(tasks(4), method=hyper)
    figures = [event["data"] for event in local.events(local.finished(job["id"])["id"]) if "train_mean_reward" in event["data"]]
    assert len(figures) == 1
    assert 0 <= figures[0]["train_mean_reward"] < 1


def test_full_training_makes_a_whole_model(opened, data, method):
    """Without adapters the checkpoints are whole models, which answer and can be trained further."""
    local = opened()
    hyper = method(n_epochs=1, learning_rate=0.002, full=True)
    job = local.finished(local.create(data("tickets", 16), method=hyper)["id"])
    assert "lora_r" not in job["method"]["supervised"]["hyperparameters"]
    folder = local.run(job["id"]).checkpoint_folder(None)
    assert (folder / "model.safetensors").exists()
    assert not (local.root / "adapters").exists()
    assert local.ask(job["fine_tuned_model"], "hello").status_code == 200
    again = local.finished(local.create(data("tickets", 8), model=job["fine_tuned_model"], method=method(n_epochs=5, batch_size=8))["id"])
    kept = local.call("GET", f"fine_tuning/jobs/{again['id']}/checkpoints").json()["data"]
    assert [one["step_number"] for one in kept] == [5, 4, 3]
    answer = local.ask(again["fine_tuned_model"], "hello")
    assert answer.status_code == 200, answer.text
