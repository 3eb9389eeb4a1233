"""Jobs after they were created: lists, filters, pages, verbs, events, checkpoints, and who may see them."""

from __future__ import annotations

import time

import pytest

from ftspec.server.inprocess import sandbox_app


@pytest.fixture
def training_file(caller, rows) -> str:
    file_id: str = caller.upload(rows(40, seed=1))
    return file_id


def ids(answer) -> list[str]:
    return [entry["id"] for entry in answer.json["data"]]


def test_jobs_are_listed_newest_first_and_filtered_by_metadata(caller, training_file):
    """All given pairs must match; `metadata=null` selects jobs without metadata; both together are refused."""
    made = [
        caller.create(training_file=training_file, metadata=metadata)["id"]
        for metadata in ({"a": "1", "b": "2"}, {"a": "1"}, None, {"a": "", 'o"dd': "x"}, {"ftspec_key": "k1"})
    ]
    path = "/v1/fine_tuning/jobs"
    assert ids(caller.get(path)) == made[::-1]
    assert ids(caller.get(path, params={"metadata[a]": "1"})) == [made[1], made[0]]
    assert ids(caller.get(path, params={"metadata[a]": "1", "metadata[b]": "2"})) == [made[0]]
    assert ids(caller.get(path, params={"metadata[a]": ""})) == [made[3]]
    assert ids(caller.get(path, params={'metadata[o"dd]': "x"})) == [made[3]]
    assert ids(caller.get(path, params={"metadata[ftspec_key]": "k1"})) == [made[4]]
    assert ids(caller.get(path, params={"metadata[ftspec_key]": "k1", "metadata[a]": "1"})) == []
    assert ids(caller.get(f"{path}?metadata=null")) == [made[2]]
    assert caller.get(f"{path}?metadata=null&metadata[a]=1").error["param"] == "metadata"
    page = caller.get(f"{path}?limit=2&after={made[4]}")
    assert (ids(page), page.json["has_more"]) == ([made[3], made[2]], True)
    page = caller.get(f"{path}?limit=2&after={made[2]}")
    assert (ids(page), page.json["has_more"]) == ([made[1], made[0]], False)
    assert caller.get(f"{path}?after=ftjob-x").error["code"] == "invalid_cursor"


def test_events_page_by_seven_without_gaps(caller, training_file):
    """Events come newest first; pages of 7 hold each of them once."""
    job = caller.train(training_file=training_file, hyperparameters={"n_epochs": 6})
    path = f"/v1/fine_tuning/jobs/{job['id']}/events"
    whole = ids(caller.get(f"{path}?limit=1000"))
    seen: list[str] = []
    more = True
    while more:
        page = caller.get(f"{path}?limit=7" + (f"&after={seen[-1]}" if seen else ""))
        seen += ids(page)
        more = page.json["has_more"]
    assert len(seen) > 50
    assert seen == whole
    messages = [event["message"] for event in caller.get(f"{path}?limit=1000").json["data"]]
    assert messages[-1] == f"Created fine-tuning job: {job['id']}"
    assert messages[0] == "The job has successfully completed"
    assert caller.get(f"{path}?after=x").error["code"] == "invalid_cursor"


def test_metrics_events_carry_the_figures_of_their_step(caller, training_file, rows):
    """A metrics event has its step, the number of steps, training figures, and validation figures now and then."""
    job = caller.train(training_file=training_file, validation_file=caller.upload(rows(20, seed=2)))
    events = caller.get(f"/v1/fine_tuning/jobs/{job['id']}/events?limit=1000").json["data"]
    metrics = [event["data"] for event in events if event["type"] == "metrics"]
    assert [figures["step"] for figures in metrics] == list(range(30, 0, -1))
    assert {figures["total_steps"] for figures in metrics} == {30}
    assert all({"train_loss", "train_mean_token_accuracy", "valid_loss", "valid_mean_token_accuracy"} <= set(f) for f in metrics)
    assert [f["step"] for f in metrics if "full_valid_loss" in f] == [30, 20, 10]


