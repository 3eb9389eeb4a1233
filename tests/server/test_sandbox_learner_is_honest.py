"""The sandbox learner answers to what it is given: epochs, rate, batch size, seed, data, size, preferences, rewards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ftspec.server.trainers.sandbox import objectives
from ftspec.server.trainers.sandbox.bases import BASES
from ftspec.server.trainers.sandbox.rows import read

GRADER = {"type": "string_check", "operation": "eq", "input": "{{sample.output_text}}", "reference": "{{item.answer}}"}


@pytest.fixture
def figures(caller, rows) -> Any:
    """Train on tickets and return the last metrics: `figures(count=200, model=..., seed=..., n_epochs=...)`."""
    validation_file = caller.upload(rows(80, seed=99))

    def run(count: int = 120, model: str = "sandbox-mini", seed: int = 1, data: int = 1, **hyperparameters: Any) -> dict[str, float]:
        job = caller.train(
            model=model,
            training_file=caller.upload(rows(count, seed=data)),
            validation_file=validation_file,
            seed=seed,
            hyperparameters=hyperparameters,
        )
        metrics: dict[str, float] = caller.last_metrics(job["id"])
        return metrics

    return run


def fingerprint(caller: Any, model: str) -> str:
    body = {"model": model, "messages": [{"role": "user", "content": "x"}]}
    mark: str = caller.post("/v1/chat/completions", json=body).json["system_fingerprint"]
    return mark


def score(caller: Any, model: str, rows: list[dict[str, Any]]) -> float:
    hits = [caller.ask(model, row["messages"][0]["content"]) == row["messages"][1]["content"] for row in rows]
    return sum(hits) / len(hits)


def test_more_epochs_lower_the_loss(figures):
    """Validation loss falls from 1 to 3 to 8 epochs on the same rows."""
    losses = [figures(n_epochs=epochs)["full_valid_loss"] for epochs in (1, 3, 8)]
    assert losses[0] > 1.5 * losses[1] > 1.5 * losses[2]


def test_more_data_lowers_the_loss(figures):
    """Validation loss falls from 20 to 80 to 320 rows."""
    losses = [figures(count=count)["full_valid_loss"] for count in (20, 80, 320)]
    assert losses[0] > losses[1] > losses[2]


def test_larger_bases_learn_more(figures):
    """On the same rows nano is worse than mini, and mini than small."""
    losses = [figures(model=f"sandbox-{size}")["full_valid_loss"] for size in ("nano", "mini", "small")]
    assert losses[0] > losses[1] > losses[2]


def test_a_rate_can_be_too_small_and_too_large(figures):
    """A tiny multiplier learns nearly nothing; a huge one ends far above a good one."""
    small, good, huge = (figures(learning_rate_multiplier=m)["full_valid_loss"] for m in (0.02, 2, 1000))
    assert small > 3 * good
    assert huge > 3 * good


@pytest.mark.parametrize("validated", [False, True])
def test_a_rate_that_makes_numbers_overflow_fails_the_job(caller, rows, validated):
    """A loss that is no number any more ends the job with that reason, not with a model of rubbish, nor with warnings on the screen."""
    files = {"training_file": caller.upload(rows(12, seed=1))}
    files |= {"validation_file": caller.upload(rows(12, seed=2))} if validated else {}
    job = caller.create(**files, hyperparameters={"learning_rate_multiplier": 1e30})
    error = caller.finished(job["id"], status="failed")["error"]
    assert (error["code"], error["param"]) == ("training_diverged", "hyperparameters.learning_rate_multiplier")


def test_larger_batches_take_fewer_steps_and_learn_less(figures):
    """With the same epochs, 64 rows a batch are fewer and too few steps."""
    fine, coarse = (figures(batch_size=size) for size in (4, 64))
    assert (fine["step"], coarse["step"]) == (90, 6)
    assert coarse["full_valid_loss"] > fine["full_valid_loss"]


def test_wrong_labels_show(caller, rows):
    """A quarter of wrong labels raises the validation loss."""
    good = rows(120, seed=1)
    noisy = json.loads(json.dumps(good))
    for row in noisy[::4]:
        row["messages"][1]["content"] = "Praise" if row["messages"][1]["content"] == "Bug" else "Bug"
    validation_file = caller.upload(rows(80, seed=99))
    losses = []
    for data in (good, noisy):
        job = caller.train(model="sandbox-mini", training_file=caller.upload(data), validation_file=validation_file, seed=1)
        losses.append(caller.last_metrics(job["id"])["full_valid_loss"])
    assert losses[1] > 1.5 * losses[0]


def test_one_seed_gives_the_same_bits_and_another_seed_others(caller, rows):
    """Two jobs of one seed end with equal weights and figures; another seed shuffles differently; checkpoints differ, too."""
    file = caller.upload(rows(60, seed=1))
    one, two, three = (caller.train(training_file=file, seed=seed) for seed in (1, 1, 2))
    marks = [fingerprint(caller, job["fine_tuned_model"]) for job in (one, two, three)]
    assert marks[0] == marks[1] != marks[2]
    assert fingerprint(caller, f"{one['fine_tuned_model']}:ckpt-step-15") not in marks
    results = [caller.get(f"/v1/files/{job['result_files'][0]}/content").content for job in (one, two, three)]
    assert results[0] == results[1] != results[2]


_TRAIN = """
import json, sys
from pathlib import Path
from ftspec.server.trainers.sandbox.bases import BASES
from ftspec.server.trainers.sandbox.objectives import Supervised
from ftspec.server.trainers.sandbox.rows import read
rows = read(Path(sys.argv[1]), "supervised")
objective = Supervised(BASES["sandbox-small"].network(), rows, [], seed=1)
for start in range(0, 256, 64):  # large enough that a BLAS would split the work
    objective.learn(range(start, start + 64), rate=0.02)
