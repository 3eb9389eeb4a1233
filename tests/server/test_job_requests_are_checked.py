"""`POST /v1/fine_tuning/jobs`: what is refused, by which member and code; what is taken, and what it means."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftspec.server.trainers.sandbox.rows import BadRows, read

GRADER = {"type": "string_check", "operation": "eq", "input": "{{sample.output_text}}", "reference": "{{item.answer}}"}


def supervised(**hyperparameters: Any) -> dict[str, Any]:
    return {"method": {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}}}


def reinforcement(grader: Any, **hyperparameters: Any) -> dict[str, Any]:
    return {"method": {"type": "reinforcement", "reinforcement": {"grader": grader, "hyperparameters": hyperparameters}}}


H = "method.supervised.hyperparameters"
G = "method.reinforcement.grader"


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"model": None}, "model", "invalid_type"),
        ({"model": "gpt-4o"}, "model", "model_not_available"),
        ({"model": "ft:sandbox-mini:ftspec::x"}, "model", "model_not_available"),
        ({"training_file": "file-x"}, "training_file", "file_not_found"),
        ({"training_file": 3}, "training_file", "invalid_type"),
        ({"validation_file": "file-x"}, "validation_file", "file_not_found"),
        ({"suffix": ""}, "suffix", "invalid_value"),
        ({"suffix": "s" * 65}, "suffix", "invalid_value"),
        ({"seed": -1}, "seed", "invalid_value"),
        ({"seed": 2**31}, "seed", "invalid_value"),
        ({"seed": 1.5}, "seed", "invalid_type"),
        ({"seed": True}, "seed", "invalid_type"),
        ({"epochs": 3}, "epochs", "unknown_parameter"),
        ({"metadata": {"a": 1}}, "metadata.a", "invalid_type"),
        ({"metadata": {str(i): "" for i in range(17)}}, "metadata", "invalid_value"),
        ({"metadata": {"k" * 65: ""}}, "metadata", "invalid_value"),
        ({"metadata": {"k": "v" * 513}}, "metadata", "invalid_value"),
        (supervised(n_epochs=0), f"{H}.n_epochs", "invalid_value"),
        (supervised(n_epochs=51), f"{H}.n_epochs", "invalid_value"),
        (supervised(n_epochs=2.0), f"{H}.n_epochs", "invalid_value"),
        (supervised(n_epochs="3"), f"{H}.n_epochs", "invalid_value"),
        (supervised(n_epochs=True), f"{H}.n_epochs", "invalid_value"),
        (supervised(batch_size=257), f"{H}.batch_size", "invalid_value"),
        (supervised(learning_rate_multiplier=0), f"{H}.learning_rate_multiplier", "invalid_value"),
        (supervised(beta=0.1), f"{H}.beta", "unknown_parameter"),
        ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs", "invalid_value"),
        ({"hyperparameters": {"lora_r": 8}}, "hyperparameters.lora_r", "unknown_parameter"),
        ({"hyperparameters": {"n_epochs": 1}, **supervised()}, "hyperparameters", "invalid_value"),
        ({"method": {"type": "sft"}}, "method.type", "invalid_value"),
        ({"method": {"supervised": {}}}, "method.type", "missing_required_parameter"),
        ({"method": {"type": "dpo", "supervised": {}}}, "method.supervised", "invalid_value"),
        ({"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 2.1}}}}, "method.dpo.hyperparameters.beta", "invalid_value"),
        ({"method": {"type": "reinforcement"}}, G, "missing_required_parameter"),
        ({"method": {"type": "reinforcement", "reinforcement": {}}}, G, "missing_required_parameter"),
        (reinforcement({"type": "magic"}), f"{G}.type", "invalid_value"),
        (reinforcement({**GRADER, "operation": "is"}), f"{G}.operation", "invalid_value"),
        (reinforcement({"type": "python", "source": "def grade(a, b): return 1"}), G, "unsupported_grader"),
        (reinforcement({"type": "multi", "graders": {"a": GRADER}, "calculate_output": "b"}), f"{G}.calculate_output", "invalid_value"),
        (reinforcement(GRADER, compute_multiplier=11), "method.reinforcement.hyperparameters.compute_multiplier", "invalid_value"),
        (reinforcement(GRADER, reasoning_effort="high"), "method.reinforcement.hyperparameters.reasoning_effort", "unsupported_parameter"),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "p"}}]}, "integrations", "unsupported_parameter"),
        ({"integrations": [{"type": "wandb"}]}, "integrations.0.wandb", "missing_required_parameter"),
    ],
)
def test_a_wrong_request_is_refused_by_the_member_at_fault(caller, change, param, code):
    """A request with one mistake gets a 400 that names it, and no job is made."""
    training_file = caller.upload(b"{}\n")
    answer = caller.post("/v1/fine_tuning/jobs", json={"model": "sandbox-nano", "training_file": training_file} | change)
    assert (answer.status, answer.error["param"], answer.error["code"]) == (400, param, code)
    assert caller.get("/v1/fine_tuning/jobs").json["data"] == []


def test_files_of_another_purpose_are_refused(caller):
    """Only files uploaded for fine-tuning can be trained on."""
    file_id = caller.upload(b"{}\n", purpose="batch")
    answer = caller.post("/v1/fine_tuning/jobs", json={"model": "sandbox-nano", "training_file": file_id})
    assert (answer.error["param"], answer.error["code"]) == ("training_file", "invalid_file_purpose")


@pytest.mark.parametrize(
    ("change", "hyperparameters"),
    [
        ({}, {"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 1.0}),
        ({"hyperparameters": {"n_epochs": 2, "batch_size": "auto"}}, {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 1.0}),
        (supervised(batch_size=7), {"n_epochs": 3, "batch_size": 7, "learning_rate_multiplier": 1.0}),
    ],
)
def test_auto_becomes_a_number_once_training_began(caller, rows, change, hyperparameters):
    """What was not given reads "auto" first and the number that was used afterwards."""
    job = caller.create(training_file=caller.upload(rows(20, seed=1)), **change)
    assert set(job["hyperparameters"]) == set(hyperparameters)
    assert caller.finished(job["id"])["hyperparameters"] == hyperparameters
    assert caller.job(job["id"])["method"] == {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}}


def test_what_was_asked_for_is_echoed(caller, rows):
    """Model, suffix, metadata and seed come back; the suffix is part of the model's name, made harmless."""
    job = caller.train(
        training_file=caller.upload(rows(12, seed=1)), model="sandbox-mini", suffix="My: tone/é 1", metadata={"k": "v"}, seed=7
    )
    assert (job["model"], job["user_provided_suffix"], job["metadata"], job["seed"]) == ("sandbox-mini", "My: tone/é 1", {"k": "v"}, 7)
    assert job["fine_tuned_model"] == f"ft:sandbox-mini:ftspec:my-tone-1:{job['id'][-8:]}"