def test_checkpoints_are_one_an_epoch_and_the_last_three_are_kept(caller, training_file):
    """Highest step first; only the last carries the plain model name; each can be asked."""
    job = caller.train(training_file=training_file, hyperparameters={"n_epochs": 5})
    checkpoints = caller.get(f"/v1/fine_tuning/jobs/{job['id']}/checkpoints").json["data"]
    assert [c["step_number"] for c in checkpoints] == [50, 40, 30]
    model = job["fine_tuned_model"]
    names = [c["fine_tuned_model_checkpoint"] for c in checkpoints]
    assert names == [model, f"{model}:ckpt-step-40", f"{model}:ckpt-step-30"]
    for name in names:
        assert caller.ask(name, "my card was declined")
    for gone in (f"{model}:ckpt-step-20", f"{model}:ckpt-step-50"):
        body = {"model": gone, "messages": [{"role": "user", "content": "x"}]}
        assert caller.post("/v1/chat/completions", json=body).error["code"] == "model_not_found"
    page = caller.get(f"/v1/fine_tuning/jobs/{job['id']}/checkpoints?limit=1&after={checkpoints[0]['id']}").json
    assert (page["data"], page["has_more"]) == ([checkpoints[1]], True)


def test_a_cancelled_job_ends_at_once_and_for_good(caller, training_file):
    """Cancelling answers with the end; no verb changes it any more, and no model is left behind."""
    job = caller.create(training_file=training_file, hyperparameters={"n_epochs": 50, "batch_size": 1})
    cancelled = caller.post(f"/v1/fine_tuning/jobs/{job['id']}/cancel").json
    assert (cancelled["status"], cancelled["fine_tuned_model"], cancelled["error"]) == ("cancelled", None, None)
    assert cancelled["finished_at"] is not None
    for verb in ("cancel", "pause", "resume"):
        answer = caller.post(f"/v1/fine_tuning/jobs/{job['id']}/{verb}")
        assert (answer.status, answer.error["code"]) == (400, "invalid_job_status")
    time.sleep(0.05)
    assert caller.job(job["id"]) == cancelled
    assert not any(model["id"].startswith("ft:") for model in caller.get("/v1/models").json["data"])


def test_a_paused_job_waits_until_it_is_resumed(caller, training_file):
    """Pausing is `queued` with `paused`; resuming trains to the end; each verb works once."""
    job = caller.create(training_file=training_file, hyperparameters={"n_epochs": 20})
    path = f"/v1/fine_tuning/jobs/{job['id']}"
    assert caller.post(f"{path}/resume").error["code"] == "invalid_job_status"
    paused = caller.post(f"{path}/pause").json
    assert (paused["status"], paused["paused"]) == ("queued", True)
    assert caller.post(f"{path}/pause").error["code"] == "invalid_job_status"
    time.sleep(0.05)
    assert caller.job(job["id"])["paused"] is True
    assert caller.post(f"{path}/resume").json["paused"] is False
    assert caller.finished(job["id"])["hyperparameters"]["n_epochs"] == 20
    messages = [event["message"] for event in caller.get(f"{path}/events?limit=1000").json["data"]]
    assert messages.count(f"Created fine-tuning job: {job['id']}") == 1
    assert messages.count("The job was resumed") == 1


def test_unknown_jobs_are_not_found(caller):
    """Every path below a job that does not exist is a 404."""
    for method, end in (
        ("GET", ""),
        ("GET", "/events"),
        ("GET", "/checkpoints"),
        ("POST", "/cancel"),
        ("POST", "/pause"),
        ("POST", "/resume"),
    ):
        answer = caller.call(method, f"/v1/fine_tuning/jobs/ftjob-x{end}")
        assert (answer.status, answer.error["code"]) == (404, "fine_tune_not_found")


def test_projects_see_only_what_is_theirs(tmp_path, calling, rows):
    """Files, jobs and models of another project do not exist; the key decides the project, and the header must agree."""
    keys = {"key-of-the-first-team": "one", "key-of-the-second-team": "two"}
    with sandbox_app(tmp_path / "s", api_keys=keys) as app:
        one, two = (calling(app, authorization=f"Bearer {key}") for key in keys)
        job = one.train(training_file=one.upload(rows(12, seed=1)))
        model = job["fine_tuned_model"]
        assert two.get(f"/v1/fine_tuning/jobs/{job['id']}").status == 404
        assert two.get(f"/v1/files/{job['training_file']}").status == 404
        assert two.get(f"/v1/models/{model}").status == 404
        assert ids(two.get("/v1/fine_tuning/jobs")) == []
        assert ids(two.get("/v1/files")) == []
        assert model not in ids(two.get("/v1/models"))
        stolen = two.post("/v1/fine_tuning/jobs", json={"model": "sandbox-nano", "training_file": job["training_file"]})
        assert (stolen.status, stolen.error["code"]) == (400, "file_not_found")
        on_top = two.post("/v1/fine_tuning/jobs", json={"model": model, "training_file": two.upload(rows(12, seed=1))})
        assert on_top.error["code"] == "model_not_available"
        assert one.get("/v1/models", headers={"openai-project": "one"}).status == 200
        assert one.get("/v1/models", headers={"openai-project": "two"}).error["code"] == "mismatched_project"


