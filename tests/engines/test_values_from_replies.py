"""Replies read into values: what is tolerated, and what is not a job."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftspec.engines import wire
from ftspec.printable import printable, redacted
from ftspec.record import Checkpoint, JobError, JobStatus

JOB = {"id": "ftjob-1", "object": "fine_tuning.job"}


def clean(text):
    return printable(redacted(text))


def job_of(**members):
    return wire.job({**JOB, **members}, clean=clean, now=100.0)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "ftjob-1",
        1,
        {},
        {"id": "ftjob-1"},
        {"object": "fine_tuning.job"},
        {"id": "", "object": "fine_tuning.job"},
        {"id": None, "object": "fine_tuning.job"},
        {"id": 7, "object": "fine_tuning.job"},
        {"id": ["ftjob-1"], "object": "fine_tuning.job"},
        {"id": "x" * 600, "object": "fine_tuning.job"},
        {"id": "ftjob-1", "object": "list"},
        {"id": "ftjob-1", "object": None},
        [JOB],
        {"error": {"message": "no"}},
    ],
)
def test_what_is_not_a_job_is_not_taken_for_one(value):
    """A job has a name and says that it is one."""
    with pytest.raises(wire.NotIt):
        wire.job(value, clean=clean, now=0.0)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("validating_files", JobStatus.QUEUED),
        ("pending", JobStatus.QUEUED),
        ("queued", JobStatus.QUEUED),
        ("running", JobStatus.RUNNING),
        ("Running", JobStatus.RUNNING),
        ("succeeded", JobStatus.SUCCEEDED),
        ("failed", JobStatus.FAILED),
        ("cancelled", JobStatus.CANCELLED),
        ("canceled", JobStatus.CANCELLED),
        ("paused", JobStatus.RUNNING),
        ("pausing", JobStatus.RUNNING),
        ("resuming", JobStatus.RUNNING),
        ("safety_check", JobStatus.RUNNING),
    ],
)
def test_statuses_become_neutral_and_stay_verbatim(said, status):
    """Only the known last words end a job; the engine's own word is kept."""
    job = job_of(status=said)
    assert (job.status, job.raw_status) == (status, said)


@pytest.mark.parametrize("said", [None, 7, [], {}, ""])
def test_a_status_that_is_no_word_does_not_end_a_job(said):
    """A missing or senseless status is one that is not over."""
    job = job_of(status=said)
    assert (job.status, job.raw_status) == (JobStatus.RUNNING, "")


@pytest.mark.parametrize("said", [None, {}, {"code": None, "message": None, "param": None}, {"code": "", "message": ""}, "", [], 0])
def test_a_healthy_job_has_no_error(said):
    """OpenAI sends `{}` or nulls where nothing is wrong."""
    assert job_of(error=said).error is None


def test_an_error_is_kept_in_the_engines_words():
    """Code, message and parameter, without escapes and credentials."""
    said = {"code": "invalid_n_examples", "message": "has 5 examples\x1b[2J, key sk-abcdefghijkl", "param": "training_file", "more": 1}
    expected = JobError(code="invalid_n_examples", message="has 5 examples\\x1b[2J, key [redacted]", param="training_file")
    assert job_of(error=said).error == expected
    assert job_of(error="broke").error == JobError(message="broke")


def test_hyperparameters_are_found_wherever_they_are():
    """Under the method, at the top, or at both places: the method's word counts, nulls do not."""
    block = {"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": 3, "beta": 0.1, "batch_size": None}}}
    assert job_of(method=block, hyperparameters=None).hyperparameters == {"n_epochs": 3, "beta": 0.1}
    assert job_of(method=block, hyperparameters={"n_epochs": "auto", "batch_size": 4}).hyperparameters == {
        "n_epochs": 3,
        "beta": 0.1,
        "batch_size": 4,
    }
    assert job_of(hyperparameters={"n_epochs": "auto"}).hyperparameters == {"n_epochs": "auto"}
    assert job_of(method={"type": "dpo"}).method == "dpo"
    assert job_of(method="dpo").hyperparameters == {}


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (1_700_000_000, 1_700_000_000),
        (1_700_000_000.9, 1_700_000_000),
        ("2023-11-14T22:13:20Z", 1_700_000_000),
        ("2023-11-14T22:13:20", 1_700_000_000),
        ("2023-11-14T23:13:20.500+01:00", 1_700_000_000),
        ("yesterday", None),
        (0, None),
        (-1, None),
        (1e300, None),
        (True, None),
        (None, None),
        ({}, None),
    ],
)
def test_times_are_seconds_or_dates(said, seconds):
    """Unix seconds and ISO dates are understood; what cannot be a time is none."""
    assert job_of(finished_at=said).finished_at == seconds
    assert job_of(created_at=said).created_at == (seconds or 100)