def test_an_absent_suffix_leaves_an_empty_segment(caller, rows):
    """A model without a suffix keeps the two colons."""
    job = caller.train(training_file=caller.upload(rows(12, seed=1)))
    assert job["fine_tuned_model"] == f"ft:sandbox-nano:ftspec::{job['id'][-8:]}"


def test_a_seed_is_drawn_where_none_was_given(caller, rows):
    """Two jobs without a seed have different ones, both echoed."""
    training_file = caller.upload(rows(12, seed=1))
    seeds = {caller.create(training_file=training_file)["seed"] for _ in range(5)}
    assert len(seeds) == 5


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"not json", "line 2 is not JSON"),
        (b"[]", "line 2 is not an object"),
        (b"{}", "line 2: expected a list of messages"),
        (b'{"messages": [{"role": "user", "content": "SECRET"}]}', "line 2: expected a reply of the assistant to learn from"),
        (b'{"messages": [{"role": "robot", "content": "SECRET"}]}', "line 2: expected messages with a known role"),
        (b'{"messages": [{"role": "assistant", "content": ""}]}', "line 2: expected a reply that is not empty"),
        (b'{"messages": [{"role": "assistant", "content": "SECRET", "weight": 2}]}', "line 2: expected a weight of 0 or 1"),
        (b'{"messages": [{"role": "assistant", "tool_calls": [{}]}]}', "line 2: the sandbox cannot learn tool calls or empty replies"),
        (b'{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}', "line 2: the sandbox reads text only"),
        (b'{"messages": [{"role": "user", "content": 3}]}', "line 2: expected content that is text"),
        (b'{"messages": [{"role": "user", "content": "\\ud800"}]}', "line 2 holds half of a surrogate pair, which is no character"),
    ],
)
def test_rows_that_cannot_be_trained_on_fail_the_job_by_line(caller, rows, row, reason):
    """A bad row fails the job with its line number and never shows its content."""
    good = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
    for param in ("training_file", "validation_file"):
        bad = {"training_file": caller.upload(good)} | {param: caller.upload(good + row + b"\n")}
        job = caller.finished(caller.create(**bad)["id"], status="failed")
        assert job["error"] == {
            "code": f"invalid_{param}",
            "message": f"The {param.replace('_', ' ')} cannot be used: {reason}.",
            "param": param,
        }
        newest = caller.get(f"/v1/fine_tuning/jobs/{job['id']}/events").json["data"][0]
        assert (newest["level"], newest["data"]["error_code"]) == ("error", f"invalid_{param}")