def test_without_keys_the_header_names_the_project(caller, rows):
    """`OpenAI-Project` separates projects; a name that is none is refused."""
    file_id = caller.upload(b"{}", headers={"openai-project": "proj_a"})
    assert caller.get(f"/v1/files/{file_id}").status == 404
    assert caller.get(f"/v1/files/{file_id}", headers={"openai-project": "proj_a"}).status == 200
    assert caller.get("/v1/files", headers={"openai-project": "a b"}).error["code"] == "invalid_project"


def test_a_deleted_model_is_gone_with_its_checkpoints_but_its_job_stays(caller, training_file, tmp_path):
    """Deleting frees the weights; bases and single checkpoints cannot be deleted."""
    job = caller.train(training_file=training_file)
    model = job["fine_tuned_model"]
    assert caller.delete("/v1/models/sandbox-nano").error["code"] == "model_not_deletable"
    assert caller.delete(f"/v1/models/{model}:ckpt-step-10").error["code"] == "model_not_deletable"
    assert caller.delete(f"/v1/models/{model}").json["deleted"] is True
    for name in (model, f"{model}:ckpt-step-10"):
        assert caller.get(f"/v1/models/{name}").status == 404
        assert caller.delete(f"/v1/models/{name}").error["code"] == "model_not_found"
    assert caller.job(job["id"])["fine_tuned_model"] == model
    assert not list((tmp_path / "server" / "runs").glob("*/checkpoints/step-*"))


def test_weights_that_vanish_are_told_to_who_needs_them(caller, training_file, tmp_path):
    """A model whose weights somebody removed cannot be asked or trained further, and both say why."""
    model = caller.train(training_file=training_file)["fine_tuned_model"]
    for path in (tmp_path / "server" / "runs").glob("*/checkpoints/step-*/weights.npz"):
        path.unlink()
    body = {"model": model, "messages": [{"role": "user", "content": "x"}]}
    assert caller.post("/v1/chat/completions", json=body).error["code"] == "model_not_found"
    job = caller.finished(caller.create(model=model, training_file=training_file)["id"], status="failed")
    assert (job["error"]["code"], job["error"]["param"]) == ("model_not_found", "model")


def test_a_model_that_was_asked_cannot_be_asked_after_it_was_deleted(caller, training_file):
    """Weights in memory go with the model; other models stay."""
    one, two = (caller.train(training_file=training_file)["fine_tuned_model"] for _ in range(2))
    for model in (one, two):
        caller.ask(model, "x")
    caller.delete(f"/v1/models/{one}")
    assert caller.post("/v1/chat/completions", json={"model": one, "messages": [{"role": "user", "content": "x"}]}).status == 404
    assert caller.ask(two, "x") is not None


def test_a_model_can_be_trained_further_by_its_name_or_a_checkpoint(caller, rows):
    """A job on top of a model starts from its weights: less is left to learn; the base stays in the name."""
    training_file, validation_file = caller.upload(rows(60, seed=1)), caller.upload(rows(30, seed=2))
    first = caller.train(training_file=training_file, validation_file=validation_file, seed=1)
    model = first["fine_tuned_model"]
    for name in (model, f"{model}:ckpt-step-15"):
        second = caller.train(model=name, training_file=training_file, validation_file=validation_file, seed=1)
        assert second["model"] == name
        assert second["fine_tuned_model"].startswith("ft:sandbox-nano:ftspec::")
        first_loss, second_loss = (caller.last_metrics(job["id"])["full_valid_loss"] for job in (first, second))
        assert second_loss < first_loss
