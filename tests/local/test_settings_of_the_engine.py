"""What an entry of type `local`, and a job on it, may say."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from ftspec.diagnostics import FtspecError
from ftspec.engines.profiles.local import profile
from ftspec.server.trainers.base import ModelSource, TrainingJob, TrainingRequest
from ftspec.server.trainers.local import trainer
from ftspec.server.trainers.local.resolve import check_adapter, check_extra, resolved, samples
from ftspec.server.trainers.local.settings import SETTINGS, Base, Settings, settings
from ftspec.testing.executors import Drive

COMMIT = "c1899de289a04d12100db370d81485cdf75e47ca"


def test_every_setting_is_described_in_the_profile():
    """The profile, which plans and documents, and the trainer, which reads, know the same settings."""
    assert set(profile.settings) == set(SETTINGS)


def test_models_are_folders_or_pinned_repositories():
    """A relative folder belongs to the project; a repository has a full commit."""
    read = settings({"models": {"a": "models/a", "b": {"path": "/abs"}, "c": {"repo": "o/n", "revision": COMMIT}}}, folder=Path("/project"))
    assert read.models["a"] == Base(name="a", path=Path("/project/models/a"))
    assert read.models["b"].path == Path("/abs")
    assert read.models["c"].wire() == {"name": "c", "path": None, "repo": "o/n", "revision": COMMIT}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"models": {"c": {"repo": "o/n", "revision": "main"}}}, "models.c.revision"),
        ({"models": {"c": {"repo": "o/n"}}}, "models.c"),
        ({"models": {"a b": "x"}}, "models.a b"),
        ({"models": ["x"]}, "models"),
        ({"slots": 0}, "slots"),
        ({"slots": True}, "slots"),
        ({"executor": "dask"}, "executor"),
        ({"gpus": "all"}, "gpus"),
        ({"gpus": -1}, "gpus"),
        ({"gpus": []}, "gpus"),
        ({"gpus": [0, 0]}, "gpus"),
        ({"gpus": 2, "executor": "slurm"}, "gpus"),
        ({"gpus": [0], "executor": "ray"}, "gpus"),
        ({"python": ""}, "python"),
        ({"checkpoint_seconds": -1}, "checkpoint_seconds"),
        ({"serve_url": "ftp://x"}, "serve_url"),
        ({"serve_url": "http://user@x"}, "serve_url"),
        ({"slurm": {"nodes": "3"}}, "slurm"),
        ({"slurm": {"partition": "a\nb"}}, "slurm.partition"),
        ({"slurm": {"arguments": "--x"}}, "slurm.arguments"),
        ({"ray": {"address": "head:8265"}}, "ray.address"),
        ({"ray": {"resources": ["a"]}}, "ray.resources"),
        ({"sloths": 2}, "sloths"),
    ],
)
def test_a_wrong_setting_is_named(options, words):
    """The message names the setting, the help says what is expected."""
    with pytest.raises(FtspecError, match=f"`{words}` of engine `mine` is not usable") as wrong:
        settings(options, folder=Path(), entry="mine")
    assert wrong.value.help.startswith("expected ")


def test_auto_becomes_numbers():
    """Every "auto" is a value in the job, and the rate follows from method, multiplier and LoRA or full."""
    found = resolved("supervised", {"n_epochs": "auto", "learning_rate_multiplier": 2}, rows=5000)
    assert found == {
        "n_epochs": 3, "batch_size": 20, "learning_rate_multiplier": 2, "full": False, "lora_r": 16, "lora_alpha": 32,
        "lora_dropout": 0.0, "lora_target_modules": "all-linear", "learning_rate": 4e-4,
    }  # fmt: skip
    full = resolved("dpo", {"full": True, "learning_rate": 1e-5}, rows=3)
    assert (full["batch_size"], full["beta"], full["learning_rate"]) == (3, 0.1, 1e-5)
    assert "lora_r" not in full
    adapter = {"lora_r": 8, "lora_alpha": 8, "lora_dropout": 0.0, "lora_target_modules": ["q_proj"]}
    assert resolved("supervised", {}, rows=10, adapter=adapter).items() >= adapter.items()
    assert [one.param for one in check_adapter({"lora_r": 4, "lora_alpha": 8}, adapter, within="here")] == ["here.lora_r"]
    assert resolved("reinforcement", {}, rows=40)["eval_interval"] == 10
    assert (samples(1), samples(0.01), samples(2)) == (8, 2, 16)


@pytest.mark.parametrize(
    "given",
    [
        {"lora_r": 0}, {"lora_r": 2.5}, {"lora_alpha": 0}, {"lora_dropout": 1}, {"lora_target_modules": "q"}, {"lora_target_modules": []},
        {"full": "yes"}, {"max_length": 3}, {"learning_rate": 0}, {"learning_rate": 2}, {"learning_rate": float("nan")},
        {"full": True, "lora_r": 8}, {"learning_rate": 1e-4, "learning_rate_multiplier": 1},
    ],
)  # fmt: skip
def test_settings_beyond_openais_are_judged(given):
    """One problem each, at the member that is wrong."""
    (problem,) = check_extra(given, within="here")
    assert problem.param.startswith("here.")
    assert not list(check_extra({name: "auto" for name in given if name != "full"}, within="here"))


def test_what_cannot_work_is_refused_without_asking_anybody(tmp_path):
    """Integrations, foreign graders, a cluster that is not there, an environment without `ftspec[local]`."""

    def codes(options, **more):
        request = {
            "source": ModelSource(name="a", base_model="a"), "method": "supervised", "hyperparameters": {}, "grader": None,
            "integrations": (), "has_validation": False,
        } | more  # fmt: skip
        made = trainer(tmp_path / "root", grade=lambda *_: 1.0, options={"models": {"a": "a"}, **options}, folder=tmp_path)
        found = [problem.code for problem in made.check(TrainingRequest(**request))]
        made.close()
        return found

    assert codes({}, integrations=({"type": "wandb"},)) == ["unsupported_parameter"]
    assert codes({}, hyperparameters={"reasoning_effort": "low"}) == ["unsupported_parameter"]
    assert codes({}, method="reinforcement", grader={"type": "multi", "graders": {"a": {"type": "python"}}}) == ["unsupported_grader"]
    assert codes({}, method="reinforcement", grader={"type": "score_model"}) == ["unsupported_grader"]
    assert codes({"executor": "ray", "ray": {"address": "http://127.0.0.1:1"}}) == ["executor_not_available"]
    assert codes({}) == ["model_not_available"]
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "config.json").write_text("{}")
    (tmp_path / "python").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    assert codes({"python": "./python"}) == ["environment"]
    assert codes({"python": "./no-such-python"}) == ["environment"]


def test_a_job_whose_code_was_allowed_waits_for_a_process_that_allows_it(tmp_path):
    """Found by a process that allows no code before it was described to workers, the job is queued, and nothing is lost."""
    from ftspec.evals.grading import SyncGraders

    (tmp_path / "rows").write_text("{}\n")
    job = TrainingJob(
        id="j", project="p", created_at=1, model="a", source=ModelSource(name="a", base_model="a"), model_name="m", method="reinforcement",
        hyperparameters={}, grader={"type": "python", "source": "def grade(sample, item): return 1"}, seed=1, suffix=None, metadata=None,
        integrations=(), training_file="f", training_path=tmp_path / "rows",
    )  # fmt: skip
    for allow_code in (False, True):
        options = {"models": {"a": "a"}, "python": "no-such-python"}
        made = trainer(tmp_path / "root", grade=SyncGraders(allow_code=allow_code), options=options, folder=tmp_path)
        assert made.reconcile(job).status == "queued"
        made.close()
        described = tmp_path / "root" / "runs" / "j" / "job.json"
        assert described.exists() is allow_code
    assert json.loads(described.read_text())["allow_code"] is True


@pytest.mark.parametrize(("given", "found"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_that_wait_leave_the_core_to_others(tmp_path, monkeypatch, given, found):
    """Workers are told not to spin, unless the user's own environment says otherwise: beside other work it is the difference of 80 times."""
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if given:
        monkeypatch.setenv("OMP_WAIT_POLICY", given)
    drive = Drive(tmp_path, Settings(slots=1, cpus=1), 30)
    seen = []
    drive.reconciler._executor = SimpleNamespace(slots=1, submit=lambda submission, slot: seen.append(submission) or {}, poll=None)
    drive.job("a", steps=1)
    drive.reconciler.sweep()
    assert {submission.environment["OMP_WAIT_POLICY"] for submission in seen} == {found}


def test_a_base_that_the_entry_does_not_name_is_an_error_of_the_plan(tmp_path):
    """Before anything is uploaded, with the nearest name; a server at an address knows its models itself."""
    from ftspec.pipeline.public import load

    (tmp_path / "t.jsonl").write_text('{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n')
    spec = """
ftspec: 1
engines: {local: {type: local, models: {small: models/small}}}
datasets: {t: t.jsonl}
experiments: {a: {engine: local, base_model: smal, train: t}}
"""
    (tmp_path / "ftspec.yaml").write_text(spec)
    with pytest.raises(FtspecError) as wrong:
        load(root=tmp_path)
    (found,) = [one for one in wrong.value.diagnostics if one.code == "unknown-model"]
    assert found.message == "engine `local` names no model `smal`"
    assert found.help == "did you mean `small`?"
    (tmp_path / "ftspec.yaml").write_text(spec.replace("models: {small: models/small}", "base_url: http://127.0.0.1:9/v1"))
    assert len(load(root=tmp_path).spec.jobs) == 1