def test_a_suffix_has_two_names():
    """OpenAI echoes it as `user_provided_suffix`."""
    assert job_of(user_provided_suffix="a").suffix == "a"
    assert job_of(suffix="b").suffix == "b"
    assert job_of(user_provided_suffix=None, suffix="").suffix is None


def test_metadata_is_text():
    """Numbers become text, other values are dropped, null is empty."""
    assert job_of(metadata={"a": "x", "b": 1, "c": None, "d": []}).metadata == {"a": "x", "b": "1"}
    assert job_of(metadata=None).metadata == {}


def test_result_files_are_ids():
    """Ids, or objects that have one."""
    assert job_of(result_files=["file-1", {"id": "file-2"}, None, 3, {}]).result_files == ("file-1", "file-2")
    assert job_of(result_files=None).result_files == ()


def test_credentials_do_not_stay_in_the_raw_job():
    """Nebius' integrations carry a W&B key."""
    raw = job_of(integrations=[{"type": "wandb", "wandb": {"api_key": "abc", "project": "p"}}]).raw
    assert raw["integrations"] == [{"type": "wandb", "wandb": {"project": "p"}}]


def test_a_succeeded_job_may_not_have_its_model_yet():
    """The status and the model are two facts."""
    assert job_of(status="succeeded", fine_tuned_model=None).model is None
    assert job_of(status="running", fine_tuned_model="ft:x").model == "ft:x"


def test_checkpoints_keep_the_metrics_that_are_numbers():
    """Nulls and texts are left out; a checkpoint without model or step is none."""
    said = {
        "id": "c",
        "fine_tuned_model_checkpoint": "ft:x:ckpt-step-2",
        "step_number": 2,
        "metrics": {"step": 2, "train_loss": 1, "valid_loss": None},
    }
    assert wire.checkpoint(said) == Checkpoint(model="ft:x:ckpt-step-2", step=2, metrics={"train_loss": 1.0})
    for missing in ("fine_tuned_model_checkpoint", "step_number"):
        with pytest.raises(wire.NotIt):
            wire.checkpoint({**said, missing: None})


@pytest.mark.parametrize("data", [None, {}, [], "x", {"step": 1}])
def test_an_events_data_is_always_a_mapping(data):
    """`data` may be null, empty or an object."""
    event = wire.event({"id": "e", "created_at": 5, "message": "hi\x07", "data": data}, clean=clean)
    assert event.data == (data if isinstance(data, dict) else {})
    assert (event.type, event.level, event.message, event.time) == ("message", "info", "hi\\x07", 5)


def test_a_chat_answer_is_its_first_choice():
    """Text, reason, counts, tool calls and refusal; null content is empty text."""
    message = {"role": "assistant", "content": None, "refusal": "no", "tool_calls": [{"id": "t"}, None]}
    answer = wire.chat(
        {"choices": [{"message": message, "finish_reason": "tool_calls"}], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}
    )
    assert (answer.text, answer.refusal, answer.finish_reason, answer.tool_calls) == ("", "no", "tool_calls", ({"id": "t"},))
    assert (answer.input_tokens, answer.output_tokens) == (1, 2)
    for nothing in ({}, {"choices": []}, {"choices": [None]}, [], None):
        with pytest.raises(wire.NotIt):
            wire.chat(nothing)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*JOB, "status", "error", "method", "type", "metadata", "data", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)
MEMBERS = (
    *(
        "status",
        "error",
        "method",
        "metadata",
        "hyperparameters",
        "created_at",
        "finished_at",
        "model",
        "result_files",
        "seed",
        "trained_tokens",
    ),
    *("fine_tuned_model", "organization_id", "integrations", "suffix", "estimated_finish"),
)


@given(st.dictionaries(st.sampled_from(MEMBERS), json_values))
@settings(max_examples=200, deadline=None)
def test_no_member_of_a_job_can_break_reading_it(members):
    """A job is a job whatever its other members hold."""
    job = job_of(**members)
    assert job.id == "ftjob-1"
    assert job.raw_status == clean(job.raw_status)


@given(json_values)
@settings(max_examples=200, deadline=None)
def test_no_reply_breaks_a_reader(value):
    """Each reader returns a value or says that this is not it."""
    for read in (
        lambda value: wire.job(value, clean=clean, now=0.0, listed=True),
        lambda value: wire.file(value, clean=clean, listed=True),
        lambda value: wire.event(value, clean=clean),
        wire.checkpoint,
        wire.chat,
        wire.chunk,
        wire.page,
    ):
        with contextlib.suppress(wire.NotIt):
            assert read(value) is not None


@given(st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
@settings(max_examples=200, deadline=None)
def test_no_bytes_break_the_decoder(content):
    """Bytes are JSON or they are not it."""
    try:
        value = wire.decode(content)
    except wire.NotIt:
        return
    assert json.loads(content) == value or isinstance(value, float | int)
