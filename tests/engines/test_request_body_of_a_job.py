"""The body of the POST that buys a job, engine by engine."""

import json

import pytest

from ftspec.engines.profiles import load_profiles
from ftspec.engines.request import job_body
from ftspec.experiment import DesiredJob

KEY = "c" * 64


def body_of(engine="openai", *, project="triage", validation_file=None, **settings):
    job = DesiredJob(address="a", experiment="a", engine="e", scope="s", base_model="gpt-4.1", train="t", **settings)
    return job_body(
        job,
        profile=load_profiles()[engine],
        base_model_name="gpt-4.1-2025-04-14",
        training_file="file-1",
        validation_file=validation_file,
        project=project,
        key=KEY,
        attempt=2,
    )


def test_the_least_body():
    """Model, file, method and our labels; what the spec did not give is not sent."""
    assert body_of() == {
        "model": "gpt-4.1-2025-04-14",
        "training_file": "file-1",
        "method": {"type": "supervised", "supervised": {}},
        "metadata": {"ftspec_key": KEY, "ftspec_project": "triage", "ftspec_attempt": "2"},
    }


def test_the_fullest_body():
    """Everything has its place under the method, and `auto` is sent as given."""
    grader = {"type": "string_check", "name": "g", "operation": "eq", "input": "a", "reference": "b"}
    integration = {"type": "wandb", "wandb": {"project": "p"}}
    body = body_of(
        validation_file="file-2",
        method="reinforcement",
        hyperparameters={"n_epochs": "auto", "eval_interval": 5},
        grader=grader,
        seed=0,
        suffix="s",
        integrations=(integration,),
        replicate=3,
        tags={"owner": "me"},
    )
    assert body == {
        "model": "gpt-4.1-2025-04-14",
        "training_file": "file-1",
        "validation_file": "file-2",
        "method": {
            "type": "reinforcement",
            "reinforcement": {"hyperparameters": {"n_epochs": "auto", "eval_interval": 5}, "grader": grader},
        },
        "seed": 0,
        "suffix": "s",
        "integrations": [integration],
        "metadata": {"ftspec_key": KEY, "ftspec_project": "triage", "ftspec_attempt": "2"},
    }


def test_labels_are_text_and_only_where_they_are_kept():
    """Metadata values are strings; an engine without metadata gets none."""
    assert all(isinstance(text, str) for text in body_of()["metadata"].values())
    assert body_of(project=None)["metadata"] == {"ftspec_key": KEY, "ftspec_attempt": "2"}
    assert "metadata" not in body_of("nebius")


def test_lora_goes_where_the_engine_wants_it():
    """Nebius trains fully unless told otherwise, so it is always told; its hyperparameters are at the top."""
    body = body_of(
        "nebius",
        lora={"rank": 8, "alpha": 16},
        hyperparameters={"learning_rate": 1e-5},
        engine_options={"packing": True, "from_checkpoint": {"repo": "x"}},
    )
    assert body["hyperparameters"] == {"learning_rate": 1e-5, "lora": True, "lora_r": 8, "lora_alpha": 16, "packing": True}
    assert body["from_checkpoint"] == {"repo": "x"}
    assert body["method"] == {"type": "supervised", "supervised": {}}
    assert body_of("nebius")["hyperparameters"] == {"lora": False}


def test_engine_options_without_a_place_are_members_of_their_name():
    """Foundry's `trainingType` sits at the top of the request."""
    body = body_of("azure", engine_options={"trainingType": "globalStandard", "prompt_loss_weight": 0.1})
    assert body["trainingType"] == "globalStandard"
    assert body["method"]["supervised"]["hyperparameters"] == {"prompt_loss_weight": 0.1}


@pytest.mark.parametrize("engine", sorted(load_profiles()))
def test_a_body_is_json_and_leaves_the_job_alone(engine):
    """The same job makes the same body twice: nothing of it is shared or changed."""
    hyperparameters = {"n_epochs": 1}
    settings = {"hyperparameters": hyperparameters, "lora": {"rank": 4}, "engine_options": {"a.b": 1}}
    first = body_of(engine, **settings)
    assert json.loads(json.dumps(first)) == first
    assert body_of(engine, **settings) == first
    assert hyperparameters == {"n_epochs": 1}