print(objective.learner.network.fingerprint())
"""


def test_the_bits_do_not_depend_on_threads(tmp_path, rows):
    """The number of threads that numerical libraries may use changes nothing."""
    path = tmp_path / "rows.jsonl"
    data = rows(256, seed=1)
    for number, row in enumerate(data):  # many words, so that the matrices are large
        row["messages"][1]["content"] += "".join(f" w{number * 7 % 600 + i}" for i in range(4))
    path.write_text("".join(json.dumps(row) + "\n" for row in data))
    marks = set()
    for threads in ("1", "4"):
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
        done = subprocess.run([sys.executable, "-c", _TRAIN, str(path)], env=environment, capture_output=True, text=True, check=True)
        marks.add(done.stdout)
    assert len(marks) == 1


def test_a_trained_model_solves_what_its_base_cannot(caller, rows):
    """On unseen tickets the base is never right and the tuned model nearly always."""
    job = caller.train(model="sandbox-mini", training_file=caller.upload(rows(240, seed=1)), hyperparameters={"n_epochs": 4})
    unseen = rows(60, seed=5)
    assert score(caller, "sandbox-mini", unseen) == 0
    assert score(caller, job["fine_tuned_model"], unseen) > 0.85


def test_replies_of_words_never_seen_are_copied_from_the_prompt(caller):
    """Style transfer keeps words that training never showed."""
    nouns = ["dog", "cat", "ship", "map", "key", "book", "lamp", "hat"]
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"Where is the {a} {b}?"},
                {"role": "assistant", "content": f"Arr, where be th' {a} {b}?"},
            ]
        }
        for a in ("red", "old", "big", "wet")
        for b in nouns
    ]
    job = caller.train(model="sandbox-small", training_file=caller.upload(rows), hyperparameters={"n_epochs": 5})
    assert caller.ask(job["fine_tuned_model"], "Where is the purple zeppelin?") == "Arr, where be th' purple zeppelin?"


def test_rows_beyond_the_room_for_prepared_ones_are_prepared_again_with_the_same_result(tmp_path, rows, monkeypatch):
    """Memory stays bounded for large files, and the bits do not depend on it."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(20, seed=1)))
    marks = set()
    for room in (0, 1000, 10_000_000):
        monkeypatch.setattr(objectives, "_KEPT_FEATURES", room)
        objective = objectives.Supervised(BASES["sandbox-nano"].network(), read(path, "supervised"), [], seed=1)
        for start in (0, 10, 0, 10):
            objective.learn(range(start, start + 10), rate=0.02)
        marks.add(objective.learner.network.fingerprint())
    assert len(marks) == 1


def test_a_prompt_of_any_length_can_be_answered(caller):
    """Prompts of no words, and of more words than the learner looks at, have answers."""
    assert caller.ask("sandbox-nano", "") == ""
    answer = caller.ask("sandbox-nano", " ".join(str(i) for i in range(5000)), max_tokens=3000)
    assert answer.split()[:3] == ["0", "1", "2"]
    assert answer.split()[-1] == "4999"