@pytest.mark.parametrize(
    ("method", "row", "reason"),
    [
        ("dpo", {}, "expected a list of messages"),
        ("dpo", {"input": {"messages": [{"role": "user", "content": "a"}]}}, "expected a list of messages"),
        (
            "dpo",
            {"input": {"messages": [{"role": "user", "content": "a"}]}, "preferred_output": [{"role": "user", "content": "a"}]},
            "expected preferred_output to end with the assistant",
        ),
        ("reinforcement", {"messages": [{"role": "assistant", "content": "a"}]}, "expected the last message to be the user's"),
    ],
)
def test_rows_of_the_other_methods_are_checked_too(caller, method, row, reason):
    """Preference pairs and reinforcement prompts have forms of their own."""
    block = {"grader": GRADER} if method == "reinforcement" else {}
    job = caller.create(training_file=caller.upload([row]), method={"type": method, method: block})
    assert caller.finished(job["id"], status="failed")["error"]["message"] == f"The training file cannot be used: line 1: {reason}."


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.sampled_from(["user", "assistant", "text"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["messages", "role", "content", "weight", "type", "text", "input", "preferred_output"]), inner, max_size=5
        )
    ),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=3), st.sampled_from(["supervised", "dpo", "reinforcement"]))
def test_no_row_is_worse_than_bad(rows, method):
    """Whatever JSON a file holds, it is read or refused as bad rows; nothing else happens."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        try:
            count = len(read(path, method))
        except BadRows:
            count = len(rows)
        assert count == len(rows)


def test_a_file_without_rows_or_without_bytes_is_refused(caller, tmp_path):
    """Blank lines are no rows; and bytes that somebody removed by hand fail the job with that reason."""
    job = caller.create(training_file=caller.upload(b"\n\n"))
    assert "the file has no rows" in caller.finished(job["id"], status="failed")["error"]["message"]
    file_id = caller.upload(b"unique\n")
    for path in (tmp_path / "server" / "files").glob("*/*"):
        path.unlink()
    job = caller.create(training_file=file_id)
    assert "the bytes of the file are gone" in caller.finished(job["id"], status="failed")["error"]["message"]


def test_a_byte_order_mark_and_blank_lines_are_no_rows(caller):
    """Files made by other tools train as well."""
    row = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}'
    job = caller.train(training_file=caller.upload(b"\xef\xbb\xbf" + row + b"\r\n\r\n" + row), hyperparameters={"n_epochs": 1})
    assert job["trained_tokens"] == 4