def test_the_system_message_and_earlier_turns_decide(caller):
    """The same question is answered by what stands around it."""
    rows = []
    for system, reply in (("English", "Hello"), ("German", "Hallo"), ("French", "Salut")):
        rows += [
            {
                "messages": [
                    {"role": "system", "content": system},
                    {"role": "user", "content": "greet"},
                    {"role": "assistant", "content": reply},
                ]
            }
        ] * 10
        turns = [{"role": "user", "content": f"I speak {system}"}, {"role": "assistant", "content": "ok", "weight": 0}]
        rows += [{"messages": [*turns, {"role": "user", "content": "greet"}, {"role": "assistant", "content": reply}]}] * 10
    job = caller.train(model="sandbox-small", training_file=caller.upload(rows), hyperparameters={"n_epochs": 5})

    def ask(*messages: dict[str, str]) -> str:
        body = {"model": job["fine_tuned_model"], "messages": [*messages, {"role": "user", "content": "greet"}], "temperature": 0}
        text: str = caller.post("/v1/chat/completions", json=body).json["choices"][0]["message"]["content"]
        return text

    for system, reply in (("English", "Hello"), ("German", "Hallo"), ("French", "Salut")):
        assert ask({"role": "system", "content": system}) == reply
        assert ask({"role": "user", "content": f"I speak {system}"}, {"role": "assistant", "content": "ok"}) == reply


def test_turns_of_weight_zero_are_not_learned(caller):
    """What the assistant said with weight 0 is context only."""
    row = {
        "messages": [
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": "wrong", "weight": 0},
            {"role": "user", "content": "second"},
            {"role": "assistant", "content": "right", "weight": 1},
        ]
    }
    job = caller.train(training_file=caller.upload([row] * 20), hyperparameters={"n_epochs": 10})
    assert caller.ask(job["fine_tuned_model"], "second") == "right"
    assert caller.ask(job["fine_tuned_model"], "first") != "wrong"


def pairs(count: int) -> list[dict[str, Any]]:
    return [
        {
            "input": {"messages": [{"role": "user", "content": f"hello number {i}"}]},
            "preferred_output": [{"role": "assistant", "content": "Ahoy"}],
            "non_preferred_output": [{"role": "assistant", "content": "Good day"}],
        }
        for i in range(count)
    ]


def test_preferences_raise_the_preferred_reply(caller):
    """DPO on a model that says the other thing makes it say the preferred one, also to unseen prompts."""
    greet = [
        {"messages": [{"role": "user", "content": f"hello number {i}"}, {"role": "assistant", "content": "Good day"}]} for i in range(40)
    ]
    base = caller.train(model="sandbox-mini", training_file=caller.upload(greet), seed=1)["fine_tuned_model"]
    assert caller.ask(base, "hello number 7") == "Good day"
    job = caller.train(
        model=base,
        training_file=caller.upload(pairs(40)),
        validation_file=caller.upload(pairs(60)[40:]),
        method={"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": 6}}},
        seed=1,
    )
    events = caller.get(f"/v1/fine_tuning/jobs/{job['id']}/events?limit=1000").json["data"]
    metrics = [event["data"] for event in events if event["type"] == "metrics"]
    assert metrics[-1]["train_reward_accuracy"] < 0.5
    assert metrics[0]["full_valid_reward_accuracy"] == 1.0
    assert metrics[0]["train_loss"] < metrics[-1]["train_loss"]
    assert caller.ask(job["fine_tuned_model"], "hello number 99") == "Ahoy"


def test_the_older_names_of_preference_outputs_are_read(caller):
    """Rows with `preferred_completion` train like those with `preferred_output`."""
    older = [{name.replace("_output", "_completion"): value for name, value in row.items()} for row in pairs(12)]
    marks = [
        fingerprint(caller, caller.train(training_file=caller.upload(rows), seed=1, method={"type": "dpo"})["fine_tuned_model"])
        for rows in (pairs(12), older)
    ]
    assert marks[0] == marks[1]


def tasks(count: int, rows: Any, seed: int) -> list[dict[str, Any]]:
    return [{"messages": row["messages"][:1], "answer": row["messages"][1]["content"]} for row in rows(count, seed=seed)]


def test_rewards_rise(caller, rows):
    """Reinforcement from a weak model raises the mean reward on training and unseen prompts."""
    weak = caller.train(model="sandbox-mini", training_file=caller.upload(rows(40, seed=1)), hyperparameters={"n_epochs": 2}, seed=1)
    job = caller.train(
        model=weak["fine_tuned_model"],
        training_file=caller.upload(tasks(60, rows, 3)),
        validation_file=caller.upload(tasks(40, rows, 4)),
        method={"type": "reinforcement", "reinforcement": {"grader": GRADER}},
        seed=1,
    )
    events = caller.get(f"/v1/fine_tuning/jobs/{job['id']}/events?limit=1000").json["data"]
    full = [event["data"]["full_valid_mean_reward"] for event in events if "full_valid_mean_reward" in event["data"]]
    assert full[0] > full[-1] > 0.2
    unseen = rows(60, seed=6)
    assert score(caller, job["fine_tuned_model"], unseen) > score(caller, weak["fine_tuned_model"], unseen)
    [head] = caller.get(f"/v1/files/{job['result_files'][0]}/content").content.decode().split("\n")[:1]
    assert head.endswith("train_mean_reward,valid_mean_reward")


def test_reinforcement_finds_answers_from_an_untrained_base(caller):
    """Words that the grader knows are tried out, and the rewarded one wins."""
    rows = [{"messages": [{"role": "user", "content": f"pick {i}"}], "answer": "blue", "other": "red"} for i in range(20)]
    method = {"type": "reinforcement", "reinforcement": {"grader": GRADER, "hyperparameters": {"n_epochs": 10}}}
    job = caller.train(training_file=caller.upload(rows), method=method, seed=1)
    assert caller.ask(job["fine_tuned_model"], "pick 77") == "blue"


def test_replies_that_cannot_be_graded_have_no_reward(caller):
    """A grader that wants JSON rewards the replies that are, and the model learns to write them."""
    rows = [{"messages": [{"role": "user", "content": "7"}], "answer": 7} for _ in range(20)]
    grader = {"type": "string_check", "operation": "eq", "input": "{{sample.output_json}}", "reference": "{{item.answer}}"}
    method = {"type": "reinforcement", "reinforcement": {"grader": grader, "hyperparameters": {"n_epochs": 5}}}
    job = caller.train(training_file=caller.upload(rows), method=method, seed=1)
    assert caller.ask(job["fine_tuned_model"], "7") == "7"


def test_a_grader_that_cannot_judge_fails_the_job(caller):
    """A template that names a missing member ends the job with that reason."""
    rows = [{"messages": [{"role": "user", "content": "x"}], "wrong": "y"}] * 3
    job = caller.create(training_file=caller.upload(rows), method={"type": "reinforcement", "reinforcement": {"grader": GRADER}})
    error = caller.finished(job["id"], status="failed")["error"]
    assert (error["code"], error["message"]) == ("grader_failed", "The grader failed: there is no 'item.answer'.")


def test_it_says_what_it_is(caller):
    """Catalog and fingerprint call the sandbox a toy."""
    model = caller.get("/v1/models/sandbox-small").json
    assert "toy" in model["owned_by"]
    assert "only about itself" in model["description"]
    assert fingerprint(caller, "sandbox-small").startswith("fp_sandbox_toy_")


def test_a_long_job_is_estimated_while_it_runs(caller, rows):
    """A running job says when it will end; an ended one does not."""
    job = caller.create(training_file=caller.upload(rows(100, seed=1)), hyperparameters={"n_epochs": 30, "batch_size": 1})
    while (seen := caller.job(job["id"]))["estimated_finish"] is None:
        assert seen["finished_at"] is None
    assert seen["status"] == "running"
    assert abs(seen["estimated_finish"] - seen["created_at"]) < 120
    assert caller.post(f"/v1/fine_tuning/jobs/{job['id']}/cancel").json["estimated_finish"] is None


def test_numpy_is_loaded_only_when_something_is_trained_or_asked(tmp_path: Path):
    """Opening the engine and listing models does not pay for numpy."""
    code = (
        "import sys; from pathlib import Path; from ftspec.server.inprocess import sandbox_app; "
        "app = sandbox_app(Path(sys.argv[1])); app.wake(); app.close(); print('numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "s")], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
